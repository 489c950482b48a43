-- Which event came of which: a handler that has a workflow run, whose stages call a tool and ask an agent.
--
--   llmspell run --offline --set plugins.timeline.enabled=true examples/timeline.lua
--
-- prints what the script itself finds in the timeline. The same from outside, with all operations and their times:
--
--   llmspell event timeline --offline examples/timeline.lua
--   llmspell hook graph --offline examples/timeline.lua

local clerk = Agent.create({name = "clerk", model = "offline/rules", tools = {"calculator"}})
local report = Workflow.sequential({
    name = "report",
    steps = {
        {name = "add", tool = "calculator", input = {operation = "evaluate", input = "20 + 22"}},
        {name = "ask", agent = clerk, input = "what is 6 * 7?"},
    },
})

Event.on("report.wanted", function(event)
    report:execute({})
    Event.publish("report.ready", {by = event.data.by})
end)
Event.publish("report.wanted", {by = "Ann"})

-- The handler runs while this script waits.
local ready = Event.subscribe("report.ready")
Event.receive(ready, 10000)

if pcall(Event.timeline) then
    print("what the wish for a report set off:")
    for _, event in ipairs(Event.timeline({sort = "sequence"})) do
        if event.event_type:match("started$") or event.event_type:match("^report") then
            print(string.rep("  ", event.depth) .. event.event_type .. "  " .. event.source)
        end
    end
    local chain = Event.longest_chain({pattern = "{report.*,*.started}"})
    print("the longest chain has " .. #chain .. " links and ends with " .. chain[#chain].source)
    print("roots: " .. Event.timeline_stats().roots)
end
