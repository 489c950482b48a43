-- How agents are made and found. A case is a name, a script and, as JSON, what it returns.

--- builder
return Agent.builder():name("a1"):model("offline/rules"):build().name
--> "a1"

--- builder-colon
return Agent:builder():name("a2"):model("offline/rules"):build().name
--> "a2"

--- builder-dots
local b = Agent.builder(); b.name(b, "a3"); b.model(b, "offline/rules"); return b.build(b).name
--> "a3"

--- builder-every-setter
local a = Agent.builder():name("a4"):type("llm"):description("d"):provider("offline"):model("rules"):system_prompt("s"):temperature(0.5):max_tokens(99):max_conversation_length(10):allow_tool("calculator"):allowed_tools({"calculator", "csv_analyzer"}):max_execution_time(20):max_memory_mb(64):max_tool_calls(3):max_recursion_depth(2):custom_config({max_conversation_length = 12}):resource_limits({max_tool_calls = 4}):options({}):build(); local c = a:get_config(); return {c.model, c.system_prompt, c.temperature, c.max_tokens, c.max_conversation_length, #c.allowed_tools, c.max_execution_time, c.max_tool_calls, c.description}
--> ["offline/rules", "s", 0.5, 99, 12, 2, 20, 4, "d"]

--- builder-camel
local a = Agent.builder():name("a5"):model("offline/rules"):systemPrompt("s"):maxTokens(9):maxConversationLength(8):allowTool("calculator"):allowedTools({"calculator"}):maxExecutionTime(5):maxToolCalls(2):customConfig({}):resourceLimits({}):build(); return a:getConfig().max_tokens
--> 9

--- builder-no-model-is-the-default
return Agent.builder():name("a6"):build().model
--> "offline/rules"

--- builder-names-itself
return Agent.builder():model("offline/rules"):build().name:match("^agent_%x%x%x%x%x%x%x%x$") ~= nil
--> true

--- builder-model-without-provider
return Agent.builder():name("a7"):model("rules"):build().model
--> "offline/rules"

--- builder-shared-by-two
local b = Agent.builder():model("offline/rules"); local x = b:name("a8"):build(); local y = b:name("a9"):build(); return {x.name, y.name}
--> ["a8", "a9"]

--- create
return Agent.create({name = "b1", model = "offline/rules"}).name
--> "b1"

--- create-colon
return Agent:create({name = "b2", model = "offline/rules"}).name
--> "b2"

--- create-braces
return Agent.create{name = "b3", model = "offline/rules"}.name
--> "b3"

--- create-async
return Agent.createAsync({name = "b4", model = "offline/rules"}).name
--> "b4"

--- create-async-snake
return Agent.create_async({name = "b5", model = "offline/rules"}).name
--> "b5"

--- create-provider-model
return Agent.create({name = "b6", provider_model = "offline/echo"}).model
--> "offline/echo"

--- create-model-table
return Agent.create({name = "b7", model = {provider = "offline", model_id = "rules", temperature = 0.3, max_tokens = 7}}):get_config().max_tokens
--> 7

--- create-model-with-slashes
return try(Agent.create, {name = "b8", model = "offline/a/b"})
--> "fine"

--- create-full-config
local a = Agent.create({name = "b9", agent_type = "llm", description = "d", model = {provider = "offline", model_id = "rules"}, allowed_tools = {"calculator"}, custom_config = {system_prompt = "s", max_conversation_length = 5}, resource_limits = {max_execution_time_secs = 60, max_memory_mb = 128, max_tool_calls = 10, max_recursion_depth = 3}}); local c = a:get_config(); return {c.system_prompt, c.max_conversation_length, c.max_execution_time, c.max_tool_calls, c.allowed_tools}
--> ["s", 5, 60, 10, ["calculator"]]

--- create-basic
return Agent.create({name = "b10", agent_type = "basic"}).type
--> "basic"

--- create-tools-by-alias
return Agent.create({name = "b11", tools = {"csv-analyzer-tool", "file-operations"}}):get_config().allowed_tools
--> ["csv_analyzer", "file_operations"]

--- create-empty-tools
return #Agent.create({name = "b12", allowed_tools = {}}):get_config().allowed_tools
--> 0

--- create-nothing
return Agent.create({}).type
--> "llm"

--- register
return Agent.register({name = "c1", agent_type = "llm", model = {provider = "offline", model_id = "rules"}})
--> "c1"

--- register-then-get
Agent.register({name = "c2", agent_type = "basic"}); return Agent.get("c2"):execute("x").text
--> "BasicAgent 'c2' received: x"

--- create-from-template
return Agent.create_from_template("c3", "basic", {description = "d"}).name
--> "c3"

--- create-from-template-camel
return Agent.createFromTemplate("c4", "basic").name
--> "c4"

--- get-nothing
return Agent.get("nobody") == nil
--> true

--- get-the-same
local a = Agent.create({name = "c5", type = "basic"}); return Agent.get("c5") == a
--> true

--- list
Agent.create({name = "c6", type = "basic"}); return Agent.list()[1].name
--> "c6"

--- list-instances
Agent.create({name = "c7", type = "basic"}); Agent.create({name = "c8", type = "basic"}); return Agent.list_instances()
--> ["c7", "c8"]

--- list-instances-camel
Agent.create({name = "c9", type = "basic"}); return Agent.listInstances()
--> ["c9"]

--- agents-go-with-their-script
return #Agent.list()
--> 0

--- discover
local found = {}; for _, kind in ipairs(Agent.discover()) do found[#found + 1] = kind.type end; return found
--> ["basic", "delegating", "llm", "mesh", "pipeline", "pool", "saga", "supervisor", "swarm"]

--- list-templates
return Agent.list_templates()
--> ["basic", "delegating", "llm", "mesh", "pipeline", "pool", "saga", "supervisor", "swarm"]

--- list-templates-camel
return Agent.listTemplates()
--> ["basic", "delegating", "llm", "mesh", "pipeline", "pool", "saga", "supervisor", "swarm"]

--- get-info
local info = Agent.get_info("llm"); return {info.name, info.category, #info.required_parameters, #info.description > 10}
--> ["llm", "agent", 0, true]

--- get-info-unknown
return try(Agent.getInfo, "nobody"):match("there are basic, delegating, llm, mesh") ~= nil
--> true

--- get-details
Agent.create({name = "d1", type = "basic"}); local d = Agent.get_details("d1"); return {d.name, d.state, d.metrics.requests_total, d.config.agent_type}
--> ["d1", "Ready", 0, "basic"]

--- get-details-camel
Agent.create({name = "d2", type = "basic"}); return Agent.getDetails("d2").id
--> "agent:d2"

--- list-capabilities
local c = Agent.list_capabilities(); return {c.llm.capabilities.tools, c.basic.capabilities.tools, c.llm.capabilities.supports_streaming}
--> [true, false, true]

--- discover-by-capability
return {Agent.discover_by_capability("tools"), Agent.discoverByCapability("context")}
--> [["llm", "supervisor"], ["basic", "llm", "supervisor"]]

--- the-name-is-taken
Agent.create({name = "e1", type = "basic"}); return try(Agent.create, {name = "e1"}):match("there is one of this name") ~= nil
--> true

--- an-unknown-key-is-left-out
return Agent.create({name = "e0", sistem_prompt = "x", resource_limits = {max_cpu = 3}}):get_config().name
--> "e0"

--- a-wrong-type
return try(Agent.create, {name = "e2", temperature = "hot"}):match("Agent.create: temperature: ") ~= nil
--> true

--- an-unknown-provider
return try(Agent.create, {name = "e3", model = "nobody/x"}):match("model 'nobody/x'") ~= nil
--> true

--- an-unknown-tool-is-left-out
return Agent.create({name = "e4", allowed_tools = {"nothing", "calculator"}}):get_config().allowed_tools
--> ["calculator"]

--- an-unknown-kind
return try(Agent.create, {name = "e5", type = "lm"}):match("did you mean llm") ~= nil
--> true

--- remove
Agent.create({name = "f1", type = "basic"}); return {Agent.remove("f1"), Agent.remove("f1"), Agent.get("f1") == nil}
--> [true, false, true]

--- destroy
local a = Agent.create({name = "f2", type = "basic"}); return {a:destroy(), a:destroy(), a:get_state()}
--> [true, false, "Terminated"]

--- the-name-is-free-again
Agent.create({name = "f3", type = "basic"}):destroy(); return Agent.create({name = "f3", type = "basic"}).name
--> "f3"

--- a-key-is-never-told
local a = Agent.create({name = "g1", type = "basic", api_key = "sk-secret"}); return JSON.stringify({a:get_config(), Agent.get_details("g1")}):find("sk-secret", 1, true) == nil
--> true
