-- What scripts of the original rely on and its documentation does not say. A case is a name, a script and its value.

--- a write makes the folders above
Tool.invoke("file_operations", {operation = "write", path = dir .. "/a/b/c.txt", input = "deep"})
return get("a/b/c.txt")
--> "deep"

--- mkdir takes recursive
local made = Tool.invoke("file_operations", {operation = "mkdir", path = dir .. "/x/y", recursive = true})
return {made.success, made.operation}
--> [true, "create_dir"]

--- ls, stat, cp and mv
put("one", "1")
local function run(operation, more)
  more.operation = operation
  return Tool.invoke("file_operations", more).success
end
return {run("ls", {path = dir}), run("dir", {path = dir}), run("stat", {path = dir .. "/one"}),
  run("info", {path = dir .. "/one"}), run("cp", {source_path = dir .. "/one", target_path = dir .. "/n/two"}),
  run("mv", {source_path = dir .. "/one", target_path = dir .. "/m/one"}), get("n/two"), get("m/one")}
--> [true, true, true, true, true, true, "1", "1"]

--- a failed write is an answer
local answer = Tool.invoke("file_operations", {operation = "write", path = "/etc/llmspell-none", input = "x"})
return {answer.success, answer.result.error_type, answer.error.code ~= nil, type(answer.message)}
--> [false, "security_violation", true, "string"]

--- a failed write for want of its input
local answer = Tool.invoke("file_operations", {operation = "write", path = dir .. "/x"})
return {answer.success, answer.result.error_type}
--> [false, "validation_error"]

--- a failed write over a folder
Tool.invoke("file-operations", {operation = "mkdir", path = dir .. "/f"})
local answer = Tool.invoke("file-operations", {operation = "write", path = dir .. "/f", input = "x"})
return {answer.success, answer.result.error_type}
--> [false, "execution_error"]

--- other operations raise
return (pcall(Tool.invoke, "file_operations", {operation = "read", path = dir .. "/none"}))
--> false

--- a denied write raises
local handle = Hook.register("BeforeToolExecution", function() return "no" end)
local ok, message = pcall(Tool.invoke, "file_operations", {operation = "write", path = dir .. "/x", input = "x"})
handle:unregister()
return {ok, tostring(message):match("denied") ~= nil}
--> [false, true]

--- an unknown parameter is ignored
return Tool.invoke("calculator", {operation = "evaluate", input = "2 + 2", precission = 3}).result.result
--> 4

--- an unknown option is ignored
return Tool.invoke("text_manipulator", {operation = "truncate", input = "abcdef", options = {max_length = 5, wide = true}}).success
--> true

--- unknown keys of an agent are ignored
return Agent.create({name = "later", model = "offline/rules", memory_kind = "none"}):get_config().name
--> "later"

--- unknown tools of an agent are left out
return Agent.create({name = "later2", allowed_tools = {"web_srch", "calculator"}}):get_config().allowed_tools
--> ["calculator"]

--- Hook.list has the script's own hooks
Hook.register("BeforeToolExecution", function() end, {name = "own"})
local names = {}
for _, entry in ipairs(Hook.list()) do
  if entry.name == "own" then names[#names + 1] = entry.name end
end
local foreign = false
for _, entry in ipairs(Hook.list()) do
  foreign = foreign or not entry.mine
end
return {#names, foreign}
--> [1, false]

--- one key space of workflows
State.save("workflow", "w1:s", {n = 1})
State.save("workflow:w1", "t", 2)
return {State.workflow_get("w1", "s").n, State.load("workflow", "w1:t"), State.list_keys("workflow:w1"), State.workflow_list("w1")}
--> [1, 2, ["s", "t"], ["s", "t"]]

--- one key space of agents and tools
State.agent_set("a1", "mood", "good")
State.save("tool", "t1:count", 3)
return {State.load("agent", "a1:mood"), State.tool_get("t1", "count"), State.list_keys("agent"), State.delete("agent", "a1:mood"), State.agent_get("a1", "mood") == nil}
--> ["good", 3, ["a1:mood"], true, true]

--- mathematics of older Lua
local function round(x) return tonumber(string.format("%.6f", x)) end
local fraction, exponent = math.frexp(10)
return {math.pow(2, 10), math.log10(1000), round(math.cosh(1)), round(math.sinh(1)), round(math.tanh(1)), fraction, exponent, math.ldexp(0.625, 4)}
--> [1024, 3, 1.543081, 1.175201, 0.761594, 0.625, 4, 10]

--- the envelope beside a file's text
put("text", "words")
local answer = Tool.invoke("file_operations", {operation = "read", path = dir .. "/text"})
local inner = answer.metadata.response
return {answer.text, inner.operation, inner.success, inner.result.size}
--> ["words", "read", true, 5]

--- the envelope beside data
local csv_answer = Tool.invoke("csv_analyzer", {operation = "analyze", input = csv})
local json_answer = Tool.invoke("json_processor", {operation = "query", input = '{"a": 1}', query = ".a"})
return {csv_answer.metadata.response.result.row_count, json_answer.metadata.response.success}
--> [3, true]

--- an event tells in which form it comes
local id = Event.subscribe("later.*")
Event.publish("later.one", {n = 1})
local event = Event.receive(id, 1000)
return {event.target_language, event.serialization_version, event.data.n}
--> ["lua", "1.0", 1]

--- a provider tells how much its model takes in
return Provider.get("openai").capabilities.max_context_tokens > 1000
--> true

--- many subscriptions and hooks
local ids = {}
for i = 1, 1000 do
  ids[i] = Event.subscribe("many." .. i)
end
local ok, message = pcall(Event.subscribe, "many.more")
for _, id in ipairs(ids) do
  Event.unsubscribe(id)
end
local handles = {}
for i = 1, 900 do
  handles[i] = Hook.register("ToolError", function() end)
end
for _, handle in ipairs(handles) do
  handle:unregister()
end
return {#ids, ok, tostring(message):match("1000") ~= nil, #handles}
--> [1000, false, true, 900]

--- own fields of modified data reach later hooks
local seen, after
local first = Hook.register("BeforeToolExecution", function(c)
  return {type = "modified", data = {parameters = {operation = "evaluate", input = "3 * 3"}, trace_tag = {id = 7}}}
end, "high")
local second = Hook.register("BeforeToolExecution", function(c) seen = c.data.trace_tag.id end, "low")
local third = Hook.register("AfterToolExecution", function(c) after = c.metadata.script.trace_tag.id end)
local result = calculate().result.result
first:unregister() second:unregister() third:unregister()
return {result, seen, after}
--> [9, 7, 7]

--- the data that a hook was given may be given back with more in it
local handle = Hook.register("BeforeToolExecution", function(c)
  c.data.seen_at = 5
  return {type = "modified", data = c.data}
end)
local result = calculate().result.result
handle:unregister()
return result
--> 4

--- a script's own tool hooks do not refuse its io and dofile
put("part.lua", "return 21 * 2")
local handle = Hook.register("BeforeToolExecution", function() return "nothing runs" end)
local value = dofile(dir .. "/part.lua")
put("other", "written")
local read = get("other")
local ok = pcall(calculate)
handle:unregister()
return {value, read, ok}
--> [42, "written", false]
