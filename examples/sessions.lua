-- A session with its values and artifacts: saved, brought back, suspended and ended.
--
--   llmspell run examples/sessions.lua
--
-- Afterwards 'llmspell session list' and 'llmspell artifact list' show what is kept of it.

local id = Session.builder():name("sales report"):tag("weekly"):build()
Session.set_current(id)
local scope = "session:" .. id

print("== 1. Values, and a checkpoint")
State.save(scope, "region", "north")
local saved = Session.save()
State.save(scope, "region", "south")
print("  checkpoint " .. saved.number .. " holds " .. saved.values .. " value; since then it is "
    .. State.load(scope, "region"))
Session.restore(id, saved.number)
print("  restored: " .. State.load(scope, "region"))

print("== 2. Artifacts, in versions")
local first = Artifact.store("", "tool_result", "sales.json", '{"north": 120}', {mime_type = "application/json"})
Artifact.store("", "tool_result", "sales.json", '{"north": 120, "south": 80}', {
    mime_type = "application/json", tags = {"final"}, parent = first,
})
for _, each in ipairs(Artifact.versions("", "sales.json")) do
    print("  version " .. each.version.version .. ": " .. each.size .. " bytes")
end
print("  the final one: " .. Artifact.get("", Artifact.query{tags = {"final"}, session_id = id}[1].id).content)
local ok = pcall(Artifact.store, "", "tool_result", "broken.json", "{", {mime_type = "application/json"})
print("  what is no JSON is stored as JSON: " .. tostring(ok))

print("== 3. Who may read it")
local other = Session.create{name = "reader"}
local function reads()
    Session.set_current(other)
    local may = pcall(Artifact.get, id, first)
    Session.set_current(id)
    return tostring(may)
end
print("  another session may: " .. reads())
Artifact.grant(id, first, "session:" .. other, "read")
print("  now it may: " .. reads())

print("== 4. Its end")
Session.suspend()
print("  " .. Session.get(id).status .. ", and the script runs in " .. (Session.get_current() or "no session"))
Session.resume()
Session.complete()
print("  " .. Session.get(id).status .. " after " .. Session.get(id).checkpoints .. " checkpoints")
