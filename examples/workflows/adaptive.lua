-- A plan that changes as the run goes: by a step that plans, or by a hook. Run it with: llmspell run examples/workflows/adaptive.lua

local ran = {}
local function step(name, output)
  return {name = name, execute = function() ran[#ran + 1] = name; return output end}
end

local research = Workflow.create{
  type = "adaptive",
  name = "research",
  planners = {"plan"},
  steps = {step("plan", {"search", "write"}), step("search", "found"), step("ask", "asked"), step("write", "written")},
}

local result = research:execute()
print(table.concat(ran, " "), "skipped: " .. table.concat(result.skipped_steps, " "))

Hook.register("WorkflowStageTransition", function(context)
  if context.data.previous == "search" then
    return {type = "modified", data = {plan = {"ask", "write"}}}
  end
end)
ran = {}
research:execute()
print(table.concat(ran, " "))
