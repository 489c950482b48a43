-- A swarm: all members answer beside each other, and what more than half of them say is the answer.
--
--   llmspell run examples/agents/swarm.lua

for _, name in ipairs({"one", "two", "three"}) do
  Agent.create{name = name, model = "offline/rules", tools = {"calculator"}}
end
Agent.create{name = "stranger", type = "basic"}

local swarm = Agent.create{name = "swarm", type = "swarm", agents = {"one", "two", "stranger"}}
print(swarm:execute("what is 6 * 7?").text)

-- Whom a guard denies has no vote; without enough of them that agree there is no answer.
Hook.register("BeforeAgentExecution", function()
  return {type = "cancel", reason = "two is asleep"}
end, {kind = "guard", match = "two"})
local ok, failure = pcall(swarm.execute, swarm, "what is 6 * 8?")
print(ok, tostring(failure):match("its members do not agree"))
