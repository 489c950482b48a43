-- A supervisor: its agents are its tools. What fails or is denied is told to its model, and the run goes on.
--
--   llmspell run examples/agents/supervisor.lua

Agent.create{name = "sums", model = "offline/rules", tools = {"calculator"}, description = "Computes."}
Agent.create{name = "critic", type = "basic", description = "Finds faults."}

local lead = Agent.create{
  name = "lead",
  type = "supervisor",
  model = "offline/rules",
  agents = {"sums", "critic"},
  rounds = 4,
  report = "one line for each member",
}

local function ask(question)
  local answer = lead:execute(question)
  for _, call in ipairs(answer.tool_calls) do
    print(call.tool_name .. "\t" .. call.status .. "\t" .. call.result)
  end
end

ask('use agent_sums {"input": "what is 6 * 7?"}')
ask('use agent_critic {"input": "the plan"} and use agent_sums {"input": "what is 1 + 1?"}')

Hook.register("BeforeAgentExecution", function()
  return {type = "cancel", reason = "no critic today"}
end, {kind = "guard", match = "critic"})
ask('use agent_critic {"input": "the plan"}')
