-- The global Config. A case is a name, a script and, as JSON, what it returns.

--- get
return type(Config.get())
--> "table"

--- get key
return Config.get("default_language")
--> "lua"

--- engine
return {Config.getDefaultEngine(), Config.get_default_engine(), Config:getDefaultEngine()}
--> ["lua", "lua", "lua"]

--- provider
return Config.getProvider("openai") == nil
--> true

--- providers
return #Config.listProviders()
--> 0

--- security
local s = Config.getSecurity()
return {s.allow_file_access, s.allow_network_access, s.allow_process_spawn}
--> [true, true, false]

--- tools
return type(Config.getTools())
--> "table"

--- file access
return Config.isFileAccessAllowed()
--> true

--- network access
return Config.isNetworkAccessAllowed()
--> true

--- section
return {type(Config.getSection("security")), Config.getSection("nosuch") == nil}
--> ["table", true]

--- permissions
local p = Config.getPermissions()
return {p.read, p.modify_providers, p.modify_tools, p.modify_runtime, p.modify_security, p.access_secrets}
--> [true, false, false, false, false, false]

--- allowed path inside
return Config.addAllowedPath("/tmp")
--> true

--- allowed path outside
return (pcall(Config.addAllowedPath, "/etc"))
--> false

--- set provider
return (pcall(Config.setProvider, "openai", {enabled = true}))
--> false

--- set security tightens
Config.setSecurity({allow_network_access = false}) return Config.isNetworkAccessAllowed()
--> false

--- set security cannot loosen
return (pcall(Config.setSecurity, {allow_process_spawn = true}))
--> false

--- set what was got
return Config.setSecurity({allow_process_spawn = false, allow_file_access = true})
--> true

--- snapshot
local s = Config.snapshot() return {math.type(s), Config.restoreSnapshot(s)}
--> ["integer", true]

--- snapshot unknown
return (pcall(Config.restoreSnapshot, 1))
--> false

--- to json
return type(JSON.parse(Config.toJson()))
--> "table"

--- probed
return Config and Config.get and "there" or "not there"
--> "there"
