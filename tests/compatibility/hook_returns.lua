-- What a hook may return, and what each does. A case is a name, a script and, as JSON, what it returns.

--- goes on: nothing
Hook.register("BeforeToolExecution", function(context)
  end)
return calculate().result.result
--> 4

--- goes on: return
Hook.register("BeforeToolExecution", function(context)
  return
end)
return calculate().result.result
--> 4

--- goes on: return nil
Hook.register("BeforeToolExecution", function(context)
  return nil
end)
return calculate().result.result
--> 4

--- goes on: return "continue"
Hook.register("BeforeToolExecution", function(context)
  return "continue"
end)
return calculate().result.result
--> 4

--- goes on: return "skip"
Hook.register("BeforeToolExecution", function(context)
  return "skip"
end)
return calculate().result.result
--> 4

--- goes on: return "skipped"
Hook.register("BeforeToolExecution", function(context)
  return "skipped"
end)
return calculate().result.result
--> 4

--- goes on: return true
Hook.register("BeforeToolExecution", function(context)
  return true
end)
return calculate().result.result
--> 4

--- goes on: return {}
Hook.register("BeforeToolExecution", function(context)
  return {}
end)
return calculate().result.result
--> 4

--- goes on: return {type = "continue"}
Hook.register("BeforeToolExecution", function(context)
  return {type = "continue"}
end)
return calculate().result.result
--> 4

--- goes on: return {action = "continue"}
Hook.register("BeforeToolExecution", function(context)
  return {action = "continue"}
end)
return calculate().result.result
--> 4

--- goes on: return {type = "skipped", reason = "no"}
Hook.register("BeforeToolExecution", function(context)
  return {type = "skipped", reason = "no"}
end)
return calculate().result.result
--> 4

--- goes on: return {action = "skipped", reason = "no"}
Hook.register("BeforeToolExecution", function(context)
  return {action = "skipped", reason = "no"}
end)
return calculate().result.result
--> 4

--- goes on: return {continue_execution = true}
Hook.register("BeforeToolExecution", function(context)
  return {continue_execution = true}
end)
return calculate().result.result
--> 4

--- goes on: return false
Hook.register("BeforeToolExecution", function(context)
  return false
end)
return calculate().result.result
--> 4

--- goes on: return 5
Hook.register("BeforeToolExecution", function(context)
  return 5
end)
return calculate().result.result
--> 4

--- goes on: return {type = "nosuch"}
Hook.register("BeforeToolExecution", function(context)
  return {type = "nosuch"}
end)
return calculate().result.result
--> 4

--- goes on: return {no_type = 1}
Hook.register("BeforeToolExecution", function(context)
  return {no_type = 1}
end)
return calculate().result.result
--> 4

--- goes on: return {continue_execution = true, state_updates = {seen = true}}
Hook.register("BeforeToolExecution", function(context)
  return {continue_execution = true, state_updates = {seen = true}}
end)
return calculate().result.result
--> 4

--- goes on, asked five times: return false
Hook.register("BeforeToolExecution", function(context)
  return false
end)
for _ = 1, 5 do calculate() end return calculate().result.result
--> 4

--- goes on, asked five times: return 5
Hook.register("BeforeToolExecution", function(context)
  return 5
end)
for _ = 1, 5 do calculate() end return calculate().result.result
--> 4

--- goes on, asked five times: return {type = "nosuch"}
Hook.register("BeforeToolExecution", function(context)
  return {type = "nosuch"}
end)
for _ = 1, 5 do calculate() end return calculate().result.result
--> 4

--- goes on, asked five times: return {no_type = 1}
Hook.register("BeforeToolExecution", function(context)
  return {no_type = 1}
end)
for _ = 1, 5 do calculate() end return calculate().result.result
--> 4

--- cancels: return "no calculations today"
Hook.register("BeforeToolExecution", function(context)
  return "no calculations today"
end)
return try(calculate):match("no calculations today") ~= nil
--> true

--- cancels: return "ok"
Hook.register("BeforeToolExecution", function(context)
  return "ok"
end)
return try(calculate):match(": ok$") ~= nil
--> true

--- cancels: return "modified"
Hook.register("BeforeToolExecution", function(context)
  return "modified"
end)
return try(calculate):match(": modified$") ~= nil
--> true

--- cancels: return {type = "cancel", reason = "closed"}
Hook.register("BeforeToolExecution", function(context)
  return {type = "cancel", reason = "closed"}
end)
return try(calculate):match("closed") ~= nil
--> true

--- cancels: return {action = "cancel", reason = "closed"}
Hook.register("BeforeToolExecution", function(context)
  return {action = "cancel", reason = "closed"}
end)
return try(calculate):match("closed") ~= nil
--> true

--- cancels: return {type = "cancel"}
Hook.register("BeforeToolExecution", function(context)
  return {type = "cancel"}
end)
return try(calculate):match("denied") ~= nil
--> true

--- cancels: return {continue_execution = false}
Hook.register("BeforeToolExecution", function(context)
  return {continue_execution = false}
end)
return try(calculate):match("denied") ~= nil
--> true

--- cancels: return {continue_execution = false, reason = "closed"}
Hook.register("BeforeToolExecution", function(context)
  return {continue_execution = false, reason = "closed"}
end)
return try(calculate):match("closed") ~= nil
--> true

--- cancels: return {type = "Cancel", reason = "closed"}
Hook.register("BeforeToolExecution", function(context)
  return {type = "Cancel", reason = "closed"}
end)
return try(calculate):match("closed") ~= nil
--> true

--- cancel keeps the tool from running
local start = Runs.count()
Hook.register("BeforeToolExecution", function(context)
  return "no"
end)
pcall(calculate) return Runs.count() - start
--> 0

--- cancel after
Hook.register("AfterToolExecution", function(context)
  return {type = "cancel", reason = "secret"}
end)
return try(calculate):match("secret") ~= nil
--> true

--- modified parameters
Hook.register("BeforeToolExecution", function(context)
  return {type = "modified", data = {parameters = {operation = "evaluate", input = "3 * 3"}}}
end)
return calculate().result.result
--> 9

--- modified input
Hook.register("BeforeToolExecution", function(context)
  return {type = "modified", data = {input = {operation = "evaluate", input = "3 * 3"}}}
end)
return calculate().result.result
--> 9

--- modified action
Hook.register("BeforeToolExecution", function(context)
  return {action = "modified", modified_data = {parameters = {input = "3 * 3"}}}
end)
return calculate().result.result
--> 9

--- modified whole context data
Hook.register("BeforeToolExecution", function(context)
  context.data.parameters.input = "3 * 3" return {type = "modified", data = context.data}
end)
return calculate().result.result
--> 9

--- modified through the alias
Hook.register("BeforeToolExecution", function(context)
  context.data.input.input = "3 * 3" return {type = "modified", data = context.data}
end)
return calculate().result.result
--> 9

--- modified with continue_execution
Hook.register("BeforeToolExecution", function(context)
  return {continue_execution = true, modified_data = {parameters = {input = "3 * 3"}}}
end)
return calculate().result.result
--> 9

--- modified one after the other
for i = 1, 3 do
Hook.register("BeforeToolExecution", function(c) return {type = "modified", data = {parameters = {input = c.data.parameters.input .. " + 1"}}} end)
end return calculate("1").result.result
--> 4

--- modified after
Hook.register("AfterToolExecution", function(context)
  return {type = "modified", data = {result = {result = 7}}}
end)
return calculate().result.result
--> 7

--- modified after in place
Hook.register("AfterToolExecution", function(context)
  context.data.result.result = 7 return {type = "modified", data = context.data}
end)
return calculate().result.result
--> 7

--- modified after through output
Hook.register("AfterToolExecution", function(context)
  context.data.output.result = 7 return {type = "modified", data = context.data}
end)
return calculate().result.result
--> 7

--- modified after with action
Hook.register("AfterToolExecution", function(context)
  return {action = "modified", modified_data = {result = {result = 7}}}
end)
return calculate().result.result
--> 7

--- modified on error
local handle = Hook.register("ToolError", function(context)
  return {type = "modified", data = {message = "no sum", noted = true}}
end)
local noted
local later = Hook.register("ToolError", function(context) noted = context.data.noted end, "low")
local ok, message = pcall(Tool.invoke, "calculator", {input = "1 +"})
handle:unregister() later:unregister()
return {ok, tostring(message):match("no sum"), noted}
--> [false, "no sum", true]

--- modified on error with fields of its own leaves the failure
local handle = Hook.register("ToolError", function(context)
  return {type = "modified", data = {result = "saved"}}
end)
local ok, message = pcall(Tool.invoke, "calculator", {input = "1 +"})
handle:unregister()
return {ok, tostring(message):match("calculator") ~= nil}
--> [false, true]

--- replace before
local start = Runs.count()
Hook.register("BeforeToolExecution", function(context)
  return {type = "replace", data = {result = {result = 42}}}
end)
return {calculate().result.result, Runs.count() - start}
--> [42, 0]

--- replace bare payload
Hook.register("BeforeToolExecution", function(context)
  return {type = "replace", data = {answer = 42}}
end)
return calculate().result.answer
--> 42

--- replace action value
Hook.register("BeforeToolExecution", function(context)
  return {action = "replace", value = {answer = 42}}
end)
return calculate().result.answer
--> 42

--- replace action modified_data
Hook.register("BeforeToolExecution", function(context)
  return {action = "replace", modified_data = {answer = 42}}
end)
return calculate().result.answer
--> 42

--- replace scalar
Hook.register("BeforeToolExecution", function(context)
  return {type = "replace", data = "text"}
end)
return calculate().result
--> "text"

--- replace after
Hook.register("AfterToolExecution", function(context)
  return {type = "replace", data = {result = {result = 42}}}
end)
return calculate().result.result
--> 42

--- replace after payload
Hook.register("AfterToolExecution", function(context)
  return {type = "replace", data = {answer = 42}}
end)
return calculate().result.answer
--> 42

--- replace after scalar
Hook.register("AfterToolExecution", function(context)
  return {type = "replace", data = "text"}
end)
return calculate().result
--> "text"

--- replace on error
Hook.register("ToolError", function(context)
  return {type = "replace", data = {result = "saved"}}
end)
return Tool.invoke("calculator", {input = "1 +"}).result
--> "saved"

--- redirect to a name
Hook.register("BeforeToolExecution", function(context)
  if context.data.name == "calculator" then return {type = "redirect", target = "text_manipulator"} end
end)
return Tool.invoke("calculator", {operation = "uppercase", input = "abc"}).result.result
--> "ABC"

--- redirect to an address
Hook.register("BeforeToolExecution", function(context)
  if context.data.name == "calculator" then return {action = "redirect", target = "tool:text_manipulator"} end
end)
return Tool.invoke("calculator", {operation = "uppercase", input = "abc"}).result.result
--> "ABC"

--- redirect to an alias
Hook.register("BeforeToolExecution", function(context)
  if context.data.name == "calculator" then return {type = "redirect", target = "text-manipulator"} end
end)
return Tool.invoke("calculator", {operation = "uppercase", input = "abc"}).result.result
--> "ABC"

--- redirect to nowhere
Hook.register("BeforeToolExecution", function(context)
  return {type = "redirect", target = "nosuch"}
end)
return try(calculate):match("nosuch") ~= nil
--> true

--- redirect on error
Hook.register("ToolError", function() return {type = "redirect", target = "text_manipulator"} end, {match = "calculator"})
return Tool.invoke("calculator", {operation = "uppercase", input = "abc"}).result.result
--> "ABC"

--- retry before
local n = 0 Hook.register("BeforeToolExecution", function(context)
  n = n + 1 if n < 3 then return {type = 'retry', delay_ms = 1, max_attempts = 3} end
end)
return {calculate().result.result, n}
--> [4, 3]

--- retry before until the last
local n = 0 Hook.register("BeforeToolExecution", function(context)
  n = n + 1 return {type = 'retry', delay_ms = 1, max_attempts = 2}
end)
return {pcall(calculate) and 'fine' or 'failed', n}
--> ["failed", 2]

--- retry after
local start = Runs.count()
Hook.register("AfterToolExecution", function(context)
  if context.operation.attempt < 3 then return {type = 'retry', delay_ms = 1, max_attempts = 3} end
end)
return {calculate().result.result, Runs.count() - start}
--> [4, 3]

--- retry on error
local start = Runs.count()
Hook.register("ToolError", function(context)
  return {type = 'retry', delay_ms = 1, max_attempts = 3}
end)
return {pcall(Tool.invoke, "calculator", {input = "1 +"}) and 1 or 0, Runs.count() - start}
--> [0, 3]

--- retry on error with action
local start = Runs.count()
Hook.register("ToolError", function(context)
  return {action = 'retry', max_attempts = 2, backoff_ms = 1, jitter = true}
end)
pcall(Tool.invoke, "calculator", {input = "1 +"}) return Runs.count() - start
--> 2

--- retry in seconds
local start = Runs.count()
Hook.register("ToolError", function(context)
  return {type = 'retry', delay_s = 0.001, max_attempts = 2}
end)
pcall(Tool.invoke, "calculator", {input = "1 +"}) return Runs.count() - start
--> 2

--- fork operations
local told
Hook.register("AfterToolExecution", function(c) told = c.forks end, {kind = "observe", match = "calculator"})
Hook.register("BeforeToolExecution", function() return {type = "fork", operations = {{tool = "text_manipulator", input = {operation = "uppercase", input = "a"}}}, join = true} end, {match = "calculator"})
local r = calculate().result.result
return {r, #told, told[1].status, told[1].value.result.result}
--> [4, 1, "completed", "A"]

--- fork branches
local ran = 0
Hook.register("AfterToolExecution", function() ran = ran + 1 end, {kind = "observe", match = "text_manipulator"})
Hook.register("BeforeToolExecution", function() return {action = "fork", join = true, branches = {{tool = "text_manipulator", params = {operation = "trim", input = "a"}}}} end, {match = "calculator"})
calculate() return ran
--> 1

--- fork operation_type
local ran = 0
Hook.register("AfterToolExecution", function() ran = ran + 1 end, {kind = "observe", match = "text_manipulator"})
Hook.register("BeforeToolExecution", function() return {type = "fork", join = true, operations = {{id = "text_manipulator", operation_type = "tool", parameters = {operation = "trim", input = "a"}}}} end, {match = "calculator"})
calculate() return ran
--> 1

--- fork address
local ran = 0
Hook.register("AfterToolExecution", function() ran = ran + 1 end, {kind = "observe", match = "text_manipulator"})
Hook.register("BeforeToolExecution", function() return {type = "fork", join = true, operations = {{address = "tool:text_manipulator", input = {operation = "trim", input = "a"}}}} end, {match = "calculator"})
calculate() return ran
--> 1

--- fork parallel_operations
local ran = 0
Hook.register("AfterToolExecution", function() ran = ran + 1 end, {kind = "observe", match = "text_manipulator"})
Hook.register("BeforeToolExecution", function() return {type = "fork", join = true, parallel_operations = {{name = "text_manipulator", parameters = {operation = "trim", input = "a"}}}} end, {match = "calculator"})
calculate() return ran
--> 1

--- fork that fails leaves the call alone
Hook.register("BeforeToolExecution", function(context)
  if context.data.name == "calculator" then return {type = "fork", join = true, operations = {{tool = "nosuch"}}} end
end)
return calculate().result.result
--> 4

--- cache {type = "cache", key = "k", ttl = 60}
local start = Runs.count()
Hook.register("BeforeToolExecution", function(context)
  return {type = "cache", key = "k1", ttl = 60}
end)
local a, b = calculate(), calculate() return {b.result.result, Runs.count() - start}
--> [4, 1]

--- cache {action = "cache", ttl = 60, key = "k"}
local start = Runs.count()
Hook.register("BeforeToolExecution", function(context)
  return {action = "cache", ttl = 60, key = "k2"}
end)
local a, b = calculate(), calculate() return {b.result.result, Runs.count() - start}
--> [4, 1]

--- cache {type = "cache", key = "k"}
local start = Runs.count()
Hook.register("BeforeToolExecution", function(context)
  return {type = "cache", key = "k3"}
end)
local a, b = calculate(), calculate() return {b.result.result, Runs.count() - start}
--> [4, 1]

--- cache {type = "cache", ttl_seconds = 60, key = "k"}
local start = Runs.count()
Hook.register("BeforeToolExecution", function(context)
  return {type = "cache", ttl_seconds = 60, key = "k4"}
end)
local a, b = calculate(), calculate() return {b.result.result, Runs.count() - start}
--> [4, 1]

--- cache {type = "cache", key = "k", ttl_ms = 60000}
local start = Runs.count()
Hook.register("BeforeToolExecution", function(context)
  return {type = "cache", key = "k5", ttl_ms = 60000}
end)
local a, b = calculate(), calculate() return {b.result.result, Runs.count() - start}
--> [4, 1]

--- cache tells calls apart
local start = Runs.count()
Hook.register("BeforeToolExecution", function(context)
  return {type = "cache", key = "k6", ttl = 60}
end)
return {calculate("1").result.result, calculate("2").result.result, Runs.count() - start}
--> [1, 2, 2]

--- cache expires
local start = Runs.count()
Hook.register("BeforeToolExecution", function(context)
  return {type = "cache", key = "k7", ttl_ms = 20}
end)
calculate() os.execute("sleep 0.05") calculate() return Runs.count() - start
--> 2

--- cache with result
Hook.register("BeforeToolExecution", function(context)
  return {action = "cache", key = "k8", ttl = 60, result = {result = {result = 11}}}
end)
return calculate().result.result
--> 11

--- state_updates reach later hooks
local seen
Hook.register("BeforeToolExecution", function() return {continue_execution = true, state_updates = {user = "ada"}} end, "high")
Hook.register("AfterToolExecution", function(c) seen = c.metadata.script.user end)
calculate() return seen
--> "ada"

--- several values: the first counts
Hook.register("BeforeToolExecution", function(context)
  return {type = "cancel", reason = "closed"}, "continue"
end)
return try(calculate):match("closed") ~= nil
--> true

--- a hook that raises does not stop the call
Hook.register("BeforeToolExecution", function(context)
  error("oops")
end)
return calculate().result.result
--> 4

--- a guard that raises does
Hook.register("BeforeToolExecution", function() error("oops") end, {kind = "guard"})
return (pcall(calculate))
--> false
