-- The same steps again and again. Run it with: llmspell run examples/workflows/loop.lua

local squares = Workflow.loop{
  name = "squares",
  iterator = {range = {start = 1, ["end"] = 100}},
  body = {{name = "square", execute = function(c) return c.current_value ^ 2 // 1 | 0 end}},
  break_conditions = {{expression = "previous >= 25", message = "large enough"}},
}
local result = squares:execute()
print(table.concat(result.output, " "), result.break_reason)

local names = Workflow.loop{
  name = "names",
  iterator = {collection = {"tea", "coffee"}},
  body = {{name = "shout", tool = "text_manipulator", input = {operation = "uppercase", input = "{{loop:current_index}}: {{loop:current_item}}"}}},
  aggregation_strategy = "last_only",
}
print(names:execute().output.result)
