-- Each step as soon as those that it needs have ended; a reference is a need. Run it with: llmspell run examples/workflows/graph.lua

local release = Workflow.graph{
  name = "release",
  steps = {
    {name = "publish", input = {"{{step:package}}", "{{step:notes}}"}, execute = function(c) return table.concat(c.input, " with ") end},
    {name = "package", needs = {"test"}, execute = function() return "package-1.0" end},
    {name = "notes", execute = function() return "3 notes" end},
    {name = "test", execute = function() return true end},
  },
}
print(release:execute().output.publish)

local ok, message = pcall(Workflow.graph, {name = "circle", steps = {
  {name = "a", needs = {"b"}, execute = print}, {name = "b", needs = {"a"}, execute = print},
}})
print(ok, message:match("its stages wait for each other: [^;]*"))
