-- How hooks are registered, at which names, and how they are listed. A case is a name, a script and, as JSON, what it returns.

--- hook: priority highest
Hook.register("BeforeToolExecution", function(context) return nil end, "highest")
return Hook.list()[1].priority
--> "Priority(-2147483648)"

--- hook: priority high
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
return Hook.list()[1].priority
--> "Priority(-100)"

--- hook: priority normal
Hook.register("BeforeToolExecution", function(context) return nil end, "normal")
return Hook.list()[1].priority
--> "Priority(0)"

--- hook: priority low
Hook.register("BeforeToolExecution", function(context) return nil end, "low")
return Hook.list()[1].priority
--> "Priority(100)"

--- hook: priority lowest
Hook.register("BeforeToolExecution", function(context) return nil end, "lowest")
return Hook.list()[1].priority
--> "Priority(2147483647)"

--- hook: priority table highest
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest"})
return Hook.list()[1].priority
--> "Priority(-2147483648)"

--- hook: priority table high
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "high"})
return Hook.list()[1].priority
--> "Priority(-100)"

--- hook: priority table normal
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "normal"})
return Hook.list()[1].priority
--> "Priority(0)"

--- hook: priority table low
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "low"})
return Hook.list()[1].priority
--> "Priority(100)"

--- hook: priority table lowest
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "lowest"})
return Hook.list()[1].priority
--> "Priority(2147483647)"

--- hook: priority nil
Hook.register("BeforeToolExecution", function(context) return nil end, nil) return Hook.list()[1].priority
--> "Priority(0)"

--- hook: priority left out
Hook.register("BeforeToolExecution", function(context) return nil end)
return Hook.list()[1].priority
--> "Priority(0)"

--- hook: priority in capitals
Hook.register("BeforeToolExecution", function(context) return nil end, "HIGH")
return Hook.list()[1].priority
--> "Priority(-100)"

--- hook: priority number
Hook.register("BeforeToolExecution", function(context) return nil end, -100) return Hook.list()[1].priority
--> "Priority(-100)"

--- hook: empty options
Hook.register("BeforeToolExecution", function(context) return nil end, {}) return #Hook.list()
--> 1

--- hook: colon
Hook:register("BeforeToolExecution", function(context) return nil end, "high") return #Hook.list()
--> 1

--- hook: one table
Hook.register({point = "BeforeToolExecution", handler = function(context) return nil end, priority = "low", name = "mine", tags = {"a", "b"}})
local h = Hook.list()[1]
return {h.name, h.priority, h.tags[#h.tags]}
--> ["mine", "Priority(100)", "b"]

--- hook: one table hook_point
Hook.register{hook_point = "BeforeToolExecution", callback = function(context) return nil end} return Hook.list()[1].point
--> "BeforeToolExecution"

--- hook: id
local h =
Hook.register("BeforeToolExecution", function(context) return nil end)
return type(h:id())
--> "string"

--- hook: id is listed
local h =
Hook.register("BeforeToolExecution", function(context) return nil end)
return Hook.list()[1].id == h:id()
--> true

--- hook: ids differ
local a, b =
Hook.register("BeforeToolExecution", function(context) return nil end),
Hook.register("BeforeToolExecution", function(context) return nil end)
return a:id() ~= b:id()
--> true

--- hook: hook_point
local h =
Hook.register("BeforeToolExecution", function(context) return nil end)
return {h:hook_point(), h:hookPoint()}
--> ["BeforeToolExecution", "BeforeToolExecution"]

--- hook: unregister
local h =
Hook.register("BeforeToolExecution", function(context) return nil end)
return {h:unregister(), h:unregister(), #Hook.list()}
--> [true, false, 0]

--- hook: id after unregister
local h =
Hook.register("BeforeToolExecution", function(context) return nil end)
h:unregister() return (pcall(h.id, h))
--> false

--- hook: hook_point after unregister
local h =
Hook.register("BeforeToolExecution", function(context) return nil end)
h:unregister() return (pcall(function() return h:hook_point() end))
--> false

--- hook: global unregister
local h =
Hook.register("BeforeToolExecution", function(context) return nil end)
return {Hook.unregister(h), Hook.unregister(h)}
--> [true, false]

--- hook: unregister by name
Hook.register("BeforeToolExecution", function(context) return nil end, {name = "x"})
return {Hook.unregister({name = "x"}), #Hook.list()}
--> [true, 0]

--- hook: unregister what is no handle
return (pcall(Hook.unregister, Tool.calculator))
--> false

--- hook: unregister a name that no hook of the script has
return (pcall(Hook.unregister, "nobody"))
--> false

--- hook: unregister a number
return (pcall(Hook.unregister, 5))
--> false

--- hook: unregister nothing
return (pcall(Hook.unregister, nil))
--> false

--- hook: handle type
return type(Hook.register("BeforeToolExecution", function(context) return nil end)) ~= "nil"
--> true

--- hook: a handle that is dropped stays
local n = 0
Hook.register("BeforeToolExecution", function() n = n + 1 end)
collectgarbage() collectgarbage()
calculate()
return {n, #Hook.list()}
--> [1, 1]

--- hook: unknown point
return try(Hook.register, "InvalidHookPoint", function() end):match("Unknown hook point: InvalidHookPoint") ~= nil
--> true

--- hook: no function
return (pcall(Hook.register, "BeforeToolExecution", "text"))
--> false

--- hook: no arguments
return (pcall(Hook.register))
--> false

--- point: SystemStartup
local h =
Hook.register("SystemStartup", function(context) return nil end)
return {h:hook_point(), #Hook.list("SystemStartup")}
--> ["SystemStartup", 1]

--- point: SystemShutdown
local h =
Hook.register("SystemShutdown", function(context) return nil end)
return {h:hook_point(), #Hook.list("SystemShutdown")}
--> ["SystemShutdown", 1]

--- point: BeforeToolDiscovery
local h =
Hook.register("BeforeToolDiscovery", function(context) return nil end)
return {h:hook_point(), #Hook.list("BeforeToolDiscovery")}
--> ["BeforeToolDiscovery", 1]

--- point: AfterToolDiscovery
local h =
Hook.register("AfterToolDiscovery", function(context) return nil end)
return {h:hook_point(), #Hook.list("AfterToolDiscovery")}
--> ["AfterToolDiscovery", 1]

--- point: BeforeToolExecution
local h =
Hook.register("BeforeToolExecution", function(context) return nil end)
return {h:hook_point(), #Hook.list("BeforeToolExecution")}
--> ["BeforeToolExecution", 1]

--- point: AfterToolExecution
local h =
Hook.register("AfterToolExecution", function(context) return nil end)
return {h:hook_point(), #Hook.list("AfterToolExecution")}
--> ["AfterToolExecution", 1]

--- point: ToolValidation
local h =
Hook.register("ToolValidation", function(context) return nil end)
return {h:hook_point(), #Hook.list("ToolValidation")}
--> ["ToolParameterValidation", 1]

--- point: ToolError
local h =
Hook.register("ToolError", function(context) return nil end)
return {h:hook_point(), #Hook.list("ToolError")}
--> ["ToolError", 1]

--- point: ConfigurationChange
local h =
Hook.register("ConfigurationChange", function(context) return nil end)
return {h:hook_point(), #Hook.list("ConfigurationChange")}
--> ["ConfigurationChange", 1]

--- point: ResourceLimitExceeded
local h =
Hook.register("ResourceLimitExceeded", function(context) return nil end)
return {h:hook_point(), #Hook.list("ResourceLimitExceeded")}
--> ["ResourceLimitExceeded", 1]

--- point: SecurityViolation
local h =
Hook.register("SecurityViolation", function(context) return nil end)
return {h:hook_point(), #Hook.list("SecurityViolation")}
--> ["SecurityViolation", 1]

--- point: PerformanceThresholdExceeded
local h =
Hook.register("PerformanceThresholdExceeded", function(context) return nil end)
return {h:hook_point(), #Hook.list("PerformanceThresholdExceeded")}
--> ["PerformanceThresholdExceeded", 1]

--- point: MemoryUsageHigh
local h =
Hook.register("MemoryUsageHigh", function(context) return nil end)
return {h:hook_point(), #Hook.list("MemoryUsageHigh")}
--> ["MemoryUsageHigh", 1]

--- point: CpuUsageHigh
local h =
Hook.register("CpuUsageHigh", function(context) return nil end)
return {h:hook_point(), #Hook.list("CpuUsageHigh")}
--> ["CpuUsageHigh", 1]

--- point: tool_parameter_validation
local h =
Hook.register("tool_parameter_validation", function(context) return nil end)
return {h:hook_point(), #Hook.list("tool_parameter_validation")}
--> ["ToolParameterValidation", 1]

--- point: tool_security_check
local h =
Hook.register("tool_security_check", function(context) return nil end)
return {h:hook_point(), #Hook.list("tool_security_check")}
--> ["ToolSecurityCheck", 1]

--- point: tool_resource_allocated
local h =
Hook.register("tool_resource_allocated", function(context) return nil end)
return {h:hook_point(), #Hook.list("tool_resource_allocated")}
--> ["ToolResourceAllocated", 1]

--- point: tool_resource_released
local h =
Hook.register("tool_resource_released", function(context) return nil end)
return {h:hook_point(), #Hook.list("tool_resource_released")}
--> ["ToolResourceReleased", 1]

--- point: tool_timeout
local h =
Hook.register("tool_timeout", function(context) return nil end)
return {h:hook_point(), #Hook.list("tool_timeout")}
--> ["ToolTimeout", 1]

--- point: tool:before_execution
local h =
Hook.register("tool:before_execution", function(context) return nil end)
return {h:hook_point(), #Hook.list("tool:before_execution")}
--> ["BeforeToolExecution", 1]

--- point: tool:after_execution
local h =
Hook.register("tool:after_execution", function(context) return nil end)
return {h:hook_point(), #Hook.list("tool:after_execution")}
--> ["AfterToolExecution", 1]

--- point: tool:error
local h =
Hook.register("tool:error", function(context) return nil end)
return {h:hook_point(), #Hook.list("tool:error")}
--> ["ToolError", 1]

--- point: before_tool_execution
local h =
Hook.register("before_tool_execution", function(context) return nil end)
return {h:hook_point(), #Hook.list("before_tool_execution")}
--> ["BeforeToolExecution", 1]

--- point: tool:*:before_execution
local h =
Hook.register("tool:*:before_execution", function(context) return nil end)
return {h:hook_point(), #Hook.list("tool:*:before_execution")}
--> ["BeforeToolExecution", 1]

--- point: tool:*:after_execution
local h =
Hook.register("tool:*:after_execution", function(context) return nil end)
return {h:hook_point(), #Hook.list("tool:*:after_execution")}
--> ["AfterToolExecution", 1]

--- point: tool:calculator:before_execution
local h =
Hook.register("tool:calculator:before_execution", function(context) return nil end)
return {h:hook_point(), #Hook.list("tool:calculator:before_execution")}
--> ["BeforeToolExecution", 1]

--- point: custom:mine
local h =
Hook.register("custom:mine", function(context) return nil end)
return {h:hook_point(), #Hook.list("custom:mine")}
--> ["custom:mine", 1]

--- hooks: all
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return #Hook.list()
--> 3

--- hooks: nil
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return #Hook.list(nil)
--> 3

--- hooks: empty table
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return #Hook.list({})
--> 3

--- hooks: point
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return #Hook.list("BeforeToolExecution")
--> 2

--- hooks: hook_point
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return #Hook.list({hook_point = "AfterToolExecution"})
--> 1

--- hooks: point key
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return #Hook.list({point = "AfterToolExecution"})
--> 1

--- hooks: language
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return {#Hook.list({language = "lua"}), #Hook.list({language = "python"})}
--> [3, 0]

--- hooks: language in capitals
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return #Hook.list({language = "Lua"})
--> 3

--- hooks: priority word
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return #Hook.list({priority = "high"})
--> 1

--- hooks: priority text
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return #Hook.list({priority = "Priority(-100)"})
--> 1

--- hooks: tag
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return {#Hook.list({tag = "lua"}), #Hook.list({tag = "audit"}), #Hook.list({tag = "cross-language"})}
--> [3, 1, 3]

--- hooks: several
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return #Hook.list({hook_point = "BeforeToolExecution", priority = "high", language = "lua", tag = "lua"})
--> 1

--- hooks: glob
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return #Hook.list({language = "lua", hook_point = "tool:*"})
--> 3

--- hooks: glob without hooks
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
return #Hook.list({language = "lua", hook_point = "agent:*"})
--> 0

--- hooks: unknown point
return try(Hook.list, "InvalidHookPoint"):match("Unknown hook point") ~= nil
--> true

--- hooks: fields
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
local h = Hook.list("AfterToolExecution")[1] return {h.name:match("^lua_") ~= nil, h.priority, h.language, h.version, h.description, h.tags[1], h.tags[2]}
--> [true, "Priority(100)", "lua", "1.0.0", "lua hook for AfterToolExecution", "cross-language", "lua"]

--- hooks: our fields
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
local h = Hook.list("AfterToolExecution")[1] return {h.point, h.enabled, h.hook_point}
--> ["AfterToolExecution", true, "AfterToolExecution"]

--- hooks: sorted by priority
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
local p = {} for i, h in ipairs(Hook.list("BeforeToolExecution")) do p[i] = h.priority end return p
--> ["Priority(-2147483648)", "Priority(-100)"]

--- hooks: all sorted by priority
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
local p = {} for i, h in ipairs(Hook.list()) do p[i] = h.priority end return p
--> ["Priority(-2147483648)", "Priority(-100)", "Priority(100)"]

--- hooks: compared by text
Hook.register("AfterToolExecution", function(context) return nil end, "low")
Hook.register("BeforeToolExecution", function(context) return nil end, "high")
Hook.register("BeforeToolExecution", function(context) return nil end, {priority = "highest", tags = {"audit"}, name = "first"})
local n = 0 for _, h in ipairs(Hook.list()) do if h.priority == "Priority(-100)" or h.priority == "Priority(-2147483648)" then n = n + 1 end end return n
--> 2
