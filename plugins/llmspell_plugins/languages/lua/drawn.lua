-- What is different in each run of a script, for one that is recorded or replayed: the host keeps it, or tells it again.
--
-- Invariant: the time and the seeds of random numbers are drawn from the host, each function that the host calls has
-- random numbers of its own, and nothing depends on where tables lie in memory: `pairs` goes by sorted keys, and the text
-- of a table, a function or a thread has a number in place of its address. Only what `next` is asked for by itself stays
-- in Lua's order.

local K = ...
local env, charge = K.env, K.charge
local error, math_type, next, select, setmetatable, tostring, type =
  error, math.type, next, select, setmetatable, tostring, type
local getmetatable, rawget, rawlen, real_pairs, sort = debug.getmetatable, rawget, rawlen, pairs, table.sort
local find, format, pack, unpack = string.find, string.format, string.pack, string.unpack
local tointeger, ult = math.tointeger, math.ult
local clock, date, time = os.clock, env.os.date, os.time
local weak = { __mode = "k" }

local function drawn(name, value)
  return K.ask("system", 0, "drawn", K.pack_values(name, 2, name, value))
end

-- os -----------------------------------------------------------------------------------------------------------------

local os = env.os

function os.clock()
  return drawn("clock", clock())
end

function os.time(fields)
  if fields == nil then
    return drawn("time", time())
  end
  return time(fields)
end

function os.date(text, moment)
  return date(text, moment == nil and drawn("time", time()) or moment)
end

-- math ---------------------------------------------------------------------------------------------------------------

-- xoshiro256**, as Lua has it: in Lua, since a callback in between must not change what comes next.
local states = setmetatable({}, weak)

local function advance(s)
  local s0, s1, s2, s3 = s[1], s[2], s[3], s[4]
  s2, s3 = s2 ~ s0, s3 ~ s1
  local turned = s1 * 5
  local result = ((turned << 7) | (turned >> 57)) * 9
  s[1], s[2], s[3] = s0 ~ s3, s1 ~ s2, s2 ~ (s1 << 17)
  s[4] = (s3 << 45) | (s3 >> 19)
  return result
end

local function seed(first, second)
  local s = { first, 0xff, second, 0 }
  states[K.top()] = s
  for _ = 1, 16 do
    advance(s)
  end
  return s
end

local function seed_anew()
  return seed(drawn("seed"), drawn("seed"))
end

local function whole(where, number, value)
  local integer = tointeger(value)
  if not integer then
    local told = math_type(value) and "number has no integer representation" or "number expected, got " .. type(value)
    error("bad argument #" .. number .. " to '" .. where .. "' (" .. told .. ")", 3)
  end
  return integer
end

function env.math.random(...)
  local count = select("#", ...)
  local s = states[K.top()] or seed_anew()
  local value = advance(s)
  if count == 0 then
    return (value >> 11) * 2.0 ^ -53
  end
  local low, high = 1, whole("random", 1, (...))
  if count == 1 then
    if high == 0 then
      return value
    end
  elseif count == 2 then
    low, high = high, whole("random", 2, (select(2, ...)))
  else
    error("wrong number of arguments", 2)
  end
  if low > high then
    error("bad argument #" .. count .. " to 'random' (interval is empty)", 2)
  end
  local span = high - low
  local limit = span
  for _, shift in next, { 1, 2, 4, 8, 16, 32 } do
    limit = limit | (limit >> shift)
  end
  value = value & limit
  while ult(span, value) do
    value = advance(s) & limit
  end
  return value + low
end

function env.math.randomseed(...)
  if select("#", ...) == 0 then
    seed_anew()
    return
  end
  local first, second = ...
  if math_type(first) == "float" and not tointeger(first) then
    first = unpack("i8", pack("n", first))
  end
  seed(whole("randomseed", 1, first), second == nil and 0 or whole("randomseed", 2, second))
end

-- Order and addresses ------------------------------------------------------------------------------------------------

local ranks = { number = 1, string = 2, boolean = 3 }

local function comes_first(one, other)
  local left, right = ranks[type(one)] or 4, ranks[type(other)] or 4
  if left ~= right then
    return left < right
  elseif left < 3 then
    return one < other
  end
  return left == 3 and not one and other
end

function env.pairs(...)
  if select("#", ...) == 0 then
    error("bad argument #1 to 'pairs' (table expected, got no value)", 2)
  end
  local t = ...
  local meta = type(t) == "table" and getmetatable(t)
  if type(t) ~= "table" or type(meta) == "table" and rawget(meta, "__pairs") ~= nil then
    return real_pairs(...)
  end
  local keys, count, in_order = {}, 0, true
  for key in next, t do
    count = count + 1
    keys[count], in_order = key, in_order and key == count
  end
  if in_order then
    return next, t, nil
  end
  charge(count)
  sort(keys, comes_first)
  local at = 0
  return function()
    while at < count do
      at = at + 1
      local value = rawget(t, keys[at])
      if value ~= nil then
        return keys[at], value
      end
    end
  end, t, nil
end

local numbers, last = setmetatable({}, weak), 0
local plain = K.tostring

function K.tostring(...)
  local text, value = plain(...), ...
  local kind = type(value)
  if (kind == "table" or kind == "function" or kind == "thread") and find(text, "^%a+: 0x%x+$") then
    if not numbers[value] then
      last = last + 1
      numbers[value] = last
    end
    return format("%s: 0x%014x", kind, numbers[value])
  end
  return text
end

env.tostring = K.tostring
