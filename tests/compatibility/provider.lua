-- What scripts may know of providers. A case is a name, a script and, as JSON, what it returns.

--- list
local found = {}; for _, p in ipairs(Provider.list()) do if p.name == "offline" then found = p end end; return {found.name, found.enabled, found.capabilities.supports_streaming, found.capabilities.available_models}
--> ["offline", true, true, ["rules", "echo"]]

--- get
return Provider.get("offline").default_model
--> "rules"

--- get-nothing
return Provider.get("nobody") == nil
--> true

--- get-capabilities
return {Provider.getCapabilities("offline").supports_tools, Provider.get_capabilities("offline").supports_multimodal, Provider.get_capabilities("nobody") == nil}
--> [true, false, true]

--- is-available
return {Provider.isAvailable("offline"), Provider.is_available("nobody")}
--> [true, false]

--- default
return {Provider.default_model(), Provider.defaultModel(), Provider.default()}
--> ["offline/rules", "offline/rules", "offline/rules"]

--- list-colon
return #Provider:list() >= 3
--> true
