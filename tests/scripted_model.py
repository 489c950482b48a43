"""A provider of models that say what a test wrote for them, for what no real one can be made to say on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import trio
from pydantic import BaseModel

from llmspell_hookspecs import (
    ChunkSink,
    Endpoint,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    ModelUsage,
    ProviderInfo,
    ToolUse,
)

__all__ = ["ScriptedModel", "asks", "says"]

Line = ModelResponse | Exception | Callable[[ModelRequest], Any]


class _Settings(BaseModel):
    """It takes none."""


class ScriptedModel:
    """Answers line after line; the last one again and again.

    Attributes:
        requests: What it was asked.
        begun: Set when a request that waits for ever has begun.
        ended: How many requests have ended.
    """

    name: ClassVar[str] = "scripted"
    rank: ClassVar[int | None] = 1
    Settings: ClassVar[type[BaseModel]] = _Settings

    def __init__(self, *lines: Line) -> None:
        self.lines = list(lines)
        self.requests: list[ModelRequest] = []
        self.endpoints: list[Endpoint] = []
        self.begun = trio.Event()
        self.ended = 0
        self.closed = 0

    def info(self) -> ProviderInfo:
        return ProviderInfo("scripted", default_model="play", streams=True, tools=True)

    def at(self, endpoint: Endpoint, /) -> ScriptedModel:
        self.endpoints.append(endpoint)
        return self

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        """Answer the next line, word by word if somebody listens."""
        self.requests.append(request)
        line = self.lines.pop(0) if len(self.lines) > 1 else self.lines[0]
        try:
            if callable(line) and not isinstance(line, Exception):
                line = line(request)
            if line is WAITS:
                self.begun.set()
                await trio.sleep_forever()
            if isinstance(line, Broken):
                await _stream(line.text, sink)
                raise line.error
            if isinstance(line, Exception):
                raise line
            assert isinstance(line, ModelResponse)
            await _stream(line.text, sink)
            if sink is not None:
                for use in line.tool_uses:
                    await sink(ModelChunk("tool_use", tool_use=use))
            return line
        finally:
            self.ended += 1

    async def close(self) -> None:
        """Count it."""
        self.closed += 1


class Broken(Exception):  # noqa: N818 - a line of the play
    """A stream that breaks after this text."""

    def __init__(self, text: str, error: Exception) -> None:
        super().__init__(text)
        self.text = text
        self.error = error


def WAITS(request: ModelRequest) -> Any:
    """Wait for ever."""
    return WAITS


async def _stream(text: str, sink: ChunkSink | None) -> None:
    if sink is not None and text:
        first, *rest = text.split(" ")
        for word in (first, *(f" {word}" for word in rest)):
            await sink(ModelChunk(text=word))


def says(text: str) -> ModelResponse:
    """Answer a line of text."""
    return ModelResponse(text, usage=ModelUsage(3, len(text.split())))


def asks(*uses: tuple[str, dict[str, Any]], text: str = "") -> ModelResponse:
    """Answer a line that asks for tools."""
    numbered = tuple(ToolUse(f"use-{number}", name, given) for number, (name, given) in enumerate(uses, 1))
    return ModelResponse(text, numbered, "tool_use", ModelUsage(3, 1))
