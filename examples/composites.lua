-- Hooks that answer as one: a vote that a guard overrules, a first match, and changes that are put together.
--
--   llmspell run examples/composites.lua              from the folder above examples/
--   llmspell run --explain examples/composites.lua    and then see every child that was asked

local function evaluate(input)
  local ok, answer = pcall(Tool.invoke, "calculator", {operation = "evaluate", input = input})
  return ok and tostring(answer.result.result) or "refused: " .. tostring(answer):match(": ([^:]+)$")
end

local function refuses(word)
  return function(context)
    if context.data.parameters.input:find(word, 1, true) then
      return {type = "cancel", reason = "it has a " .. word}
    end
  end
end

print("== 1. Two of three must agree, and the guard needs nobody")
local jury = Hook.composite("BeforeToolExecution", {
  name = "jury", mode = "voting", threshold = 0.6, match = "calculator",
  children = {
    {handler = refuses("7"), name = "sevens"},
    {handler = refuses("8"), name = "eights"},
    {handler = refuses("9"), name = "nines"},
    {handler = refuses("13"), name = "no-thirteen", kind = "guard"},
  },
})
for _, input in ipairs({"7 + 1", "7 + 8", "13 + 1"}) do
  print(string.format("  %-7s %s", input, evaluate(input)))
end
jury:unregister()

print("== 2. The first that knows the word")
local function spells(word, digit)
  return function(context)
    local input, count = context.data.parameters.input:gsub(word, digit)
    if count > 0 then
      return {type = "modified", data = {parameters = {operation = "evaluate", input = input}}}
    end
  end
end
local words = Hook.composite("BeforeToolExecution", {
  mode = "first_match", match = "calculator", children = {spells("two", "2"), spells("three", "3")},
})
print("  two + 2    " .. evaluate("two + 2"))
print("  three * 3  " .. evaluate("three * 3"))
words:unregister()

print("== 3. Two change the same: the preferred one counts")
local function becomes(input)
  return function() return {type = "modified", data = {parameters = {operation = "evaluate", input = input}}} end
end
local both = Hook.composite("BeforeToolExecution", {
  mode = "parallel", prefer = {"right"}, match = "calculator",
  children = {{handler = becomes("1 + 1"), name = "left"}, {handler = becomes("2 + 2"), name = "right"}},
})
print("  0          " .. evaluate("0"))
for _, hook in ipairs(Hook.list("BeforeToolExecution")) do
  print(string.format("  %-22s %s", hook.name, hook.within ~= "" and "within " .. hook.within:match("[^.]+$") or "asked by the chain"))
end
both:unregister()
