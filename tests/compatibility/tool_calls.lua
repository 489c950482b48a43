-- How tools are called. A case is a name, a script and, as JSON, what it returns.

--- invoke
return Tool.invoke("calculator", {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- execute
return Tool.execute("calculator", {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- execute-async
return Tool.executeAsync("calculator", {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- execute-async-snake
return Tool.execute_async("calculator", {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- invoke-colon
return Tool:invoke("calculator", {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- execute-colon
return Tool:execute("calculator", {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- field-dot-self
return Tool.calculator.execute(Tool.calculator, {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- field-dot
return Tool.calculator.execute({operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- field-colon
return Tool.calculator:execute({operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- field-colon-braces
return Tool.calculator:execute{operation = "evaluate", input = "2 + 2"}.result.result
--> 4

--- field-dot-empty-self
return Tool.calculator.execute({}, {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- field-dot-nil-self
return Tool.calculator.execute(nil, {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- field-invoke
return Tool.calculator:invoke({operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- index-by-string
return Tool["calculator"]:execute({operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- index-by-kebab
return Tool["text-manipulator"]:execute{operation="uppercase",input="a"}.result.result
--> "A"

--- got
return Tool.get("calculator"):execute({operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- got-dot-self
local t = Tool.get("calculator") return t.execute(t, {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- got-by-name
return Tool.getByName("calculator"):execute({operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- local-function
local run = Tool.invoke return run("calculator", {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- pcall-function
local ok, r = pcall(Tool.invoke, "calculator", {operation = "evaluate", input = "2 + 2"})
return {ok, r.result.result}
--> [true, 4]

--- pcall-closure
local ok, r = pcall(function() return Tool.invoke("calculator", {operation = "evaluate", input = "2 + 2"}) end)
return r.success
--> true

--- pcall-method
local t = Tool.calculator return select(2, pcall(t.execute, t, {operation = "evaluate", input = "2 + 2"})).result.result
--> 4

--- xpcall
local ok, m = xpcall(function() return Tool.invoke("nosuch", {}) end, function(e) return "handled: " .. tostring(e) end)
return {ok, m:match("^handled: Tool execution failed:") ~= nil}
--> [false, true]

--- coroutine-wrap
local f = coroutine.wrap(function() return Tool.executeAsync("calculator", {operation = "evaluate", input = "2 + 2"}) end)
return f().success
--> true

--- coroutine-create
local co = coroutine.create(function()
local r = Tool.invoke('calculator', {operation = "evaluate", input = "2 + 2"}) coroutine.yield(r.result.result) return 'done' end)
local _, a = coroutine.resume(co)
local _, b = coroutine.resume(co)
return {a, b, coroutine.status(co)}
--> [4, "done", "dead"]

--- no-parameters
return (pcall(Tool.invoke, "calculator"))
--> false

--- empty-parameters
return (pcall(Tool.invoke, "calculator", {}))
--> false

--- exists
return {Tool.exists("calculator"), Tool.exists("nosuch")}
--> [true, false]

--- unknown-field-is-nil
return {Tool.nosuch == nil, Tool.get('nosuch') == nil}
--> [true, true]
