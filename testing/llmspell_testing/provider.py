"""The conformance suite of providers: what the contract's `Provider` promises, and what servers make of it, tested.

::

    class TestParrot(ProviderConformance):
        plugins = (Parrot,)
        model = "tried/parrot-1"

        def table(self, base_url: str) -> Mapping[str, Any]:
            return {"type": "parrot", "base_url": base_url}

``table`` is ``[providers.tried]``. A provider that speaks OpenAI's chat interface is asked about each `QUIRKS`, from a
server on loopback; one that does not says ``speaks_chat = False``, and is held to what all of them promise.

Needs pytest. Invariant: it knows a provider by the host and its settings only.
"""
# ruff: noqa: D102 - a test's name is a sentence

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from llmspell_hookspecs import Message, ModelChunk, ModelRequest, ModelResponse
from llmspell_hookspecs.errors import ProviderError
from llmspell_hookspecs.model import ToolSpec, ToolUse

from .canned import CannedServer
from .provider_quirks import QUIRKS, Quirk

if TYPE_CHECKING:
    from llmspell.host import Host

    from .host_runner import HostOpener

__all__ = ["ProviderConformance"]

_CALCULATOR = ToolSpec("calculator", "Adds.", {"type": "object", "properties": {"input": {"type": "string"}}})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_each_way = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


class ProviderConformance:
    """The tests; subclass it under a name that pytest collects, and say how to reach the provider.

    Attributes:
        plugins: Handed to the host in code.
        model: What is asked.
        speaks_chat: Whether it speaks OpenAI's chat interface at the URL that `table` is given.
        apart: Quirks that it cannot be held to, by their id, and why: what a library between makes of them.
    """

    plugins: ClassVar[Sequence[Any]] = ()
    model: ClassVar[str] = "tried/some-model"
    speaks_chat: ClassVar[bool] = True
    apart: ClassVar[Mapping[str, str]] = {}

    def table(self, base_url: str) -> Mapping[str, Any]:
        """Return ``[providers.tried]`` for a service at this URL; empty if it needs none."""
        raise AssertionError(f"{type(self).__name__} has no method table(base_url); write one")

    # What all of them promise.

    @_each_way
    async def test_the_chunks_add_up_to_the_answer(self, llmspell_open: HostOpener, stream: bool) -> None:
        with CannedServer(_hello(stream=stream)) as server:
            async with self._open(llmspell_open, server) as host:
                response, chunks = await self._ask(host, stream=stream)

        assert response.text
        assert "".join(chunk.text for chunk in chunks) == response.text * stream
        assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
        assert min(response.usage.input_tokens, response.usage.output_tokens) >= 0

    async def test_it_says_what_it_is_without_being_asked_anything(self, llmspell_open: HostOpener) -> None:
        with CannedServer() as server:
            async with self._open(llmspell_open, server) as host:
                [info] = [info for info in host.models.providers() if info.name == self.model.partition("/")[0]]

        assert info.available, info.reason
        assert server.requests == []

    async def test_it_ends_with_the_host_in_order(
        self, llmspell_open: HostOpener, caplog: pytest.LogCaptureFixture
    ) -> None:
        with CannedServer(_hello()) as server:
            async with self._open(llmspell_open, server) as host:
                await self._ask(host)

        assert [told.getMessage() for told in caplog.records if told.levelno >= logging.WARNING] == []

    @_each_way
    async def test_half_a_letter_in_the_conversation_harms_nothing(
        self, llmspell_open: HostOpener, stream: bool
    ) -> None:
        with CannedServer(_hello(stream=stream)) as server:
            async with self._open(llmspell_open, server) as host:
                response, _ = await self._ask(host, Message("user", "half \ud835 of it"), stream=stream)

        assert response.text

    # What OpenAI's chat interface is sent.

    async def test_each_tool_gets_a_name_and_a_schema_that_services_take(self, llmspell_open: HostOpener) -> None:
        self._needs_chat()
        names = ("web.search", "web_search", "my tool", "w\u00e4rme", "7days", "-x", "x" * 80, "x" * 81, "plain")
        schemas: tuple[dict[str, Any], ...] = (
            {},
            {"properties": {"a": {"type": "string"}}},
            {"$ref": "#/$defs/P", "$defs": {"P": {"type": "object", "properties": {"a": {}}, "required": ["a"]}}},
            {"anyOf": [{"type": "object", "properties": {"a": {}}}, {"type": "object", "properties": {"b": {}}}]},
            {"type": ["object", "null"], "properties": {}},
            {"type": "object"},
        )
        tools = tuple(ToolSpec(name, "", schemas[place % len(schemas)]) for place, name in enumerate(names))
        with CannedServer(_hello(), _hello()) as server:
            async with self._open(llmspell_open, server) as host:
                await self._ask(host, tools=tools)
                sent = [tool["function"] for tool in server.requests[0]["tools"]]
                server.say(_asking_for(*(function["name"] for function in sent)))
                response, _ = await self._ask(host, tools=tools)

        assert len({function["name"] for function in sent}) == len(names)
        assert [function["name"] for function in sent if not _NAME.fullmatch(function["name"])] == []
        assert {function["parameters"]["type"] for function in sent} == {"object"}
        assert all(isinstance(function["parameters"]["properties"], dict) for function in sent)
        assert not any(word in function["parameters"] for function in sent for word in ("anyOf", "oneOf", "$ref"))
        assert tuple(use.name for use in response.tool_uses) == names

    async def test_calls_go_back_with_the_names_and_ids_that_they_came_with(self, llmspell_open: HostOpener) -> None:
        self._needs_chat()
        uses = (ToolUse("one", "web.search", {"a": "\ud835"}), ToolUse("two", "unheard of", {}))
        talk = (Message("user", "go"), Message("assistant", "", uses), Message("tool", "ok", tool_use_id="one"))
        with CannedServer(_hello()) as server:
            async with self._open(llmspell_open, server) as host:
                await self._ask(host, *talk, tools=(ToolSpec("web.search"),))

        body = server.requests[0]
        calls = body["messages"][1]["tool_calls"]
        assert calls[0]["function"]["name"] == body["tools"][0]["function"]["name"]
        assert [call["id"] for call in calls] == ["one", "two"]
        assert all(_NAME.fullmatch(call["function"]["name"]) for call in calls)
        assert body["messages"][2]["tool_call_id"] == "one"

    # What servers make of it.

    @pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.id)
    async def test_what_servers_answer_is_understood(self, llmspell_open: HostOpener, quirk: Quirk) -> None:
        self._needs_chat()
        if quirk.id in self.apart:
            pytest.skip(self.apart[quirk.id])
        with CannedServer((quirk.status, quirk.kind, quirk.body)) as server:
            async with self._open(llmspell_open, server) as host:
                if quirk.code:
                    await self._fails(host, quirk)
                else:
                    _hold(*await self._ask(host, tools=(_CALCULATOR,), stream=quirk.streams), quirk)
        assert len(server.requests) == 1

    async def _fails(self, host: Host, quirk: Quirk) -> None:
        with pytest.raises(ProviderError) as caught:
            await self._ask(host, tools=(_CALCULATOR,), stream=quirk.streams)
        error = caught.value
        assert (error.code, error.retryable) == (quirk.code, quirk.retryable), str(error)
        assert quirk.words in str(error)
        assert "\n" not in str(error)
        assert len(str(error)) <= 500

    def _needs_chat(self) -> None:
        if not self.speaks_chat:
            pytest.skip("it does not speak OpenAI's chat interface")

    def _open(self, opener: HostOpener, server: CannedServer) -> AbstractAsyncContextManager[Host]:
        table = dict(self.table(server.url))
        settings = {
            "providers": {self.model.partition("/")[0]: table} if table else {},
            "plugins": {"disabled": ["model_retry"]},
        }
        return opener(plugins=self.plugins, settings=settings)

    async def _ask(
        self, host: Host, *messages: Message, tools: tuple[ToolSpec, ...] = (), stream: bool = False
    ) -> tuple[ModelResponse, list[ModelChunk]]:
        chunks: list[ModelChunk] = []

        async def sink(chunk: ModelChunk) -> None:
            chunks.append(chunk)

        request = ModelRequest(self.model, messages or (Message("user", "hello"),), tools)
        return await host.models.complete(request, sink=sink if stream else None), chunks


def _hold(response: ModelResponse, chunks: Sequence[ModelChunk], quirk: Quirk) -> None:
    assert response.text == quirk.text
    assert "".join(chunk.text for chunk in chunks) == quirk.text * quirk.streams
    assert response.finish_reason == quirk.reason
    uses = tuple(response.tool_uses)
    assert [(use.name, None if use.problem else dict(use.parameters)) for use in uses] == list(quirk.uses)
    assert len({use.id for use in uses} - {""}) == len(uses)
    assert tuple(chunk.tool_use for chunk in chunks if chunk.tool_use is not None) == uses * quirk.streams
    if quirk.tokens is not None:
        assert (response.usage.input_tokens, response.usage.output_tokens) == quirk.tokens


def _hello(*, stream: bool = False) -> tuple[int, str, bytes]:
    if stream:
        body = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": null}]}\n\n'
        body += b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
        return 200, "text/event-stream", body
    body = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}'
    return 200, "application/json", body


def _asking_for(*names: str) -> tuple[int, str, bytes]:
    import msgspec

    calls = [
        {"id": f"c{place}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        for place, name in enumerate(names)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    return 200, "application/json", msgspec.json.encode({"choices": choices})
