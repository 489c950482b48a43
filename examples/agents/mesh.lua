-- A mesh: members that send each other messages by topics, over the event bus.
--
--   llmspell run examples/agents/mesh.lua

Agent.create{name = "reader", model = "offline/echo"}
Agent.create{name = "writer", type = "basic"}

local mesh = Agent.create{
  name = "mesh",
  type = "mesh",
  agents = {{agent = "reader", topics = "ask", sends = "facts.new"}, {agent = "writer", topics = "facts.*"}},
}
local letters = Event.subscribe("mesh.mesh.dead_letter")
print(mesh:execute("tea").text)

-- A member that a guard denies is told of in a dead letter.
Hook.register("BeforeAgentExecution", function()
  return {type = "cancel", reason = "no writer today"}
end, {kind = "guard", match = "writer"})
local ok = pcall(mesh.execute, mesh, "coffee")
local letter = Event.receive(letters, 1000)
print(ok, letter.data.topic, letter.data.reason:match("agent:writer was denied"))
