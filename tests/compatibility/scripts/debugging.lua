-- Timers, levels, filters and dumps.

Debug.setLevel("debug")
local outer = Debug.timer("everything")

local function work(n)
  local timer = Debug.timer("work " .. n)
  timer:lap("before")
  os.execute("sleep 0.005")
  Debug.recordEvent(timer.id, "slept", {seconds = 0.005})
  timer:lap("after")
  return timer:stop()
end

local slowest = 0
for n = 1, 2 do
  slowest = math.max(slowest, work(n))
end
print("slowest: " .. (slowest >= 5 and "long enough" or "too short"))

Debug.addModuleFilter("noise.*", false)
Debug.info("kept", "app")
Debug.info("dropped", "noise.network")
Debug.logWithData("warn", "with data", {user = {id = 7, tags = {"a", "b"}}}, "app")
Debug.trace("too fine", "app")
for _, entry in ipairs(Debug.getCapturedEntries(10)) do
  print(entry.level, entry.module, entry.message, entry.metadata and entry.metadata.user.tags[2])
end
print("rules: " .. Debug.getFilterSummary().total_rules)
Debug.clearModuleFilters()

print(Debug.dumpCompact({1, {deep = true}}, "value"))
print((Debug.dump({list = {1, "x"}}):gsub("%s+", " ")))
print(#Debug.dumpVerbose({a = 1}) > 0, Debug.dumpWithOptions({a = {b = {}}}, {max_depth = 1}) ~= nil)

local function third() local trace = Debug.stackTrace({max_depth = 2}) return trace end
local function second() local trace = third() return trace end
local trace = second()
print(trace:match("third") ~= nil, trace:match("second") ~= nil, trace:match("debugging.lua:%d+") ~= nil)

outer:stop()
local report = Debug.performanceReport()
print(report:find("everything") ~= nil, report:find("work 2") ~= nil)
print(#JSON.parse(Debug.jsonReport()) >= 0, Debug.flameGraph():find("everything") ~= nil)
print(Debug.memoryStats().resident_bytes > 0)
if Logger and Logger.info then
  Logger.info("the end")
end
