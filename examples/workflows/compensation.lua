-- What completed is undone if a later step fails, the last first. Run it with: llmspell run examples/workflows/compensation.lua

local function booked(what)
  return {
    name = what,
    execute = function() print("  book " .. what); return what .. "-7" end,
    compensate = {input = "{{step:" .. what .. "}}", execute = function(c) print("  cancel " .. c.input) end},
  }
end

local trip = Workflow.sequential{
  name = "trip",
  error_strategy = "compensate",
  steps = {booked("flight"), booked("hotel"), {name = "pay", execute = function() error("the card was refused") end}},
}

local result = trip:execute()
print(result.success, result.status)
print(result.error:match("stage pay: .*refused"))
