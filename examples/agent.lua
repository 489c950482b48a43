-- An agent that works with tools over real files, while a guard decides what it may do to them.
--
--   llmspell run examples/agent.lua                       from the folder above examples/
--   llmspell run examples/agent.lua -- --model openai/gpt-4o-mini
--
-- Without a key the model is offline/rules: no model, but rules that use tools when told to. With OPENAI_API_KEY or
-- another provider's key in the environment the same script asks a real one; "llmspell provider list" shows which.

local data = (arg[0]:match("^(.*)/") or ".") .. "/data/"
local model = ARGS.model or Provider.default_model()

-- The agent may use three tools. What it does with them goes through the same hooks as everybody's calls.
local agent = Agent.builder()
  :name("analyst")
  :model(model)
  :system_prompt("You are an analyst. Use your tools to look at files and to compute; answer in one or two sentences.")
  :allowed_tools({"file_operations", "csv_analyzer", "calculator"})
  :max_tool_calls(10)
  :build()
print("model: " .. agent.model)

-- A guard: this script's files may be read and written, never deleted. The model is told "denied", and goes on.
Hook.register("BeforeToolExecution", function(context)
  if context.data.parameters.operation == "delete" then
    return {type = "cancel", reason = "the data are kept"}
  end
end, {name = "keep", kind = "guard", match = "file_operations"})

-- Events tell of every operation that ends. This script asks for them at its end.
local ended = Event.subscribe({"agent.completed", "model.completed", "tool.completed", "tool.cancelled"})

local function show(question, answer)
  print("")
  print("> " .. question)
  for _, call in ipairs(answer.tool_calls) do
    print("  [" .. call.tool_name .. " " .. call.status .. "]")
  end
  print(answer.text)
end

local function ask(question)
  local answer = agent:execute(question)
  show(question, answer)
  return answer
end

local sum = ask("what is 120 * 4.5?")

-- Several tools in one answer run side by side.
ask("list " .. data .. " and read " .. data .. "targets.json")

ask("delete " .. data .. "sales.csv")
local still = Tool.invoke("file_operations", {operation = "exists", path = data .. "sales.csv"}).result.exists
print("sales.csv is still there: " .. tostring(still))

-- The answer comes in chunks to whoever wants to show it as it is written.
local chunks = 0
local question = "summarise " .. data .. "targets.json"
local streamed = agent:stream(question, function(chunk)
  if chunk.kind == "text" then
    chunks = chunks + 1
  end
end)
show(question, streamed)
print(chunks > 1 and "(it came in pieces)" or "(it came at once)")

local counts = {}
local event = Event.receive(ended, 0)
while event do
  counts[event.event_type] = (counts[event.event_type] or 0) + 1
  event = Event.receive(ended, 0)
end
print("")
for _, topic in ipairs({"agent.completed", "model.completed", "tool.completed", "tool.cancelled"}) do
  print(string.format("%-16s %d", topic, counts[topic] or 0))
end

local metrics = agent:get_metrics()
print("")
print(string.format("asked %d times, %d tools used, %d tokens", metrics.requests_total, metrics.tool_invocations,
  metrics.input_tokens + metrics.output_tokens))
return sum.text
