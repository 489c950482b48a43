-- What a script sees of Lua's own library: a table of its own, never the real one.
--
-- Invariant: every function that may take long counts its work first; those that call back into the script are written
-- in Lua, so that a callback may ask the host; nothing here reaches bytecode, other environments or the process.

local K = ...
local error, getmetatable, next, rawget, rawlen, select, setmetatable, tostring, type =
  error, getmetatable, next, rawget, rawlen, select, setmetatable, tostring, type
local collectgarbage, concat, math_type, min, tonumber = collectgarbage, table.concat, math.type, math.min, tonumber
local find, format, sub = string.find, string.format, string.sub
local real_insert, real_move, real_remove, real_unpack = table.insert, table.move, table.remove, table.unpack
local real_math, real_string, real_utf8, real_table = math, string, utf8, table
local charge = K.charge
local SOURCE <const> = 1024 * 1024

local function expect(ok, index, name, wanted, got)
  if not ok then
    error("bad argument #" .. index .. " to '" .. name .. "' (" .. wanted .. " expected, got " .. type(got) .. ")", 3)
  end
end

function K.to_integer(value)
  local number = tonumber(value)
  return number and real_math.tointeger(number)
end

-- Answers the function, made to count its work when its first argument is a long text.
local function counted(f)
  return function(s, ...)
    if type(s) == "string" and #s > 1000 then
      charge(#s // 16)
    end
    return f(s, ...)
  end
end

local function metafield(value, name)
  local meta = getmetatable(value)
  return type(meta) == "table" and rawget(meta, name) or nil
end

function K.has_text(value)
  return metafield(value, "__tostring") ~= nil
end

function K.tostring(value)
  local shown = type(value) == "table" and K.object_of(value) == nil and metafield(value, "__tostring")
  if not shown then
    return tostring(value)
  end
  local text = shown(value)
  if type(text) ~= "string" then
    error("'__tostring' must return a string", 2)
  end
  return text
end

-- Base ---------------------------------------------------------------------------------------------------------------

local env = { _VERSION = _VERSION }
K.env = env
env._G = env
for _, name in next, { "assert", "error", "getmetatable", "next", "pairs", "rawequal", "rawget", "rawlen", "rawset",
                       "select", "type" } do
  env[name] = _G[name]
end
env.pcall, env.xpcall, env.tostring = K.pcall, K.xpcall, K.tostring
env.tonumber = counted(tonumber)

local function following(t, i)
  i = i + 1
  local value = t[i]
  if value ~= nil then
    return i, value
  end
end

function env.ipairs(...)
  if select("#", ...) == 0 then
    error("bad argument #1 to 'ipairs' (table expected, got no value)", 2)
  end
  return following, (...), 0
end

-- A finaliser would run with the count hook off, so nothing could stop it.
function env.setmetatable(t, meta)
  if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
    error("setmetatable: __gc is not available to scripts; use a closing value (local x <close>)", 2)
  end
  K.leave_loop()
  return setmetatable(t, meta)
end

local function read_pieces(reader)
  local pieces, size = {}, 0
  while true do
    local piece = reader()
    if piece == nil or piece == "" then
      return concat(pieces)
    elseif type(piece) ~= "string" then
      error("reader function must return a string", 0)
    end
    pieces[#pieces + 1], size = piece, size + #piece
    if size > SOURCE then
      return concat(pieces)
    end
  end
end

function env.load(chunk, name, mode, ...)
  if type(chunk) == "function" then
    local ok, source = K.pcall(read_pieces, chunk)
    if not ok then
      return nil, source
    end
    chunk, name = source, name or "=(load)"
  end
  expect(type(chunk) == "string", 1, "load", "string", chunk)
  if #chunk > SOURCE then
    return nil, "load: the source is larger than " .. SOURCE .. " bytes"
  elseif mode == "b" or sub(chunk, 1, 1) == "\27" then
    return nil, "load: bytecode is not available to scripts; give source text"
  end
  charge(#chunk)
  local shown = name == nil and chunk or tostring(name)
  if find(shown, "[host]", 1, true) then
    shown = "=(load)"
  end
  if select("#", ...) > 0 then
    return K.compile(chunk, shown, (...))
  end
  return K.compile(chunk, shown, env)
end

function env.collectgarbage(option)
  option = option or "collect"
  if option == "count" then
    return collectgarbage("count")
  elseif option == "collect" or option == "step" then
    charge(1000 + collectgarbage("count") // 1)
    collectgarbage("collect")
    return 0
  elseif option == "isrunning" then
    return true
  end
  error("collectgarbage: " .. tostring(option) .. " is not available to scripts; use collect, step or count", 2)
end

-- Strings ------------------------------------------------------------------------------------------------------------

local string = K.string
for _, name in next, { "byte", "lower", "reverse", "sub", "upper", "unpack" } do
  string[name] = counted(real_string[name])
end
for _, name in next, { "char", "len", "packsize" } do
  string[name] = real_string[name]
end

function string.rep(s, n, separator)
  local times = K.to_integer(n)
  if times and times > 0 and (type(s) == "string" or type(s) == "number") then
    local size = #tostring(s) + (type(separator) == "string" and #separator or 0)
    if size == 0 then
      return "" -- C would go round `times` times for it
    end
    if times * (size + 0.0) > 1000 then
      charge(min(times * (size + 0.0), 1e9) // 64)
    end
  end
  local text = real_string.rep(s, n, separator)
  K.made(#text)
  return text
end

function string.pack(...)
  charge(select("#", ...))
  return real_string.pack(...)
end

-- Lua's own format would call __tostring from C, where the host cannot be asked.
function string.format(text, ...)
  local n, values, changed = select("#", ...), { ... }, false
  local index, i = 0, 1
  if type(text) == "string" and #text > 1000 then
    charge(#text // 16)
  end
  for k = 1, n do
    changed = changed or type(values[k]) == "table" or type(values[k]) == "string" and #values[k] > 1000
  end
  if not changed or type(text) ~= "string" then
    return format(text, ...)
  end
  while true do
    local _, last, letter = find(text, "%%[%d%.%-%+ #]*(.)", i)
    if not last then
      return format(text, real_unpack(values, 1, n))
    end
    if letter ~= "%" then
      index = index + 1
      if letter == "s" and type(values[index]) == "table" then
        values[index] = K.tostring(values[index])
      elseif type(values[index]) == "string" then
        charge(#values[index] // 16)
      end
    end
    i = last + 1
  end
end

-- Tables -------------------------------------------------------------------------------------------------------------

local table = { pack = real_table.pack }

-- Whether C may handle n elements of it in one go.
local function is_quick(t, n)
  return n < 10000 and getmetatable(t) == nil
end

function table.insert(t, ...)
  expect(type(t) == "table", 1, "insert", "table", t)
  local length = getmetatable(t) == nil and rawlen(t) or #t
  if select("#", ...) < 2 or is_quick(t, length) then
    if getmetatable(t) == nil then
      return real_insert(t, ...)
    end
    t[length + 1] = (...)
    return
  end
  local position, value = ...
  position = K.to_integer(position)
  if not position or position < 1 or position > length + 1 then
    error("bad argument #2 to 'insert' (position out of bounds)", 2)
  end
  for i = length, position, -1 do
    t[i + 1] = t[i]
  end
  t[position] = value
end

function table.remove(t, position)
  expect(type(t) == "table", 1, "remove", "table", t)
  local length = getmetatable(t) == nil and rawlen(t) or #t
  if is_quick(t, length) or (position == nil and getmetatable(t) == nil) then
    if position == nil then
      return real_remove(t)
    end
    return real_remove(t, position)
  end
  position = position == nil and length or K.to_integer(position)
  if not position or (length + 1 ~= position and (position < 1 or position > length + 1) and length > 0) then
    error("bad argument #2 to 'remove' (position out of bounds)", 2)
  end
  local value = t[position]
  for i = position, length - 1 do
    t[i] = t[i + 1]
  end
  if position <= length then
    t[length] = nil
  end
  return value
end

function table.move(from, first, last, at, to)
  to = to == nil and from or to
  expect(type(from) == "table", 1, "move", "table", from)
  expect(type(to) == "table", 5, "move", "table", to)
  first, last, at = K.to_integer(first), K.to_integer(last), K.to_integer(at)
  expect(first and last and at, 2, "move", "number", nil)
  if last < first then
    return to
  elseif last - first < 0 or last - first >= real_math.maxinteger - 1 or at > real_math.maxinteger - (last - first) then
    error("bad argument #3 to 'move' (too many elements to move)", 2)
  elseif is_quick(from, last - first) and is_quick(to, 0) then
    return real_move(from, first, last, at, to)
  end
  local offset = at - first
  if offset > 0 and at <= last and to == from then
    for i = last, first, -1 do
      to[i + offset] = from[i]
    end
  else
    for i = first, last do
      to[i + offset] = from[i]
    end
  end
  return to
end

function table.concat(t, separator, first, last)
  expect(type(t) == "table", 1, "concat", "table", t)
  if getmetatable(t) == nil then
    charge(rawlen(t) // 4)
    local text = concat(t, separator, first or 1, last or rawlen(t))
    K.made(#text)
    return text
  end
  local plain, n = {}, 0
  for i = first or 1, last or #t do
    local value = t[i]
    n = n + 1
    if type(value) ~= "string" and type(value) ~= "number" then
      error("invalid value (at index " .. i .. ") in table for 'concat'", 2)
    end
    plain[n] = value
  end
  local text = concat(plain, separator)
  K.made(#text)
  return text
end

function table.unpack(t, first, last)
  first = first or 1
  last = last or #t
  if math_type(first) == "integer" and math_type(last) == "integer" and last > first then
    charge(min(last - first + 0.0, 1e6) // 4)
  end
  return real_unpack(t, first, last)
end

local function less(a, b)
  return a < b
end

-- Merges the sorted runs [low, middle) and [middle, high) of one list into another.
local function merge(from, to, low, middle, high, before)
  local i, k = low, middle
  for at = low, high - 1 do
    if i < middle and (k >= high or not before(from[k], from[i])) then
      to[at], i = from[i], i + 1
    else
      to[at], k = from[k], k + 1
    end
  end
end

-- A merge sort: any order function will do, and it may ask the host.
function table.sort(t, before)
  expect(type(t) == "table", 1, "sort", "table", t)
  expect(before == nil or type(before) == "function", 2, "sort", "function", before)
  before = before or less
  local n, from, to, width = #t, {}, {}, 1
  for i = 1, n do
    from[i] = t[i]
  end
  while width < n do
    for low = 1, n, 2 * width do
      merge(from, to, low, min(low + width, n + 1), min(low + 2 * width, n + 1), before)
    end
    from, to, width = to, from, 2 * width
  end
  for i = 1, n do
    t[i] = from[i]
  end
end

-- The rest -----------------------------------------------------------------------------------------------------------

local utf8 = { charpattern = real_utf8.charpattern, char = real_utf8.char }
for _, name in next, { "codepoint", "codes", "len", "offset" } do
  utf8[name] = counted(real_utf8[name])
end

local math = {}
for name, value in next, real_math do
  math[name] = value
end

-- What Lua 5.4 keeps for older scripts (LUA_COMPAT_MATHLIB), as the usual builds of it have.

local exp, huge, log = real_math.exp, real_math.huge, real_math.log

local function number_at(index, name, value)
  local number = tonumber(value)
  if math_type(number) == nil or type(value) == "boolean" then
    error("bad argument #" .. index .. " to '" .. name .. "' (number expected, got "
          .. (value == nil and "no value" or type(value)) .. ")", 3)
  end
  return number + 0.0
end

function math.pow(x, y)
  return number_at(1, "pow", x) ^ number_at(2, "pow", y)
end

function math.log10(x)
  return log(number_at(1, "log10", x), 10)
end

function math.cosh(x)
  x = number_at(1, "cosh", x)
  local half = exp(real_math.abs(x) / 2)
  return half * half / 2 + 0.5 / half / half
end

function math.sinh(x)
  x = number_at(1, "sinh", x)
  if real_math.abs(x) < 0.5 then -- the difference of two nearly equal powers would lose digits
    local term, sum, square = x, x, x * x
    for i = 2, 20, 2 do
      term = term * square / (i * (i + 1))
      sum = sum + term
    end
    return sum
  end
  local half = exp(real_math.abs(x) / 2)
  local size = half * half / 2 - 0.5 / half / half
  return x < 0 and -size or size
end

function math.tanh(x)
  x = number_at(1, "tanh", x)
  if x ~= x then
    return x
  elseif real_math.abs(x) > 20 then
    return x < 0 and -1.0 or 1.0
  end
  return math.sinh(x) / math.cosh(x)
end

function math.frexp(x)
  x = number_at(1, "frexp", x)
  if x == 0 or x ~= x or x == huge or x == -huge then
    return x, 0
  end
  local exponent = 0
  if real_math.abs(x) < 2.0 ^ -1022 then -- a subnormal number
    x, exponent = x * 2.0 ^ 54, -54
  end
  local guess = real_math.floor(log(real_math.abs(x), 2)) -- may be one off beside a power of two
  local fraction = x / 2.0 ^ (guess // 2) / 2.0 ^ (guess - guess // 2)
  while real_math.abs(fraction) >= 1 do
    fraction, guess = fraction / 2, guess + 1
  end
  while real_math.abs(fraction) < 0.5 do
    fraction, guess = fraction * 2, guess - 1
  end
  return fraction, exponent + guess
end

function math.ldexp(x, exponent)
  x = number_at(1, "ldexp", x)
  local whole = K.to_integer(exponent)
  if whole == nil then
    error("bad argument #2 to 'ldexp' (number has no integer representation)", 2)
  end
  whole = real_math.max(-2200, min(2200, whole))
  while whole > 1000 do
    x, whole = x * 2.0 ^ 1000, whole - 1000
  end
  while whole < -1000 do
    x, whole = x * 2.0 ^ -1000, whole + 1000
  end
  return x * 2.0 ^ whole
end

-- Lua seeds by the second and by where things lie, which several runtimes of one second may share.
real_math.randomseed(K.host_seed, 0)

env.string, env.table, env.utf8, env.math = string, table, utf8, math
env.coroutine = {
  close = K.close, create = K.create, isyieldable = K.isyieldable, resume = K.resume, running = K.running,
  status = K.status, wrap = K.wrap, yield = K.yield,
}
local strings = getmetatable("")
strings.__index = string
strings.__metatable = false
