-- A saga: if a stage fails, what completed is undone, the last one first.
--
--   llmspell run examples/agents/saga.lua

local function act(name)
  Workflow.sequential{name = name, steps = {{name = "do", input = "{{input}}", execute = function(context)
    print("  " .. name .. " " .. context.input.what)
    return {what = context.input.what}
  end}}}
end
act("book")
act("cancel")
Agent.create{name = "bank", type = "basic"}

local function booked(what)
  return {name = what, workflow = "book", input = {what = what}, compensate = {workflow = "cancel"}}
end

local trip = Agent.create{
  name = "trip",
  type = "saga",
  stages = {booked("flight"), booked("hotel"), {name = "pay", agent = "bank", input = "please pay"}},
}

print("paid: " .. trip:execute("a week at the sea").text)

-- A guard that denies the last stage voids those before it.
Hook.register("BeforeAgentExecution", function()
  return {type = "cancel", reason = "the account is closed"}
end, {kind = "guard", match = "bank"})

local ok, failure = pcall(trip.execute, trip, "a week in the hills")
print(ok, tostring(failure):match("the account is closed"))
