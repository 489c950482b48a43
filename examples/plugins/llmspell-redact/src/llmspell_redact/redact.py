"""The hooks: what tools return, what models say (also piece by piece), and what errors tell.

Invariant: nothing that is taken out has a blank in it, so a text can be judged as far as its last blank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, field_validator

from llmspell_hookspecs import (
    Failure,
    HookContext,
    ModelChunk,
    Modified,
    Priority,
    Services,
    ToolResult,
    hookimpl,
)

__all__ = ["Redact", "RedactSettings"]

ADDRESS = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"


class RedactSettings(BaseModel):
    """``[plugins.redact]``."""

    addresses: bool = Field(True, description="Whether e-mail addresses are taken out.")
    words: tuple[str, ...] = Field((), description="Further words to take out; case does not matter.")
    replacement: str = Field("[redacted]", description="What stands there instead.")

    @field_validator("words")
    @classmethod
    def _one_word_each(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if len(word.split()) != 1 or word != word.strip():
                raise ValueError(f"{word!r} is not one word; leave blanks out")
        return words


class Redact:
    """Redacts, behind every other transform."""

    name = "redact"
    Settings = RedactSettings

    def __init__(self, settings: RedactSettings, services: Services) -> None:
        words = "|".join(re.escape(word) for word in sorted(settings.words, key=len, reverse=True))
        patterns = [ADDRESS] * settings.addresses + [rf"\b(?:{words})\b"] * bool(words)
        self._pattern = re.compile("|".join(patterns) or r"(?!)", re.IGNORECASE)
        self._replacement = settings.replacement

    @hookimpl(priority=Priority.LOWEST)
    def after_tool_execution(self, context: HookContext[ToolResult]) -> Modified:
        """Redact what a tool returned."""
        result = context.subject
        return context.modify(
            result=self._clean(result.result),
            text=self._clean(result.text),
            message=self._clean(result.message),
            error=self._clean(result.error),
        )

    @hookimpl(priority=Priority.LOWEST)
    def model_chunk(self, context: HookContext[ModelChunk]) -> Modified:
        """Redact what a model says, and hold back what may go on in the next piece."""
        chunk, kept = context.subject, context.metadata["redact"]
        text = chunk.text if chunk.index == 0 else kept["text"] + chunk.text
        blanks = [match.end() for match in re.finditer(r"\s", text)]
        whole = len(text) if chunk.final else blanks[-1] if blanks else 0
        kept["text"] = text[whole:]
        return context.modify(text=self._clean(text[:whole]))

    @hookimpl(priority=Priority.LOWEST)
    def tool_error(self, context: HookContext[Failure]) -> Modified:
        """Redact what a tool's error tells."""
        return Modified({"message": self._clean(context.subject.message)})

    @hookimpl(priority=Priority.LOWEST)
    def model_error(self, context: HookContext[Failure]) -> Modified:
        """Redact what a provider's error tells."""
        return Modified({"message": self._clean(context.subject.message)})

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._pattern.sub(self._replacement, value)
        if isinstance(value, Mapping):
            return {self._clean(key): self._clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        return value
