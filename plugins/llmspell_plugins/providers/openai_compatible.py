"""The openai_compatible provider: whatever speaks OpenAI's chat interface, asked over the host's network on trio.

Invariant: an answer is handed back whole or not at all: one that broke, ended early or makes no sense is a
`ProviderError`, whatever had come of it. A call that is cancelled closes its connection, so it ends on the server too.
Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, ClassVar, Final, ParamSpec, TypeVar

import trio
from msgspec import Struct, structs
from pydantic import BaseModel, Field, SecretStr

from llmspell_hookspecs import ModelChunk, ModelRequest, ModelResponse, NetworkAccess, ProviderInfo, Services
from llmspell_hookspecs.errors import ProviderError, line_of_error
from llmspell_hookspecs.model import ChunkSink, Endpoint
from llmspell_hookspecs.network import HttpStream
from llmspell_plugins.tool_uses import ids_of

from .chat_answer import Assembly, BrokenOffError, large_answers
from .chat_names import ToolNames
from .chat_request import encode_request
from .endpoint import Place, ServiceSettings, key_of
from .event_stream import EventStream
from .failures import error_in, network_failures, protocol_error, status_error, stream_error
from .prices import cost_usd
from .wire_json import BOM, read_json

__all__ = ["OpenAICompatible", "OpenAICompatibleSettings", "Service"]

_SMALL_BYTES: Final = 65_536
_EVENTS_AT_ONCE: Final = 64
_ERROR_BYTES: Final = 65_536
_TAIL_S: Final = 0.2
_SHORTEST_START: Final = 6
_LINES_BYTES: Final = 1024 * 1024
_LONGEST_WORD: Final = 2000
_EVENT: Final = re.compile(rb"(?:data|event|id|retry|error) ?:|:")
P = ParamSpec("P")
T = TypeVar("T")


class Service(Struct, frozen=True):
    """What is known of a service before anybody sets anything.

    Attributes:
        base_url: Where it is.
        key_variable: The environment variable that has its key.
        needs_key: Whether it answers nobody without one.
        default_model: What is asked if a name has no model.
        prices: What litellm's price list calls it.
        limit_name: What it calls the limit of an answer's tokens.
        models: Some that it has.
        description: One sentence for people.
        url_variable: The environment variable that may say where it is.
    """

    base_url: str = ""
    key_variable: str = ""
    needs_key: bool = False
    default_model: str = ""
    prices: str = ""
    limit_name: str = "max_tokens"
    models: tuple[str, ...] = ()
    description: str = "A service with OpenAI's chat interface, at the base_url from settings."
    url_variable: str = ""


class OpenAICompatibleSettings(ServiceSettings):
    """``[providers.NAME]`` of what speaks OpenAI's chat interface."""

    organization: str = Field(default="", description="Sent as OpenAI-Organization.")
    headers: dict[str, SecretStr] = Field(default={}, description="Further headers to send.")
    prices: str = Field(default="", description="Whose prices count, as litellm names it, such as openai.")
    connect_timeout_s: float = Field(default=10.0, gt=0, description="For a new connection.")
    max_answer_bytes: int = Field(default=8 * 1024 * 1024, ge=1, description="The largest answer that is read.")


class OpenAICompatible:
    """Any service with OpenAI's chat interface.

    Args:
        settings: Where it is, and how it is asked.
        services: Gives the network.
        place: Where it is, if not where settings say.
    """

    Settings: ClassVar[type[BaseModel]] = OpenAICompatibleSettings
    rank: ClassVar[int | None] = None
    service: ClassVar[Service] = Service()

    def __init__(self, settings: OpenAICompatibleSettings, services: Services, place: Place | None = None) -> None:
        self._settings = settings
        self._services = services
        self._network = services.get(NetworkAccess)
        self._key_source = ""
        self._place = place or self._configured()

    def info(self) -> ProviderInfo:
        """Return what is known of it, without asking the network."""
        settings, service = self._settings, self.service
        missing = self._missing()
        return ProviderInfo(
            "",
            available=not missing,
            reason=missing or self._key_source or "base_url is set",
            default_model=settings.default_model or service.default_model,
            base_url=self._place.base_url,
            streams=True,
            tools=True,
            models=settings.models or service.models,
            description=service.description,
        )

    def at(self, endpoint: Endpoint, /) -> OpenAICompatible:
        """Return the same service at another URL, which gets no key but the one that comes with it."""
        return type(self)(self._settings, self._services, self._place.at(endpoint))

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        """Ask the model; see the contract's `Provider`."""
        where = f"model:{request.model}"
        if missing := self._missing():
            code = "invalid_request" if not self._place.base_url else "authentication"
            raise ProviderError(f"{where}: {missing}", code=code)
        names = ToolNames(tool.name for tool in request.tools)
        content = encode_request(model, request, names, stream=sink is not None, limit_name=self.service.limit_name)
        assembly = Assembly(request.model, ids_of(request.messages), names)
        async with AsyncExitStack() as stack:
            with network_failures(where):
                answer = await stack.enter_async_context(self._ask(content))
            if answer.status != 200:
                raise await self._refused(where, answer)
            response, cached = await self._read(where, answer, assembly, sink)
        return await self._priced(model, response, cached)

    def _configured(self) -> Place:
        settings, service = self._settings, self.service
        key, self._key_source = key_of(settings.api_key, settings.api_key_env or service.key_variable, self._services)
        headers = dict(settings.headers)
        if settings.organization:
            headers["OpenAI-Organization"] = SecretStr(settings.organization)
        return Place.configured(self._configured_url(), key, headers, self.service.url_variable)

    def _configured_url(self) -> str:
        return self._settings.base_url or self.service.base_url

    def _missing(self) -> str:
        """What it lacks to be asked, and how to give it; empty if nothing."""
        if not self._place.base_url:
            return self._place.problem or "it has no base_url; set it in its [providers] table"
        needs_key = self.service.needs_key or bool(self._settings.api_key_env and self._place.trusted)
        if needs_key and self._place.key is None:
            if not self._place.trusted:
                return "it has no key for this URL; give api_key beside base_url"
            variable = self._settings.api_key_env or self.service.key_variable
            return self._key_source or f"it has no key; set {variable}, or api_key in its [providers] table"
        return ""

    def _ask(self, content: bytes) -> Any:
        place, settings = self._place, self._settings
        headers = {"Content-Type": "application/json"}
        if place.key is not None:
            headers["Authorization"] = f"Bearer {place.key.get_secret_value()}"
        headers.update({name: value.get_secret_value() for name, value in place.headers.items()})
        return self._network.stream(
            "POST",
            f"{place.base_url}/chat/completions",
            headers=headers,
            content=content,
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.timeout_s,
            max_bytes=settings.max_answer_bytes,
            trusted=place.trusted,
        )

    async def _refused(self, where: str, answer: HttpStream) -> ProviderError:
        body = b""
        with network_failures(where):
            async for piece in answer:
                body += piece
                if len(body) > _ERROR_BYTES:
                    break
        return status_error(where, answer.status, answer.headers, body, self._place.secrets)

    async def _read(
        self, where: str, answer: HttpStream, assembly: Assembly, sink: ChunkSink | None
    ) -> tuple[ModelResponse, int]:
        """Read an answer as what it is, whole or in events: neither its content type nor what was asked for tells."""
        body = _Body(where, answer)
        if await body.is_events():
            index = await self._streamed(where, body, assembly, sink)
            response = await _aside(body.size, _finished, where, assembly)
            untold = ""
        else:
            await self._whole(where, body, assembly)
            response, index = await _aside(body.size, _finished, where, assembly), 0
            untold = response.text
        if sink is not None:
            await _hand_over(response, untold, index, sink)
        return response, assembly.cached_tokens

    async def _whole(self, where: str, body: _Body, assembly: Assembly) -> None:
        data = await body.rest()
        values = await _aside(len(data), _values, where, data)
        for value in values:
            self._add(where, assembly, value, b"", whole=len(values) == 1)

    async def _streamed(self, where: str, body: _Body, assembly: Assembly, sink: ChunkSink | None) -> int:
        index = 0
        while (event := await body.next()) is not None:
            name, data = event
            for value in await _aside(len(data), _values, where, data):
                text = self._add(where, assembly, value, name)
                if text and sink is not None:
                    await sink(ModelChunk("text", text, index=index))
                    index += 1
        if not assembly.finished and not (body.done and assembly.begun):
            raise protocol_error(where, "the provider's stream ended before the answer was whole", retryable=True)
        text = assembly.end()
        if text and sink is not None:
            await sink(ModelChunk("text", text, index=index))
            index += 1
        return index

    def _add(self, where: str, assembly: Assembly, value: Any, event: bytes, *, whole: bool = False) -> str:
        told = error_in(value, event)
        if told is not None:
            raise stream_error(where, told, self._place.secrets)
        try:
            if not isinstance(value, Mapping):
                raise ValueError(f"it is a {type(value).__name__}")
            return assembly.add(value, whole=whole)
        except BrokenOffError as broken:
            raise stream_error(
                where, {"message": f"the model gave up: {line_of_error(broken)}"}, self._place.secrets
            ) from None
        except ValueError as error:
            raise _senseless(where, error) from error

    async def _priced(self, model: str, response: ModelResponse, cached_tokens: int) -> ModelResponse:
        prices = self._settings.prices or (self.service.prices if self._place.trusted else "")
        usage = response.usage
        cost = await cost_usd(prices, response.model or model, usage, cached_tokens)
        if cost is None and response.model not in ("", model):
            cost = await cost_usd(prices, model, usage, cached_tokens)
        usage = structs.replace(usage, cost_usd=cost)
        return structs.replace(response, usage=usage, model=response.model or model)


class _Body:
    """What an answer holds: the data of each event, up to the one that says that there are no more; or all of it.

    Attributes:
        size: How many bytes were handed out.
        done: Whether it said that there are no more events.
    """

    def __init__(self, where: str, answer: HttpStream) -> None:
        self.size = 0
        self.done = False
        self._where = where
        self._answer = answer
        self._pieces = aiter(answer)
        self._events = EventStream()
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._begun: deque[bytes] = deque()
        self._ended = False
        self._given = 0

    async def is_events(self) -> bool:
        """Return whether it is a stream of events, by how it begins."""
        start = b""
        while len(start) < _SHORTEST_START and not self._ended:
            piece = await self._piece()
            self._begun.append(piece)
            start = b"".join(self._begun).removeprefix(BOM).lstrip()
        if start[:1] in (b"{", b"[", b"<", b'"'):
            return False
        if _EVENT.match(start) or not start:
            return True
        return self._answer.headers.get("content-type", "").startswith("text/event-stream")

    async def rest(self) -> bytes:
        """Return all of it."""
        pieces = list(self._begun)
        while piece := await self._piece():
            pieces.append(piece)
        data = b"".join(pieces)
        self.size = len(data)
        return data

    async def next(self) -> tuple[bytes, bytes] | None:
        """Return the next event's name and data; None if there is none."""
        self._given += 1
        if self._given % _EVENTS_AT_ONCE == 0:  # one packet may hold thousands
            await trio.lowlevel.checkpoint()
        while not self._waiting and not (self._ended and not self._begun):
            piece = self._begun.popleft() if self._begun else await self._piece()
            try:
                events = self._events.feed(piece) if piece else self._events.end()
                self._waiting.extend(event for event in events if event[1].strip())
            except ValueError as error:
                raise protocol_error(self._where, line_of_error(error)) from error
        if not self._waiting:
            return None
        event = self._waiting.popleft()
        if not _is_done(event[1]):
            self.size += len(event[1])
            return event
        self.done = True
        if not self._ended:
            await _drain(self._where, self._answer)
        return None

    async def _piece(self) -> bytes:
        with network_failures(self._where):
            piece = await anext(self._pieces, b"")
        self._ended = not piece
        return piece


def _values(where: str, data: bytes) -> list[Any]:
    """The values that one event, or one answer, holds: one, or one a line where no empty lines part them.

    What is no JSON and no page either is a service's bare word about what went wrong.
    """
    try:
        return [read_json(data, large_answers, halves=True)]
    except ValueError as error:
        lines = [line for line in data.splitlines() if line.strip() and not _is_done(line)]
        if len(lines) > 1 and len(data) <= _LINES_BYTES:
            with suppress(ValueError):
                return [read_json(line, halves=True) for line in lines]
        start = data.removeprefix(BOM).lstrip()[:1]
        if start == b"<":
            raise protocol_error(where, "the provider's answer makes no sense: it is an HTML page") from None
        if start.isalpha() and len(data) <= _LONGEST_WORD:
            return [data.decode("utf-8", "replace")]
        raise _senseless(where, error) from error


def _is_done(data: bytes) -> bool:
    """Whether it is the word for the end, as one service or another writes it."""
    return data.strip().removeprefix(BOM).strip(b' "').upper() in (b"[DONE]", b"DONE")


def _finished(where: str, assembly: Assembly) -> ModelResponse:
    try:
        return assembly.response()
    except ValueError as error:
        raise _senseless(where, error) from error


async def _aside(size_bytes: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it; in a thread if it works on more than the loop should wait for."""
    if size_bytes <= _SMALL_BYTES:
        return function(*args, **kwargs)
    return await trio.to_thread.run_sync(partial(function, *args, **kwargs))


def _senseless(where: str, error: Exception) -> ProviderError:
    return protocol_error(where, f"the provider's answer makes no sense: {error}")


async def _drain(where: str, answer: HttpStream) -> None:
    """Read to the end, if it is there: then the connection may serve the next request."""
    with trio.move_on_after(_TAIL_S), network_failures(where):
        async for _ in answer:
            continue


async def _hand_over(response: ModelResponse, text: str, index: int, sink: ChunkSink) -> None:
    """Hand over what did not come in pieces."""
    if text:
        await sink(ModelChunk("text", text, index=index))
        index += 1
    for use in response.tool_uses:
        await sink(ModelChunk("tool_use", tool_use=use, index=index))
        index += 1
