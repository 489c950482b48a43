-- What a tool's answer and failure look like. A case is a name, a script and, as JSON, what it returns.

--- result: envelope
local r = calculate() return {r.success, r.operation, r.result.result, r.error == nil}
--> [true, "evaluate", 4, true]

--- result: envelope-message
return type(Tool.invoke("file_operations", {operation="exists", path="."}).message)
--> "string"

--- result: raw-text
local r = calculate() return JSON.parse(r._raw_text).result.result == 4 and r._raw_text == r.text
--> true

--- result: text-is-json
return JSON.parse(calculate().text).success
--> true

--- result: metadata
return type(calculate().metadata)
--> "table"

--- result: metadata-time
local t = calculate().metadata.execution_time_ms return math.type(t) ~= nil and t >= 0
--> true

--- result: data-of-json
return Tool.invoke("json_processor", {operation="query", input={a={1,2}}, query=".a"}).data[2]
--> 2

--- result: data-of-csv
return Tool.invoke("csv_analyzer", {operation="analyze", input="a,b\n1,2\n"}).data.row_count
--> 1

--- result: text-of-csv
return JSON.parse(Tool.invoke("csv_analyzer", {operation="analyze", input="a,b\n1,2\n"}).text).row_count
--> 1

--- result: length-of-array
return #Tool.invoke("json_processor", {input="[1,2,3]"}).result
--> 3

--- result: length-of-empty-array
return #Tool.invoke("json_processor", {input="[]"}).result
--> 0

--- result: ipairs-of-array
local s = 0 for i, v in ipairs(Tool.invoke("json_processor", {input="[1,2,3]"}).result) do s = s + i * v end return s
--> 14

--- result: pairs-of-object
local n = 0 for k, v in pairs(Tool.invoke("json_processor", {input='{"a":1,"b":2}'}).result) do n = n + v end return n
--> 3

--- result: nested-field
return Tool.invoke("json_processor", {input={a={b={{c="deep"}}}}}).result.a.b[1].c
--> "deep"

--- result: null-is-nil
local r = Tool.invoke("json_processor", {input='{"a":null,"b":1}'}).result return {r.a == nil, r.b}
--> [true, 1]

--- result: a-result-can-be-changed
local r = calculate() r.result.result = 5 r.extra = "x" return {r.result.result, r.extra}
--> [5, "x"]

--- result: a-result-takes-a-metatable
local r = setmetatable(calculate(), {__tostring = function(t) return "result " .. t.result.result end, __index = function(_, k) return k end})
return {tostring(r), r.nosuch}
--> ["result 4.0", "nosuch"]

--- result: a-result-has-no-metatable
return getmetatable(calculate()) == nil
--> true

--- result: results-are-their-own
local a, b = calculate(), calculate() a.result.result = 9 return {a ~= b, b.result.result}
--> [true, 4]

--- result: whole-numbers-stay-whole
return math.type(Tool.invoke("text_manipulator", {operation="trim", input=" a "}).result.result_length)
--> "integer"

--- result: a-result-as-json
return JSON.parse(JSON.stringify(calculate().result)).result
--> 4

--- result: a-result-as-input
local r = Tool.invoke("json_processor", {input="[3,1,2]"}).result return Tool.invoke("json_processor", {input=r, query="sort"}).result[1]
--> 1

--- result: an-empty-table-is-an-object
return Tool.invoke("json_processor", {input={}, query="type"}).result
--> "object"

--- result: a-list-is-an-array
return Tool.invoke("json_processor", {input={1}, query="type"}).result
--> "array"

--- result: table-unpack
return table.concat({table.unpack(Tool.invoke("json_processor", {input="[1,2]"}).result)}, "-")
--> "1-2"

--- result: table-insert
local t = Tool.invoke("json_processor", {input="[1]"}).result table.insert(t, 2) return #t
--> 2

--- result: table-insert-in-empty
local t = Tool.invoke("json_processor", {input="[]"}).result table.insert(t, "x") return {#t, t[1]}
--> [1, "x"]

--- result: utf8
return Tool.invoke("text_manipulator", {operation="uppercase", input="äé"}).result.result
--> "ÄÉ"

--- failure: prefix
return try(Tool.invoke, "calculator", {input="1 +"}):match("^Tool execution failed:") ~= nil
--> true

--- failure: in-the-middle
local ok, e = pcall(function() Tool.invoke("calculator", {input="1 +"}) end)
return {ok, tostring(e):find("Tool execution failed", 1, true) ~= nil}
--> [false, true]

--- failure: unknown-tool
return try(Tool.invoke, "nosuch", {}):match("nosuch") ~= nil
--> true

--- failure: unknown-tool-nearest
return try(Tool.invoke, "calculater", {}):match("calculator") ~= nil
--> true

--- failure: unknown-operation
return try(Tool.invoke, "calculator", {operation="dance"}):match("operation") ~= nil
--> true

--- failure: missing-parameter
return try(Tool.invoke, "text_manipulator", {operation="trim"}):match("input") ~= nil
--> true

--- failure: wrong-type
return try(Tool.invoke, "calculator", {input={}}):match("input") ~= nil
--> true

--- failure: a-name-that-is-none
return (pcall(Tool.invoke, 5, {}))
--> false

--- failure: no-arguments
return (pcall(Tool.invoke))
--> false

--- failure: a-function-among-parameters
return (pcall(Tool.invoke, "calculator", {input=function() end}))
--> false

--- failure: division-by-zero
local r = Tool.invoke("calculator", {input="1/0"}).result return {r.result, r.result_type}
--> ["Infinity", "special"]

--- failure: outside-the-folders
return try(Tool.invoke, "file_operations", {operation="read", path="/etc/passwd"}):match("Tool execution failed") ~= nil
--> true

--- failure: rethrown
local ok, e = pcall(function()
local ok, e = pcall(Tool.invoke, "nosuch", {}) error(e, 0) end)
return tostring(e):match("nosuch") ~= nil
--> true

--- failure: own-error
local ok, e = pcall(error, "mine") return {ok, e}
--> [false, "mine"]

--- failure: own-error-table
local ok, e = pcall(error, {code = 7}) return e.code
--> 7

--- failure: error-has-line
local ok, e = pcall(function() error("mine") end) return e:match(":%d+: mine$") ~= nil
--> true

--- failure: assert
local ok, e = pcall(assert, nil, "no") return e
--> "no"
