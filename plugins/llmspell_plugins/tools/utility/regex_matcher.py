"""The regex-matcher tool: regular expressions, as Python writes them, on a text.

Invariant: a pattern runs in a child process that ends with its time, since a pattern may take for ever. Sizes in
characters.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.tool import ToolLimits

from . import regex_program

__all__ = ["RegexMatcher", "RegexMatcherParameters"]

Flag = Literal["ignore_case", "multiline", "dot_all", "verbose", "ascii"]
_LETTERS = {"i": "ignore_case", "m": "multiline", "s": "dot_all", "x": "verbose", "a": "ascii"}


class RegexMatcherParameters(BaseModel):
    """What the regex-matcher takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["match", "find_all", "replace", "split", "validate"] = Field(
        default="match", description="The first match, all of them, the text with them replaced, its parts, a check."
    )
    pattern: str = Field(
        max_length=10_000,
        validation_alias=AliasChoices("pattern", "regex"),
        description="The regular expression; also called regex.",
    )
    input: str = Field(
        default="",
        max_length=10_000_000,
        validation_alias=AliasChoices("input", "text"),
        description="The text; also called text.",
    )
    replacement: str = Field(
        default="",
        max_length=100_000,
        description=r"replace: by what; \1, \g<name>, $1 or ${name} is a group.",
    )
    flags: list[Flag] = Field(default=[], max_length=10, description="How to read it; or a text of the letters imsxa.")
    max_matches: int = Field(
        default=1000, ge=1, le=100_000, description="find_all: how many are told; split: the most parts."
    )
    count: int = Field(default=0, ge=0, description="replace: how many are replaced, 0 for all.")

    @field_validator("flags", mode="before")
    @classmethod
    def _of_letters(cls, given: Any) -> Any:
        return [_LETTERS.get(letter, letter) for letter in given] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _complete(self) -> RegexMatcherParameters:
        if self.operation != "validate" and "input" not in self.model_fields_set:
            raise ValueError(f"{self.operation} needs input")
        return self


class RegexMatcher(Tool[RegexMatcherParameters]):
    """Match, find, replace or split by a regular expression, or check one."""

    name = "regex-matcher"
    aliases = ("regex_matcher",)
    category = "utility"
    level = SecurityLevel.SAFE
    limits = ToolLimits(time_s=5)
    repeatable = True
    examples = (
        ToolExample(
            "the first number",
            {"operation": "match", "pattern": r"\d+", "input": "a 42 b 7"},
            {"matched": True, "match": "42", "start": 2, "end": 4},
        ),
        ToolExample(
            "dates turned",
            {"operation": "replace", "pattern": r"(\d+)/(\d+)", "replacement": "$2.$1", "input": "12/31"},
            {"result": "31.12", "count": 1},
        ),
        ToolExample("a check", {"operation": "validate", "pattern": "(a"}, {"valid": False, "position": 0}),
    )

    async def run(self, parameters: RegexMatcherParameters, context: ToolContext) -> ToolResult:
        """Return what was found; see the reference page.

        Raises:
            InvalidInputError: The pattern or the replacement is wrong.
            ResourceLimitError: The result is too large.
        """
        given = parameters
        context.charge(2 * len(given.input))
        most = {
            "find_all": (given.max_matches,),
            "replace": (given.replacement, given.count),
            "split": (given.max_matches,),
        }.get(given.operation, ())
        subject = () if given.operation == "validate" else (given.input,)
        work = getattr(regex_program, given.operation)
        result = await context.run_process(work, given.pattern, *subject, tuple(given.flags), *most)
        return ToolResult(operation=given.operation, result=result)
