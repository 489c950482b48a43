"""What leaves tools and models has no address in it, whoever asks and however the text is parted."""

from __future__ import annotations

from typing import ClassVar

import pytest
from llmspell_redact import Redact
from pydantic import BaseModel

from llmspell_hookspecs import Message, ModelChunk, ModelRequest, ModelResponse, ProviderInfo, Services, ToolError, tool
from llmspell_hookspecs.errors import ProviderError
from llmspell_hookspecs.model import ChunkSink, Endpoint
from llmspell_testing import HostOpener

SETTINGS = {"plugins": {"redact": {"words": ["Atlas"], "replacement": "(gone)"}}}


@tool
def contacts(name: str) -> dict[str, list[str]]:
    """Tell how to reach somebody."""
    if name == "nobody":
        raise ToolError("contacts: nobody@example.com bounces; name somebody else", code="unknown")
    return {"mail": [f"{name}@example.com"], "project": ["Atlas"]}


class NoSettings(BaseModel):
    """There are none."""


class Parted:
    """A provider whose pieces part an address."""

    name = "parted"
    Settings: ClassVar[type[BaseModel]] = NoSettings
    rank: ClassVar[int | None] = None

    def __init__(self, settings: NoSettings, services: Services) -> None:
        pass

    def info(self) -> ProviderInfo:
        """Return what it is."""
        return ProviderInfo("parted", default_model="one", streams=True)

    def at(self, endpoint: Endpoint, /) -> Parted:
        """Return itself."""
        return self

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        """Say whom to write to."""
        if model == "angry":
            raise ProviderError("parted: jo@example.com has no credit; pay")
        pieces = ("Atlas:\nwrite to jo", "hn.doe@exa", "mple.com", ", or at", "las")
        if sink is not None:
            for piece in pieces:
                await sink(ModelChunk(text=piece))
        return ModelResponse(text="".join(pieces))


CLEAN = "(gone):\nwrite to (gone), or (gone)"


async def test_what_a_tool_returns_is_redacted(llmspell_open: HostOpener) -> None:
    async with llmspell_open(plugins=[Redact, contacts], settings=SETTINGS) as host:
        answer = await host.call("tool:contacts", {"name": "ada"})

    assert answer.result == {"mail": ["(gone)"], "project": ["(gone)"]}


async def test_what_an_error_tells_is_redacted_and_it_stays_an_error(llmspell_open: HostOpener) -> None:
    async with llmspell_open(plugins=[Redact, contacts, Parted], settings=SETTINGS) as host:
        with pytest.raises(ToolError, match=r"contacts: \(gone\) bounces; name somebody else"):
            await host.call("tool:contacts", {"name": "nobody"})
        with pytest.raises(ProviderError, match=r"parted: \(gone\) has no credit; pay"):
            await host.call("model:parted/angry", "whom?")


@pytest.mark.parametrize("stream", [True, False])
async def test_what_a_model_says_is_redacted_streamed_or_not(llmspell_open: HostOpener, stream: bool) -> None:
    chunks: list[str] = []

    async def take(chunk: ModelChunk) -> None:
        chunks.append(chunk.text)

    request = ModelRequest("parted/one", (Message("user", "whom?"),))
    async with llmspell_open(plugins=[Redact, Parted], settings=SETTINGS) as host:
        response = await host.models.complete(request, sink=take if stream else None)

    assert response.text == CLEAN
    assert chunks == (["(gone):\nwrite to ", "(gone), or ", "(gone)"] if stream else [])


async def test_what_an_agent_says_and_remembers_is_redacted(llmspell_open: HostOpener) -> None:
    async with llmspell_open(plugins=[Redact, Parted], settings=SETTINGS) as host:
        agent = await host.agents.create(name="clerk", model="parted/one")
        whole = await agent.run("whom?")
        async with agent.stream("whom?") as run:
            pieces = [chunk.text async for chunk in run]

    assert (whole.text, "".join(pieces), agent.conversation[-1].content) == (CLEAN, CLEAN, CLEAN)
