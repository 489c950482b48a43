-- Every operation of every tool. A case is a name, a script and, as JSON, what it returns.

--- calculator: evaluate
return Tool.calculator:execute({operation="evaluate", input="2^10"}).result.result
--> 1024

--- calculator: default-operation
return Tool.calculator:execute({input="6*7"}).result.result
--> 42

--- calculator: result-fields
local r = Tool.calculator:execute{input="x*2", variables={x=3}}.result
return {r.input, r.result, r.result_type, r.variables.x}
--> ["x*2", 6, "float", 3]

--- calculator: empty-variables
return Tool.calculator:execute({input="1", variables={}}).result.result
--> 1

--- calculator: validate
return Tool.calculator:execute({operation="validate", input="2+2"}).result.valid
--> true

--- calculator: validate-wrong
local r = Tool.calculator:execute{operation="validate", input="2+"}.result
return {r.valid, type(r.error), r.input}
--> [false, "string", "2+"]

--- calculator: functions
local r = Tool.calculator:execute{operation="functions"}.result return {type(r), next(r) ~= nil}
--> ["table", true]

--- calculator: engine 10 % 4
return Tool.calculator:execute({input="10 % 4"}).result.result
--> 2

--- calculator: engine 2 < 3
return Tool.calculator:execute({input="2 < 3"}).result.result
--> 1

--- calculator: engine 1 && 0
return Tool.calculator:execute({input="1 && 0"}).result.result
--> 0

--- calculator: engine 1 || 0
return Tool.calculator:execute({input="1 || 0"}).result.result
--> 1

--- calculator: engine !0
return Tool.calculator:execute({input="!0"}).result.result
--> 1

--- calculator: engine sqrt(16)
return Tool.calculator:execute({input="sqrt(16)"}).result.result
--> 4

--- calculator: engine ln(e())
return Tool.calculator:execute({input="ln(e())"}).result.result
--> 1

--- calculator: engine abs(-2)
return Tool.calculator:execute({input="abs(-2)"}).result.result
--> 2

--- calculator: engine sign(-3)
return Tool.calculator:execute({input="sign(-3)"}).result.result
--> -1

--- calculator: engine int(2.7)
return Tool.calculator:execute({input="int(2.7)"}).result.result
--> 2

--- calculator: engine ceil(2.1)
return Tool.calculator:execute({input="ceil(2.1)"}).result.result
--> 3

--- calculator: engine floor(2.9)
return Tool.calculator:execute({input="floor(2.9)"}).result.result
--> 2

--- calculator: engine round(2.5)
return Tool.calculator:execute({input="round(2.5)"}).result.result
--> 3

--- calculator: engine min(1, 2)
return Tool.calculator:execute({input="min(1, 2)"}).result.result
--> 1

--- calculator: engine max(1, 2)
return Tool.calculator:execute({input="max(1, 2)"}).result.result
--> 2

--- calculator: engine cos(0)
return Tool.calculator:execute({input="cos(0)"}).result.result
--> 1

--- calculator: engine sinh(0)
return Tool.calculator:execute({input="sinh(0)"}).result.result
--> 0

--- calculator: engine exp(0)
return Tool.calculator:execute({input="exp(0)"}).result.result
--> 1

--- calculator: engine log(10, 100)
return Tool.calculator:execute({input="log(10, 100)"}).result.result
--> 2

--- calculator: engine sqrt((2 + 2) * 4)
return Tool.calculator:execute({input="sqrt((2 + 2) * 4)"}).result.result
--> 4

--- calculator: engine floor(pi())
return Tool.calculator:execute({input="floor(pi())"}).result.result
--> 3

--- text: uppercase
return Tool.text_manipulator:execute({operation="uppercase", input="abc"}).result.result
--> "ABC"

--- text: lowercase
return Tool.text_manipulator:execute({operation="lowercase", input="ABC"}).result.result
--> "abc"

--- text: reverse
return Tool.text_manipulator:execute({operation="reverse", input="abc"}).result.result
--> "cba"

--- text: trim
return Tool.text_manipulator:execute({operation="trim", input="  a "}).result.result
--> "a"

--- text: replace
return Tool.text_manipulator:execute({operation="replace", input="a-b", options={from="-", to="+"}}).result.result
--> "a+b"

--- text: substring
return Tool.text_manipulator:execute({operation="substring", input="abcdef", options={start=1, ["end"]=3}}).result.result
--> "bc"

--- text: split
return Tool.text_manipulator:execute({operation="split", input="a,b", options={delimiter=","}}).result.result
--> ["a", "b"]

--- text: join
return Tool.text_manipulator:execute({operation="join", input="a\nb", options={delimiter=","}}).result.result
--> "a,b"

--- text: snake_case
return Tool.text_manipulator:execute({operation="snake_case", input="helloWorld"}).result.result
--> "hello_world"

--- text: camel_case
return Tool.text_manipulator:execute({operation="camel_case", input="hello world"}).result.result
--> "helloWorld"

--- text: pascal_case
return Tool.text_manipulator:execute({operation="pascal_case", input="hello world"}).result.result
--> "HelloWorld"

--- text: sanitize
return Tool.text_manipulator:execute({operation="sanitize", input="a\0b"}).result.result
--> "ab"

--- text: truncate
return Tool.text_manipulator:execute({operation="truncate", input="abcdefgh", options={max_length=5}}).result.result
--> "ab..."

--- text: indent
return Tool.text_manipulator:execute({operation="indent", input="a", options={spaces=2}}).result.result
--> "  a"

--- text: dedent
return Tool.text_manipulator:execute({operation="dedent", input="  a\n  b"}).result.result
--> "a\nb"

--- text: normalize_whitespace
return Tool.text_manipulator:execute({operation="normalize_whitespace", input="a   b"}).result.result
--> "a b"

--- text: word_wrap
return Tool.text_manipulator:execute({operation="word_wrap", input="aa bb", options={width=2}}).result.result
--> "aa\nbb"

--- text: fields
local r = Tool.text_manipulator:execute{operation="trim", input=" a "}.result
return {r.result, r.operation, r.original_length, r.result_length}
--> ["a", "trim", 3, 1]

--- text: join-list
return Tool.text_manipulator:execute{operation="join", input={"a","b"}, options={delimiter="-"}}.result.result
--> "a-b"

--- text: empty-options
return Tool.text_manipulator:execute{operation="trim", input=" a ", options={}}.result.result
--> "a"

--- json_processor: query
return Tool.json_processor:execute({operation="query", input={a=1}, query=".a"}).result
--> 1

--- json_processor: transform
return Tool.json_processor:execute({operation="transform", input={a=1}, query="{b: .a}"}).result.b
--> 1

--- json_processor: jq
return Tool.json_processor:execute({operation="jq", input={1,2,3}, query="map(. * 2)"}).result
--> [2, 4, 6]

--- json_processor: many-results
return Tool.json_processor:execute({operation="query", input={1,2,3}, query=".[]"}).result
--> [1, 2, 3]

--- json_processor: query-of-text
return Tool.json_processor:execute({operation="query", input='{"a": 5}', query=".a"}).result
--> 5

--- json_processor: default-query
return Tool.json_processor:execute({input={a=1}}).result.a
--> 1

--- json_processor: validate
return Tool.json_processor:execute({operation="validate", input={a=1}, schema={type="object", required={"a"}}}).result.valid
--> true

--- json_processor: validate-wrong
local r = Tool.json_processor:execute{operation="validate", input={a=1}, schema={type="array"}}.result
return {r.valid, #r.errors > 0}
--> [false, true]

--- json_processor: stream
return Tool.json_processor:execute({operation="stream", input='{"a":1}\n{"a":2}', query=".a"}).result
--> [1, 2]

--- json_processor: parse
return Tool.json_processor:execute({operation="parse", input='[1]'}).result
--> [1]

--- json_processor: text
return Tool.json_processor:execute{input={a=1}, query=".a"}.text
--> "1"

--- csv: analyze
local r = Tool.csv_analyzer:execute{operation="analyze", input=csv}.result
return {r.row_count, r.column_count, r.delimiter, r.has_headers, r.columns[1].name, r.columns[2].mean, #r.columns[1].sample_values}
--> [3, 2, ",", true, "name", 2, 3]

--- csv: default
return Tool.csv_analyzer:execute{input=csv}.result.row_count
--> 3

--- csv: column-fields
local c = Tool.csv_analyzer:execute{input=csv}.result.columns[2]
return {c.data_type, c.null_count, c.unique_count, c.min_value, c.max_value, c.median, type(c.std_dev)}
--> ["integer", 0, 3, 1, 3, 2, "number"]

--- csv: convert-json
return Tool.csv_analyzer:execute{operation="convert", input=csv, options={format="json"}}.data[2].name
--> "b"

--- csv: convert-jsonlines
return select(2, Tool.csv_analyzer:execute{operation="convert", input=csv, options={format="jsonlines"}}.text:gsub("\n", "\n")) >= 2
--> true

--- csv: convert-tsv
return Tool.csv_analyzer:execute{operation="convert", input=csv, options={format="tsv"}}.text:match("^name\tn") ~= nil
--> true

--- csv: convert-parquet
local r = Tool.csv_analyzer:execute{operation="convert", input=csv, options={format="parquet"}}.result
return {r.format, r.encoding, type(r.data), r.size_bytes > 0}
--> ["parquet", "base64", "string", true]

--- csv: convert-excel
return Tool.csv_analyzer:execute{operation="convert", input=csv, options={format="excel"}}.result.format
--> "excel"

--- csv: filter n == 2
return select(2, Tool.csv_analyzer:execute{operation="filter", input=csv, options={filter="n == 2"}}.text:gsub("\n", "\n")) - 1
--> 1

--- csv: filter n != 2
return select(2, Tool.csv_analyzer:execute{operation="filter", input=csv, options={filter="n != 2"}}.text:gsub("\n", "\n")) - 1
--> 2

--- csv: filter n > 1
return select(2, Tool.csv_analyzer:execute{operation="filter", input=csv, options={filter="n > 1"}}.text:gsub("\n", "\n")) - 1
--> 2

--- csv: filter n < 2
return select(2, Tool.csv_analyzer:execute{operation="filter", input=csv, options={filter="n < 2"}}.text:gsub("\n", "\n")) - 1
--> 1

--- csv: filter n >= 2
return select(2, Tool.csv_analyzer:execute{operation="filter", input=csv, options={filter="n >= 2"}}.text:gsub("\n", "\n")) - 1
--> 2

--- csv: filter n <= 3
return select(2, Tool.csv_analyzer:execute{operation="filter", input=csv, options={filter="n <= 3"}}.text:gsub("\n", "\n")) - 1
--> 3

--- csv: filter name == a
return select(2, Tool.csv_analyzer:execute{operation="filter", input=csv, options={filter="name == a"}}.text:gsub("\n", "\n")) - 1
--> 1

--- csv: transform
return Tool.csv_analyzer:execute{operation="transform", input=csv, options={add_columns={m="n * n"}, rename_columns={name="who"}}}.text:match("^[^\r\n]+")
--> "who,n,m"

--- csv: validate
local r = Tool.csv_analyzer:execute{operation="validate", input=csv, options={rules={n="range:1-2"}}}.result
return {r.valid, r.total_rows, r.error_count, r.errors[1].column, r.errors[1].row, r.errors[1].value, type(r.errors[1].error)}
--> [false, 3, 1, "n", 3, "3", "string"]

--- csv: validate-fine
local r = Tool.csv_analyzer:execute{operation="validate", input=csv, options={rules={n="range:1-3"}}}.result
return {r.valid, #r.errors}
--> [true, 0]

--- csv: sample
return Tool.csv_analyzer:execute{operation="sample", input=csv, options={size=1}}.metadata.count
--> 1

--- file: write
local r = Tool.file_operations:execute{operation="write", path=dir .. "/a.txt", input="hey"}
return {r.success, r.operation, r.result.size, type(r.text)}
--> [true, "write", 3, "string"]

--- file: read
put("a.txt", "hey")
local r = Tool.file_operations:execute{operation="read", path=dir .. "/a.txt"}
return {r.text, r.result.input, r.result.size}
--> ["hey", "hey", 3]

--- file: append
put("a.txt", "hey")
local r = Tool.file_operations:execute{operation="append", path=dir .. "/a.txt", input="!"}
return {r.result.appended_size, get("a.txt")}
--> [1, "hey!"]

--- file: delete
put("a.txt", "hey") Tool.file_operations:execute{operation="delete", path=dir .. "/a.txt"} return io.open(dir .. "/a.txt") == nil
--> true

--- file: create_dir
Tool.file_operations:execute{operation="create_dir", path=dir .. "/d"} return Tool.file_operations:execute{operation="exists", path=dir .. "/d"}.result.exists
--> true

--- file: list_dir
put("a.txt", "hey")
local r = Tool.file_operations:execute{operation="list_dir", path=dir}.result
local e = r.entries[1]
return {r.count, #r.entries, e.name, e.type, e.size, type(e.path), type(e.modified)}
--> [1, 1, "a.txt", "file", 3, "string", "number"]

--- file: list_dir-empty
return #Tool.file_operations:execute{operation="list_dir", path=dir}.result.entries
--> 0

--- file: copy
put("a.txt", "hey")
local r = Tool.file_operations:execute{operation="copy", source_path=dir .. "/a.txt", target_path=dir .. "/b.txt"}.result
return {get("b.txt"), type(r.source), type(r.target)}
--> ["hey", "string", "string"]

--- file: move
put("a.txt", "hey") Tool.file_operations:execute{operation="move", source_path=dir .. "/a.txt", target_path=dir .. "/b.txt"}
return {get("b.txt"), io.open(dir .. "/a.txt") == nil}
--> ["hey", true]

--- file: metadata
put("a.txt", "hey")
local r = Tool.file_operations:execute{operation="metadata", path=dir .. "/a.txt"}.result return {type(r.path), r.type, r.size, r.readonly, type(r.modified)}
--> ["string", "file", 3, false, "number"]

--- file: exists
return {Tool.file_operations:execute{operation="exists", path=dir}.result.exists, Tool.file_operations:execute{operation="exists", path=dir .. "/no"}.result.exists}
--> [true, false]

--- file: recursive-delete
Tool.file_operations:execute{operation="create_dir", path=dir .. "/d/e", recursive=true} return Tool.file_operations:execute{operation="delete", path=dir .. "/d", recursive=true}.success
--> true

--- file: write-tells-denial
local ok, r = pcall(Tool.invoke, "file_operations", {operation="write", path="/etc/nope", input="x"}) return (not ok) or r.success == false
--> true

--- file: write-of-a-script-file
put("a.txt", "one\ntwo\n")
local r = Tool.invoke("file_operations", {operation="read", path=dir .. "/a.txt"})
local n = 0 for line in r.text:gmatch("[^\n]+") do n = n + 1 end return n
--> 2
