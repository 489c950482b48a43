-- A hand-off: a model gives the conversation to another agent, whose answer is then the run's.
--
--   llmspell run examples/agents/handoff.lua

Agent.create{name = "tax", type = "basic", description = "Knows about tax."}
local desk = Agent.create{name = "desk", model = "offline/rules", handoffs = {"tax"}}

local answer = desk:execute('use transfer_to_tax {"question": "how much is due?", "reason": "it is about tax"}')
print(answer.text)
print(answer.metadata.handoffs[1].from .. " to " .. answer.metadata.handoffs[1].to)

-- A hook decides where it goes, and with what; a guard denies it, and the model goes on itself.
Hook.register("AgentHandoff", function(context)
  print("asked: " .. context.data.source .. " to " .. context.data.target .. ", " .. context.data.carry)
  return {type = "modified", data = {text = "in short: " .. context.data.text}}
end, {match = "desk"})
print(desk:execute('use transfer_to_tax {"question": "how much?"}').text)

Hook.register("AgentHandoff", function()
  return {type = "cancel", reason = "it is Sunday"}
end, {kind = "guard", match = "desk"})
print(desk:execute('use transfer_to_tax {"question": "and now?"}').tool_calls[1].result)
