-- The globals Debug and Logger. A case is a name, a script and, as JSON, what it returns.

--- debug: log
Debug.log("info", "a", "m")
local e =
Debug.getCapturedEntries()[1]
return {e.level, e.message, e.module, type(e.timestamp)}
--> ["info", "a", "m", "number"]

--- debug: log without module
Debug.log("info", "a") return #Debug.getCapturedEntries()
--> 1

--- debug: words
Debug.setLevel("trace") for _, w in ipairs{"trace", "debug", "info", "warn", "error"} do Debug[w]("a", "m") end
local l = {} for i, e in ipairs(Debug.getCapturedEntries()) do l[i] = e.level end return l
--> ["trace", "debug", "info", "warn", "error"]

--- debug: log levels in capitals
Debug.log("INFO", "a") return Debug.getCapturedEntries()[1].level
--> "info"

--- debug: with data
Debug.logWithData("info", "a", {user = "ada", n = {1, 2}}, "m")
local e =
Debug.getCapturedEntries()[1]
return {e.metadata.user, #e.metadata.n}
--> ["ada", 2]

--- debug: limit
for i = 1, 5 do
Debug.info("m" .. i) end
local e =
Debug.getCapturedEntries(2)
return {#e, e[#e].message}
--> [2, "m5"]

--- debug: clear
Debug.info("a") Debug.clearCaptured() return #Debug.getCapturedEntries()
--> 0

--- debug: level
return {Debug.getLevel(),
Debug.setLevel("debug"),
Debug.getLevel(),
Debug.setLevel("nosuch"),
Debug.getLevel()}
--> ["info", true, "debug", false, "debug"]

--- debug: every level
local r = {} for _, l in ipairs{"off", "error", "warn", "info", "debug", "trace"} do r[#r+1] =
Debug.setLevel(l) and
Debug.getLevel() end return r
--> ["off", "error", "warn", "info", "debug", "trace"]

--- debug: level hides
Debug.setLevel("warn") Debug.info("a") Debug.warn("b") return #Debug.getCapturedEntries()
--> 1

--- debug: enabled
Debug.setEnabled(false)
Debug.error("a")
local off =
Debug.isEnabled()
Debug.setEnabled(true)
return {off,
Debug.isEnabled(), #Debug.getCapturedEntries()}
--> [false, true, 0]

--- debug: filter
Debug.addModuleFilter("noisy", false)
Debug.info("a", "noisy")
Debug.info("b", "m") return #Debug.getCapturedEntries()
--> 1

--- debug: filter star
Debug.addModuleFilter("noisy.*", false)
Debug.info("a", "noisy.x") return #Debug.getCapturedEntries()
--> 0

--- debug: filter removed
Debug.addModuleFilter("noisy", false)
return {Debug.removeModuleFilter("noisy"),
Debug.removeModuleFilter("noisy")}
--> [true, false]

--- debug: filters cleared
Debug.addModuleFilter("noisy", false)
Debug.clearModuleFilters() return
Debug.getFilterSummary().total_rules
--> 0

--- debug: filter default
Debug.setDefaultFilterEnabled(false)
Debug.addModuleFilter("m", true)
Debug.info("a", "m")
Debug.info("b", "n") return #Debug.getCapturedEntries()
--> 1

--- debug: filter exact
local ok =
Debug.addAdvancedFilter("app.db", "exact", false)
Debug.info("a", "app.db")
return {ok, #Debug.getCapturedEntries()}
--> [true, 0]

--- debug: filter wildcard
local ok =
Debug.addAdvancedFilter("app.*", "wildcard", false)
Debug.info("a", "app.db")
return {ok, #Debug.getCapturedEntries()}
--> [true, 0]

--- debug: filter regex
local ok =
Debug.addAdvancedFilter("^app", "regex", false)
Debug.info("a", "app.db")
return {ok, #Debug.getCapturedEntries()}
--> [true, 0]

--- debug: filter hierarchical
local ok =
Debug.addAdvancedFilter("app", "hierarchical", false)
Debug.info("a", "app.db")
return {ok, #Debug.getCapturedEntries()}
--> [true, 0]

--- debug: filter unknown type
local ok, r = pcall(Debug.addAdvancedFilter, "m", "nosuch", true) return ok and r
--> false

--- debug: filter summary
Debug.addAdvancedFilter("app", "hierarchical", false)
local s =
Debug.getFilterSummary()
local r = s.rules[1]
return {s.default_enabled, s.total_rules, r.pattern, r.pattern_type, r.enabled, type(r.description)}
--> [true, 1, "app", "hierarchical", false, "string"]

--- debug: timer
local t =
Debug.timer("work") return {type(t.id), t:elapsed() >= 0, t:lap("half") >= 0, t:stop() >= 0}
--> ["string", true, true, true]

--- debug: timer dot
local t = Debug.timer("work") return {t.elapsed() >= 0, t.lap("half") >= 0, t.stop() >= 0}
--> [true, true, true]

--- debug: timer measures
local t = Debug.timer("work") os.execute("sleep 0.02") return t:stop() >= 20
--> true

--- debug: timer event
local t =
Debug.timer("work")
return {Debug.recordEvent(t.id, "read", {size = 3}),
Debug.recordEvent("nosuch", "read")}
--> [true, false]

--- debug: report
local t =
Debug.timer("work") t:lap("half") t:stop() return
Debug.performanceReport():match("work") ~= nil
--> true

--- debug: json report
Debug.timer("work"):stop() return type(JSON.parse(Debug.jsonReport()))
--> "table"

--- debug: flame graph
Debug.timer("work"):stop() return Debug.flameGraph():match("work") ~= nil
--> true

--- debug: memory
local m =
Debug.memoryStats() return {type(m.used_bytes), type(m.allocated_bytes), m.resident_bytes > 0, type(m.collections)}
--> ["number", "number", true, "number"]

--- debug: memory snapshot
local m =
Debug.memorySnapshot() return {type(m.timestamp_secs), type(m.active_trackers), type(m.total_memory_delta_bytes), type(m.tracker_memory_usage)}
--> ["number", "number", "number", "table"]

--- debug: dump
return Debug.dump({a = {1, "x"}}, "thing"):match("thing") ~= nil
--> true

--- debug: dump compact
return Debug.dumpCompact({a = 1}, "thing"):find("\n") == nil
--> true

--- debug: dump verbose
return #Debug.dumpVerbose({a = {b = {c = 1}}}) > #Debug.dumpCompact({a = {b = {c = 1}}})
--> true

--- debug: dump scalars
return {type(Debug.dump(nil)), type(Debug.dump(1)), type(Debug.dump('x')), type(Debug.dump(true))}
--> ["string", "string", "string", "string"]

--- debug: dump function
return type(Debug.dump({f = print, g = function() end}))
--> "string"

--- debug: dump options
return
Debug.dumpWithOptions({a = {b = {c = 1}}}, {max_depth = 1, indent_size = 2, show_types = true}, "thing"):match("thing") ~= nil
--> true

--- debug: dump a tool
return type(Debug.dump(Tool.calculator))
--> "string"

--- debug: stack trace
local function inner()
local s =
Debug.stackTrace() return s end
local s = inner()
return {s:match("inner") ~= nil, s:match("old.lua") ~= nil}
--> [true, true]

--- debug: stack trace options
local function inner()
local s =
Debug.stackTrace({max_depth = 1, capture_locals = false, capture_upvalues = false, include_source = false}) return s end
local s = inner() return s:match("inner") ~= nil
--> true

--- debug: stack trace json
local function inner()
local s =
Debug.stackTraceJson({max_depth = 5}) return s end
local t = JSON.parse(inner())
return {#t.frames >= 1, t.frames[1]["function"], type(t.frames[1].line)}
--> [true, "inner", "number"]

--- debug: snake case
Debug.set_level("debug")
Debug.log_with_data("info", "a", {})
return {Debug.get_level(), #Debug.get_captured_entries()}
--> ["debug", 1]

--- debug: colon
Debug:info("a") return Debug:getCapturedEntries()[1].message
--> "a"

--- debug: a table as message
Debug.info({a = 1}) return type(Debug.getCapturedEntries()[1].message)
--> "string"

--- logger: probe
if Logger and Logger.info then Logger.info("a") return "logged" end
--> "logged"

--- logger: words
for _, w in ipairs{"trace", "debug", "info", "warn", "error"} do Logger[w]("a", {n = 1}) end return "fine"
--> "fine"

--- logger: colon
Logger:info("a") return "fine"
--> "fine"

--- logger: utils are probed
return Utils == nil or type(Utils) == 'table'
--> true

--- debug: dump of a table within itself
local t = {name = "t"}
t.t = t
return Debug.dump(t):find("circular", 1, true) ~= nil
--> true

--- debug: dump of keys that are no texts
return Debug.dump({[true] = 1, [{}] = 2}):find("true", 1, true) ~= nil
--> true
