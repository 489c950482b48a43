-- A pipeline: each stage is given what the one before it made; tools and workflows are stages, too.
--
--   llmspell run examples/agents/pipeline.lua

Agent.create{name = "writer", model = "offline/echo"}
Agent.create{name = "reader", type = "basic"}

local line = Agent.create{
  name = "line",
  type = "pipeline",
  stages = {
    "writer",
    {name = "shout", tool = "text_manipulator", input = {operation = "uppercase", input = "{{step:writer:output}}"}},
    {name = "last", agent = "reader", input = "{{step:shout:output.result}}"},
  },
}

local answer = line:execute("tea and coffee")
print(answer.text)
print(answer.metadata.status, answer.metadata.stages .. " stages")

-- carry = "all" gives each stage all that came before it.
local all = Agent.create{name = "all", type = "pipeline", stages = {"writer", "reader"}, carry = "all"}
print(all:execute("tea").text)
