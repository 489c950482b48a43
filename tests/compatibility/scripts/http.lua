-- Every method, header, credential and failure of http_request; ARGS[1] is the address of an echo.

local url = ARGS[1]

local function send(params)
  params.input = url .. (params.input or "/echo")
  return Tool.http_request:execute(params)
end

for _, method in ipairs({"GET", "POST", "PUT", "PATCH", "DELETE", "get"}) do
  local r = send{method = method}
  print(method, r.result.status_code, r.result.body.method, r.success)
end
print("default", send{}.result.body.method)
print("headers", send{headers = {["X-Mine"] = "yes"}}.result.body.headers["x-mine"])
print("json", send{method = "POST", body = {1, {list = {2}}, {empty = {}}}}.result.body.body)
print("text", send{method = "POST", body = "plain"}.result.body.body)
print("basic", send{auth = {type = "basic", username = "a", password = "b"}}.result.status_code)
print("bearer", send{auth = {type = "bearer", token = "t"}}.result.status_code)
print("apikey", send{auth = {type = "apikey", key = "k", header_name = "X-Key"}}.result.status_code)
print("custom", send{auth = {type = "custom", headers = {["X-Own"] = "o"}}}.result.status_code)
print("none", send{auth = {type = "none"}}.result.status_code)
print("retry", send{input = "/sometimes", retry = {max_attempts = 3, initial_delay_ms = 1, backoff_factor = 1}}.result.status_code)

local missing = send{input = "/missing"}
print("missing", missing.success, missing.result.status_code, missing.error.code)
for _, name in ipairs({"http-request", "http-request-tool", "http-requester"}) do
  print(name, Tool.invoke(name, {input = url .. "/echo"}).result.status_code)
end
local ok, message = pcall(Tool.invoke, "http_request", {input = "http://169.254.169.254/latest/meta-data"})
print("metadata service", ok, tostring(message):match("^Tool execution failed") ~= nil)
local fields = send{}.result
print("fields", type(fields.status_code), type(fields.headers), type(fields.body), type(fields.timestamp))
