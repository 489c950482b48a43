-- Events: what comes first, questions and answers, filters and batches, and what is on record.
-- Run it with: llmspell run examples/events.lua
-- With a record: llmspell run --set plugins.event_log.enabled=true examples/events.lua

print("== 1. The more urgent comes first")
local jobs = Event.subscribe("job.*")
Event.publish("job.added", {name = "tidy up"}, {priority = 5})
Event.publish("job.added", {name = "answer mail"})
Event.publish("job.added", {name = "put out the fire"}, {priority = -10})
Event.publish("job.added", {name = "answer the phone"})
for _, event in ipairs(Event.receive_batch(jobs, {max_events = 10, timeout_ms = 100})) do
  print(string.format("  %3d  %s", event.priority, event.data.name))
end

print("\n== 2. A question and its answer")
Event.on("price.of", function(event)
  local prices = {tea = 4.5, coffee = 5}
  Event.respond(event, {price = prices[event.data.item] or false})
end)
for _, item in ipairs({"tea", "gold"}) do
  local answer = Event.request("price.of", {item = item}, {timeout_ms = 2000})
  print("  " .. item .. ": " .. tostring(answer.data.price))
end
local ok, problem = pcall(Event.request, "weather.in", {town = "Oslo"})
print("  weather: " .. tostring(problem):match("event weather.-answers"))

print("\n== 3. Only what a filter accepts")
local alarms = Event.subscribe("sensor.**", {filter = {tags = {"alarm"}}})
for number = 1, 6 do
  Event.publish("sensor.door." .. number, {open = number % 3 == 0}, {tags = number % 3 == 0 and {"alarm"} or {}})
end
for _, event in ipairs(Event.receive_batch(alarms, {max_events = 10, timeout_ms = 100})) do
  print("  alarm of " .. event.type)
end

print("\n== 4. What became of them")
local stats = Event.subscription_stats(alarms)
print(string.format("  matched %d, delivered %d, dropped %d", stats.matched, stats.delivered, stats.dropped))
print("  answers took a handler less than a second: " .. tostring(Event.get_stats().event_bus_stats.handling.p99_s < 1))

print("\n== 5. What is on record")
local found = Event.query({event_type = "job.*", limit = 10})
print("  events of jobs on record: " .. #found)
