"""The diff_calculator tool: what differs between two texts, files or JSON values, and a patch applied to a text.

Invariant: what is long is compared in a child process, since comparing may take time that grows with the cube of the
lines. Sizes in characters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from msgspec import structs
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import InvalidInputError, SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.tool import Access, PathAccess
from llmspell_plugins.tools.filesystem.content import read_file
from llmspell_plugins.tools.filesystem.failure import explaining

from .differences import apply_patch, difference
from .json_difference import json_difference

__all__ = ["DiffCalculator", "DiffCalculatorParameters", "DiffCalculatorSettings"]

_SHORT = 2_000
_FILES = ("old_file", "new_file")


class DiffCalculatorParameters(BaseModel):
    """What the diff_calculator takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["diff", "apply"] = Field(default="diff", description="Compare, or apply a patch to the old.")
    type: Literal["text", "json"] = Field(default="text", description="What is compared.")
    old_text: str | None = Field(default=None, description="The text before.")
    new_text: str | None = Field(default=None, description="The text after.")
    old_json: Any = Field(default=None, description="The JSON value before.")
    new_json: Any = Field(default=None, description="The JSON value after.")
    old_file: str | None = Field(default=None, description="The file before, UTF-8; in place of old_text or old_json.")
    new_file: str | None = Field(default=None, description="The file after, UTF-8; in place of new_text or new_json.")
    format: Literal["unified", "context", "inline", "simple"] = Field(
        default="unified", description="How a text's difference is written: as diff -u or -c, all lines, only changes."
    )
    context_lines: int = Field(default=3, ge=0, le=10_000, description="unified and context: equal lines around.")
    patch: str | None = Field(default=None, description="apply: a unified difference of one file.")

    @model_validator(mode="after")
    def _complete(self) -> DiffCalculatorParameters:
        given = self.model_fields_set
        sides = ("old",) if self.operation == "apply" else ("old", "new")
        for side in sides:
            kinds = [f"{side}_{self.type}", f"{side}_file"]
            if sum(kind in given and (kind.endswith("json") or getattr(self, kind) is not None) for kind in kinds) != 1:
                raise ValueError(f"give either {kinds[0]} or {kinds[1]}")
        if self.operation == "apply" and (self.patch is None or self.type != "text"):
            raise ValueError("apply needs patch, and a text")
        return self


class DiffCalculatorSettings(BaseModel):
    """``[tools.diff_calculator]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size_bytes: int = Field(default=10 * 1024 * 1024, ge=0, description="The largest file that is read.")


class DiffCalculator(Tool[DiffCalculatorParameters]):
    """Tell what differs between two texts, files or JSON values, or apply a patch to a text."""

    name = "diff_calculator"
    aliases = ("diff-calculator",)
    category = "utility"
    level = SecurityLevel.SAFE
    repeatable = True
    examples = (
        ToolExample(
            "two texts",
            {"old_text": "a\nb\n", "new_text": "a\nc\n", "format": "simple"},
            {"diff": "- b\n+ c\n", "stats": {"old_lines": 2, "new_lines": 2}},
        ),
        ToolExample(
            "two JSON values",
            {"type": "json", "old_json": {"a": 1}, "new_json": {"a": 2}},
            {"diff": {"modified": {"/a": {"old": 1, "new": 2}}}},
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = DiffCalculatorSettings
    settings: DiffCalculatorSettings

    def access(self, parameters: DiffCalculatorParameters) -> Sequence[Access]:
        """Return the files."""
        return tuple(PathAccess(field) for field in _FILES if getattr(parameters, field) is not None)

    async def run(self, parameters: DiffCalculatorParameters, context: ToolContext) -> ToolResult:
        """Return ``{type, format, diff, stats}``, ``{type, diff, summary, patch}`` or, of apply, ``{text, hunks}``.

        Raises:
            InvalidInputError: A file is no text or no JSON, or the patch does not fit.
            ToolError: A file cannot be read.
            ResourceLimitError: A file is too large.
        """
        if parameters.type == "json":
            old, new = [await self._value(parameters, side, context) for side in ("old", "new")]
            return _json_answer(*await context.run_thread(_json_work, old, new))
        old = await self._text(parameters, "old", context)
        second = parameters.patch if parameters.operation == "apply" else await self._text(parameters, "new", context)
        context.charge(2 * (len(old) + len(second or "")))
        options: tuple[Any, ...] = ()
        if parameters.operation == "diff":
            options = (parameters.format, parameters.context_lines)
        work = apply_patch if parameters.operation == "apply" else difference
        if len(old) + len(second or "") <= _SHORT:
            done, facts = work(old, second or "", *options)
        else:
            done, facts = await context.run_process(work, old, second or "", *options)
        if parameters.operation == "apply":
            return ToolResult(operation="apply", result={"text": done, "hunks": facts}, text=done)
        result = {"type": "text", "format": parameters.format, "diff": done, "stats": facts}
        return ToolResult(operation="diff", result=result)

    async def _text(self, parameters: DiffCalculatorParameters, side: str, context: ToolContext) -> str:
        field = f"{side}_file"
        path: str | None = getattr(parameters, field)
        if path is None:
            return str(getattr(parameters, f"{side}_text"))
        with explaining(self.name, path):
            content = await context.run_thread(read_file, path, self.settings.max_file_size_bytes, context.charge)
        try:
            return str(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            message = f"diff_calculator: {field}: {path} is no UTF-8 text; convert it first, or compare its hash"
            raise InvalidInputError(message, field=field) from error

    async def _value(self, parameters: DiffCalculatorParameters, side: str, context: ToolContext) -> Any:
        field = f"{side}_file"
        if getattr(parameters, field) is None:
            return getattr(parameters, f"{side}_json")
        text = await self._text(parameters, side, context)
        try:
            return await context.run_thread(json.loads, text)
        except (ValueError, RecursionError) as error:
            message = f"diff_calculator: {field}: it is no JSON ({line_of_error(error)}); compare it as a text"
            raise InvalidInputError(message, field=field) from error


def _json_work(old: Any, new: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        found = structs.asdict(json_difference(old, new))
    except RecursionError as error:
        message = "diff_calculator: the values are nested too deeply to be compared; compare parts of them"
        raise InvalidInputError(message) from error
    return found, found.pop("patch")


def _json_answer(found: dict[str, Any], patch: list[dict[str, Any]]) -> ToolResult:
    summary = {name: len(places) for name, places in found.items()}
    return ToolResult(operation="diff", result={"type": "json", "diff": found, "summary": summary, "patch": patch})
