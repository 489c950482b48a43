-- Items stream through the steps: the second begins while the first still works. Run it with: llmspell run examples/workflows/pipeline.lua

local order = {}
local function note(what, change)
  return function(c)
    order[#order + 1] = what
    return change(c)
  end
end

local lines = Workflow.pipeline{
  name = "lines",
  items = {"  tea ", " coffee"},
  steps = {
    {name = "trim", execute = note("trim", function(c) return c.current_item:match("^%s*(.-)%s*$") end)},
    {name = "mark", input = "{{step:trim}}", execute = note("mark", function(c) return "<" .. c.input .. ">" end)},
  },
}

print(table.concat(lines:execute().output, " "))
print(#order .. " steps ran")
