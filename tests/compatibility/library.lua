-- What Lua's own library keeps for scripts. A case is a name, a script and, as JSON, what it returns.

--- os.time
return math.type(os.time())
--> "integer"

--- os.time table
return os.date("!%Y-%m-%d", os.time({year = 2024, month = 2, day = 29, hour = 12}))
--> "2024-02-29"

--- os.date
return os.date("%Y-%m-%d %H:%M:%S"):match("^%d+%-%d+%-%d+ %d+:%d+:%d+$") ~= nil
--> true

--- os.date table
return type(os.date("*t").year)
--> "number"

--- os.clock
return os.clock() >= 0
--> true

--- os.difftime
return os.difftime(5, 3)
--> 2

--- os.getenv
return {type(os.getenv("HOME")), os.getenv("LLMSPELL_NOSUCH") == nil, os.getenv("LLMSPELL_NOSUCH") or "default"}
--> ["string", true, "default"]

--- os.getenv secret
return os.getenv("OPENAI_API_KEY") == nil
--> true

--- os.execute sleep
local t = os.time() return {os.execute("sleep 0.01")}
--> [true, "exit", 0]

--- os.execute whole
return (os.execute("sleep 0"))
--> true

--- os.execute others
return (pcall(os.execute, "ls"))
--> false

--- os.remove
put("a", "x") return {os.remove(dir .. "/a"), (os.remove(dir .. "/a")) == nil}
--> [true, true]

--- os.rename
put("a", "x") os.rename(dir .. "/a", dir .. "/b") return get("b")
--> "x"

--- os.tmpname
local n = os.tmpname() os.remove(n) return type(n)
--> "string"

--- io.write
io.write("a", 1, "\n") return "fine"
--> "fine"

--- io.write chain
io.write("a"):write("b\n") io.stdout:write("c") io.stdout:flush() io.flush() return "fine"
--> "fine"

--- io.stderr
io.stderr:write("") return "fine"
--> "fine"

--- io.open write and read
local f = io.open(dir .. "/a", "w") f:write("one\n", "two\n") f:close() f = io.open(dir .. "/a", "r")
local t = f:read("*a") f:close() return t
--> "one\ntwo\n"

--- io.open formats
put("a", "1\n2.5 x\nrest")
local f = io.open(dir .. "/a")
local a, b, c, d = f:read("*n"), f:read("n"), f:read("l"), f:read("*all") f:close()
return {a, b, c, d}
--> [1, 2.5, " x", "rest"]

--- io.open append
put("a", "x") local f = io.open(dir .. "/a", "a") f:write("y") f:close() return get("a")
--> "xy"

--- io.open missing
local f, e, n = io.open(dir .. "/no") return {f == nil, e:match("No such file") ~= nil, n}
--> [true, true, 2]

--- io.open outside
local f, e = io.open("/etc/passwd") return {f == nil, type(e)}
--> [true, "string"]

--- io.open seek
put("a", "hello")
local f = io.open(dir .. "/a")
local n = f:seek("end") f:seek("set", 1)
local c = f:read(2) f:close()
return {n, c}
--> [5, "el"]

--- file lines
put("a", "x\ny\n")
local n = {}
local f = io.open(dir .. "/a") for l in f:lines() do n[#n+1] = l end f:close() return n
--> ["x", "y"]

--- io.lines
put("a", "x\ny\n") local n = {} for l in io.lines(dir .. "/a") do n[#n+1] = l end return n
--> ["x", "y"]

--- io.type
local f = io.open(dir .. "/a", "w")
local a = io.type(f) f:close()
return {a, io.type(f), io.type(5) == nil}
--> ["file", "closed file", true]

--- io.popen
return (pcall(io.popen, "ls"))
--> false

--- dofile
put("part.lua", "shared = 5 return 7") return {dofile(dir .. "/part.lua"), shared}
--> [7, 5]

--- dofile with an error
put("part.lua", "return +")
local ok, e = pcall(dofile, dir .. "/part.lua")
return {ok, e:match("part.lua:1:") ~= nil}
--> [false, true]

--- loadfile
put("part.lua", "#!/usr/bin/lua\nreturn 7") return loadfile(dir .. "/part.lua")()
--> 7

--- loadfile missing
local f, e = loadfile(dir .. "/no.lua") return {f == nil, type(e)}
--> [true, "string"]

--- dofile missing
return (pcall(dofile, dir .. "/no.lua"))
--> false

--- load
return load("return 1 + 1")()
--> 2

--- load env
return load("return x", "chunk", "t", {x = 3})()
--> 3

--- load wrong
local f, e = load("return +") return {f == nil, type(e)}
--> [true, "string"]

--- string library
return {("a,b"):gsub(",", ";"), ("key=val"):match("(%w+)=(%w+)"), ("%5.2f"):format(3.14159), ("x"):rep(3, "-"), ("abc"):sub(-2), ("hello"):find("l")}
--> ["a;b", "key", " 3.14", "x-x-x", "bc", 3, 3]

--- gsub with a function
return (("hello world"):gsub("%w+", function(w) return w:upper() end))
--> "HELLO WORLD"

--- gsub with a table
return (("$name is $age"):gsub("%$(%w+)", {name = "Ada", age = 36}))
--> "Ada is 36"

--- gmatch
local n = {} for w in ("a b c"):gmatch("%S+") do n[#n+1] = w end return n
--> ["a", "b", "c"]

--- split helper
local function split(s, sep)
local r = {} for part in (s .. sep):gmatch("(.-)" .. sep:gsub("%p", "%%%0")) do r[#r+1] = part end return r end return split("a.b.c", ".")
--> ["a", "b", "c"]

--- trim helper
return (("  x "):gsub("^%s*(.-)%s*$", "%1"))
--> "x"

--- table library
local t = {3, 1, 2} table.sort(t) table.insert(t, 4) table.insert(t, 1, 0)
local last = table.remove(t)
return {table.concat(t, ","), last, #t, select("#", table.unpack(t))}
--> ["0,1,2,3", 4, 4, 4]

--- table.pack
local t = table.pack(1, nil, 3) return {t.n, t[3]}
--> [3, 3]

--- sort descending
local t = {1, 3, 2} table.sort(t, function(a, b) return a > b end) return t
--> [3, 2, 1]

--- math
return {math.floor(2.5), math.max(1, 2), math.huge > 1, math.type(1), math.abs(-1), 7 // 2}
--> [2, 2, true, "integer", 1, 3]

--- math.random
math.randomseed(42) local r = math.random(1, 10) return r >= 1 and r <= 10
--> true

--- utf8
return {utf8.len("äb"), utf8.char(228)}
--> [2, "ä"]

--- metatables
local C = {} C.__index = C function C.new(n) return setmetatable({n = n}, C) end function C:get() return self.n end C.__add = function(a, b) return C.new(a.n + b.n) end return (C.new(1) + C.new(2)):get()
--> 3

--- goto and varargs
local function f(...)
local n = 0 for _, v in ipairs{...} do if v < 0 then goto next end n = n + v ::next:: end return n end return f(1, -1, 2)
--> 3

--- globals
x = 5 return {_G.x, _VERSION}
--> [5, "Lua 5.4"]

--- tostring of numbers
return {tostring(1), tostring(1.0), tostring(10 // 3), 10 / 2 .. ""}
--> ["1", "1.0", "3", "5.0"]

--- require is told off
local ok, e = pcall(require, "socket") return {ok, type(e)}
--> [false, "string"]

--- global arg
return {type(arg), type(ARGS), arg[0]}
--> ["table", "table", "old.lua"]
