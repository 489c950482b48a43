-- Values that cross, as MessagePack: Lua to bytes and back.
--
-- Invariant: nothing of the host's enters a script except through unpack_value, and no function or object leaves it but
-- as a number, and nothing that is larger than the limits: it is measured while it is packed, before anybody works on it.
-- Runs inside the script's coroutines, so its time and memory are the script's.

local K = ...
local byte, char, find, format = string.byte, string.char, string.find, string.format
local pack, sub, unpack = string.pack, string.sub, string.unpack
local concat, date, error, floor = table.concat, os.date, error, math.floor
local math_type, next, rawlen, rawget, tostring, type, utf8_len =
  math.type, next, rawlen, rawget, tostring, type, utf8.len
local DEPTH <const> = 100
local EASE <const> = 50

-- Arrays from the host whose length Lua alone cannot know: those that are empty or hold nil.
local lengths = setmetatable({}, { __mode = "k" })
K.lengths = lengths

local function fail(where, text)
  error(where .. ": " .. text, 0)
end

-- How many values, and how many bytes of text, may be handed over at once; 0 for any number.
local most_values, most_bytes = 0, 0

function K.set_value_limits(values, bytes)
  most_values, most_bytes = values, bytes
end

local function measure(path, bytes, where)
  path.values, path.bytes = path.values + 1, path.bytes + bytes
  if most_values > 0 and path.values > most_values * path.ease then
    fail(where, "it was given more than " .. most_values * path.ease
      .. " values at once; hand over less, or raise scripts.value_items")
  elseif most_bytes > 0 and path.bytes > most_bytes * path.ease then
    fail(where, "it was given more than " .. most_bytes * path.ease
      .. " bytes at once; hand over less, or raise scripts.value_bytes")
  end
end

local function put_head(out, n, small, mark16, mark32)
  if n < 16 then
    out[#out + 1] = char(small + n)
  elseif n < 65536 then
    out[#out + 1] = pack(">BI2", mark16, n)
  else
    out[#out + 1] = pack(">BI4", mark32, n)
  end
end

local function put_string(out, s)
  local n = #s
  if find(s, "[\128-\255]") and not utf8_len(s) then
    out[#out + 1] = pack(">BI4", 0xc6, n)
  elseif n < 32 then
    out[#out + 1] = char(0xa0 + n)
  elseif n < 65536 then
    out[#out + 1] = pack(">BI2", 0xda, n)
  else
    out[#out + 1] = pack(">BI4", 0xdb, n)
  end
  out[#out + 1] = s
end

local function put_number(out, v)
  if math_type(v) == "float" then
    out[#out + 1] = pack(">Bd", 0xcb, v)
  elseif v >= -32 and v <= 127 then
    out[#out + 1] = char(v & 0xff)
  else
    out[#out + 1] = pack(">Bi8", 0xd3, v)
  end
end

-- The length of a table that is an array, or nil: all keys are whole numbers up to the border, or up to the length
-- that the host gave it.
local function array_length(t)
  local known = lengths[t]
  local border, count, highest = rawlen(t), 0, 0
  if border == 0 and not known then
    return nil
  end
  for k in next, t do
    if math_type(k) ~= "integer" or k < 1 then
      return nil
    end
    count = count + 1
    if k > highest then
      highest = k
    end
  end
  if known then
    if highest <= known then
      return known
    end
    return highest <= 2 * count + known and highest or nil
  end
  return highest == border and border or nil
end

local put_value

local function put_array(out, t, n, where, path, depth)
  put_head(out, n, 0x90, 0xdc, 0xdd)
  for i = 1, n do
    put_value(out, rawget(t, i), where, path, depth)
  end
end

local function put_map(out, t, where, path, depth)
  local n = 0
  for _ in next, t do
    n = n + 1
  end
  put_head(out, n, 0x80, 0xde, 0xdf)
  for k, v in next, t do
    local kind = type(k)
    if kind == "number" then
      k = tostring(k)
    elseif kind ~= "string" and path.lenient then
      k = kind == "boolean" and tostring(k) or "<" .. kind .. ">"
    elseif kind ~= "string" then
      fail(where, "a key of type " .. kind .. " cannot be given to the host; use texts and numbers as keys")
    end
    measure(path, #k, where)
    put_string(out, k)
    put_value(out, v, where, path, depth)
  end
end

local function put_table(out, t, where, path, depth)
  local id, class = K.object_of(t)
  if id then
    out[#out + 1] = pack(">BbI4I4", 0xd7, 2, id, class)
    return
  elseif path[t] and path.lenient then
    put_string(out, "<circular>")
    return
  elseif path[t] then
    fail(where, "a table contains itself; break the cycle")
  elseif depth > DEPTH and path.lenient then
    put_string(out, "<deeper>")
    return
  elseif depth > DEPTH then
    fail(where, "tables are nested deeper than " .. DEPTH .. " levels; flatten them")
  end
  path[t] = true
  local n = array_length(t)
  if n then
    put_array(out, t, n, where, path, depth + 1)
  else
    put_map(out, t, where, path, depth + 1)
  end
  path[t] = nil
end

function put_value(out, v, where, path, depth)
  local kind = type(v)
  measure(path, kind == "string" and #v or 0, where)
  if v == nil then
    out[#out + 1] = "\xc0"
  elseif kind == "string" then
    put_string(out, v)
  elseif kind == "number" then
    put_number(out, v)
  elseif kind == "boolean" then
    out[#out + 1] = v and "\xc3" or "\xc2"
  elseif kind == "table" then
    put_table(out, v, where, path, depth)
  elseif kind == "function" then
    out[#out + 1] = pack(">BbI8", 0xd7, 1, K.keep_function(v))
  elseif path.lenient then
    put_string(out, "<" .. kind .. ">")
  else
    fail(where, "a value of type " .. kind .. " cannot be given to the host")
  end
end

local function pack_with(path, where, n, ...)
  local out, values = {}, { ... }
  put_head(out, n, 0x90, 0xdc, 0xdd)
  for i = 1, n do
    put_value(out, values[i], where, path, 1)
  end
  return concat(out)
end

-- Answers n values as the bytes of one array.
function K.pack_values(where, n, ...)
  return pack_with({ values = 0, bytes = 0, ease = 1 }, where, n, ...)
end

-- The same for what is done within the slice: in a thread that holds nobody up.
function K.pack_within(where, n, ...)
  return pack_with({ values = 0, bytes = 0, ease = K.in_thread() and EASE or 1 }, where, n, ...)
end

-- The same, but what cannot cross is marked.
function K.pack_leniently(where, n, ...)
  return pack_with({ lenient = true, values = 0, bytes = 0, ease = K.in_thread() and EASE or 1 }, where, n, ...)
end

local get_value

local function bound(depth)
  if depth > DEPTH then
    error("a value from the host is nested deeper than " .. DEPTH .. " levels", 0)
  end
end

local function get_array(s, i, n, depth)
  bound(depth)
  local t, holes = {}, n == 0
  for k = 1, n do
    local v
    v, i = get_value(s, i, depth + 1)
    if v == nil then
      holes = true
    end
    t[k] = v
  end
  if holes then
    lengths[t] = n
  end
  return t, i
end

local function get_map(s, i, n, depth)
  bound(depth)
  local t = {}
  for _ = 1, n do
    local k, v
    k, i = get_value(s, i, depth + 1)
    v, i = get_value(s, i, depth + 1)
    if k ~= nil and k == k then
      t[k] = v
    end
  end
  return t, i
end

local function get_string(s, i, n)
  return sub(s, i, i + n - 1), i + n
end

local function get_unsigned(s, i)
  local v = unpack(">i8", s, i)
  return v < 0 and v + 18446744073709551616.0 or v, i + 8
end

local function get_time(s, i, n)
  local seconds
  if n == 4 then
    seconds = unpack(">I4", s, i)
  elseif n == 8 then
    seconds = unpack(">I8", s, i) & 0x3ffffffff
  else
    seconds = unpack(">i8", s, i + 4)
  end
  return date("!%Y-%m-%dT%H:%M:%SZ", floor(seconds)), i + n
end

local function get_extension(s, i, n)
  local kind = unpack("b", s, i)
  if kind == -1 then
    return get_time(s, i + 1, n)
  elseif kind == 1 then
    return K.kept_function(unpack(">I8", s, i + 1)), i + 1 + n
  end
  local id, class = unpack(">I4I4", s, i + 1)
  return K.object(id, class), i + 1 + n
end

local by_mark = {
  [0xc0] = function(_, i) return nil, i end,
  [0xc2] = function(_, i) return false, i end,
  [0xc3] = function(_, i) return true, i end,
  [0xc4] = function(s, i) return get_string(s, i + 1, byte(s, i)) end,
  [0xc5] = function(s, i) return get_string(s, i + 2, (unpack(">I2", s, i))) end,
  [0xc6] = function(s, i) return get_string(s, i + 4, (unpack(">I4", s, i))) end,
  [0xc7] = function(s, i) return get_extension(s, i + 1, byte(s, i)) end,
  [0xca] = function(s, i) return unpack(">f", s, i) end,
  [0xcb] = function(s, i) return unpack(">d", s, i) end,
  [0xcc] = function(s, i) return unpack("B", s, i) end,
  [0xcd] = function(s, i) return unpack(">I2", s, i) end,
  [0xce] = function(s, i) return unpack(">I4", s, i) end,
  [0xcf] = get_unsigned,
  [0xd0] = function(s, i) return unpack("b", s, i) end,
  [0xd1] = function(s, i) return unpack(">i2", s, i) end,
  [0xd2] = function(s, i) return unpack(">i4", s, i) end,
  [0xd3] = function(s, i) return unpack(">i8", s, i) end,
  [0xd6] = function(s, i) return get_extension(s, i, 4) end,
  [0xd7] = function(s, i) return get_extension(s, i, 8) end,
  [0xd9] = function(s, i) return get_string(s, i + 1, byte(s, i)) end,
  [0xda] = function(s, i) return get_string(s, i + 2, (unpack(">I2", s, i))) end,
  [0xdb] = function(s, i) return get_string(s, i + 4, (unpack(">I4", s, i))) end,
  [0xdc] = function(s, i, depth) return get_array(s, i + 2, (unpack(">I2", s, i)), depth) end,
  [0xdd] = function(s, i, depth) return get_array(s, i + 4, (unpack(">I4", s, i)), depth) end,
  [0xde] = function(s, i, depth) return get_map(s, i + 2, (unpack(">I2", s, i)), depth) end,
  [0xdf] = function(s, i, depth) return get_map(s, i + 4, (unpack(">I4", s, i)), depth) end,
}

function get_value(s, i, depth)
  local mark = byte(s, i)
  if mark < 0x80 then
    return mark, i + 1
  elseif mark >= 0xe0 then
    return mark - 256, i + 1
  elseif mark >= 0xa0 and mark < 0xc0 then
    return get_string(s, i + 1, mark - 0xa0)
  elseif mark < 0x90 then
    return get_map(s, i + 1, mark - 0x80, depth)
  elseif mark < 0xa0 then
    return get_array(s, i + 1, mark - 0x90, depth)
  end
  return by_mark[mark](s, i + 1, depth)
end

local function spread(s, i, n)
  if n == 0 then
    return
  end
  local v
  v, i = get_value(s, i, 1)
  if n == 1 then
    return v
  end
  return v, spread(s, i, n - 1)
end

-- Answers the values of one array of at most 65535, beginning at byte i.
function K.unpack_values(s, i)
  local mark = byte(s, i)
  if mark < 0xa0 then
    return spread(s, i + 1, mark - 0x90)
  end
  return spread(s, i + 3, (unpack(">I2", s, i + 1)))
end

-- Answers the one value at byte i.
function K.unpack_value(s, i)
  return (get_value(s, i, 1))
end
