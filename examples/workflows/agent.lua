-- One run of an agent: its model calls and its tools are the stages. Run it with: llmspell run examples/workflows/agent.lua

local sums = Workflow.create{
  name = "sums",
  pattern = "agent",
  agent = {name = "sums", model = "offline/rules", tools = {"calculator"}},
}

local result = sums:execute("what is 6 * 7?")
print(result.success, result.output.text)
for _, name in ipairs(sums:list_outputs()) do
  print(name)
end
