-- A pool: members of one make, each with one question at a time; what waits is answered in its order.
--
--   llmspell run examples/agents/pool.lua

local pool = Agent.create{name = "pool", type = "pool", member = {kind = "basic"}, size = 2, warm = 2}
local answer = pool:execute("hello")
print(answer.text)
print("members: " .. answer.metadata.members)

-- A guard denies within it; that is no fault of the member's, which stays.
Hook.register("BeforeAgentExecution", function(context)
  if context.data.text == "a secret" then
    return {type = "cancel", reason = "it is private"}
  end
end, {kind = "guard", match = "pool.*"})
local ok, failure = pcall(pool.execute, pool, "a secret")
print(ok, tostring(failure):match("it is private"))
print("members: " .. pool:execute("hello").metadata.members)
