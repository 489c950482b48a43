-- Lua patterns that can be stopped: find, match, gmatch and gsub.
--
-- Lua's own matcher is C and cannot be interrupted, and its worst case is exponential in the pattern. So the worst
-- case is computed from pattern and subject: what is cheap goes to C, the rest to a matcher written in Lua, where the
-- limits hold. Invariant: no call of a C pattern function takes more than some milliseconds.

local K = ...
local byte, char, sub = string.byte, string.char, string.sub
local real_find, real_match, real_gmatch, real_gsub = string.find, string.match, string.gmatch, string.gsub
local concat, error, max, min, select, tostring, type =
  table.concat, error, math.max, math.min, select, tostring, type
local getmetatable, math_type, unpack = getmetatable, math.type, table.unpack

local CHEAP <const> = 1000000
local PLAIN <const> = 20000000

-- Parsing ------------------------------------------------------------------------------------------------------------

local function set_end(p, i)
  local k = i + 1
  if sub(p, k, k) == "^" then
    k = k + 1
  end
  repeat
    local c = sub(p, k, k)
    if c == "" then
      error("malformed pattern (missing ']')", 0)
    end
    k = k + (c == "%" and 2 or 1)
  until sub(p, k, k) == "]"
  return k
end

local function class_end(p, i)
  local c = sub(p, i, i)
  if c == "[" then
    return set_end(p, i)
  elseif c == "%" then
    if i == #p then
      error("malformed pattern (ends with '%')", 0)
    end
    return i + 1
  end
  return i
end

-- The bytes that a class takes; told by C, one byte at a time.
local function bytes_of(class)
  local set = {}
  if #class == 1 and class ~= "." then
    set[byte(class)] = true
    return set
  end
  for b = 0, 255 do
    set[b] = real_find(char(b), class) ~= nil
  end
  return set
end

local function parse_escape(p, i, nodes)
  local c = sub(p, i + 1, i + 1)
  if c == "b" then
    if i + 3 > #p then
      error("malformed pattern (missing arguments to '%b')", 0)
    end
    nodes[#nodes + 1] = { kind = "balance", open = byte(p, i + 2), close = byte(p, i + 3) }
    return i + 4
  elseif c == "f" then
    if sub(p, i + 2, i + 2) ~= "[" then
      error("missing '[' after '%f' in pattern", 0)
    end
    local e = set_end(p, i + 2)
    nodes[#nodes + 1] = { kind = "frontier", set = bytes_of(sub(p, i + 2, e)) }
    return e + 1
  elseif real_find(c, "^%d") then
    nodes[#nodes + 1] = { kind = "back", index = byte(c) - 48 }
    return i + 2
  end
end

local function parse_single(p, i, nodes)
  local e = class_end(p, i)
  local repeated = sub(p, e + 1, e + 1)
  if repeated == "" or not real_find("*+-?", repeated, 1, true) then
    repeated = ""
  end
  nodes[#nodes + 1] = { kind = "single", set = bytes_of(sub(p, i, e)), repeated = repeated }
  return e + 1 + #repeated
end

local function parse_node(p, i, nodes, captures)
  local c = sub(p, i, i)
  if c == "(" then
    captures.n = captures.n + 1
    if captures.n > 32 then
      error("too many captures", 0)
    elseif sub(p, i + 1, i + 1) == ")" then
      nodes[#nodes + 1] = { kind = "position", index = captures.n }
      return i + 2
    end
    captures[#captures + 1] = captures.n
    nodes[#nodes + 1] = { kind = "open", index = captures.n }
    return i + 1
  elseif c == ")" then
    local index = captures[#captures]
    if not index then
      error("invalid pattern capture", 0)
    end
    captures[#captures] = nil
    nodes[#nodes + 1] = { kind = "close", index = index }
    return i + 1
  elseif c == "$" and i == #p then
    nodes[#nodes + 1] = { kind = "end" }
    return i + 1
  end
  return c == "%" and parse_escape(p, i, nodes) or parse_single(p, i, nodes)
end

local function check_references(nodes)
  local closed = {}
  for i = 1, #nodes do
    local node = nodes[i]
    if node.kind == "close" then
      closed[node.index] = true
    elseif node.kind == "back" and not closed[node.index] then
      error("invalid capture index %" .. node.index, 0)
    end
  end
end

-- How the worst case grows: the power of the subject's length, and a factor.
local function weigh(nodes)
  local degree, factor, last = 0, 1 + #nodes // 8, #nodes
  while last > 0 and (nodes[last].kind == "close" or nodes[last].kind == "position") do
    last = last - 1
  end
  for i = 1, last do
    local node = nodes[i]
    local repeated = node.repeated
    if node.kind == "balance" or node.kind == "back" then
      degree = degree + 1
    elseif repeated == "?" then
      factor = min(factor * 2, CHEAP)
    elseif repeated and repeated ~= "" and i < last then
      degree = degree + 1
    end
  end
  return degree, factor
end

local function parse(p, i)
  local nodes, captures = {}, { n = 0 }
  while i <= #p do
    i = parse_node(p, i, nodes, captures)
  end
  if captures[1] then
    error("unfinished capture", 0)
  end
  check_references(nodes)
  local degree, factor = weigh(nodes)
  return { nodes = nodes, captures = captures.n, degree = degree, factor = factor * (1 + #p // 16) }
end

local cache, cached = {}, 0

-- Answers the parsed pattern; in gmatch `^` is a letter like others.
local function compiled(p, iterates)
  local key = iterates and "g" .. p or "m" .. p
  local known = cache[key]
  if not known then
    K.charge(200 + 20 * #p)
    local anchored = not iterates and sub(p, 1, 1) == "^"
    known = parse(p, anchored and 2 or 1)
    known.anchored = anchored
    if cached >= 200 or #p > 1000 then
      cache, cached = {}, 0
    end
    cache[key] = known
    cached = cached + 1
  end
  return known
end

local function is_cheap(pattern, n)
  local power = pattern.degree + (pattern.anchored and 0 or 1)
  local cost = (n + 1.0) ^ power * pattern.factor
  if power == 1 and pattern.degree == 0 and pattern.factor <= 64 then
    cost = min(cost, CHEAP) -- one pass, whatever the length
  end
  if cost > 10000 then
    K.charge(min(cost, CHEAP) // 16)
  end
  return cost <= CHEAP
end

-- The matcher in Lua -------------------------------------------------------------------------------------------------

local function balance(s, i, node)
  if byte(s, i) ~= node.open then
    return nil
  end
  local depth = 1
  for k = i + 1, #s do
    local b = byte(s, k)
    if b == node.close then
      depth = depth - 1
      if depth == 0 then
        return k + 1
      end
    elseif b == node.open then
      depth = depth + 1
    end
  end
end

local step

local function expand(m, i, n, node)
  local s, set, least = m.s, node.set, node.repeated == "+" and 1 or 0
  local k = i
  while set[byte(s, k)] do
    k = k + 1
  end
  while k >= i + least do
    local e = step(m, k, n + 1)
    if e then
      return e
    end
    k = k - 1
  end
end

local function creep(m, i, n, node)
  local s, set = m.s, node.set
  while true do
    local e = step(m, i, n + 1)
    if e then
      return e
    elseif not set[byte(s, i)] then
      return nil
    end
    i = i + 1
  end
end

local function capture(m, i, n, node)
  local index, starts, ends = node.index, m.starts, m.ends
  local old_start, old_end = starts[index], ends[index]
  if node.kind == "close" then
    ends[index] = i - 1
  else
    starts[index], ends[index] = i, node.kind == "position" and "position" or nil
  end
  local e = step(m, i, n + 1)
  if not e then
    starts[index], ends[index] = old_start, old_end
  end
  return e
end

local function referred(m, i, node)
  local text = sub(m.s, m.starts[node.index], m.ends[node.index])
  if sub(m.s, i, i + #text - 1) == text then
    return i + #text
  end
end

local function at_frontier(s, i, set)
  return not set[i == 1 and 0 or byte(s, i - 1)] and set[byte(s, i) or 0]
end

-- Answers where the match that begins at i ends, plus one, or nothing; begins with node n.
function step(m, i, n)
  local s, nodes = m.s, m.nodes
  while true do
    local node = nodes[n]
    if not node then
      return i
    end
    local kind, repeated = node.kind, node.repeated
    if kind == "single" then
      if repeated == "" then
        if not node.set[byte(s, i)] then
          return nil
        end
        i = i + 1
      elseif repeated == "?" then
        if node.set[byte(s, i)] then
          local e = step(m, i + 1, n + 1)
          if e then
            return e
          end
        end
      elseif repeated == "-" then
        return creep(m, i, n, node)
      else
        return expand(m, i, n, node)
      end
    elseif kind == "end" then
      return i == #s + 1 and i or nil
    elseif kind == "balance" then
      i = balance(s, i, node)
    elseif kind == "back" then
      i = referred(m, i, node)
    elseif kind == "frontier" then
      if not at_frontier(s, i, node.set) then
        return nil
      end
    else
      return capture(m, i, n, node)
    end
    if not i then
      return nil
    end
    n = n + 1
  end
end

local function captured(m, pattern)
  local out = {}
  for index = 1, pattern.captures do
    if m.ends[index] == "position" then
      out[index] = m.starts[index]
    else
      out[index] = sub(m.s, m.starts[index], m.ends[index])
    end
  end
  return unpack(out, 1, pattern.captures)
end

-- As string.find, without the plain search.
local function slow_find(s, pattern, init)
  local m = { s = s, nodes = pattern.nodes, starts = {}, ends = {} }
  for i = init, pattern.anchored and init or #s + 1 do
    local e = step(m, i, 1)
    if e then
      return i, e - 1, captured(m, pattern)
    end
  end
  return nil
end

-- The functions of string --------------------------------------------------------------------------------------------

local function text_argument(value, index, name)
  if type(value) == "string" then
    return value
  elseif type(value) == "number" then
    return tostring(value)
  end
  error("bad argument #" .. index .. " to '" .. name .. "' (string expected, got " .. type(value) .. ")", 3)
end

local function start_argument(init, n, name)
  if init == nil then
    return 1
  end
  local whole = math_type(init) == "integer" and init or K.to_integer(init)
  if not whole then
    error("bad argument #3 to '" .. name .. "' (number expected, got " .. type(init) .. ")", 3)
  end
  return whole > 0 and whole or whole == 0 and 1 or max(n + whole + 1, 1)
end

-- Plain search in windows, so that its worst case (both lengths multiplied) can be stopped in between.
local function plain_find(s, p, init)
  local n, m = #s, #p
  if (n - init + 1) * m <= PLAIN then
    if n > 1000 then
      K.charge(n // 64)
    end
    return real_find(s, p, init, true)
  end
  local width = max(PLAIN // m, 1)
  for i = init, n - m + 1, width do
    K.charge(PLAIN // 64)
    local found = real_find(sub(s, i, i + width + m - 2), p, 1, true)
    if found then
      return i + found - 1, i + found + m - 2
    end
  end
  return nil
end

local function find(s, p, init)
  local pattern = compiled(p)
  if is_cheap(pattern, #s - init + 1) then
    return real_find(s, p, init)
  end
  return slow_find(s, pattern, init)
end

local string = {}

function string.find(s, p, init, plain)
  s, p = text_argument(s, 1, "find"), text_argument(p, 2, "find")
  init = start_argument(init, #s, "find")
  if init > #s + 1 then
    return nil
  elseif plain or not real_find(p, "[%^%$%*%+%?%.%(%)%[%]%%%-]") then
    return plain_find(s, p, init)
  end
  return find(s, p, init)
end

-- What a match is worth: its captures, or the whole of it.
local function worth(s, first, last, ...)
  if not first then
    return nil
  elseif select("#", ...) == 0 then
    return sub(s, first, last)
  end
  return ...
end

function string.match(s, p, init)
  s, p = text_argument(s, 1, "match"), text_argument(p, 2, "match")
  init = start_argument(init, #s, "match")
  if init > #s + 1 then
    return nil
  end
  local pattern = compiled(p)
  if is_cheap(pattern, #s - init + 1) then
    return real_match(s, p, init)
  end
  return worth(s, slow_find(s, pattern, init))
end

function string.gmatch(s, p, init)
  s, p = text_argument(s, 1, "gmatch"), text_argument(p, 2, "gmatch")
  init = start_argument(init, #s, "gmatch")
  local pattern = compiled(p, true)
  if is_cheap(pattern, #s - init + 1) then
    return real_gmatch(s, p, init)
  end
  local before
  local function advance(first, last, ...)
    if not first then
      init = #s + 2
      return nil
    elseif last + 1 == before then
      init = first + 1
      return advance(slow_find(s, pattern, init))
    end
    before, init = last + 1, last + 1
    return worth(s, first, last, ...)
  end
  return function()
    return advance(slow_find(s, pattern, init))
  end
end

-- Replacement --------------------------------------------------------------------------------------------------------

local function expand_template(template, whole, ...)
  local captures, n, out = { ... }, select("#", ...), {}
  local i = 1
  while true do
    local k = real_find(template, "%", i, true)
    if not k then
      out[#out + 1] = sub(template, i)
      return concat(out)
    end
    out[#out + 1] = sub(template, i, k - 1)
    local c = sub(template, k + 1, k + 1)
    local index = real_find(c, "^%d") and byte(c) - 48
    if c == "%" then
      out[#out + 1] = "%"
    elseif index == 0 or (index == 1 and n == 0) then
      out[#out + 1] = whole
    elseif index and index <= n then
      out[#out + 1] = tostring(captures[index])
    elseif index then
      error("invalid capture index %" .. c .. " in replacement string", 0)
    else
      error("invalid use of '%' in replacement string", 0)
    end
    i = k + 2
  end
end

local function replacement(by, whole, ...)
  local kind, value = type(by), nil
  if kind == "string" then
    return expand_template(by, whole, ...)
  end
  local first = whole
  if select("#", ...) > 0 then
    first = (...)
  end
  if kind == "table" then
    value = by[first]
  elseif select("#", ...) == 0 then
    value = by(whole)
  else
    value = by(...)
  end
  if not value then
    return whole
  elseif type(value) ~= "string" and type(value) ~= "number" then
    error("invalid replacement value (a " .. type(value) .. ")", 0)
  end
  return tostring(value)
end

local function substitute(s, search, anchored, by, most)
  local out, count, i, before = {}, 0, 1, nil
  local function one(first, last, ...)
    if not first then
      return false
    elseif last + 1 == before then -- an empty match right behind the one before does not count
      out[#out + 1] = sub(s, i, first)
      i = first + 1
      return i <= #s + 1
    end
    out[#out + 1] = sub(s, i, first - 1)
    out[#out + 1] = replacement(by, sub(s, first, last), ...)
    count = count + 1
    i, before = last + 1, last + 1
    return i <= #s + 1
  end
  while count < most and one(search(i)) do
    if anchored then
      break
    end
  end
  out[#out + 1] = sub(s, i)
  return concat(out), count
end

function string.gsub(s, p, by, most)
  s, p = text_argument(s, 1, "gsub"), text_argument(p, 2, "gsub")
  local kind = type(by)
  if kind == "number" then
    by, kind = tostring(by), "string"
  elseif kind ~= "string" and kind ~= "table" and kind ~= "function" then
    error("bad argument #3 to 'gsub' (string/function/table expected, got " .. kind .. ")", 2)
  end
  most = most == nil and #s + 1 or K.to_integer(most)
  if not most then
    error("bad argument #4 to 'gsub' (number expected)", 2)
  end
  local pattern = compiled(p)
  local cheap = is_cheap(pattern, #s)
  if cheap and (kind == "string" or (kind == "table" and not getmetatable(by))) then
    return real_gsub(s, p, by, most)
  elseif cheap then
    return substitute(s, function(i) return real_find(s, p, i) end, pattern.anchored, by, most)
  end
  return substitute(s, function(i) return slow_find(s, pattern, i) end, pattern.anchored, by, most)
end

K.string = string
