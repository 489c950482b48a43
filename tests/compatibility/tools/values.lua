-- What scripts get from each tool, called as they do. `dir` holds the files of tests/tool_calls.py, `url` a server.

--- base64_encoder: encode
local r = Tool.invoke("base64_encoder", {operation = "encode", input = "Hello, llmspell!"})
return {r.success, r.operation, r.result.output, r.result.variant, r.result.binary}
--> [true, "encode", "SGVsbG8sIGxsbXNwZWxsIQ==", "standard", false]

--- base64_encoder: url-safe and back
local coded = Tool.invoke("base64-encoder", {operation = "encode", variant = "url-safe", input = "a?>b~"})
return Tool.base64_encoder:execute({operation = "decode", variant = "url-safe", input = coded.result.output}).result.output
--> "a?>b~"

--- base64_encoder: hex
return Tool.base64_encoder:execute({operation = "encode", input = "00ff10", binary_input = true}).result.output
--> "AP8Q"

--- base64_encoder: files
put("in.txt", "hey")
Tool.invoke("base64_encoder", {operation = "encode", input_file = dir .. "/in.txt", output_file = dir .. "/out.b64"})
return get("out.b64")
--> "aGV5"

--- calculator: expression
return Tool.invoke("calculator", {operation = "evaluate", expression = "2 * x", variables = {x = 21}}).result.result
--> 42

--- data_validation: rules
local r = Tool.invoke("data_validation", {
  input = {email = "not-an-email", age = 200},
  rules = {rules = {{type = "object", properties = {
    email = {{type = "email"}},
    age = {{type = "range", min = 0, max = 150}},
  }}}},
})
return {r.success, r.operation, r.result.valid, #r.result.errors, type(r.result.errors[1].field), type(r.result.errors[1].message)}
--> [true, "validate_data", false, 2, "string", "string"]

--- data_validation: by its names
return {
  Tool.invoke("data-validation-tool", {input = {a = 1}, rules = {rules = {{type = "required"}}}}).result.valid,
  Tool.invoke("data-validator", {input = {a = 1}, rules = {rules = {{type = "required"}}}}).result.valid,
}
--> [true, true]

--- date_time_handler: parse
local r = Tool.invoke("date_time_handler", {operation = "parse", input = "2024-01-15T10:30:00Z"}).result
return {r.input, r.parsed.year, r.parsed.month, r.parsed.day, r.parsed.hour, r.parsed.timestamp, r.parsed.weekday, type(r.format_used)}
--> ["2024-01-15T10:30:00Z", 2024, 1, 15, 10, 1705314600, "Monday", "string"]

--- date_time_handler: now
local r = Tool.invoke("date_time_handler", {operation = "now"}).result
return {type(r.datetime), type(r.timezone), type(r.format)}
--> ["string", "string", "string"]

--- date_time_handler: the day of now
local r = Tool.invoke("datetime-handler", {operation = "now", format = "%Y-%m-%d"}).result
return r.datetime:match("^%d%d%d%d%-%d%d%-%d%d$") ~= nil
--> true

--- date_time_handler: add
local r = Tool.invoke("date_time_handler", {operation = "add", input = "2024-01-30T00:00:00Z", amount = 2, unit = "days"}).result
return r.result:sub(1, 10)
--> "2024-02-01"

--- date_time_handler: subtract
return Tool.invoke("date_time_handler", {operation = "subtract", input = "2024-03-01T00:00:00Z", amount = 1, unit = "weeks"}).result.result:sub(1, 10)
--> "2024-02-23"

--- date_time_handler: difference
local d = Tool.invoke("date_time_handler", {operation = "difference", start = "2024-01-01T00:00:00Z", ["end"] = "2024-01-02T01:00:00Z"}).result.difference
return {d.total_seconds, d.days, d.hours, d.minutes, type(d.human_readable)}
--> [90000, 1, 1, 0, "string"]

--- date_time_handler: convert_timezone
local r = Tool.invoke("date_time_handler", {operation = "convert_timezone", input = "2024-07-01T12:00:00Z", target_timezone = "America/New_York"}).result
return {r.original, r.converted:sub(1, 16)}
--> ["2024-07-01T12:00:00Z", "2024-07-01T08:00"]

--- date_time_handler: info
local i = Tool.invoke("date_time_handler", {operation = "info", input = "2024-02-29T12:00:00Z"}).result.info
return {i.weekday, i.day_of_year, i.week_of_year, i.is_leap_year, i.days_in_month}
--> ["Thursday", 60, 9, true, 29]

--- date_time_handler: formats
local r = Tool.invoke("date_time_handler", {operation = "formats"}).result
return {type(r.available_formats), r.example_formats ~= nil}
--> ["table", true]

--- diff_calculator: text
local r = Tool.invoke("diff_calculator", {type = "text", old_text = "a\nb\n", new_text = "a\nc\nd\n", format = "unified"}).result
return {r.type, r.format, r.diff:find("+c", 1, true) ~= nil, r.stats.old_lines, r.stats.new_lines}
--> ["text", "unified", true, 2, 3]

--- diff_calculator: json
local r = Tool.invoke("diff_calculator", {type = "json", old_json = {a = 1, b = 2}, new_json = {a = 1, b = 3, c = 4}}).result
return {r.type, r.diff.added ~= nil, r.diff.modified ~= nil, r.diff.removed ~= nil, r.diff.unchanged ~= nil, type(r.summary)}
--> ["json", true, true, true, true, "table"]

--- diff_calculator: files
put("old.txt", "one\n") put("new.txt", "two\n")
return Tool.invoke("diff-calculator", {type = "text", old_file = dir .. "/old.txt", new_file = dir .. "/new.txt", format = "simple"}).result.type
--> "text"

--- hash_calculator: hash
local r = Tool.invoke("hash_calculator", {operation = "hash", algorithm = "md5", input = "hello"}).result
return {r.algorithm, r.hash, r.format}
--> ["md5", "5d41402abc4b2a76b9719d911017c592", "hex"]

--- hash_calculator: default
return Tool.hash_calculator:execute({operation = "hash", input = "hello"}).result.hash
--> "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

--- hash_calculator: verify
local r = Tool.invoke("hash_calculator", {operation = "verify", algorithm = "sha1", input = "hello", expected_hash = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"}).result
return {r.verified, r.algorithm}
--> [true, "sha1"]

--- hash_calculator: file
put("h.txt", "hello")
return Tool.invoke("hash-calculator", {operation = "hash", algorithm = "sha256", input_type = "file", file = dir .. "/h.txt", format = "base64"}).result.hash
--> "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="

--- template_engine: render
local r = Tool.invoke("template_engine", {input = "Hello {{name}}!", context = {name = "Ada"}, engine = "handlebars"})
return {r.success, r.result.rendered, r.result.engine, r.result.template_length}
--> [true, "Hello Ada!", "handlebars", 15]

--- template_engine: old names
return Tool.invoke("template-engine", {template = "{% for i in items %}{{ i }},{% endfor %}", variables = {items = {1, 2}}, engine = "tera"}).result.rendered
--> "1,2,"

--- template_engine: the name at the head
return Tool.execute("template-creator", {input = "{{ a }}", context = {a = "x"}}).result.rendered
--> "x"

--- text_manipulator
return Tool.invoke("text_manipulator", {operation = "uppercase", input = "abc"}).result.result
--> "ABC"

--- uuid_generator: generate
local r = Tool.invoke("uuid_generator", {operation = "generate", version = "v4", format = "hyphenated"}).result
return {#r.uuid, r.version, r.uuid:sub(15, 15)}
--> [36, "v4", "4"]

--- uuid_generator: v5
return Tool.invoke("uuid_generator", {operation = "generate", version = "v5", namespace = "dns", name = "example.com"}).result.uuid
--> "cfbff0d1-9375-5685-968c-48ce8b15ae17"

--- uuid_generator: forms
local simple = Tool.invoke("uuid_generator", {version = "v4", format = "simple"}).result.uuid
local urn = Tool.invoke("uuid_generator", {version = "v4", format = "urn"}).result.uuid
return {#simple, urn:sub(1, 9)}
--> [32, "urn:uuid:"]

--- uuid_generator: component_id
local r = Tool.invoke("uuid_generator", {operation = "component_id", prefix = "agent", short = true}).result
return {r.id:sub(1, 5), r.prefix, r.short}
--> ["agent", "agent", true]

--- uuid_generator: deterministic
local function made() return Tool.invoke("uuid_generator", {operation = "deterministic", namespace = "dns", name = "a.example"}).result.id end
return made() == made()
--> true

--- uuid_generator: custom
local r = Tool.invoke("uuid_generator", {operation = "custom", prefix = "req", suffix = "end", timestamp = true}).result
return {r.id:sub(1, 3), r.id:sub(-3)}
--> ["req", "end"]

--- uuid_generator: validate
local good = Tool.invoke("uuid_generator", {operation = "validate", uuid = "cfbff0d1-9375-5685-968c-48ce8b15ae17"}).result
local bad = Tool.invoke("uuid_generator", {operation = "validate", uuid = "nope"}).result
return {good.valid, good.version, bad.valid, type(bad.error)}
--> [true, "v5", false, "string"]

--- citation-formatter: format
local yaml = "roe:\n  type: book\n  title: A book\n  author: [\"Roe, Jo\"]\n  date: 2001\n"
local r = Tool.invoke("citation-formatter", {operation = "format_citation", input = yaml, format = "yaml", style = "apa"})
return {r.success, r._raw_text:find("Roe, J. (2001)", 1, true) ~= nil}
--> [true, true]

--- citation-formatter: styles
return Tool.invoke("citation_formatter", {operation = "list_styles"}).success
--> true

--- citation-formatter: keys
local bib = "@book{a, title={One}, author={Roe, Jo}, year=2001}\n@book{b, title={Two}, author={Doe, Al}, year=2002}"
local r = Tool.invoke("citation-formatter", {operation = "format_citation", input = bib, format = "bibtex", style = "mla", cite_keys = "b"})
return {r._raw_text:find("Two", 1, true) ~= nil, r._raw_text:find("One", 1, true) == nil}
--> [true, true]

--- csv_analyzer
return Tool.invoke("csv_analyzer", {operation = "analyze", input = "a,b\n1,2\n3,4\n"}).result.row_count
--> 2

--- json_processor
return Tool.invoke("json_processor", {operation = "query", input = {users = {{name = "Ada"}}}, query = ".users[0].name"}).result
--> "Ada"

--- graph-builder: from nothing to figures
local g = Tool.invoke("graph-builder", {operation = "create_graph", graph_type = "directed"}).result.graph
g = Tool.invoke("graph-builder", {operation = "add_node", graph = g, node_id = "a", label = "A"}).result.graph
g = Tool.invoke("graph-builder", {operation = "add_node", graph = g, node_id = "b"}).result.graph
g = Tool.invoke("graph_builder", {operation = "add_edge", graph = g, from = "a", to = "b", weight = 2}).result.graph
local r = Tool.invoke("graph-builder", {operation = "analyze", input = g}).result
return {r.node_count, r.edge_count, r.graph_type, r.density, r.degree_statistics.max, r.properties.is_empty}
--> [2, 1, "directed", 0.5, 1, false]

--- pdf-processor: text
local r = Tool.invoke("pdf-processor", {operation = "extract_text", input = dir .. "/report.pdf"}).result
return {type(r.text), r.length == #r.text, type(r.file_path)}
--> ["string", true, "string"]

--- pdf-processor: metadata
local parts, places = {"%PDF-1.4\n"}, {}
for i, object in ipairs{"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>", "<</Title(Tale)>>"} do
  places[i] = #table.concat(parts)
  parts[#parts + 1] = i .. " 0 obj" .. object .. "endobj\n"
end
local text = table.concat(parts)
local rows = {"0000000000 65535 f \n"}
for _, place in ipairs(places) do rows[#rows + 1] = ("%010d 00000 n \n"):format(place) end
put("tale.pdf", text .. "xref\n0 5\n" .. table.concat(rows) .. "trailer<</Size 5/Root 1 0 R/Info 4 0 R>>\nstartxref\n" .. #text .. "\n%%EOF")
return Tool.invoke("pdf_processor", {operation = "extract_metadata", input = dir .. "/tale.pdf"})._raw_text:find("Tale", 1, true) ~= nil
--> true

--- pdf-processor: pages
return Tool.invoke("pdf-processor", {operation = "extract_pages", input = dir .. "/report.pdf", start_page = 1}).success
--> true

--- graphql_query
local r = Tool.invoke("graphql_query", {operation = "query", endpoint = url .. "/graphql", input = "{ a }", variables = {}}).result
return {r.operation, r.endpoint == url .. "/graphql", type(r.result)}
--> ["query", true, "table"]

--- http_request: get
local r = Tool.invoke("http_request", {input = url .. "/items", method = "GET", headers = {["X-A"] = "b"}}).result
return {r.status_code, r.body.ok or r.body, type(r.headers), type(r.timestamp)}
--> [200, true, "table", "string"]

--- http_request: auth and retry
local r = Tool.invoke("http-request-tool", {
  input = url .. "/items", method = "POST", body = {a = 1},
  auth = {type = "bearer", token = "t"}, retry = {max_attempts = 2, initial_delay_ms = 1},
})
return {r.success, r.result.status_code}
--> [true, 200]

--- http_request: other kinds of auth
local codes = {}
for i, auth in ipairs({
  {type = "none"}, {type = "basic", username = "u", password = "p"},
  {type = "apikey", key = "k", header_name = "X-Key"}, {type = "custom", headers = {["X-Own"] = "v"}},
}) do
  codes[i] = Tool.invoke("http-requester", {input = url .. "/items", auth = auth}).result.status_code
end
return codes
--> [200, 200, 200, 200]

--- archive_handler: create, list, extract
put("a.txt", "one") put("b.txt", "two")
local made = Tool.invoke("archive_handler", {operation = "create", path = dir .. "/x.zip", input = {dir .. "/a.txt", dir .. "/b.txt"}})
local listed = Tool.invoke("archive-handler", {operation = "list", path = dir .. "/x.zip"})
local out = Tool.invoke("archive-handler-tool", {operation = "extract", path = dir .. "/x.zip", target_path = dir .. "/out"})
return {type(made.text), listed.data and listed.data.file_count or listed.result.file_count, out.result ~= nil, get("out/a.txt")}
--> ["string", 2, true, "one"]

--- archive_handler: fields
local r = Tool.invoke("archive_handler", {operation = "list", path = dir .. "/photos.zip"}).result
return {r.format, r.file_count, r.files[1].name, type(r.files[1].size)}
--> ["zip", 1, "album/photo.png", "number"]

--- file_converter: line_endings
put("unix.txt", "a\nb\n")
local r = Tool.invoke("file_converter", {operation = "line_endings", path = dir .. "/unix.txt", target_path = dir .. "/dos.txt", line_ending = "crlf"}).result
return {type(r.input_path), type(r.output_path), r.operation, get("dos.txt")}
--> ["string", "string", "line_endings", "a\r\nb\r\n"]

--- file_converter: indentation
put("tabs.txt", "\ta\n")
Tool.invoke("file-converter", {operation = "indentation", path = dir .. "/tabs.txt", target_path = dir .. "/spaces.txt", convert_to_spaces = true, tab_size = 2})
return get("spaces.txt")
--> "  a\n"

--- file_converter: encoding
put("utf8.txt", "\u{e9}")
Tool.invoke("file_converter", {operation = "encoding", path = dir .. "/utf8.txt", target_path = dir .. "/latin.txt", from_encoding = "utf8", to_encoding = "iso88591"})
return {#get("latin.txt"), get("latin.txt"):byte()}
--> [1, 233]

--- file_operations: the names of its operations
put("a.txt", "one")
Tool.invoke("file_operations", {operation = "mkdir", path = dir .. "/made/deep", recursive = true})
Tool.invoke("file_operations", {operation = "cp", source_path = dir .. "/a.txt", target_path = dir .. "/made/b.txt"})
Tool.invoke("file_operations", {operation = "rename", source_path = dir .. "/made/b.txt", target_path = dir .. "/made/c.txt"})
local stat = Tool.invoke("file_operations", {operation = "stat", path = dir .. "/made/c.txt"}).result
return {get("made/c.txt"), stat.size, Tool.invoke("file_operations", {operation = "ls", path = dir .. "/made"}).result.count}
--> ["one", 3, 2]

--- file_operations: a denied write
local r = Tool.invoke("file_operations", {operation = "write", path = "/etc/nope", input = "x"})
return {r.success, r.result.error_type}
--> [false, "security_violation"]

--- file_operations: the envelope
return Tool.invoke("file_operations", {operation = "read", path = dir .. "/notes.txt"}).metadata.response.operation
--> "read"

--- file_search
local r = Tool.invoke("file_search", {pattern = "def one", path = dir .. "/src", recursive = true, case_sensitive = true, context_lines = 1}).result
local m = r.matches[1]
return {m.line_number, m.column_number, m.line_content, m.matched_text, type(m.context_after), r.summary.total_matches, r.summary.files_searched, r.summary.has_matches}
--> [1, 1, "def one():", "def one", "table", 1, 1, true]

--- file_search: the other settings
local r = Tool.invoke("file-search", {
  pattern = "O.E", path = dir, recursive = true, use_regex = true, case_sensitive = false, include_extensions = {"py"},
  exclude_extensions = {"log"}, exclude_dirs = {"node_modules"}, max_file_size = 1000, max_matches_per_file = 1, max_depth = 3,
}).result
return r.summary.total_matches
--> 1

--- file_watcher: config
return Tool.invoke("file_watcher", {operation = "config", input = {dir}}).success
--> true

--- file_watcher: watch
local r = Tool.invoke("file-watcher", {
  operation = "watch", input = {dir .. "/src"}, recursive = true, pattern = "*.txt", debounce_ms = 10, timeout_ms = 50, max_events = 1,
}).result
return {type(r.events), r.event_count}
--> ["table", 0]

--- environment_reader: get
local r = Tool.invoke("environment_reader", {operation = "get", variable_name = "PATH"}).result
return {r.variable_name, type(r.value), r.found}
--> ["PATH", "string", true]

--- environment_reader: list and pattern
local all = Tool.invoke("environment-reader", {operation = "list"}).result
local some = Tool.invoke("environment_reader", {operation = "pattern", pattern = "PAT*"}).result
return {type(all.variables), all.count >= 1, some.variables.PATH ~= nil or some.variables[1] ~= nil}
--> ["table", true, true]

--- process_executor
local r = Tool.invoke("process_executor", {executable = "echo", arguments = {"hello", "there"}, environment = {}}).result
return {r.executable, r.arguments[2], r.exit_code, r.success, r.stdout, r.stderr, type(r.execution_time_ms), r.timed_out}
--> ["echo", "there", 0, true, "hello there\n", "", "number", false]

--- process_executor: a folder
return Tool.invoke("process-executor", {executable = "cat", arguments = {"notes.txt"}, working_directory = dir}).result.stdout
--> "teh notes\n"

--- service_checker: tcp
local r = Tool.invoke("service_checker", {target = url:gsub("http://", ""), check_type = "tcp", timeout_seconds = 5}).result
return {r.check_type, r.available, type(r.response_time_ms), type(r.status), r.timeout_seconds}
--> ["tcp", true, "number", "string", 5]

--- service_checker: http
return Tool.invoke("service-checker", {target = url .. "/", check_type = "http"}).result.available
--> true

--- system_monitor
local r = Tool.invoke("system_monitor", {operation = "all"}).result
return {type(r.cpu_usage_percent), r.cpu_count >= 1, type(r.total_memory_bytes), type(r.uptime_seconds), type(r.process_count)}
--> ["number", true, "number", "number", "number"]

--- system_monitor: parts
return {
  Tool.invoke("system_monitor", {operation = "cpu"}).success,
  Tool.invoke("system-monitor", {operation = "memory"}).success,
  Tool.invoke("system_monitor", {operation = "disk"}).success,
  Tool.invoke("system_monitor", {operation = "stats"}).success,
}
--> [true, true, true, true]

--- audio_processor: metadata
local r = Tool.invoke("audio_processor", {operation = "metadata", file_path = dir .. "/song.wav"}).result
return {type(r.format), type(r.duration_seconds), type(r.sample_rate), type(r.channels)}
--> ["string", "number", "number", "number"]

--- audio_processor: convert
return Tool.invoke("audio-processor", {operation = "convert", source_path = dir .. "/song.wav", target_path = dir .. "/copy.wav", target_format = "wav"}).success
--> true

--- image_processor: metadata
local r = Tool.invoke("image_processor", {operation = "metadata", file_path = dir .. "/photo.png"}).result
return {type(r.format), type(r.dimensions), type(r.color_mode)}
--> ["string", "table", "string"]

--- image_processor: resize
Tool.invoke("image-processor", {operation = "resize", source_path = dir .. "/photo.png", target_path = dir .. "/small.png", width = 3, height = 2, maintain_aspect_ratio = false})
local d = Tool.invoke("image_processor", {file_path = dir .. "/small.png"}).result.dimensions
return {d.width, d.height}
--> [3, 2]

--- video_processor: metadata
return Tool.invoke("video_processor", {operation = "detect", file_path = dir .. "/film.mp4"}).success
--> true

--- web_search
local r = Tool.invoke("web_search", {input = "trio", provider = "searxng", max_results = 3, search_type = "web", safe_search = true, language = "en"}).result
return {r.query, r.provider, r.count, r.results[1].title, r.results[1].url, r.results[1].snippet}
--> ["trio", "searxng", 1, "Trio", "https://trio.example/", "A library."]

--- web_search: query
return Tool.invoke("web-searcher", {query = "trio", provider = "searxng"}).result.count
--> 1

--- url-analyzer
local r = Tool.invoke("url-analyzer", {input = "https://www.example.com:8443/a/b?x=1&y=two%20words#part", decode_params = true}).result
return {r.valid, r.scheme, r.host.value, r.host.type, r.host.is_ip, r.port, r.path, r.fragment, r.query_params.y}
--> [true, "https", "www.example.com", "domain", false, 8443, "/a/b", "part", "two words"]

--- web-scraper
local r = Tool.invoke("web-scraper", {input = url .. "/", selectors = {title = "h1"}, extract_links = true, extract_meta = true, timeout = 10}).result
return {r.url, type(r.content) ~= "nil"}
--> ["URL/", true]

--- web-scraper: selector
return Tool.invoke("web_scraper", {input = url .. "/", selector = "h1"}).success
--> true

--- api-tester
local r = Tool.invoke("api-tester", {input = url .. "/items", method = "POST", headers = {A = "b"}, body = {a = 1}, timeout = 10}).result
return {r.request.method, r.response.status_code, r.response.is_success, r.response.body_is_json, r.response.body.ok, type(r.timing.duration_ms)}
--> ["POST", 200, true, true, true, "number"]

--- webhook-caller
local r = Tool.invoke("webhook-caller", {input = url .. "/hook", payload = {event = "built"}, headers = {A = "b"}, max_retries = 1, method = "POST", timeout = 10})
local f = r.result or r
return {f.success, f.webhook_url, f.status_code, f.response.json.ok, f.retry_count}
--> [true, "URL/hook", 200, true, 0]

--- webpage-monitor
local r = Tool.invoke("webpage-monitor", {input = url .. "/", previous_content = "old", selector = "p", ignore_whitespace = true}).result
return {r.url, type(r.current_content), r.has_changes, r.change_count > 0, type(r.changes[1].type)}
--> ["URL/", "string", true, true, "string"]

--- sitemap-crawler
local r = Tool.invoke("sitemap-crawler", {input = url .. "/sitemap.xml", follow_sitemaps = true, max_urls = 10, timeout = 10}).result
return {r.sitemap_url, r.urls_found, type(r.urls), type(r.stats)}
--> ["URL/sitemap.xml", 1, "table", "table"]

--- email-sender: without a provider it pretends nothing
local ok, why = pcall(Tool.invoke, "email-sender", {from = "a@example.com", to = "b@example.com", subject = "s", body = "<p>b</p>", html = true, provider = "smtp"})
return {ok, tostring(why):find("mock", 1, true) == nil, tostring(why):find("email", 1, true) ~= nil}
--> [false, true, true]

--- database-connector: query
local r = Tool.invoke("database-connector", {operation = "query", database = "shop", query = "SELECT name, price FROM items", query_type = "SELECT"})
return {r.success, r._raw_text:find("pen", 1, true) ~= nil, r._raw_text:find("mock", 1, true) == nil}
--> [true, true, true]

--- database-connector: schema
return Tool.invoke("database_connector", {operation = "schema", database = "shop"})._raw_text:find("items", 1, true) ~= nil
--> true

--- every old name finds its tool
local missing = {}
for name in ([[
base64_encoder base64-encoder calculator data_validation data-validation-tool data-validator data_validator date_time_handler
date-time-handler datetime-handler datetime_handler diff_calculator diff-calculator hash_calculator hash-calculator template_engine
template-engine-tool template-engine template-creator template_creator text_manipulator text-manipulator uuid_generator
uuid-generator citation-formatter citation_formatter csv_analyzer csv-analyzer-tool csv-analyzer json_processor
json-processor-tool json-processor graph-builder graph_builder pdf-processor pdf_processor graphql_query graphql-query-tool
graphql-query http_request http-request-tool http-requester http-request http_requester archive_handler archive-handler-tool
archive-handler file_converter file-converter file_operations file-operations-tool file-operations file_search file-search
file_watcher file-watcher environment_reader environment-reader environment-manager environment_manager process_executor
process-executor service_checker service-checker system_monitor system-monitor audio_processor audio-processor image_processor
image-processor video_processor video-processor web_search web-search-tool web-searcher web-search web_searcher url-analyzer
url_analyzer web-scraper web_scraper api-tester api_tester webhook-caller webhook_caller webpage-monitor webpage_monitor
sitemap-crawler sitemap_crawler email-sender email_sender database-connector database_connector regex-matcher regex_matcher
xml-processor xml_processor tool-state tool_state
]]):gmatch("%S+") do
  if not Tool.exists(name) or Tool[name] == nil or Tool.get(name) == nil then missing[#missing + 1] = name end
end
return #missing == 0 and "none" or table.concat(missing, " ")
--> "none"
