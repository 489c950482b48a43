#!/usr/bin/env llmspell
-- What old scripts do with their arguments.

local args = ARGS or {}
local name = args.name or "World"
local verbose = args.verbose == "true"
local count = tonumber(args.count) or 1

print("script: " .. (arg[0] or "?"):match("[^/]+$"))
for i = 1, count do
  print(string.format("%d. Hello, %s!", i, name))
end
print("verbose: " .. tostring(verbose), "missing: " .. tostring(ARGS.missing or "default"))
print("positional: " .. #arg .. " " .. table.concat(arg, "|"))
print("also in ARGS: " .. tostring(ARGS[1]) .. " " .. tostring(ARGS[2]))

local named = {}
for key, value in pairs(ARGS) do
  if type(key) == "string" then
    named[#named + 1] = key .. "=" .. value
  end
end
table.sort(named)
print("named: " .. table.concat(named, " "))
