-- Host objects as scripts see them, and script functions as the host holds them.
--
-- Invariant: on either side the other one's things are numbers. An object's proxy offers its methods and fields and
-- nothing else; `object.method(x)` and `object:method(x)` are the same call.

local K = ...
local byte, concat, pack_bytes, sub = string.byte, table.concat, string.pack, string.sub
local error, next, rawequal, rawset, select, setmetatable, type =
  error, next, rawequal, rawset, select, setmetatable, type
local running, unpack, unpack_bytes = coroutine.running, table.unpack, string.unpack

-- Functions ----------------------------------------------------------------------------------------------------------

local functions, last_function = {}, 0

function K.keep_function(f)
  last_function = last_function + 1
  functions[last_function] = f
  return last_function
end

function K.kept_function(id)
  return functions[id]
end

function K.forget_functions(ids)
  for i = 1, #ids, 8 do
    functions[unpack_bytes(">I8", ids, i)] = nil
  end
end

-- Objects ------------------------------------------------------------------------------------------------------------

local classes = {}
local proxies = setmetatable({}, { __mode = "v" })
local records = setmetatable({}, { __mode = "k" })
local released = {}

function K.object_of(t)
  local record = records[t]
  if record then
    return record.id, record.class
  end
end

-- Answers what the host should let go of, as bytes: object and count, object and count, ...
function K.take_released()
  local pieces = released
  if pieces[1] == nil then
    return ""
  end
  released = {}
  return concat(pieces)
end

-- Answers what a call answered, or raises its error.
local function opened(answer)
  if byte(answer) == 69 then
    error(sub(answer, 2), 0)
  end
  K.made(#answer)
  return K.unpack_values(answer, 2)
end
K.opened = opened

-- Asks the host something that it answers at once.
local function ask(what, id, method, payload)
  K.asking = running()
  local answer = K.host_ask(what, id, method, payload)
  K.host_settle()
  K.asking = nil
  return opened(answer)
end
K.ask = ask

local function methods_of(class)
  local known = classes[class]
  if not known then
    known = ask("class", class, "", "")
    classes[class] = known
  end
  return known
end

local PURE, LENIENT = 1, 2

local function invoke(record, method, flags, ...)
  K.tick()
  local where = method == "__call" and record.name or record.name .. "." .. method
  local pack = flags & LENIENT ~= 0 and K.pack_leniently or flags & PURE ~= 0 and K.pack_within or K.pack_values
  local payload = pack(where, select("#", ...), ...)
  if flags & PURE ~= 0 then
    return ask("pure", record.id, method, payload)
  end
  return opened(K.request(where, record.id, method, payload))
end

local function bind(proxy, method, flags)
  return function(...)
    if rawequal((...), proxy) then
      return invoke(records[proxy], method, flags, select(2, ...))
    end
    return invoke(records[proxy], method, flags, ...)
  end
end

local function fields_of(record)
  if not record.fields then
    record.fields = ask("fields", record.id, "", "")
  end
  return record.fields
end

local meta = { __metatable = "host object", __name = "host object" }

function meta.__index(proxy, key)
  local record = records[proxy]
  if type(key) ~= "string" then
    return nil
  end
  local made = record.made[key]
  if made then
    return made
  end
  local class = methods_of(record.class)
  local flags = class.methods[key]
  if flags ~= nil and key ~= "__call" then
    made = bind(proxy, key, flags)
    record.made[key] = made
    return made
  end
  local field = fields_of(record)[key]
  if field ~= nil or not class.dynamic then
    return field
  end
  return ask("lookup", record.id, key, "")
end

function meta.__newindex(proxy, key)
  error(records[proxy].name .. ": its field " .. K.tostring(key) .. " cannot be set", 2)
end

function meta.__tostring(proxy)
  return ask("text", records[proxy].id, "", "")
end

local function text_or_self(value)
  return records[value] and meta.__tostring(value) or value
end

function meta.__concat(a, b)
  return text_or_self(a) .. text_or_self(b)
end

function meta.__call(proxy, ...)
  local record = records[proxy]
  local flags = methods_of(record.class).methods.__call
  if flags == nil then
    error("attempt to call a host object (" .. record.name .. ")", 2)
  end
  return invoke(record, "__call", flags, ...)
end

function meta.__pairs(proxy)
  local record = records[proxy]
  local all = {}
  for key in next, methods_of(record.class).methods do
    if key ~= "__call" then
      all[key] = meta.__index(proxy, key)
    end
  end
  for key, value in next, fields_of(record) do
    all[key] = value
  end
  return next, all, nil
end

function meta.__gc(proxy)
  local record = records[proxy]
  if record then
    released[#released + 1] = pack_bytes(">I4I4", record.id, record.count)
  end
end

-- Answers the proxy for an object of the host.
function K.object(id, class)
  local proxy = proxies[id]
  if not proxy then
    proxy = setmetatable({}, meta)
    proxies[id] = proxy
    records[proxy] = { id = id, class = class, count = 0, made = {}, name = methods_of(class).name }
  end
  local record = records[proxy]
  record.count = record.count + 1
  return proxy
end

-- Puts a global in place; print is told texts, since only Lua knows how it shows its values.
function K.set_global(name, payload)
  K.host_settle()
  local value = K.unpack_value(payload, 1)
  if name == "print" and records[value] then
    local write = value
    value = function(...)
      local n, texts = select("#", ...), { ... }
      for i = 1, n do
        texts[i] = K.tostring(texts[i])
      end
      return write(unpack(texts, 1, n))
    end
  end
  rawset(K.env, name, value)
end
