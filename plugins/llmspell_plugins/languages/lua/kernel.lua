-- Limits, coroutines and slices: what runs a script piece by piece and can always stop it.
--
-- Invariant: no coroutine without the count hook; no way for a script to see, catch or outlive a limit that was hit:
-- each place where an error can be caught asks `K.check` first.

local K = ...
local clock, error, getmetatable, next, rawget, select, type, tostring =
  os.clock, error, getmetatable, next, rawget, select, type, tostring
local match, math_max, math_min, sub = string.match, math.max, math.min, string.sub
local create, resume, yield, running, status, close, isyieldable =
  coroutine.create, coroutine.resume, coroutine.yield, coroutine.running, coroutine.status, coroutine.close,
  coroutine.isyieldable
local memory = collectgarbage
local sethook, getinfo, traceback = debug.sethook, debug.getinfo, debug.traceback
local collectgarbage, real_load, real_pcall, setmetatable = collectgarbage, load, pcall, setmetatable

local NO_MEMORY <const> = "not enough memory"
local MEMORY <const> = "memory"
local PCALLS <const> = 180
local HERE <const> = "[host]"
local LOOP_STRIDE <const> = 100
local NONE <const> = 1 << 62
local OWN <const>, OWN_MUCH <const>, OWN_ON_LOOP <const> = 15, 21, 16  -- what `wide` itself runs, in instructions
local MUCH <const> = 4096  -- to copy, in KiB
local NARROW <const> = 4  -- instructions between two counts where each of them may take long
local ROW <const> = 32  -- so many counts must show that little was done before they lie four times as far apart
local SLOW_S <const>, OFTEN_S <const> = 0.002, 0.001  -- between two looks: what is much; when the host is asked again
local LARGE <const> = 1024 * 1024  -- a text that takes long to copy, in bytes

-- What a limit throws, and what marks a yield as a request to the host. Scripts see neither.
local LIMIT = setmetatable({}, { __tostring = function() return "limit" end, __metatable = false })
local TAG = {}

local strings = getmetatable("")  -- later scripts see none, and no more do we
local weak = { __mode = "k" }
local threads = {}
local tops = setmetatable({}, weak)
local waiting = setmetatable({}, weak)
local strides = setmetatable({}, weak)
local origins = setmetatable({}, weak)
local depths = setmetatable({}, weak)
local current
local dead, dead_where, dead_trace
local stride = 250  -- what a slice allows
local width, row = NARROW, 0  -- what the script just now gets of it: see `look`
local spent, spent_limit = 0, NONE
local due, on_loop = 0, true  -- until so much is spent, the clock need not be read, unless there is much to copy
local last = clock()
local seen = last
local hooks = {}

-- How many frames a coroutine has; asking for a frame costs its level, so it is not asked for one after the other.
local function height(co)
  local low, high = 0, 1
  while getinfo(co, high, "l") do
    low, high = high, high * 2
  end
  while high - low > 1 do
    local middle = (low + high) // 2
    if getinfo(co, middle, "l") then
      low = middle
    else
      high = middle
    end
  end
  return low
end

local function place_between(co, first, last)
  for level = first, last do
    local info = getinfo(co, level, "Sl")
    if not info then
      return nil
    elseif info.what ~= "C" and info.source ~= "=" .. HERE and info.currentline > 0 then
      return info.short_src .. ":" .. info.currentline .. ":"
    end
  end
end

-- Where a script's code stands on a stack: "name:line:", or nothing.
local function place(co, level)
  local where = place_between(co, level, level + 60)
  if not where and getinfo(co, level + 61, "l") then
    local last = height(co)
    where = place_between(co, math_max(level + 61, last - 20), last)
  end
  return where
end

local function die(why, co)
  dead, due = why, 0
  local where = co or running()
  dead_where = place(where, co and 0 or 2)
  dead_trace = traceback(where)
  last = 0
  error(LIMIT, 0)
end

-- Lets a coroutine run so many instructions until it is counted next: as many as it may at most, or as are left. They
-- count as spent from now on, so none of a coroutine that ends before its next count is missed. To be called last in a
-- hook: what the hook itself runs behind it would come off them.
local function grant(co)
  local n, left = width, spent_limit - spent
  if left < n then
    n = math_max(left, 1)
  end
  strides[co] = n
  spent = spent + n
  return sethook(co, hooks[n], "", n)
end

-- Asks whether the script may go on, and decides how far apart the next counts lie. One instruction may copy megabytes,
-- and what it took is known only behind it: so counts lie close together until many in a row have shown the script to
-- do little in between, and again from the first one that shows otherwise. `n`: what the hook that asks has counted.
local function look(n)
  if dead then
    error(LIMIT, 0)
  end
  local now = clock()
  local slow = now - seen > SLOW_S
  if now - last > OFTEN_S or now < last then
    last = now
    local why = K.host_check()
    if why then
      sethook(running(), hooks[1], "", 1)
      die(why)
    end
    now = clock()  -- the host answers only when Python's lock is free, which says nothing of the script
  end
  seen = now
  local steady = width == stride and (n or stride) == stride and not slow
  if steady and spent_limit == NONE then
    spent = spent + (n or 0)
    due = spent + 8 * stride
    return
  end
  due = steady and spent + 9 * stride < spent_limit and spent + 9 * stride or 0
  if spent > spent_limit or n and spent == spent_limit then
    sethook(running(), hooks[1], "", 1)
    die("instructions")
  elseif slow then
    width, row = NARROW, 0
  elseif n and width < stride then
    row = row + 1
    if row > ROW then
      width, row = math_min(4 * width, stride), 0
    end
  end
  local co = running()
  if n or strides[co] and strides[co] ~= width then
    return grant(co)
  end
end

-- Asks whether the script may go on; for every function that may take long.
local function tick()
  if spent >= due or (on_loop or memory("count") >= MUCH) and clock() - seen > OFTEN_S then
    look()
  end
end
K.tick = tick

-- The count hook for every n instructions; one for each n, since asking for it would take longer than all the rest.
-- Reading the clock is a system call: in a thread, and with little in memory to copy, not every count needs it. Lua
-- counts what the hook itself runs, too, so that comes off what the script had.
setmetatable(hooks, { __index = function(_, n)
  local little, much = n - OWN, n - (n == LOOP_STRIDE and OWN_ON_LOOP or OWN_MUCH)
  local function narrow()
    return look(n)
  end
  local function wide()
    if spent >= due then
      return look(n)
    elseif not on_loop and memory("count") < MUCH then
      spent = spent + little
      return
    elseif clock() - seen > OFTEN_S then
      return look(n)
    end
    spent = spent + much
  end
  hooks[n] = n < LOOP_STRIDE and narrow or wide
  return hooks[n]
end })
for _, n in next, { 1, NARROW, 4 * NARROW, 16 * NARROW, LOOP_STRIDE, stride } do
  local _ = hooks[n]  -- made now: there may be no memory left when it is wanted
end

-- Counts work that a C function is about to do, `cost` in instructions.
function K.charge(cost)
  spent = spent + cost
  return tick()
end

-- Lets a coroutine that was counted less often, since the script took longer, be so no more.
local function keep_up(co)
  if strides[co] and strides[co] > width then
    grant(co)
  end
end

-- Notes that a text of so many bytes was made: what follows may copy it.
function K.made(size)
  if size > LARGE then
    width, row, due = NARROW, 0, 0
    keep_up(running())
  end
end

-- Passes on what a protected call answered, unless a limit was hit inside it.
local function check(ok, ...)
  if dead then
    error(LIMIT, 0)
  end
  if not ok then
    local message = ...
    if message == NO_MEMORY then
      die(MEMORY)
    elseif type(message) == "string" and sub(message, 1, #HERE) == HERE then
      return false, match(message, "^%[host%]:%d+: (.*)$") or message
    end
  end
  return ok, ...
end
K.check = check

local function leave(co, depth, ...)
  depths[co] = depth
  return check(...)
end

-- Nested no deeper than C would: in a coroutine each error that is caught gives back the C stack, so Lua's own bound
-- does not hold, and to unwind a hundred thousand of them takes seconds.
function K.pcall(f, ...)
  local co = running()
  local depth = depths[co] or 0
  if depth >= PCALLS then
    return false, "stack overflow (" .. PCALLS .. " calls of pcall are within each other)"
  end
  depths[co] = depth + 1
  return leave(co, depth, real_pcall(f, ...))
end

-- Calls the handler after the stack is gone, so that it may ask the host like any other code.
local function handled(handler, ok, ...)
  if ok then
    return true, ...
  end
  local _, answer = K.pcall(handler, ...)
  return false, answer
end

function K.xpcall(f, handler, ...)
  if type(handler) ~= "function" then
    error("bad argument #2 to 'xpcall' (function expected, got " .. type(handler) .. ")", 2)
  end
  return handled(handler, K.pcall(f, ...))
end

local function watch(co)
  grant(co)
  return co
end

function K.create(f)
  if type(f) ~= "function" then
    error("bad argument #1 to 'create' (function expected)", 2)
  end
  return watch(create(f))
end

-- Hands a request of a coroutine inside on to the one around it, until the host has answered.
local function settle(co, ok, first, ...)
  if ok and first == TAG and not dead then
    waiting[co] = true
    local answer = yield(TAG, ...)
    waiting[co] = nil
    return settle(co, resume(co, answer))
  end
  if not ok and not dead and first == NO_MEMORY then
    die(MEMORY, co)
  end
  if width < stride then
    keep_up(running())
  end
  return check(ok, first, ...)
end

function K.resume(co, ...)
  if type(co) ~= "thread" then
    error("bad argument #1 to 'resume' (coroutine expected)", 2)
  end
  tick()
  if waiting[co] or tops[co] then
    return false, "cannot resume non-suspended coroutine"
  end
  if strides[co] and strides[co] > width then
    keep_up(co)
  end
  return settle(co, resume(co, ...))
end

function K.close(co)
  if type(co) ~= "thread" then
    error("bad argument #1 to 'close' (coroutine expected)", 2)
  end
  local state = K.status(co)
  if state ~= "suspended" and state ~= "dead" then
    error("cannot close a " .. state .. " coroutine", 2)
  end
  return check(close(co))
end

local function unwrap(co, ok, ...)
  if ok then
    return ...
  end
  if status(co) == "dead" then
    K.close(co)
  end
  local message = ...
  error(message, 0)
end

function K.wrap(f)
  local co = K.create(f)
  return function(...)
    return unwrap(co, K.resume(co, ...))
  end
end

function K.status(co)
  if type(co) ~= "thread" then
    error("bad argument #1 to 'status' (coroutine expected)", 2)
  end
  if waiting[co] or (tops[co] and co ~= running()) then
    return "normal"
  end
  return status(co)
end

function K.running()
  local co = running()
  return co, tops[co] == true
end

function K.isyieldable()
  return not tops[running()] and isyieldable()
end

function K.yield(...)
  if tops[running()] then
    error("attempt to yield from outside a coroutine", 2)
  end
  return yield(...)
end

-- Ends the slice with a request and answers what the host answers, as bytes.
function K.request(where, id, method, payload)
  if not isyieldable() then
    error(where .. ": the host cannot be asked from inside a metamethod or closing value that Lua itself calls", 0)
  end
  return yield(TAG, id, method, payload)
end

-- Whether the script may have made a weak table. Collecting those takes time that grows with the square of their size,
-- in one go, and a metatable can be made weak at any time after it was set. So from the first one on, nothing of the
-- script runs on the loop.
local may_collect_slowly = false

function K.leave_loop()
  if may_collect_slowly then
    return
  elseif stride <= LOOP_STRIDE then
    K.request("setmetatable", 0, "leave_loop", K.pack_values("setmetatable", 0))
  end
  may_collect_slowly = true
end

-- Whether the running slice has a thread of its own.
function K.in_thread()
  return stride > LOOP_STRIDE
end

function K.collects_slowly()
  return may_collect_slowly
end

-- Code of the script -------------------------------------------------------------------------------------------------

local function compiled(ok, main, message)
  if ok then
    return main, message
  end
  return nil, main
end

-- Protected, since what is nested too deeply would come with a trace of the kernel's own.
function K.compile(source, name, env)
  return compiled(real_pcall(real_load, source, name, "t", env))
end

-- An error's text, told by a coroutine of its own because __tostring is the script's.
local function text_of(value)
  if type(value) == "string" then
    return value
  end
  local co = watch(create(function()
    local message = type(value) == "table" and not K.has_text(value) and rawget(value, "message")
    return type(message) == "string" and message or K.tostring(value)
  end))
  tops[co] = true
  local ok, text = resume(co)
  if ok and type(text) == "string" then
    return text
  end
  return "an error of type " .. type(value)
end

-- Where it failed; or where the callback begins, when a tail call has taken its frame.
local function place_of(co)
  local where = place(co, 0)
  local origin = not where and origins[co] and getinfo(origins[co], "S")
  if origin and origin.what ~= "C" and origin.source ~= "=" .. HERE then
    where = origin.short_src .. ":" .. origin.linedefined .. ":"
  end
  return where
end

local function failure(co, value)
  if not dead and value == NO_MEMORY then
    dead, dead_trace = MEMORY, traceback(co)
  end
  if dead then
    return "limit", dead, dead_where or place_of(co) or "", dead_trace or ""
  end
  local where, trace = place_of(co), traceback(co)
  local text = text_of(value)
  if not dead then
    real_pcall(close, co)
  end
  if dead then
    return "limit", dead, dead_where or where or "", dead_trace or trace
  end
  return "error", text, where or "", trace
end

local function lost(id, ...)
  threads[id] = nil
  return ...
end

local function report(id, ok, first, ...)
  local co = threads[id]
  if ok and first == TAG and not dead then
    return "request", ...
  end
  if ok and not dead then
    threads[id] = nil
    spent = spent - strides[co]  -- how much of its last stride it ran is not known
    return "done", first
  end
  return lost(id, failure(co, first))
end

-- Tells what became of a coroutine that ran out of memory so badly that not even that could be told.
function K.autopsy(id)
  local co = threads[id]
  if not co then
    return "limit", MEMORY, "", ""
  end
  return lost(id, failure(co, NO_MEMORY))
end

local function begin_slice(most)
  dead, dead_where, dead_trace = nil, nil, nil
  stride, width, due = most, math_min(width, most), 0
  on_loop = most <= LOOP_STRIDE
  last = clock()
  seen = last
end

local function start(id, most, body, ...)
  begin_slice(most)
  local co = watch(create(body))
  tops[co] = true
  threads[id], current = co, co
  return report(id, resume(co, ...))
end

K.start = start

-- The coroutine of which a slice runs.
function K.top()
  return current
end

-- Lets the next slice begin with nothing spent.
function K.renew(most)
  spent = 0
  begin_slice(most)
end

local function pack_answer(where, ...)
  return K.pack_values(where, select("#", ...), ...)
end

-- Begins to run a script's source; answers how the first slice ended.
function K.run(id, most, source, name)
  K.host_settle()
  begin_slice(most)
  local main, message = K.compile(source, name, K.env)
  if not main then
    return "syntax", message
  end
  return start(id, most, function()
    return pack_answer("return", main())
  end)
end

-- Begins to call a kept function with packed arguments.
function K.call(id, most, function_id, payload)
  K.host_settle()
  local f = K.kept_function(function_id)
  return start(id, most, function()
    origins[running()] = f
    K.made(#payload)
    return pack_answer("return", f(K.unpack_values(payload, 1)))
  end)
end

-- Writes out what the script has not.
function K.flush(id, most)
  K.host_settle()
  return start(id, most, function()
    return pack_answer("return", K.flush_files())
  end)
end

-- Goes on with the host's answer.
function K.proceed(id, most, answer)
  K.host_settle()
  begin_slice(most)
  local co = threads[id]
  current = co
  keep_up(co)
  return report(id, resume(co, answer))
end

function K.drop(id)
  threads[id] = nil
end

function K.set_instruction_limit(n)
  spent_limit = n > 0 and n or NONE
end

-- The frames of the coroutine that asks, for Debug.stackTrace; flat: function, file, line, ...
function K.frames()
  local out, level = {}, 0
  local co = K.asking
  while co and level < 200 do
    local info = getinfo(co, level, "nSl")
    if not info then
      break
    end
    if info.what ~= "C" and info.source ~= "=" .. HERE then
      out[#out + 1] = info.what == "main" and "main chunk" or info.name or "?"
      out[#out + 1] = info.short_src
      out[#out + 1] = tostring(info.currentline)
    end
    level = level + 1
  end
  return out
end

-- Lets go of all that the script made, so that closing the runtime is quick.
function K.wipe()
  for key in next, threads do
    threads[key] = nil
  end
  for key in next, K do
    K[key] = nil
  end
  strings.__index = nil
  collectgarbage()
  collectgarbage()
end
