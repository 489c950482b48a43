-- When hooks are called, and what they are given. A case is a name, a script and, as JSON, what it returns.

--- order: by priority
local seen = {} for _, w in ipairs{"low", "normal", "lowest", "highest", "high"} do
Hook.register("BeforeToolExecution", function() seen[#seen + 1] = w end, w) end
calculate() return seen
--> ["highest", "high", "normal", "low", "lowest"]

--- order: ties by registration
local seen = {} for i = 1, 4 do
Hook.register("BeforeToolExecution", function() seen[#seen + 1] = i end)
end
calculate() return seen
--> [1, 2, 3, 4]

--- order: before and after
local seen = {}
Hook.register("AfterToolExecution", function(c) seen[#seen+1] = c.point end)
Hook.register("BeforeToolExecution", function(c) seen[#seen+1] = c.point end)
calculate() return seen
--> ["BeforeToolExecution", "AfterToolExecution"]

--- order: all phases of one call
local seen = {} for _, p in ipairs{"ToolResourceReleased", "AfterToolExecution", "BeforeToolExecution", "tool_resource_allocated", "tool_security_check", "ToolValidation"} do
Hook.register(p, function(c) seen[#seen+1] = c.point end)
end
calculate() return seen
--> ["BeforeToolExecution", "ToolParameterValidation", "ToolSecurityCheck", "ToolResourceAllocated", "AfterToolExecution", "ToolResourceReleased"]

--- order: one correlation id
local ids = {} for _, p in ipairs{"AfterToolExecution", "BeforeToolExecution"} do
Hook.register(p, function(c) ids[#ids+1] = c.correlation_id end)
end
calculate() return ids[1] == ids[2] and type(ids[1])
--> "string"

--- order: a component's own
local n = 0
Hook.register("tool:calculator:before_execution", function() n = n + 1 end)
calculate() Tool.text_manipulator:execute{operation="trim", input="a"} return n
--> 1

--- order: any component
local n = 0
Hook.register("tool:*:before_execution", function() n = n + 1 end)
calculate() Tool.text_manipulator:execute{operation="trim", input="a"} return n
--> 2

--- order: a hook calls a tool
local r
Hook.register("AfterToolExecution", function() r = Tool.text_manipulator:execute{operation="uppercase", input="a"}.result.result end, {match = "calculator"})
calculate() return r
--> "A"

--- order: unregistered hooks are quiet
local n = 0
local h =
Hook.register("BeforeToolExecution", function() n = n + 1 end)
calculate() h:unregister()
calculate() return n
--> 1

--- order: a hook unregisters itself
local n, h = 0 h =
Hook.register("BeforeToolExecution", function() n = n + 1 h:unregister() end)
calculate()
calculate() return n
--> 1

--- order: custom points are fired
Hook.register("custom:price", function(c) return {type = "modified", data = {eur = c.data.eur * 2}} end)
return Hook.fire("price", {eur = 2}).eur
--> 4

--- context: point
local seen
Hook.register("BeforeToolExecution", function(c)
  seen = c.point
end)
pcall(calculate, "2 + 2")
return seen
--> "BeforeToolExecution"

--- context: component_id
local seen
Hook.register("BeforeToolExecution", function(c)
  seen = {c.component_id.type, c.component_id.name, c.component_id.component_type, type(c.component_id.id)}
end)
pcall(calculate, "2 + 2")
return seen
--> ["Tool", "calculator", "Tool", "string"]

--- context: language
local seen
Hook.register("BeforeToolExecution", function(c)
  seen = c.language
end)
pcall(calculate, "2 + 2")
return seen
--> "lua"

--- context: correlation_id
local seen
Hook.register("BeforeToolExecution", function(c)
  seen = type(c.correlation_id)
end)
pcall(calculate, "2 + 2")
return seen
--> "string"

--- context: metadata
local seen
Hook.register("BeforeToolExecution", function(c)
  seen = type(c.metadata)
end)
pcall(calculate, "2 + 2")
return seen
--> "table"

--- context: metadata of the tool
local seen
Hook.register("BeforeToolExecution", function(c)
  seen = {c.metadata.tool_name, c.metadata.tool_category, c.metadata.security_level}
end)
pcall(calculate, "2 + 2")
return seen
--> ["calculator", "Utility", "Safe"]

--- context: phase ToolValidation
local seen
Hook.register("ToolValidation", function(c)
  seen = c.metadata.execution_phase
end)
pcall(calculate, "1")
return seen
--> "ParameterValidation"

--- context: phase ToolSecurityCheck
local seen
Hook.register("ToolSecurityCheck", function(c)
  seen = c.metadata.execution_phase
end)
pcall(calculate, "1")
return seen
--> "SecurityCheck"

--- context: phase ToolResourceAllocated
local seen
Hook.register("ToolResourceAllocated", function(c)
  seen = c.metadata.execution_phase
end)
pcall(calculate, "1")
return seen
--> "ResourceAllocation"

--- context: phase BeforeToolExecution
local seen
Hook.register("BeforeToolExecution", function(c)
  seen = c.metadata.execution_phase
end)
pcall(calculate, "1")
return seen
--> "PreExecution"

--- context: phase AfterToolExecution
local seen
Hook.register("AfterToolExecution", function(c)
  seen = c.metadata.execution_phase
end)
pcall(calculate, "1")
return seen
--> "PostExecution"

--- context: phase ToolError
local seen
Hook.register("ToolError", function(c)
  seen = c.metadata.execution_phase
end)
pcall(calculate, "1 +")
return seen
--> "ErrorHandling"

--- context: phase ToolResourceReleased
local seen
Hook.register("ToolResourceReleased", function(c)
  seen = c.metadata.execution_phase
end)
pcall(calculate, "1")
return seen
--> "ResourceCleanup"

--- context: data before
local seen
Hook.register("BeforeToolExecution", function(c)
  seen = {c.data.tool_name, c.data.parameters.input, c.data.input.input, c.data.attempt}
end)
pcall(calculate, "2 + 2")
return seen
--> ["calculator", "2 + 2", "2 + 2", 1]

--- context: data after
local seen
Hook.register("AfterToolExecution", function(c)
  seen = {c.data.tool_name, c.data.parameters.input, c.data.result.result, c.data.output.result, c.data.success}
end)
pcall(calculate, "2 + 2")
return seen
--> ["calculator", "2 + 2", 4, 4, true]

--- context: data on error
local seen
Hook.register("ToolError", function(c)
  seen = {c.data.tool_name, type(c.data.error), type(c.data.error_message), c.data.parameters.input}
end)
pcall(calculate, "1 +")
return seen
--> ["calculator", "string", "string", "1 +"]

--- context: result after is a table to compute with
local seen
Hook.register("AfterToolExecution", function(c)
  seen = c.data.result.result * 10
end)
pcall(calculate, "2 + 2")
return seen
--> 40

--- context: a context can be dumped
local seen
Hook.register("BeforeToolExecution", function(c)
  seen = #Debug.dump(c) > 0
end)
pcall(calculate, "2 + 2")
return seen
--> true

--- context: a context can be written
local seen
Hook.register("BeforeToolExecution", function(c)
  seen = JSON.parse(JSON.stringify(c)).point
end)
pcall(calculate, "2 + 2")
return seen
--> "BeforeToolExecution"

--- context: a context that is changed changes nothing
Hook.register("BeforeToolExecution", function(c) c.data.parameters.input = "1" c.point = "x" end)
return calculate().result.result
--> 4
