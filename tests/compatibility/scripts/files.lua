-- Files, in the ways of Lua and in those of the tools, with a report at the end.

local base = os.getenv("SCRIPT_TEST_FOLDER") or "."
local passed, failed = 0, 0

local function check(label, f)
  local ok, message = pcall(f)
  if ok then
    passed = passed + 1
  else
    failed = failed + 1
    print("  " .. label .. " failed: " .. tostring(message))
  end
end

check("write with io", function()
  local file, problem = io.open(base .. "/notes.txt", "w")
  if not file then error(problem) end
  file:write("first\n"):write("second\n")
  file:close()
end)

check("read with the tool", function()
  local result = Tool.invoke("file_operations", {operation = "read", path = base .. "/notes.txt"})
  assert(result.text == "first\nsecond\n", result.text)
  assert(result.success and result.error == nil)
end)

check("append with the tool, read with io", function()
  Tool.get("file_operations"):execute({operation = "append", path = base .. "/notes.txt", input = "third\n"})
  local lines = {}
  for line in io.lines(base .. "/notes.txt") do
    lines[#lines + 1] = line
  end
  assert(#lines == 3 and lines[3] == "third")
end)

check("csv", function()
  local csv = "name,amount\nada,3\nbob,4\n"
  Tool.invoke("file_operations", {operation = "write", path = base .. "/a.csv", input = csv})
  local analysis = Tool.invoke("csv-analyzer", {operation = "analyze", input = base .. "/a.csv"})
  assert(analysis.data.row_count == 2, "rows")
  assert(analysis.data.columns[2].max_value == 4, "largest")
  local rows = JSON.parse(Tool.invoke("csv_analyzer", {
    operation = "convert", input = base .. "/a.csv", options = {format = "json"},
  }).text)
  local total = 0
  for _, row in ipairs(rows) do
    total = total + row.amount
  end
  assert(total == 7, "total " .. total)
end)

check("outside is refused in both ways", function()
  local file, problem = io.open("/etc/hostname")
  assert(file == nil and type(problem) == "string")
  local ok, result = pcall(Tool.invoke, "file_operations", {operation = "read", path = "/etc/hostname"})
  assert(not ok and tostring(result):find("Tool execution failed", 1, true))
end)

check("the list of a folder", function()
  local listing = Tool.invoke("file_operations", {operation = "list_dir", path = base}).result
  table.sort(listing.entries, function(a, b) return a.name < b.name end)
  assert(listing.count == #listing.entries and listing.entries[1].name == "a.csv")
end)

check("clean up", function()
  assert(os.rename(base .. "/notes.txt", base .. "/old.txt"))
  assert(os.remove(base .. "/old.txt"))
  assert(not os.remove(base .. "/old.txt"))
  Tool.invoke("file_operations", {operation = "delete", path = base .. "/a.csv"})
  assert(Tool.invoke("file_operations", {operation = "list_dir", path = base}).result.count == 0)
end)

io.write(string.format("%d passed, %d failed at %s\n", passed, failed, os.date("%Y") > "2000" and "a good time" or "?"))
