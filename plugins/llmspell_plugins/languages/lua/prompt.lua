-- A session: one chunk after the other, and the names that a text may go on with.
--
-- Invariant: looking for names runs nothing of the script's: tables are read raw, and only host objects are asked.

local K = ...
local getmetatable, next, pairs, rawget, select, type = getmetatable, next, pairs, rawget, select, type
local match, sub = string.match, string.sub
local MOST <const> = 500
local KEYS <const> = 20000
local LEVELS <const> = 10

local function shown(...)
  return K.pack_leniently("return", select("#", ...), ...)
end

-- Begins to run a chunk, as an expression if it is one; answers how the first slice ended.
function K.evaluate(id, width, expression, statements, name)
  K.host_settle()
  K.renew(width)
  local main, message = K.compile(expression, name, K.env)
  if not main then
    main, message = K.compile(statements, name, K.env)
  end
  if not main then
    return "syntax", message
  end
  return K.start(id, width, function()
    return shown(main())
  end)
end

-- Answers whether a chunk ends before its sentence does.
function K.incomplete(id, width, expression, statements)
  K.host_settle()
  return K.start(id, width, function()
    local main, first = K.compile(expression, "=chunk", K.env)
    local second
    if not main then
      main, second = K.compile(statements, "=chunk", K.env)
    end
    local open = not main and (sub(first, -5) == "<eof>" or sub(second, -5) == "<eof>")
    return shown(open)
  end)
end

-- What a table without a key is looked up in next, unless that is a function of the script's.
local function fallback(t)
  local meta = getmetatable(t)
  local index = type(meta) == "table" and rawget(meta, "__index")
  return type(index) == "table" and index or nil
end

local function member(value, key)
  if type(value) == "string" then
    return K.string[key]
  end
  for _ = 1, LEVELS do
    if type(value) ~= "table" then
      return nil
    elseif K.object_of(value) then
      return value[key]
    end
    local found = rawget(value, key)
    if found ~= nil then
      return found
    end
    value = fallback(value)
  end
end

local function gather(value, prefix)
  local found, count, looked = {}, 0, 0
  local function read(step, t, key)
    for name, item in step, t, key do
      looked = looked + 1
      if looked > KEYS or count >= MOST then
        return
      elseif type(name) == "string" and sub(name, 1, #prefix) == prefix and found[name] == nil
        and match(name, "^[%a_][%w_]*$") then
        count = count + 1
        found[name] = K.object_of(item) and "object" or type(item)
      end
    end
  end
  for _ = 1, LEVELS do
    if type(value) ~= "table" then
      break
    elseif K.object_of(value) then
      read(pairs(value))
      break
    end
    read(next, value)
    value = fallback(value)
  end
  return found
end

-- Answers what a path of names leads to: the names there that begin so, and their types.
function K.names(id, width, payload)
  K.host_settle()
  return K.start(id, width, function()
    local path, prefix = K.unpack_values(payload, 1)
    local value = K.env
    for i = 1, #path do
      value = member(value, path[i])
    end
    return shown(gather(type(value) == "string" and K.string or value, prefix))
  end)
end
