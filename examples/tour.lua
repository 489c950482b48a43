-- A tour of llmspell: tools over real files, and hooks that watch, change and refuse what the tools do.
--
--   llmspell run examples/tour.lua              from the folder above examples/
--   llmspell run --explain examples/tour.lua    and then see every hook that fired, in order

-- The data lie beside this script. arg[0] is the script's path as it was given.
local data = (arg[0]:match("^(.*)/") or ".") .. "/data/"

local function section(title)
  print("")
  print("== " .. title)
end

-- A hook stands at a point and is given a context. context.data is what the point is about: before a tool runs, the
-- call; after it, the result. What the hook returns decides what happens next; nothing means "go on".

section("1. Hooks")

-- A transform changes things: the calculator knows "*", and this lets people write "2 x 3" as well.
local signs = Hook.register("BeforeToolExecution", function(context)
  local call = context.data.parameters
  local changed = call.input:gsub(" x ", " * ")
  if changed ~= call.input then
    print("  [transform signs]  " .. call.input .. "  becomes  " .. changed)
    call.input = changed
    return {type = "modified", data = {parameters = call}}
  end
end, {name = "signs", match = "calculator"})

-- A guard allows or refuses. It comes after all transforms, so it sees exactly what would run; if it fails, it refuses.
local careful = Hook.register("BeforeToolExecution", function(context)
  if context.data.parameters.operation == "delete" then
    print("  [guard careful]    refuses to delete " .. context.data.parameters.path:match("[^/]+$"))
    return {type = "cancel", reason = "the tour keeps its files"}
  end
end, {name = "careful", kind = "guard", match = "file_operations"})

-- An error hook may recover: here a file that is not there reads as an empty one.
Hook.register("ToolError", function(context)
  if context.request.parameters.operation == "read" then
    print("  [transform notes]  the read failed, so the answer is an empty text")
    return {type = "replace", data = {text = "", result = {input = ""}}}
  end
end, {name = "notes", match = "file_operations"})

-- An observer watches. It comes last, whatever the others answered, and changes nothing. This one counts.
local counts, order = {}, {}
local function count(context)
  local name = context.component_id.name
  if not counts[name] then
    counts[name] = {completed = 0, cancelled = 0, failed = 0}
    order[#order + 1] = name
  end
  local how = context.outcome.status
  counts[name][how] = counts[name][how] + 1
end
Hook.register("AfterToolExecution", count, {name = "count", kind = "observe"})
Hook.register("ToolError", count, {name = "count", kind = "observe"})

-- Plugins that are installed may have hooks too; these are the script's own.
for _, hook in ipairs(Hook.list()) do
  if hook.mine then
    print(string.format("  %-8s %-10s at %s", hook.name, hook.kind, hook.point))
  end
end

section("2. A JSON file")

local text = Tool.invoke("file_operations", {operation = "read", path = data .. "targets.json"}).text
local targets = JSON.parse(text)
local best = Tool.invoke("json_processor", {input = text, query = ".regions | max_by(.target) | .name"}).result
local title = Tool.invoke("text_manipulator", {operation = "trim", input = targets.title}).result.result
print("  title: " .. title)
print("  regions: " .. #targets.regions .. ", the highest target is for the " .. best)

section("3. A CSV file")

local facts = Tool.invoke("csv_analyzer", {operation = "analyze", input = data .. "sales.csv"}).result
print(string.format("  %d rows, %d columns", facts.row_count, facts.column_count))

-- One call makes a column of two others, the next one makes tables of the rows.
local with_revenue = Tool.invoke("csv_analyzer", {
  operation = "transform",
  input = data .. "sales.csv",
  options = {add_columns = {revenue = "units * price"}},
}).result
local rows = Tool.invoke("csv_analyzer", {operation = "convert", input = with_revenue}).result
local first = rows[1]
print(string.format("  first row: %d %s for %.2f %s", first.units, first.product, first.revenue, targets.currency))

section("4. Sales against targets")

local function calculate(formula)
  return Tool.invoke("calculator", {operation = "evaluate", input = formula}).result.result
end

local report = {}
for _, region in ipairs(targets.regions) do
  local parts = {}
  for _, row in ipairs(rows) do
    if row.region == region.name then
      parts[#parts + 1] = row.revenue
    end
  end
  local revenue = calculate(table.concat(parts, " + "))
  local percent = calculate(string.format("%.2f / %d x 100", revenue, region.target))
  local line = string.format("%s: %.2f of %d %s", region.name, revenue, region.target, targets.currency)
  report[#report + 1] = string.format("%s, %.1f %%", line, percent)
  print("  " .. report[#report])
end

section("5. Files, and a refusal")

local path = data .. "report.txt"
local heading = Tool.invoke("text_manipulator", {operation = "uppercase", input = title}).result.result
local written = Tool.invoke("file_operations", {
  operation = "write",
  path = path,
  input = heading .. "\n" .. table.concat(report, "\n") .. "\n",
})
print("  wrote report.txt, " .. written.result.size .. " bytes")

local fine, problem = pcall(Tool.invoke, "file_operations", {operation = "delete", path = path})
print("  deleted: " .. tostring(fine))
print("  because: " .. tostring(problem):match("denied.*"))

-- A script may take its own hooks out again, and no others.
careful:unregister()
local answer = Tool.invoke("file_operations", {operation = "delete", path = path})
print("  without the guard: " .. answer.message:match("^%a+"))

local notes = Tool.invoke("file_operations", {operation = "read", path = data .. "no-such-notes.txt"}).text
print("  notes: " .. #notes .. " characters")

section("6. An agent")

-- An agent asks a model, and runs the tools that the model asks for, past the same hooks. Without a key the model is
-- offline/rules, which follows rules; with one in the environment it is a real one (see examples/agent.lua).
local agent = Agent.create({name = "clerk", tools = {"calculator", "file_operations"}})
print("  it says: " .. agent:execute("what is 35 * 12?").text)
Hook.register("BeforeToolExecution", function(context)
  if context.data.parameters.operation == "delete" then
    return {type = "cancel", reason = "the tour keeps its data"}
  end
end, {name = "keep", kind = "guard", match = "file_operations"})
print("  it says: " .. agent:execute("delete " .. data .. "sales.csv").text)

section("7. What the observer counted")

for _, name in ipairs(order) do
  local seen = counts[name]
  print(string.format("  %-16s completed %d, refused %d, failed %d", name, seen.completed, seen.cancelled, seen.failed))
end
