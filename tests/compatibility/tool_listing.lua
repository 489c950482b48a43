-- How tools are found, and under which names. A case is a name, a script and, as JSON, what it returns.

--- tools: list
local n = 0 for _, t in ipairs(Tool.list()) do n = n + 1 end return n == #Tool.list() and n >= 6
--> true

--- tools: list-fields
local t = Tool.list()[1] return {type(t.name), type(t.description), t.version}
--> ["string", "string", "1.0.0"]

--- tools: list-tostring
local t = Tool.list()[1] return tostring(t) == t.name
--> true

--- tools: list-concatenated
local t = Tool.list()[1] return "- " .. t .. "!" == "- " .. t.name .. "!"
--> true

--- tools: list-formatted
local t = Tool.list()[1] return string.format("- %s", t) == "- " .. t.name
--> true

--- tools: list-printed-names
local n = {} for _, t in ipairs(Tool.list()) do n[t.name] = true end
return {n.calculator, n.csv_analyzer, n.file_operations, n.http_request, n.json_processor, n.text_manipulator}
--> [true, true, true, true, true, true]

--- tools: list-sorted
local l = Tool.list() table.sort(l, function(a, b) return a.name > b.name end) return l[1].name > l[2].name and l[#l-1].name > l[#l].name
--> true

--- tools: list-as-json
return JSON.stringify(Tool.list()):match('"name":"calculator"') ~= nil
--> true

--- tools: list-pairs
local n = {} for k, v in pairs(Tool.list()[1]) do n[k] = type(v) end return {n.name, n.description}
--> ["string", "string"]

--- tools: categories
local c = {} for _, n in ipairs(Tool.categories()) do c[n] = true end
return {c.utility, c.data, c.filesystem, c.api}
--> [true, true, true, true]

--- tools: discover
return #Tool.discover() == #Tool.list()
--> true

--- tools: discover-category
local t = Tool.discover{category = "utility"} return {#t >= 2, t[1].category, t[#t].category, t[1].version}
--> [true, "utility", "utility", "1.0.0"]

--- tools: discover-category-parentheses
local t = Tool.discover({category = "data"}) return {#t >= 2, t[1].category, t[#t].category}
--> [true, "data", "data"]

--- tools: discover-tag
return Tool.discover({tag = "arithmetic"})[1].name
--> "calculator"

--- tools: discover-both
return #Tool.discover({category = "data", tag = "csv"})
--> 1

--- tools: discover-none
return #Tool.discover({category = "nosuch"})
--> 0

--- tools: get-fields
local t = Tool.get("calculator") return {t.name, type(t.description), t.version, type(t.execute)}
--> ["calculator", "string", "1.0.0", "function"]

--- tools: get-schema
local s = Tool.get("calculator").schema return {s.name, type(s.description), #s.parameters}
--> ["calculator", "string", 3]

--- tools: get-schema-parameter
for _, p in ipairs(Tool.get("calculator").schema.parameters) do if p.name == "operation" then
return {p.type, p.required, p.default, type(p.description)} end end
--> ["string", false, "evaluate", "string"]

--- tools: get-schema-required
for _, p in ipairs(Tool.get("text_manipulator").schema.parameters) do if p.name == "input" then
return {p.type, p.required} end end
--> ["string", true]

--- tools: get-schema-object
for _, p in ipairs(Tool.get("calculator").schema.parameters) do if p.name == "variables" then return p.type end end
--> "object"

--- tools: field-name
return {Tool.calculator.name, type(Tool.calculator.description)}
--> ["calculator", "string"]

--- tools: field-schema
return {Tool.calculator.getSchema().name, Tool.calculator:getSchema().name, Tool.calculator.get_schema().name}
--> ["calculator", "calculator", "calculator"]

--- tools: type-check
return {type(Tool), type(Tool.invoke), type(Tool.calculator), type(Tool.calculator.execute)}
--> ["table", "function", "table", "function"]

--- alias: calculator
return {Tool.exists("calculator"), Tool.get("calculator").name, Tool["calculator"].name, type(Tool["calculator"].execute)}
--> [true, "calculator", "calculator", "function"]

--- alias: text_manipulator
return {Tool.exists("text_manipulator"), Tool.get("text_manipulator").name, Tool["text_manipulator"].name, type(Tool["text_manipulator"].execute)}
--> [true, "text_manipulator", "text_manipulator", "function"]

--- alias: text-manipulator
return {Tool.exists("text-manipulator"), Tool.get("text-manipulator").name, Tool["text-manipulator"].name, type(Tool["text-manipulator"].execute)}
--> [true, "text_manipulator", "text_manipulator", "function"]

--- alias: csv_analyzer
return {Tool.exists("csv_analyzer"), Tool.get("csv_analyzer").name, Tool["csv_analyzer"].name, type(Tool["csv_analyzer"].execute)}
--> [true, "csv_analyzer", "csv_analyzer", "function"]

--- alias: csv-analyzer-tool
return {Tool.exists("csv-analyzer-tool"), Tool.get("csv-analyzer-tool").name, Tool["csv-analyzer-tool"].name, type(Tool["csv-analyzer-tool"].execute)}
--> [true, "csv_analyzer", "csv_analyzer", "function"]

--- alias: csv-analyzer
return {Tool.exists("csv-analyzer"), Tool.get("csv-analyzer").name, Tool["csv-analyzer"].name, type(Tool["csv-analyzer"].execute)}
--> [true, "csv_analyzer", "csv_analyzer", "function"]

--- alias: json_processor
return {Tool.exists("json_processor"), Tool.get("json_processor").name, Tool["json_processor"].name, type(Tool["json_processor"].execute)}
--> [true, "json_processor", "json_processor", "function"]

--- alias: json-processor-tool
return {Tool.exists("json-processor-tool"), Tool.get("json-processor-tool").name, Tool["json-processor-tool"].name, type(Tool["json-processor-tool"].execute)}
--> [true, "json_processor", "json_processor", "function"]

--- alias: json-processor
return {Tool.exists("json-processor"), Tool.get("json-processor").name, Tool["json-processor"].name, type(Tool["json-processor"].execute)}
--> [true, "json_processor", "json_processor", "function"]

--- alias: http_request
return {Tool.exists("http_request"), Tool.get("http_request").name, Tool["http_request"].name, type(Tool["http_request"].execute)}
--> [true, "http_request", "http_request", "function"]

--- alias: http-request-tool
return {Tool.exists("http-request-tool"), Tool.get("http-request-tool").name, Tool["http-request-tool"].name, type(Tool["http-request-tool"].execute)}
--> [true, "http_request", "http_request", "function"]

--- alias: http-requester
return {Tool.exists("http-requester"), Tool.get("http-requester").name, Tool["http-requester"].name, type(Tool["http-requester"].execute)}
--> [true, "http_request", "http_request", "function"]

--- alias: http-request
return {Tool.exists("http-request"), Tool.get("http-request").name, Tool["http-request"].name, type(Tool["http-request"].execute)}
--> [true, "http_request", "http_request", "function"]

--- alias: file_operations
return {Tool.exists("file_operations"), Tool.get("file_operations").name, Tool["file_operations"].name, type(Tool["file_operations"].execute)}
--> [true, "file_operations", "file_operations", "function"]

--- alias: file-operations-tool
return {Tool.exists("file-operations-tool"), Tool.get("file-operations-tool").name, Tool["file-operations-tool"].name, type(Tool["file-operations-tool"].execute)}
--> [true, "file_operations", "file_operations", "function"]

--- alias: file-operations
return {Tool.exists("file-operations"), Tool.get("file-operations").name, Tool["file-operations"].name, type(Tool["file-operations"].execute)}
--> [true, "file_operations", "file_operations", "function"]
