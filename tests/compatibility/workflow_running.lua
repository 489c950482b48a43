-- How workflows run and what they answer. A case is a name, a script and, as JSON, what it returns.

--- execute-styles
local w = Workflow.sequential({name = "a1", steps = {{name = "s", execute = function(c) return (c.input or {}).n or 0 end, input = "{{input}}"}}}); return {w:execute({n = 1}).output, w.execute({n = 2}).output, w:run({n = 3}).output, w:executeAsync({n = 4}).output, w:execute_async({n = 5}).output}
--> [1, 2, 3, 4, 5]

--- execute-by-the-global
local w = Workflow.sequential({name = "a2", steps = {{name = "s", execute = function() return 7 end}}}); return {Workflow.execute(w).output, Workflow.execute("a2", {}).output, Workflow.executeAsync(w.id).output, Workflow.execute({type = "sequential", steps = {{name = "s", execute = function() return 8 end}}}).output}
--> [7, 7, 7, 8]

--- execute-none
return try(Workflow.execute, "nothing"):match("there is no workflow 'nothing'") ~= nil
--> true

--- the-result
local w = Workflow.sequential({name = "a3", steps = {{name = "s", tool = "calculator", input = sum}}}); local r = w:execute(); return {r.success, type(r.text), r.error == nil, type(r.duration_ms), r.data.s.result, r.metadata.extra.workflow_type, r.metadata.extra.workflow_name, r.metadata.extra.execution_id == w:get_execution_id(), r.metadata.extra.agent_outputs.s.result, type(r.metadata.execution_time_ms), #r.media, #r.tool_calls}
--> [true, "string", true, "number", 4, "sequential", "a3", true, 4, "number", 0, 0]

--- the-result-of-a-parallel-one
local w = Workflow.parallel({name = "a4", steps = {{name = "x", execute = function() return 1 end}, {name = "y", execute = function() return 2 end}}}); local e = w:execute().metadata.extra; return {e.total_branches, e.successful_branches, e.failed_branches, e.stopped_early}
--> [2, 2, 0, false]

--- the-result-of-a-loop
local w = Workflow.loop({name = "a5", iterator = {collection = {1, 2}}, body = {{name = "s", execute = function(c) return c.current_item end}}}); local e = w:execute().metadata.extra; return {e.total_iterations, e.completed_iterations, e.break_reason}
--> [2, 2, "exhausted"]

--- the-result-of-a-conditional-one
local w = Workflow.conditional({name = "a6", branches = {{name = "yes", condition = "always", steps = {{name = "s", execute = function() return 1 end}}}}}); local e = w:execute().metadata.extra; return {e.matched_branches, e.executed_branches}
--> [["yes"], ["yes"]]

--- a-step-that-fails
local w = Workflow.sequential({name = "b1", steps = {{name = "ok", execute = function() return 1 end}, {name = "bad", execute = function() error("boom") end}}}); local r = w:execute(); return {r.success, r.status, r.error:match("stage bad: .*boom") ~= nil, r.data.ok}
--> [false, "failed", true, 1]

--- an-error-names-file-and-line
local w = Workflow.sequential({name = "b2", steps = {{name = "bad", execute = function() error("boom") end}}}); return w:execute().error:match("old.lua:1: boom") ~= nil
--> true

--- a-step-that-says-that-it-failed
local w = Workflow.sequential({name = "b3", steps = {{name = "bad", execute = function() return {success = false, error = "no luck"} end}}}); local r = w:execute(); return {r.success, r.error:match("no luck") ~= nil}
--> [false, true]

--- a-step-that-says-that-it-succeeded
local w = Workflow.sequential({name = "b4", steps = {{name = "s", execute = function() return {success = true, output = 5} end}}}); return w:execute().output
--> 5

--- on-error-of-a-step
local w = Workflow.sequential({name = "b5", steps = {{name = "s", execute = function() error("boom") end, on_error = function(message) return {success = true, output = message:match("boom")} end}}}); return w:execute().output
--> "boom"

--- the-strategy-continue
local w = Workflow.sequential({name = "b6", error_strategy = "continue", steps = {{name = "bad", execute = function() error("boom") end}, {name = "s", execute = function() return 2 end}}}); local r = w:execute(); return {r.success, r.status, r.output, r.failed_steps}
--> [true, "partially_completed", 2, ["bad"]]

--- retries-of-a-step
local n = 0; local w = Workflow.sequential({name = "b7", steps = {{name = "s", retry = {attempts = 3, delay_s = 0}, execute = function() n = n + 1; if n < 3 then error("not yet") end return n end}}}); return w:execute().output
--> 3

--- compensation
local undone = {}; local w = Workflow.sequential({name = "b8", error_strategy = "compensate", steps = {{name = "a", execute = function() return 1 end, compensate = function() undone[#undone + 1] = "a" end}, {name = "bad", execute = function() error("boom") end}}}); local r = w:execute(); return {r.success, r.status, undone}
--> [false, "compensated", ["a"]]

--- a-denial-is-raised
Hook.register("BeforeToolExecution", function() return {type = "cancel", reason = "not today"} end, {kind = "guard"}); local w = Workflow.sequential({name = "b9", steps = {{name = "s", tool = "calculator", input = sum}}}); return try(function() return w:execute() end):match("not today") ~= nil
--> true

--- references
local w = Workflow.sequential({name = "c1", steps = {{name = "one", tool = "calculator", input = {operation = "evaluate", input = "{{input.n}} + 1"}}, {name = "two", tool = "text_manipulator", input = {operation = "uppercase", input = "r={{step:one:output.result}}"}}}}); return w:execute({n = 2}).output.result
--> "R=3.0"

--- agents-and-workflows-as-steps
Agent.builder():name("asked"):type("basic"):build(); local inner = Workflow.sequential({name = "inner", steps = {{name = "s", execute = function(c) return c.input end, input = "{{input.x}}"}}}); local w = Workflow.sequential({name = "c2", steps = {{name = "ask", type = "agent", agent = "asked", input = "hello"}, {name = "in", type = "workflow", workflow = inner, input = {x = 9}}}}); local r = w:execute(); return {type(r.data.ask), r.data["in"]}
--> ["string", 9]

--- an-agent-itself
local agent = Agent.builder():name("held"):type("basic"):build(); local w = Workflow.sequential({steps = {{name = "ask", type = "agent", agent = agent, input = "hello"}}}); return type(w:execute().output)
--> "string"

--- what-a-function-is-given
local w = Workflow.sequential({name = "c3", steps = {{name = "one", execute = function() return 1 end}, {name = "two", parameters = {p = 2}, execute = function(c) return {c.parameters.p, c.results.one, c.steps.one.success, c.steps.one.output, c:get_output("one"), c.step_name, c.workflow_name, c.execution_id ~= nil} end}}}); return w:execute().output
--> [2, 1, true, 1, 1, "two", "c3", true]

--- what-steps-share
local w = Workflow.sequential({name = "c4", shared = {n = 1}, steps = {{name = "one", execute = function(c) c:set_shared("n", c.shared.n + 1) end}, {name = "two", execute = function(c) return {c:get_shared("n"), c.n} end}}}); return w:execute().output
--> [2, 2]

--- outputs
local w = Workflow.sequential({name = "d1", steps = {{name = "one", execute = function() return 1 end}, {name = "two", execute = function() return 2 end}}}); w:execute(); return {w:get_output("one"), w:getOutput("none") == nil, w:get_all_outputs(), w:getAllOutputs().two, #w:list_outputs(), #w:listOutputs(), w:clear_outputs().deleted, #w:list_outputs()}
--> [1, true, {"one": 1, "two": 2}, 2, 2, 2, 2, 0]

--- outputs-in-the-state
local w = Workflow.sequential({name = "d2", steps = {{name = "one", execute = function() return 1 end}}}); w:execute(); local id = w:get_execution_id(); return {State.workflow_get(id, "one").output, State.workflow_list(id)}
--> [1, ["one"]]

--- no-execution-id-before-the-first-run
local w = Workflow.sequential({name = "d3", steps = {{name = "one", execute = function() return 1 end}}}); return try(function() return w:get_execution_id() end):match("has not run yet") ~= nil
--> true

--- state-of-its-own
local w = Workflow.sequential({name = "d4", steps = {{name = "one", execute = function() return 1 end}}}); w:set_state("k", {1}); w:setState("j", 2); return {w:get_state("k"), w:getState("j"), w:get_state("none") == nil}
--> [[1], 2, true]

--- callbacks
local seen = {}; local w = Workflow.sequential({name = "d5", steps = {{name = "s", execute = function(c) if c.input.bad then error("boom") end return 1 end, input = "{{input}}"}}}); w:on_before_execute(function(t) seen[#seen + 1] = "before " .. t.workflow_name end); w:onAfterExecute(function(t) seen[#seen + 1] = "after " .. tostring(t.result.success) end); w:on_error(function(t) seen[#seen + 1] = "error" end); w:execute({}); w:execute({bad = true}); return seen
--> ["before d5", "after true", "before d5", "error", "after false"]

--- info-and-metrics
local w = Workflow.sequential({name = "e1", steps = {{name = "s", execute = function() return 1 end}}}); w:execute(); w:execute(); local m = w:get_metrics(); return {w:get_info(), m.workflow_id, m.execution.total_executions, m.execution.failed_executions, w:getMetrics().execution.successful_executions}
--> [{"id": "e1", "name": "e1", "type": "sequential"}, "e1", 2, 0, 2]

--- validate
local w = Workflow.sequential({name = "e2", steps = {{name = "s", execute = function() return 1 end}}}); local v = w:validate(); return {v.valid, v.workflow_id, #v.warnings, #v.errors}
--> [true, "e2", 0, 0]

--- debug
local w = Workflow.sequential({name = "e3", steps = {{name = "s", tool = "calculator", input = sum}}}); local d = w:debug(); return {d.name, d.definition.stages[1].address, d.metrics.execution.total_executions}
--> ["e3", "tool:calculator", 0]

--- emit
local w = Workflow.sequential({name = "e4", steps = {{name = "s", execute = function() return 1 end}}}); local got; local id = Event.subscribe("workflow.**"); local r = w:emit("done", {n = 1}); local e = Event.receive(id, 1000); return {r.success, r.workflow_id, r.event_name, e ~= nil}
--> [true, "e4", "workflow.e4.done", true]

--- destroy
local w = Workflow.sequential({name = "e5", steps = {{name = "s", execute = function() return 1 end}}}); return {w:remove(), Workflow.has("e5"), tostring(w)}
--> [true, false, "e5"]

--- the-address-of-a-workflow-in-a-step
Workflow.sequential({name = "e6", steps = {{name = "s", execute = function() return 3 end}}}); return Workflow.sequential({steps = {{name = "in", workflow = "e6"}}}):execute().output
--> 3
