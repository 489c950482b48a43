"""The data_validation tool: whether a value follows rules, and each place where it does not."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.tool import ToolLimits

from .regex_program import matching
from .rules import Problem, Rule, check, patterns_of

__all__ = ["DataValidation", "DataValidationParameters", "RuleSet"]

_MOST_PROBLEMS = 1000


class RuleSet(BaseModel):
    """The rules for a value."""

    model_config = ConfigDict(extra="forbid")

    rules: list[Rule] = Field(max_length=1000, description="Each with its type.")


class DataValidationParameters(BaseModel):
    """What data_validation takes."""

    model_config = ConfigDict(extra="forbid")

    input: Any = Field(description="The value to check.")
    rules: RuleSet = Field(description="``{rules: [...]}``, or the array alone.")

    @field_validator("rules", mode="before")
    @classmethod
    def _of_array(cls, given: Any) -> Any:
        return {"rules": given} if isinstance(given, list | tuple) else given


class DataValidation(Tool[DataValidationParameters]):
    """Check a value by rules: types, lengths, ranges, patterns, e-mail, URL, dates, arrays, objects ..."""

    name = "data_validation"
    aliases = ("data-validation", "data-validation-tool", "data_validation_tool", "data-validator", "data_validator")
    category = "utility"
    level = SecurityLevel.SAFE
    limits = ToolLimits(time_s=10)
    repeatable = True
    examples = (
        ToolExample(
            "an address",
            {"input": "someone@example.com", "rules": {"rules": [{"type": "required"}, {"type": "email"}]}},
            {"valid": True, "errors": []},
        ),
        ToolExample(
            "an object",
            {
                "input": {"age": 200},
                "rules": [{"type": "object", "properties": {"age": [{"type": "range", "max": 150}]}}],
            },
            {"valid": False},
        ),
    )

    async def run(self, parameters: DataValidationParameters, context: ToolContext) -> ToolResult:
        """Return ``{valid, errors}``, each error ``{field, value, rule, message}``.

        Raises:
            InvalidInputError: A pattern is no regular expression.
        """
        rules = parameters.rules.rules
        patterns = await context.run_thread(_patterns, rules, parameters.input)
        found = await context.run_process(matching, patterns) if patterns else []
        matches = dict(zip(patterns, found, strict=True))
        errors, more = await context.run_thread(_problems, rules, parameters.input, matches)
        result: dict[str, Any] = {"valid": not errors, "errors": errors}
        if more:
            result["truncated"] = True
        message = "it follows the rules" if not errors else f"{len(errors)} of its values do not follow the rules"
        return ToolResult(operation="validate_data", result=result, message=message)


def _patterns(rules: list[Rule], value: Any) -> list[tuple[str, str]]:
    return list(dict.fromkeys(patterns_of(rules, value)))


def _problems(rules: list[Rule], value: Any, matches: dict[tuple[str, str], bool]) -> tuple[list[Problem], bool]:
    errors: list[Problem] = []
    for problem in check(rules, value, matches):
        if len(errors) == _MOST_PROBLEMS:
            return errors, True
        errors.append(problem)
    return errors, False
