-- Steps for each item, some at a time, and one more for all of them. Run it with: llmspell run examples/workflows/map_reduce.lua

local words = Workflow.map_reduce{
  name = "words",
  items = "{{input.texts}}",
  max_concurrency = 2,
  steps = {{name = "count", execute = function(c)
    local n = 0
    for _ in c.current_item:gmatch("%a+") do n = n + 1 end
    return n
  end}},
  reduce = {name = "sum", input = "{{loop:results}}", execute = function(c)
    local total = 0
    for _, n in ipairs(c.input) do total = total + n end
    return total
  end},
}

print(words:execute({texts = {"one two", "three", "four five six"}}).output .. " words")
