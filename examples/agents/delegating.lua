-- A desk that hands each question to the agent that fits it best, and to the next one if that fails.
--
--   llmspell run examples/agents/delegating.lua

Agent.create{name = "sums", model = "offline/rules", tools = {"calculator"}, capabilities = {"arithmetic", "sums"}}
Agent.create{name = "files", type = "basic", capabilities = {"files", "folders"}}
Agent.create{name = "anything", type = "basic"}

local desk = Agent.create{
  name = "desk",
  type = "delegating",
  agents = {"sums", "files", "anything"},
  strategy = "best_match",
}

local function ask(question)
  local answer = desk:execute(question)
  print(answer.metadata.member .. "\t" .. answer.text)
end

ask("arithmetic: what is 12 * 12?")
ask("which files are there?")

-- A guard that denies an agent denies the question: nobody else is asked in its place.
Hook.register("BeforeAgentExecution", function()
  return {type = "cancel", reason = "the files are private"}
end, {kind = "guard", match = "files"})

local ok, failure = pcall(ask, "which folders are there?")
print(ok, tostring(failure):match("the files are private"))

-- What a question needs may be said; of those that can do it each is asked in its turn.
local turns = Agent.create{
  name = "turns",
  type = "delegating",
  agents = {"anything", "sums"},
  strategy = "round_robin",
}
for _ = 1, 3 do
  print("turns\t" .. turns:execute("hello").metadata.member)
end
