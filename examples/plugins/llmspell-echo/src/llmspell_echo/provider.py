"""The echo provider: every model of it says what the newest message says, word by word. It asks nobody."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import BaseModel, Field

from llmspell_hookspecs import InvalidInputError, ModelChunk, ModelRequest, ModelResponse, ProviderInfo, Services
from llmspell_hookspecs.model import ChunkSink, Endpoint, ModelUsage

__all__ = ["Echo", "EchoSettings"]


class EchoSettings(BaseModel):
    """``[providers.echo]``."""

    prefix: str = Field("", description="What it says first.")


class Echo:
    """Says what it was told."""

    name = "echo"
    Settings: ClassVar[type[BaseModel]] = EchoSettings
    rank: ClassVar[int | None] = None

    def __init__(self, settings: EchoSettings, services: Services) -> None:
        self._prefix = settings.prefix

    def info(self) -> ProviderInfo:
        """Return what it is."""
        return ProviderInfo(
            name="echo",
            reason="it needs no key",
            default_model="words",
            streams=True,
            models=("words",),
            description="Says what it was told.",
        )

    def at(self, endpoint: Endpoint, /) -> Echo:
        """Refuse: it is nowhere."""
        raise InvalidInputError("provider echo: it asks nobody; leave base_url and api_key out", field="base_url")

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        """Return the newest message's text, handed over word by word."""
        told = request.messages[-1].content if request.messages else ""
        words = re.findall(r"\s*\S+|\s+", self._prefix + told)
        if sink is not None:
            for index, word in enumerate(words):
                await sink(ModelChunk(text=word, index=index))
        usage = ModelUsage(input_tokens=len(told.split()), output_tokens=len(words), cost_usd=0.0)
        return ModelResponse(text="".join(words), usage=usage, model=model)
