-- The branch whose condition holds. Run it with: llmspell run examples/workflows/conditional.lua

local function said(text)
  return {{name = "say", execute = function() return text end}}
end

local triage = Workflow.conditional{
  name = "triage",
  steps = {{name = "score", execute = function(c) return c.input.amount end, input = "{{input}}"}},
  branches = {
    {name = "large", condition = function(c) return c:output("score") > 1000 end, steps = said("a manager looks at it")},
    {name = "small", condition = {type = "step_result_equals", step = "score", value = 0}, steps = said("nothing to do")},
    {name = "other", default = true, steps = said("it is paid")},
  },
}

for _, amount in ipairs({5000, 0, 20}) do
  print(amount, triage:execute({amount = amount}).output)
end
