-- Branches beside each other, one of which may fail. Run it with: llmspell run examples/workflows/parallel.lua

local checks = Workflow.parallel{
  name = "checks",
  max_concurrency = 3,
  branches = {
    {name = "length", steps = {{name = "count", execute = function(c) return #c.input.text end, input = "{{input}}"}}},
    {name = "upper", steps = {{name = "write", tool = "text_manipulator", input = {operation = "uppercase", input = "{{input.text}}"}}}},
    {name = "broken", required = false, steps = {{name = "fail", execute = function() error("no network here") end}}},
  },
}

local result = checks:execute({text = "hello"})
print(result.output.length, result.output.upper.result)
print(result.successful_branches .. " of " .. result.total_branches .. " branches succeeded")
print("failed: " .. table.concat(result.failed_steps, ", "))
