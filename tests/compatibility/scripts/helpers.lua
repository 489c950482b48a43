-- Old scripts bring helpers of their own: around tools, around coroutines, around pcall.

local AsyncUtils = {}

function AsyncUtils.await(f, ...)
  local co = coroutine.create(f)
  local results = table.pack(coroutine.resume(co, ...))
  while coroutine.status(co) ~= "dead" do
    results = table.pack(coroutine.resume(co))
  end
  if not results[1] then
    return {success = false, error = tostring(results[2])}
  end
  return results[2]
end

function AsyncUtils.all(tasks)
  local running, answers = {}, {}
  for i, task in ipairs(tasks) do
    running[i] = coroutine.create(task)
  end
  repeat
    local alive = false
    for i, co in ipairs(running) do
      if coroutine.status(co) ~= "dead" then
        alive = true
        local ok, value = coroutine.resume(co)
        if coroutine.status(co) == "dead" then
          answers[i] = ok and value or {success = false, error = tostring(value)}
        end
      end
    end
  until not alive
  return answers
end

local function use_tool(name, params)
  local ok, result = pcall(function()
    return AsyncUtils.await(function(tool, input)
      return Tool.executeAsync(tool, input)
    end, name, params)
  end)
  if not ok then
    return {success = false, error = tostring(result)}
  end
  return result
end

local function print_result(label, result)
  if result.success == false then
    print("  x " .. label .. ": " .. tostring(result.error):gsub("^.-Tool execution failed: ", ""):sub(1, 40))
  elseif result.result ~= nil then
    print("  v " .. label .. ": " .. JSON.stringify(result.result.result or result.result))
  else
    print("  v " .. label .. ": " .. (result.text or "nothing"))
  end
end

local function retry(times, f, ...)
  local last
  for attempt = 1, times do
    local ok, value = pcall(f, ...)
    if ok then
      return value, attempt
    end
    last = value
    os.execute("sleep 0.01")
  end
  return nil, tostring(last)
end

print("-- one after the other")
print_result("sum", use_tool("calculator", {operation = "evaluate", input = "19 + 23"}))
print_result("upper", use_tool("text_manipulator", {operation = "uppercase", input = "hello"}))
print_result("wrong", use_tool("calculator", {operation = "evaluate", input = "19 +"}))
print_result("unknown", use_tool("no_such_tool", {}))

print("-- beside each other")
local answers = AsyncUtils.all({
  function()
    coroutine.yield()
    return Tool.executeAsync("text_manipulator", {operation = "reverse", input = "abc"})
  end,
  function()
    local first = Tool.invoke("calculator", {input = "2 * 2"}).result.result
    coroutine.yield()
    return Tool.invoke("calculator", {input = first .. " * 2"})
  end,
  function()
    error("this one gives up", 0)
  end,
})
for i, answer in ipairs(answers) do
  print_result("task " .. i, answer)
end

print("-- again and again")
local tries = 0
print(retry(3, function()
  tries = tries + 1
  assert(tries > 2, "not yet")
  return "done"
end))
print(select(2, retry(2, Tool.invoke, "no_such_tool", {})):match("no_such_tool"))

print("-- a cache in a metatable")
local squares = setmetatable({}, {__index = function(cache, n)
  local value = Tool.calculator:execute{input = n .. " ^ 2"}.result.result
  rawset(cache, n, value)
  return value
end})
print(squares[3], squares[3], #squares, rawget(squares, 4))
