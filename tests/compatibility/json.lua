-- The global JSON. A case is a name, a script and, as JSON, what it returns.

--- parse object
return JSON.parse('{"a": {"b": [1, 2]}}').a.b[2]
--> 2

--- parse scalars
return {JSON.parse("1"), JSON.parse("1.5"), JSON.parse('"x"'), JSON.parse("true"), JSON.parse("null") == nil}
--> [1, 1.5, "x", true, true]

--- parse colon
return JSON:parse('[1]')[1]
--> 1

--- whole numbers
return {math.type(JSON.parse("1")), math.type(JSON.parse("1.0"))}
--> ["integer", "float"]

--- null in object
local t = JSON.parse('{"a": null}') return t.a == nil and next(t) == nil
--> true

--- array length
return {#JSON.parse("[1,2,3]"), #JSON.parse("[]")}
--> [3, 0]

--- unicode
return JSON.parse('"\\u00e9"')
--> "é"

--- parse error
return try(JSON.parse, "{oops"):match("^JSON parse error: ") ~= nil
--> true

--- parse error inside
local ok, e = pcall(function() return JSON.parse("{oops") end)
return {ok, tostring(e):find("JSON parse error: ", 1, true) ~= nil}
--> [false, true]

--- parse nothing
return (pcall(JSON.parse, nil))
--> false

--- parse empty
return (pcall(JSON.parse, ""))
--> false

--- stringify array
return JSON.stringify({1, 2, 3})
--> "[1,2,3]"

--- stringify object
return JSON.stringify({a = "x"})
--> "{\"a\":\"x\"}"

--- stringify empty
return JSON.stringify({})
--> "{}"

--- stringify scalars
return {JSON.stringify(1), JSON.stringify("x"), JSON.stringify(true), JSON.stringify(nil), JSON.stringify(1.5)}
--> ["1", "\"x\"", "true", "null", "1.5"]

--- stringify not finite
return {JSON.stringify(1/0), JSON.stringify(0/0)}
--> ["null", "null"]

--- stringify sparse
return JSON.parse(JSON.stringify({[5] = "x"}))["5"]
--> "x"

--- stringify function
return (pcall(JSON.stringify, print)) or (pcall(JSON.stringify, {f = function() end}))
--> false

--- stringify circle
local t = {} t.t = t return (pcall(JSON.stringify, t))
--> false

--- round trip
return JSON.parse(JSON.stringify({a = {1, {b = "c"}}})).a[2].b
--> "c"

--- empty array stays one
return JSON.stringify(JSON.parse("[]"))
--> "[]"

--- pretty
return JSON.stringify({1}, true)
--> "[\n  1\n]"

--- query
return {JSON.query({a = {b = 3}}, ".a.b"), JSON.query('{"a": 4}', ".a")}
--> [3, 4]

--- safe parse helper
local function safe(t)
local ok, v = pcall(JSON.parse, t) if ok then return v end return nil, "bad" end
local v, e = safe("{")
return {v == nil, e, safe("[7]")[1]}
--> [true, "bad", 7]
