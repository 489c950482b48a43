-- A tour of hooks as the old examples had it.

local calls = {}
local handles = {}

print("1. every priority")
for _, word in ipairs({"lowest", "low", "normal", "high", "highest"}) do
  handles[word] = Hook.register("BeforeToolExecution", function(context)
    calls[#calls + 1] = word
    return nil
  end, word)
end
Tool.invoke("calculator", {operation = "evaluate", input = "1 + 1"})
print("   " .. table.concat(calls, " < "))

print("2. listing")
local high, tool_hooks = 0, 0
for _, hook in ipairs(Hook.list()) do
  if hook.priority == "Priority(-100)" or hook.priority == "Priority(-2147483648)" then
    high = high + 1
  end
  if hook.language == "lua" and hook.description:find("BeforeToolExecution") then
    tool_hooks = tool_hooks + 1
  end
end
print("   high: " .. high, "tools: " .. tool_hooks)
for _, filter in ipairs({{language = "lua"}, {priority = "low"}, {hook_point = "ToolError"}, {tag = "lua"}}) do
  io.write("   ", JSON.stringify(filter), " ", #Hook.list(filter), "\n")
end

print("3. handles")
local id = handles.low:id()
print("   " .. type(id), handles.low:hook_point(), handles.low:unregister(), handles.low:unregister())
print("   " .. tostring(pcall(function() return handles.low:id() end)))
print("   " .. tostring(Hook.unregister(handles.high)), tostring((pcall(Hook.unregister, 42))))
for _, word in ipairs({"lowest", "normal", "highest"}) do
  handles[word]:unregister()
end
local left = 0
for _, hook in ipairs(Hook.list()) do
  if hook.language == "lua" then left = left + 1 end
end
print("   left: " .. left)

print("4. results")
local function with(point, answer, work)
  local handle = Hook.register(point, function(context)
    if context.component_id.name == "calculator" then
      if type(answer) == "function" then
        return answer(context)
      end
      return answer
    end
  end)
  local ok, result = pcall(work or function()
    return Tool.invoke("calculator", {operation = "evaluate", input = "6 * 7"})
  end)
  handle:unregister()
  if ok then
    return type(result.result) == "table" and result.result.result or result.result
  end
  return "error: " .. tostring(result):match("[^:]+$")
end
print("   continue ", with("BeforeToolExecution", "continue"))
print("   style    ", with("BeforeToolExecution", {continue_execution = true}))
print("   cancel   ", with("BeforeToolExecution", {type = "cancel", reason = "not today"}))
print("   stop     ", with("BeforeToolExecution", {continue_execution = false, reason = "not now"}))
print("   word     ", with("BeforeToolExecution", "a reason"))
print("   modified ", with("BeforeToolExecution", function(context)
  context.data.parameters.input = "6 + 7"
  return {type = "modified", data = context.data}
end))
print("   after    ", with("AfterToolExecution", {action = "modified", modified_data = {result = {result = "masked"}}}))
print("   replace  ", with("BeforeToolExecution", {type = "replace", data = {result = "instead"}}))
print("   redirect ", with("BeforeToolExecution", {type = "redirect", target = "text_manipulator"}, function()
  return Tool.invoke("calculator", {operation = "uppercase", input = "text"})
end))
print("   skipped  ", with("BeforeToolExecution", {type = "skipped", reason = "of no use"}))
local attempts = 0
print("   retry    ", with("BeforeToolExecution", function()
  attempts = attempts + 1
  return attempts < 3 and {type = "retry", delay_ms = 1, max_attempts = 5} or nil
end), attempts .. " attempts")
print("   rescue   ", with("ToolError", function(context)
  return {type = "replace", data = {result = "rescued from " .. context.data.parameters.input}}
end, function()
  return Tool.invoke("calculator", {operation = "evaluate", input = "6 *"})
end))
local forked = 0
local watch = Hook.register("AfterToolExecution", function(context)
  forked = forked + (context.component_id.name == "text_manipulator" and 1 or 0)
end, {kind = "observe"})
print("   fork     ", with("BeforeToolExecution", {type = "fork", join = true, operations = {
  {tool = "text_manipulator", input = {operation = "trim", input = " a "}},
  {tool = "text_manipulator", input = {operation = "trim", input = " b "}},
}}), forked .. " forked")
watch:unregister()

print("5. a cache")
local bodies = 0
local after = Hook.register("tool:after_execution", function(c) bodies = bodies + (c.elapsed_ms > 0 and 1 or 0) end)
local cache = Hook.register("BeforeToolExecution", function()
  return {type = "cache", key = "sums", ttl = 60}
end)
for _ = 1, 3 do
  Tool.invoke("calculator", {operation = "evaluate", input = "1 + 2 + 3"})
end
print("   ran " .. bodies .. " of 3")
cache:unregister()
after:unregister()

print("6. mistakes are told")
for _, wrong in ipairs({
  function() Hook.register("InvalidHookPoint", function() end) end,
  function() Hook.register("BeforeToolExecution", "no function") end,
  function() Hook.register("BeforeToolExecution", function() end, "urgent") end,
  function() Hook.list("InvalidHookPoint") end,
}) do
  local ok, message = pcall(wrong)
  print("   " .. tostring(ok), (tostring(message):match("[^;]+")))
end
