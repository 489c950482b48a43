"""The calculator tool: arithmetic for people and models. Every number is a float; how it is written says `expression`.

Invariant: no input takes longer than 100 ms or answers more than a number, so it runs where it is called.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult

from .arithmetic import catalog
from .expression import Expression

__all__ = ["Calculator", "CalculatorParameters"]


class CalculatorParameters(BaseModel):
    """What the calculator takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["evaluate", "validate", "functions"] = Field(
        default="evaluate", description="evaluate, validate (only check the expression), or functions (list them)."
    )
    input: str = Field(
        default="",
        validation_alias=AliasChoices("input", "expression"),
        description="The expression, such as '2 * sqrt(x) + 1', and also called that; unused by functions.",
    )
    variables: dict[str, float] = Field(default={}, max_length=50, description="Values for the names in it.")


class Calculator(Tool[CalculatorParameters]):
    """Evaluate an arithmetic expression, check one, or list what expressions may hold."""

    name = "calculator"
    category = "utility"
    level = SecurityLevel.SAFE
    repeatable = True
    examples = (
        ToolExample("a value", {"operation": "evaluate", "input": "2 + 3 * 4"}, {"result": 14}),
        ToolExample("variables", {"input": "sqrt(x)", "variables": {"x": 16}}, {"result": 4}),
        ToolExample("a check", {"operation": "validate", "input": "2 +"}, {"valid": False}),
    )

    async def run(self, parameters: CalculatorParameters, context: ToolContext) -> ToolResult:
        """Return the value, the verdict or the catalog; infinity and NaN come as words with result_type special.

        Raises:
            ToolError: ``invalid_input`` or ``limit_exceeded``.
        """
        if parameters.operation == "functions":
            return ToolResult(operation="functions", result=catalog())
        if parameters.operation == "validate":
            return ToolResult(operation="validate", result=_verdict(parameters.input))
        try:
            value = Expression(parameters.input).evaluate(parameters.variables)
        except ToolError as error:
            raise _of_calculator(error) from None
        return ToolResult(operation="evaluate", result=_answer(parameters, value))


def _answer(parameters: CalculatorParameters, value: float) -> dict[str, Any]:
    finite = math.isfinite(value)
    word = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return {
        "input": parameters.input,
        "result": value if finite else word,
        "result_type": "float" if finite else "special",
        "variables": dict(parameters.variables),
    }


def _verdict(text: str) -> dict[str, Any]:
    try:
        Expression(text)
    except ToolError as error:
        return {"input": text, "valid": False, "error": str(_of_calculator(error))}
    return {"input": text, "valid": True}


def _of_calculator(error: ToolError) -> ToolError:
    return ToolError(str(error).replace("expression:", "calculator:", 1), code=error.code, details=error.details)
