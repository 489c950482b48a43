-- How workflows are made and found. A case is a name, a script and, as JSON, what it returns.

--- builder-sequential
local w = Workflow.builder():name("a1"):description("d"):sequential():add_step({name = "s", type = "tool", tool = "calculator", input = sum}):error_strategy("fail_fast"):timeout_ms(5000):build(); return {w.id, w.name, w.type, w.description}
--> ["a1", "a1", "sequential", "d"]

--- builder-colon
return Workflow:builder():name("a2"):sequential():add_step({name = "s", tool = "calculator", input = sum}):build().type
--> "sequential"

--- builder-camel
local w = Workflow.builder():name("a3"):sequential():addStep({name = "s", tool = "calculator", input = sum}):errorStrategy("continue"):timeoutMs(5000):build(); return w:getInfo()
--> {"id": "a3", "name": "a3", "type": "sequential"}

--- builder-without-a-type
return try(function() return Workflow.builder():name("a4"):build() end):match("Workflow type not specified")
--> "Workflow type not specified"

--- builder-names-itself
return Workflow.builder():sequential():add_step({tool = "calculator", input = sum}):build().name:match("^workflow_%x%x%x%x%x%x%x%x$") ~= nil
--> true

--- builder-parallel-a-branch-for-each-step
local w = Workflow.builder():name("a5"):parallel():add_step({name = "x", execute = function() return 1 end}):add_step({name = "y", execute = function() return 2 end}):max_concurrency(2):build(); return w:execute().output
--> {"x": 1, "y": 2}

--- builder-condition-then-and-else
local b = function(value) return Workflow.builder():conditional():condition({type = "shared_data_equals", key = "k", value = value}):add_then_step({name = "t", execute = function() return "then" end}):add_else_step({name = "e", execute = function() return "else" end}):build() end; local w = b(1); w:set_shared_data("k", 1); return {w:execute().output, b(2):execute().output}
--> ["then", "else"]

--- builder-condition-always-and-never
local b = function(kind) return Workflow.builder():conditional():condition({type = kind}):add_then_step({name = "t", execute = function() return "then" end}):add_else_step({name = "e", execute = function() return "else" end}):build():execute().output end; return {b("always"), b("never")}
--> ["then", "else"]

--- builder-condition-exists
local w = Workflow.builder():conditional():condition({type = "shared_data_exists", key = "k"}):add_then_step({name = "t", execute = function() return "then" end}):add_else_step({name = "e", execute = function() return "else" end}):build(); return w:execute().output
--> "else"

--- builder-add-branch
local w = Workflow.builder():conditional():add_branch("never", {{name = "a", execute = function() return "a" end}}):add_branch({type = "always"}, {{name = "b", execute = function() return "b" end}}):build(); return w:execute().output
--> "b"

--- builder-loop-over-a-range
local w = Workflow.builder():name("a6"):loop():with_range({start = 1, ["end"] = 7, step = 2}):add_step({name = "s", execute = function(c) return c.current_value end}):build(); return w:execute().output
--> [1, 3, 5]

--- builder-loop-range-by-default
local w = Workflow.builder():loop_workflow():with_range({}):add_step({name = "s", execute = function(c) return c.current_index end}):build(); return #w:execute().output
--> 9

--- builder-loop-over-a-collection
local w = Workflow.builder():loop():with_collection({"a", "b"}):add_step({name = "s", execute = function(c) return c.current_item .. c.current_index .. c.total_iterations end}):build(); return w:execute().output
--> ["a02", "b12"]

--- builder-loop-while
local w = Workflow.builder():loop():with_while("loop_index < 2"):max_iterations(9):add_step({name = "s", execute = function(c) return c.current_index end}):build(); return w:execute().output
--> [0, 1]

--- builder-loop-condition
local n = 0; local w = Workflow.builder():loop():loop_condition(function() n = n + 1; return n < 4 end):max_iterations(9):add_step({name = "s", execute = function() return n end}):build(); return w:execute().output
--> [1, 2, 3]

--- builder-loop-hard-limit
local w = Workflow.builder():loop():with_while("true"):max_iterations(3):add_step({name = "s", execute = function(c) return c.current_index end}):build(); local r = w:execute(); return {r.output, r.break_reason}
--> [[0, 1, 2], "max_iterations"]

--- table-sequential
local w = Workflow.sequential({name = "b1", description = "d", steps = {{name = "s", type = "tool", tool = "calculator", input = sum}}, error_strategy = "fail_fast", timeout_ms = 5000}); return w:execute().data.s.result
--> 4

--- table-parallel-of-branches
local w = Workflow.parallel({name = "b2", branches = {{name = "l", steps = {{name = "s", execute = function() return 1 end}}}, {name = "r", required = false, timeout_ms = 5000, steps = {{name = "s", execute = function() return 2 end}}}}, max_concurrency = 2, error_strategy = "continue"}); return w:execute().output
--> {"l": 1, "r": 2}

--- table-parallel-of-steps
local w = Workflow.parallel({name = "b3", steps = {{name = "x", execute = function() return 1 end}}}); return w:execute().output
--> {"x": 1}

--- table-conditional-runs-the-branch-that-matches
local w = Workflow.conditional({name = "b4", branches = {{name = "no", condition = "never", steps = {{name = "a", execute = function() return "a" end}}}, {name = "yes", condition = {type = "always"}, steps = {{name = "b", execute = function() return "b" end}}}}}); local r = w:execute(); return {r.output, r.metadata.extra.executed_branches}
--> ["b", ["yes"]]

--- table-conditional-default-branch
local w = Workflow.conditional({name = "b5", branches = {{name = "no", condition = function() return false end, steps = {{name = "a", execute = function() return "a" end}}}}, default_branch = {steps = {{name = "d", execute = function() return "d" end}}}}); return w:execute().output
--> "d"

--- table-conditional-default-of-the-branch
local w = Workflow.conditional({name = "b6", branches = {{name = "no", condition = {evaluate = function() return nil end}, steps = {{name = "a", execute = function() return "a" end}}}, {name = "else", is_default = true, steps = {{name = "d", execute = function() return "d" end}}}}}); return w:execute().output
--> "d"

--- table-conditional-no-default
local w = Workflow.conditional({name = "b7", execute_default_on_no_match = false, branches = {{name = "no", condition = "never", steps = {{name = "a", execute = function() return "a" end}}}}}); return w:execute().success
--> true

--- table-loop-range
local w = Workflow.loop({name = "b8", iterator = {range = {start = 0, ["end"] = 3, step = 1}}, body = {{name = "s", execute = function(c) return c.current_item end}}}); return w:execute().output
--> [0, 1, 2]

--- table-loop-collection-in-a-tool
local w = Workflow.loop({name = "b9", iterator = {collection = {"x", "y"}}, body = {{name = "s", type = "tool", tool = "text_manipulator", input = {operation = "uppercase", input = "{{loop:current_item}}{{loop:current_index}}"}}}}); local r = w:execute(); return {r.output[1].result, r.output[2].result}
--> ["X0", "Y1"]

--- table-loop-short-references
local w = Workflow.loop({iterator = {collection = {"x"}}, body = {{name = "s", tool = "text_manipulator", input = {operation = "uppercase", input = "{{loop_value}}{{loop_index}}{{loop:current_value}}{{loop:total_iterations}}"}}}}); return w:execute().output[1].result
--> "X0X1"

--- table-loop-while
local w = Workflow.loop({name = "b10", iterator = {while_condition = "loop_index < 2", max_iterations = 5}, body = {{name = "s", execute = function(c) return c.current_index end}}}); return w:execute().output
--> [0, 1]

--- table-loop-break
local w = Workflow.loop({name = "b11", iterator = {range = {start = 1, ["end"] = 100}}, body = {{name = "s", execute = function(c) return c.current_item end}}, break_conditions = {{type = "expression", expression = "loop_index == 1", message = "enough"}}}); local r = w:execute(); return {r.output, r.break_reason}
--> [[1, 2], "break: enough"]

--- table-loop-break-by-a-function
local w = Workflow.loop({iterator = {range = {start = 1, ["end"] = 100}}, body = {{name = "s", execute = function(c) return c.current_item end}}, break_conditions = {function(c) return c.previous == 3 end}}); return #w:execute().output
--> 3

--- table-loop-aggregations
local made = {}; for _, kind in ipairs({"collect_all", "last_only", "none"}) do local w = Workflow.loop({iterator = {range = {start = 1, ["end"] = 4}}, body = {{name = "s", execute = function(c) return c.current_item end}}, aggregation_strategy = kind}); made[#made + 1] = w:execute().output or "nothing" end return made
--> [[1, 2, 3], 3, "nothing"]

--- table-loop-first-and-last
local made = {}; for _, kind in ipairs({"first_n", "last_n"}) do local w = Workflow.loop({iterator = {range = {start = 1, ["end"] = 6}}, body = {{name = "s", execute = function(c) return c.current_item end}}, aggregation_strategy = {type = kind, n = 2}}); made[#made + 1] = w:execute().output end return made
--> [[1, 2], [4, 5]]

--- table-map-reduce
local w = Workflow.map_reduce({items = {1, 2, 3}, steps = {{name = "sq", execute = function(c) return c.current_item ^ 2 end}}, reduce = {name = "add", execute = function(c) local t = 0; for _, n in ipairs(c.input) do t = t + n end return t end, input = "{{loop:results}}"}}); return w:execute().output
--> 14

--- table-pipeline
local w = Workflow.pipeline({items = {1, 2}, steps = {{name = "a", execute = function(c) return c.current_item + 1 end}, {name = "b", input = "{{step:a}}", execute = function(c) return c.input * 10 end}}}); return w:execute().output
--> [20, 30]

--- table-graph
local w = Workflow.graph({steps = {{name = "b", needs = {"a"}, execute = function(c) return c:output("a") + 1 end}, {name = "a", execute = function() return 1 end}}}); return w:execute().data
--> {"a": 1, "b": 2}

--- create-by-type
return {Workflow.create({type = "sequential", name = "c1", steps = {{tool = "calculator", input = sum}}}).type, Workflow.new({pattern = "loop", range = {["end"] = 2}, steps = {{name = "s", execute = function() return 1 end}}}).type}
--> ["sequential", "loop"]

--- register-get-list-and-remove
local id = Workflow.register("sequential", {name = "d1", steps = {{tool = "calculator", input = sum}}}); local found = Workflow.get(id); local listed; for _, each in ipairs(Workflow.list()) do if each.id == id then listed = each.type end end local gone = Workflow.remove(id); return {id, found.name, listed, gone, Workflow.get(id) == nil, Workflow.remove(id)}
--> ["d1", "d1", "instance", true, true, false]

--- the-same-object-for-the-same-workflow
local w = Workflow.sequential({name = "d2", steps = {{tool = "calculator", input = sum}}}); return Workflow.get("d2") == w
--> true

--- two-of-one-name-have-ids
local one = Workflow.sequential({name = "d3", steps = {{tool = "calculator", input = sum}}}); local two = Workflow.sequential({name = "d3", steps = {{tool = "calculator", input = sum}}}); return {one.id == two.id, Workflow.get(two.id) == two}
--> [false, true]

--- names-of-people
return Workflow.sequential({name = "Report: (draft) #1", steps = {{name = "Fetch & read", tool = "calculator", input = sum}}}):execute().success
--> true

--- types
local has = {}; for _, each in ipairs(Workflow.types()) do has[each] = true end return {has.sequential, has.parallel, has.conditional, has.loop}
--> [true, true, true, true]

--- discover-types
local found; for _, each in ipairs(Workflow.discover_types()) do if each.type == "loop" then found = each end end return {found.id, type(found.description), #found.features > 0, #Workflow.discoverTypes() > 3}
--> ["loop", "string", true, true]

--- clear
Workflow.sequential({name = "e1", steps = {{tool = "calculator", input = sum}}}); return {Workflow.clear() >= 1, #Workflow.list()}
--> [true, 0]

--- an-error-handler-for-all
local told; Workflow.setDefaultErrorHandler(function(error, info) told = info.workflow_name .. ": " .. error end); Workflow.sequential({name = "e2", steps = {{name = "bad", execute = function() error("boom") end}}}):execute(); Workflow.set_default_error_handler(nil); return told:match("^e2: .*boom$") ~= nil
--> true

--- debugging
Workflow.enableDebug(true); local on = Workflow.isDebugEnabled(); Workflow.enable_debug(false); return {on, Workflow.is_debug_enabled()}
--> [true, false]

--- a-step-that-says-nothing-to-run
return try(Workflow.sequential, {name = "f1", steps = {{name = "s"}}}):match("step s: it does not say what runs") ~= nil
--> true

--- a-function-that-is-only-named
local w = Workflow.sequential({name = "f2", steps = {{name = "s", type = "custom", ["function"] = "transform", parameters = {}}}}); local r = w:execute(); return {r.success, r.error:match("the function 'transform' is only named") ~= nil}
--> [false, true]

--- no-condition
return try(Workflow.conditional, {branches = {{name = "a", condition = "perhaps", steps = {}}}}):match("is no condition") ~= nil
--> true
