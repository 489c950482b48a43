-- The libraries io and os as far as the policy goes: files, time, and what is refused with a reason.
--
-- Invariant: the host opens, reads and writes; Lua holds at most one block of a file to read and one to write. A path
-- is judged by the host, a variable too. What could not be written is told by whatever wrote it out, never swallowed.

local K = ...
local env, charge = K.env, K.charge
local error, math_type, next, select, setmetatable, tonumber, tostring, type =
  error, math.type, next, select, setmetatable, tonumber, tostring, type
local concat, find, match, sub = table.concat, string.find, string.match, string.sub
local pack, unpack = table.pack, env.table.unpack -- now: later they may be the script's
local clock, date, difftime, time = os.clock, os.date, os.difftime, os.time
local BLOCK <const> = 65536
local PIECE <const> = 1048576

-- Asks the host and waits for it.
local function wait(where, op, ...)
  charge(0)
  return K.opened(K.request(where, 0, op, K.pack_values(where, select("#", ...), ...)))
end

-- Asks the host for what it answers at once.
local function ask(where, op, ...)
  return K.ask("system", 0, op, K.pack_values(where, select("#", ...), ...))
end

-- Files --------------------------------------------------------------------------------------------------------------

local files = setmetatable({}, { __mode = "k" })
local open_files = {}
local methods = {}
local meta = { __index = methods, __name = "FILE*", __metatable = "FILE*" }

local function state_of(file, name)
  local state = files[file]
  if not state then
    error("bad argument #1 to '" .. name .. "' (FILE* expected, got " .. type(file) .. ")", 3)
  elseif state.closed then
    error("attempt to use a closed file", 3)
  end
  return state
end

function meta.__tostring(file)
  local state = files[file]
  return state.closed and "file (closed)" or "file (" .. state.name .. ")"
end

local function new_file(state)
  local file = setmetatable({}, meta)
  state.input, state.at, state.output, state.size = "", 1, {}, 0
  files[file] = state
  return file
end

-- Writes out what is there, piece by piece; answers true, or nil, a text and a number.
local function flush(state)
  if state.size > 0 then
    local text = concat(state.output)
    state.output, state.size = {}, 0
    for at = 1, #text, PIECE do
      local ok, message, code = wait("file:write", "write", state.handle, sub(text, at, at + PIECE - 1))
      if not ok then
        return nil, message, code
      end
    end
  end
  return true
end

-- Reads another block behind what is there; answers whether there was one.
local function fill(state)
  local block
  if state.handle then
    block = wait("file:read", "read", state.handle, BLOCK)
  else
    block = wait("io.read", "read_line")
  end
  if not block then
    return false
  end
  state.input, state.at = sub(state.input, state.at) .. block, 1
  return true
end

-- Takes n bytes off the front of what is there.
local function take(state, n)
  local text = sub(state.input, state.at, state.at + n - 1)
  state.at = state.at + n
  return text
end

local function left(state)
  return #state.input - state.at + 1
end

local function read_line(state, keep)
  local pieces = {}
  while true do
    local k = find(state.input, "\n", state.at, true)
    if k then
      pieces[#pieces + 1] = take(state, k - state.at + 1)
      local line = concat(pieces)
      return keep and line or sub(line, 1, -2)
    end
    pieces[#pieces + 1] = take(state, left(state))
    if not fill(state) then
      local line = concat(pieces)
      return line ~= "" and line or nil
    end
  end
end

local function read_all(state)
  local pieces = {}
  repeat
    pieces[#pieces + 1] = take(state, left(state))
  until not fill(state)
  return concat(pieces)
end

local function read_bytes(state, n)
  local pieces, missing = {}, n
  while true do
    local some = take(state, missing < left(state) and missing or left(state))
    pieces[#pieces + 1], missing = some, missing - #some
    if missing == 0 and (n > 0 or left(state) > 0) then
      return concat(pieces)
    elseif not fill(state) then
      local text = concat(pieces)
      return text ~= "" and text or nil
    end
  end
end

local numerals = { "^[+-]?0[xX]%x*%.?%x*[pP]?[+-]?%d*", "^[+-]?%d*%.?%d*[eE]?[+-]?%d*" }

local function read_number(state)
  repeat
    while left(state) > 0 and find(sub(state.input, state.at, state.at), "^%s") do
      state.at = state.at + 1
    end
  until left(state) > 0 or not fill(state)
  while left(state) < 200 and fill(state) do
  end
  local text = sub(state.input, state.at, state.at + 199)
  local numeral = match(text, numerals[1]) or match(text, numerals[2]) or ""
  state.at = state.at + #numeral
  return tonumber(numeral)
end

local readers = {
  n = read_number,
  a = read_all,
  l = function(state) return read_line(state, false) end,
  L = function(state) return read_line(state, true) end,
}

local function read_one(state, format)
  if math_type(format) == "integer" then
    return read_bytes(state, format)
  end
  local reader = type(format) == "string" and readers[sub(match(format, "^%*?(.*)$"), 1, 1)]
  if not reader then
    error("bad argument #1 to 'read' (invalid format)", 0)
  end
  return reader(state)
end

local function read(state, ...)
  local ok, message, code = flush(state)
  if not ok then
    return nil, message, code
  end
  if select("#", ...) == 0 then
    return read_line(state, false)
  end
  local formats, out = { ... }, {}
  for i = 1, #formats do
    out[i] = read_one(state, formats[i])
    if out[i] == nil then
      return unpack(out, 1, i)
    end
  end
  return unpack(out, 1, #formats)
end

function methods.read(file, ...)
  return read(state_of(file, "read"), ...)
end

local function iterate(state, close, ...)
  local formats = pack(...)
  return function()
    if state.closed then
      error("file is already closed", 2)
    end
    local values = pack(read(state, unpack(formats, 1, formats.n)))
    if values[1] == nil and close then
      close()
    end
    return unpack(values, 1, values.n)
  end
end

function methods.lines(file, ...)
  return iterate(state_of(file, "lines"), nil, ...)
end

-- Gives back what was read ahead, so that the host's position is the script's.
local function settle(state)
  local ok, message, code = flush(state)
  local ahead = left(state)
  if state.handle and ahead > 0 then
    wait("file:seek", "seek", state.handle, "cur", -ahead)
  end
  state.input, state.at = "", 1
  return ok, message, code
end

function methods.write(file, ...)
  local state = state_of(file, "write")
  if left(state) > 0 then
    settle(state)
  end
  local values = { ... }
  for i = 1, select("#", ...) do
    local text = values[i]
    if type(text) == "number" then
      text = tostring(text)
    elseif type(text) ~= "string" then
      error("bad argument #" .. i .. " to 'write' (string expected, got " .. type(text) .. ")", 2)
    end
    if state.handle then
      state.output[#state.output + 1], state.size = text, state.size + #text
    else
      ask("io.write", "print", text)
    end
  end
  if state.size > BLOCK then
    local ok, message, code = flush(state)
    if not ok then
      return nil, message, code
    end
  end
  return file
end

function methods.flush(file)
  local ok, message, code = flush(state_of(file, "flush"))
  if not ok then
    return nil, message, code
  end
  return file
end

function methods.setvbuf(file)
  state_of(file, "setvbuf")
  return true
end

function methods.seek(file, whence, offset)
  local state = state_of(file, "seek")
  if not state.handle then
    return nil, "Illegal seek", 29
  end
  local ok, message, code = settle(state)
  if not ok then
    return nil, message, code
  end
  return wait("file:seek", "seek", state.handle, whence or "cur", offset or 0)
end

function methods.close(file)
  local state = state_of(file, "close")
  if not state.handle then
    return true
  end
  local ok, message, code = flush(state)
  state.closed, state.input = true, ""
  open_files[state.handle] = nil
  wait("file:close", "close", state.handle)
  if not ok then
    return nil, message, code
  end
  return true
end

function meta.__close(file)
  if not files[file].closed then
    methods.close(file)
  end
end

-- Writes out what is left, when the script ends; what cannot be written is an error, since nobody else would tell.
function K.flush_files()
  local lost
  for _, state in next, open_files do
    local ok, message = flush(state)
    if not ok then
      lost = lost or state.name .. ": what was written to it is lost: " .. message
    end
  end
  if lost then
    error(lost, 0)
  end
end

-- io -----------------------------------------------------------------------------------------------------------------

local io = {}
io.stdin = new_file({ name = "stdin" })
io.stdout = new_file({ name = "stdout" })
io.stderr = new_file({ name = "stderr" })
local current = { input = io.stdin, output = io.stdout }

function io.open(path, mode)
  mode = mode or "r"
  if type(path) ~= "string" then
    error("bad argument #1 to 'open' (string expected, got " .. type(path) .. ")", 2)
  elseif type(mode) ~= "string" or not find(mode, "^[rwa]%+?b?$") then
    error("bad argument #2 to 'open' (invalid mode)", 2)
  end
  local handle, message, code = wait("io.open", "open", path, mode)
  if not handle then
    return nil, message, code
  end
  local state = { name = path, handle = handle }
  open_files[handle] = state
  return new_file(state)
end

function io.close(file)
  return methods.close(file or current.output)
end

function io.read(...)
  return methods.read(current.input, ...)
end

function io.write(...)
  return methods.write(current.output, ...)
end

function io.flush()
  return methods.flush(current.output)
end

function io.lines(path, ...)
  if path == nil then
    return methods.lines(current.input, ...)
  end
  local file, message = io.open(path)
  if not file then
    error(message, 2)
  end
  return iterate(files[file], function() methods.close(file) end, ...), nil, nil, file
end

local function redirect(which, mode)
  return function(file)
    if type(file) == "string" then
      local message
      file, message = io.open(file, mode)
      if not file then
        error(message, 2)
      end
    elseif file ~= nil and not files[file] then
      error("bad argument #1 to '" .. which .. "' (FILE* expected)", 2)
    end
    current[which] = file or current[which]
    return current[which]
  end
end

io.input, io.output = redirect("input", "r"), redirect("output", "w")

function io.type(file)
  local state = files[file]
  return state and (state.closed and "closed file" or "file") or nil
end

function io.popen(command)
  error("io.popen: scripts start no programs (" .. K.tostring(command) .. "); use a tool that may", 2)
end

function env.loadfile(path, ...)
  local file, message = io.open(path)
  if not file then
    return nil, message
  end
  local source = methods.read(file, "a")
  methods.close(file)
  return env.load(find(source, "^#") and "--" .. source or source, "@" .. path, ...)
end

function env.dofile(path)
  local chunk, message = env.loadfile(path)
  if not chunk then
    error(message, 2)
  end
  return chunk()
end

-- os -----------------------------------------------------------------------------------------------------------------

local os = { clock = clock, difftime = difftime, time = time }

function os.date(format, moment)
  if type(format) == "string" then
    if #format > 1000 then
      error("os.date: the format is longer than 1000 bytes; shorten it", 2)
    end
  end
  return date(format, moment)
end

function os.getenv(name)
  return ask("os.getenv", "getenv", tostring(name))
end

function os.execute(command)
  if command == nil then
    return false
  end
  local seconds = type(command) == "string"
    and (match(command, "^%s*sleep%s+(%d+%.?%d*)s?%s*$") or match(command, "^%s*sleep%s+(%.%d+)s?%s*$"))
  if not seconds then
    error("os.execute: scripts start no programs (" .. K.tostring(command) .. "); only 'sleep <seconds>' works here, "
      .. "use a tool for others", 2)
  end
  wait("os.execute", "sleep", tonumber(seconds) + 0.0)
  return true, "exit", 0
end

function os.remove(path)
  return wait("os.remove", "remove", path)
end

function os.rename(from, to)
  return wait("os.rename", "rename", from, to)
end

function os.tmpname()
  local path, message = wait("os.tmpname", "tmpname")
  if not path then
    error("unable to generate a unique filename: " .. message, 2)
  end
  return path
end

function os.exit()
  error("os.exit: a script cannot end the host; end it with return, or with error", 2)
end

env.io, env.os = io, os

-- Takes a name from the script, before it runs; of os it keeps what only tells the time. The host holds this function
-- until the runtime closes, so it names no environment of its own.
function K.withhold(name)
  K.host_settle()
  local kept
  if name == "os" then
    local whole = K.env.os
    kept = { clock = whole.clock, date = whole.date, difftime = whole.difftime, time = whole.time }
  end
  K.env[name] = kept
end
