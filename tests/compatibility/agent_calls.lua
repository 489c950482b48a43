-- How agents are asked and what they answer. A case is a name, a script and, as JSON, what it returns.

--- invoke
return Agent.create({name = "a", type = "basic"}):invoke({text = "x"}).text
--> "BasicAgent 'a' received: x"

--- execute
return Agent.create({name = "a", type = "basic"}):execute({text = "x"}).text
--> "BasicAgent 'a' received: x"

--- execute-text
return Agent.create({name = "a", type = "basic"}):execute("x").text
--> "BasicAgent 'a' received: x"

--- execute-prompt
return Agent.create({name = "a", type = "basic"}):execute({prompt = "x"}).text
--> "BasicAgent 'a' received: x"

--- execute-input
return Agent.create({name = "a", type = "basic"}):execute({input = "x"}).text
--> "BasicAgent 'a' received: x"

--- execute-dot
local a = Agent.create({name = "a", type = "basic"}); return a.execute(a, "x").text
--> "BasicAgent 'a' received: x"

--- execute-async
return Agent.create({name = "a", type = "basic"}):executeAsync({text = "x"}).text
--> "BasicAgent 'a' received: x"

--- invoke-async
return Agent.create({name = "a", type = "basic"}):invokeAsync({text = "x"}).text
--> "BasicAgent 'a' received: x"

--- run
return Agent.create({name = "a", type = "basic"}):run("x").text
--> "BasicAgent 'a' received: x"

--- fields-of-the-answer
local r = Agent.create({name = "a"}):execute("hello"); return {r.success, r.output == r.text, #r.tool_calls, r.metadata.model, r.metadata.token_count > 0, r.metadata.execution_time_ms > 0, r.usage.total_tokens == r.metadata.token_count, r.finish_reason}
--> [true, true, 0, "rules", true, true, true, "stop"]

--- tool-calls-of-the-answer
local r = Agent.create({name = "a", tools = {"calculator"}}):execute("what is 2 + 2?"); local c = r.tool_calls[1]; return {r.text, c.tool_name, c.parameters.input, c.status}
--> ["2 + 2 = 4.", "calculator", "2 + 2", "completed"]

--- several-tools-at-once
local r = Agent.create({name = "a", tools = {"calculator"}}):execute('use calculator {"operation": "evaluate", "input": "1 + 1"}\nuse calculator {"operation": "evaluate", "input": "2 + 3"}'); return {#r.tool_calls, r.text}
--> [2, "1 + 1 = 2.\n2 + 3 = 5."]

--- a-denied-tool
Hook.register("BeforeToolExecution", function(context) return {type = "cancel", reason = "not today"} end); local r = Agent.create({name = "a", tools = {"calculator"}}):execute("what is 2 + 2?"); return {r.text, r.tool_calls[1].status}
--> ["calculator was denied: not today. I go on without it.", "denied"]

--- stream
local texts = {}; local a = Agent.create({name = "a"}); local r = a:invokeStream({text = "help"}, function(chunk) texts[#texts + 1] = chunk.text end); return {r.success, r.chunks_received == #texts, table.concat(texts) == r.text}
--> [true, true, true]

--- stream-snake
local count = 0; local a = Agent.create({name = "a"}); a:invoke_stream("help", function(chunk) count = count + 1 end); return count > 10
--> true

--- stream-kinds
local kinds = {}; local a = Agent.create({name = "a", tools = {"calculator"}}); a:stream("what is 2 + 2?", function(chunk) if kinds[#kinds] ~= chunk.kind then kinds[#kinds + 1] = chunk.kind end end); return kinds
--> ["tool_use", "tool_result", "text"]

--- stream-without-a-function
return try(function() local a = Agent.create({name = "a"}); a:invokeStream({text = "x"}) end):match("callback is missing") ~= nil
--> true

--- a-function-that-fails-ends-the-run
return try(function() local a = Agent.create({name = "a"}); a:stream("help", function() error("enough") end) end):match("enough") ~= nil
--> true

--- conversation
local a = Agent.create({name = "a", type = "basic"}); a:execute("x"); local c = a:get_conversation(); return {#c, c[1].role, c[1].content, a:conversation_length()}
--> [2, "user", "x", 2]

--- conversation-camel
local a = Agent.create({name = "a", type = "basic"}); a:execute("x"); a:clearConversation(); return a:conversationLength()
--> 0

--- add-message
local a = Agent.create({name = "a", type = "basic"}); a:add_message("user", "x"); a:addMessage("assistant", "y"); return a:getConversation()[2].content
--> "y"

--- add-message-wrong-role
local a = Agent.create({name = "a", type = "basic"}); return try(a.add_message, a, "boss", "x"):match("role 'boss' is none") ~= nil
--> true

--- state
local a = Agent.create({name = "a", type = "basic"}); return {a:get_state(), a:get_agent_state(), a:getAgentState(), a:is_healthy(), a:isHealthy()}
--> ["Ready", "Ready", "Ready", true, true]

--- metrics
local a = Agent.create({name = "a", tools = {"calculator"}}); a:execute("what is 2 + 2?"); local m = a:get_metrics(); return {m.requests_total, m.requests_failed, m.requests_active, m.tool_invocations, m.output_tokens > 0}
--> [1, 0, 0, 1, true]

--- performance
local a = Agent.create({name = "a"}); a:execute("x"); local p = a:getPerformance(); return {p.total_executions, p.success_rate, p.error_rate, p.avg_execution_time_ms > 0}
--> [1, 1.0, 0.0, true]

--- health
local h = Agent.create({name = "a"}):get_health(); return {h.status, #h.timestamp > 10}
--> ["healthy", true]

--- a-failed-run-is-told
local a = Agent.create({name = "a", model = "offline/nobody"}); local message = try(a.execute, a, "x"); return {message:match("no such model") ~= nil, a:get_last_error() ~= nil, a:is_healthy()}
--> [true, true, false]

--- tools
local a = Agent.create({name = "a"}); return {a:has_tool("calculator"), a:hasTool("nothing"), type(a:discover_tools()) == "table" and #a:discover_tools() >= 6, a:get_tool_metadata("calculator").name, a:getToolMetadata("nothing") == nil, #a:get_all_tool_metadata() >= 6}
--> [true, false, true, "calculator", true, true]

--- invoke-tool
return Agent.create({name = "a"}):invokeTool("calculator", {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- invoke-tool-snake
return Agent.create({name = "a"}):invoke_tool("calculator", {operation = "evaluate", input = "2 + 2"}).result.result
--> 4

--- tostring
return tostring(Agent.create({name = "a"}))
--> "a"

--- fields
local a = Agent.create({name = "a"}); return {a.name, a.id, a.type, a.model}
--> ["a", "agent:a", "llm", "offline/rules"]

--- no-text
return try(function() Agent.create({name = "a"}):execute({}) end):match("the text is missing") ~= nil
--> true

--- no-pictures
return try(function() Agent.create({name = "a"}):execute({text = "x", image = {base64 = "eA=="}}) end):match("agents take texts only") ~= nil
--> true

--- parameters-go-along
return Agent.create({name = "a", type = "basic"}):execute({text = "x", parameters = {a = 1}, temperature = 0.1}).text
--> "BasicAgent 'a' received: x"

--- hooks-at-agents
local seen = {}; Hook.register("BeforeAgentExecution", function(context) seen[#seen + 1] = context.point end); Hook.register("AfterAgentExecution", function(context) seen[#seen + 1] = context.point end); Hook.register("BeforeAgentInit", function(context) seen[#seen + 1] = context.point end); Hook.register("AfterAgentInit", function(context) seen[#seen + 1] = context.point end); Agent.create({name = "a", type = "basic"}):execute("x"); return #seen
--> 4

--- hooks-change-what-an-agent-is-asked
Hook.register("BeforeAgentExecution", function(context) return {type = "modified", data = {text = "y"}} end); return Agent.create({name = "a", type = "basic"}):execute("x").text
--> "BasicAgent 'a' received: y"

--- hooks-at-models
local seen = 0; Hook.register("BeforeModelCall", function(context) seen = seen + 1 end); Hook.register("model:after_call", function(context) seen = seen + 1 end); Agent.create({name = "a"}):execute("x"); return seen
--> 2

--- json-answers-are-parsed
local r = Agent.create({name = "a", model = "offline/echo"}):execute('{"result": {"n": 1}, "success": false}'); return {r.data.result.n, r.result.n, r.success, r._raw_text == r.text}
--> [1, 1, false, true]

--- save-and-load-state
local a = Agent.create({name = "a", type = "basic"}); a:execute("x"); a:save_state(); a:clear_conversation(); return {a:conversation_length(), a:load_state(), a:conversation_length(), a:get_conversation()[1].content, a:delete_state(), a:delete_state(), a:load_state()}
--> [0, true, 2, "x", true, false, false]

--- save-and-load-state-camel
local a = Agent.create({name = "b", tools = {"calculator"}}); a:execute("what is 1 + 1?"); a:saveState(); a:destroy(); local b = Agent.create({name = "b"}); return {b:loadState(), b:conversation_length(), b:deleteState()}
--> [true, 4, true]
