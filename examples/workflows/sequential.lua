-- One step after the other: each may use what an earlier one yielded. Run it with: llmspell run examples/workflows/sequential.lua

local invoice = Workflow.sequential{
  name = "invoice",
  steps = {
    {name = "net", type = "tool", tool = "calculator", input = {operation = "evaluate", input = "{{input.price}} * {{input.count}}"}},
    {name = "gross", type = "tool", tool = "calculator", input = {operation = "evaluate", input = "{{step:net:output.result}} * 1.19"}},
    {name = "line", execute = function(context)
      return string.format("%d pieces, %.2f EUR with tax", context.input.count, context.results.gross.result)
    end, input = "{{input}}"},
  },
}

local result = invoice:execute({price = 12.5, count = 4})
print(result.success, result.output)
print("the steps: " .. table.concat(invoice:list_outputs(), ", "))
