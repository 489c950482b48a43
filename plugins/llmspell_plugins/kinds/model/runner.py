"""Asking models: what a model call adds to the operation around it.

Invariant: a model is asked exactly what the guards saw; its chunks and its response pass their guards before anybody
has them (see `stream`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from msgspec import structs

from llmspell_hookspecs import (
    InvalidInputError,
    LlmspellError,
    Message,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    Provider,
    ProviderInfo,
    Services,
)
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import ProviderError
from llmspell_hookspecs.fit import fit
from llmspell_hookspecs.kind import CallOptions, ComponentKind, Registries
from llmspell_hookspecs.model import ChunkSink, Endpoint, Models
from llmspell_hookspecs.operation import Asker, OperationKind, Operations, same
from llmspell_hookspecs.payload import question_of
from llmspell_hookspecs.services import SettingsAccess
from llmspell_plugins.kinds.hiding import hide_fields, reveal_fields
from llmspell_plugins.kinds.stream import ModelStream, Watch

from .group import PROVIDERS
from .providers import ProviderRegistry

__all__ = ["MODEL", "ModelRunner"]


def _facts(response: ModelResponse) -> Mapping[str, Any]:
    usage = response.usage
    return {
        "model": response.model,
        "finish_reason": response.finish_reason,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": usage.cost_usd,
    }


def _to_response(value: Any) -> ModelResponse:
    return hide_fields(ModelResponse.of(value))


MODEL: Final = OperationKind(
    name="model",
    before="before_model_call",
    around="around_model_call",
    after="after_model_call",
    error="model_error",
    result=ModelResponse,
    to_result=_to_response,
    payload=question_of,
    events=True,
    facts=_facts,
)


_CHUNKS: Final = ("model_chunk",)
_SETTINGS: Final = Endpoint()
"""Where settings say."""


class ModelRunner(ComponentKind):
    """Asks models by name; implements the contract's `Models`."""

    name = "model"
    group = PROVIDERS
    provides = Models

    def __init__(self, settings: None, services: Services) -> None:
        providers = services.get(Registries).of(PROVIDERS.name)
        self._providers = ProviderRegistry(providers, services.get(SettingsAccess))
        self._operations = services.get(Operations)

    async def complete(
        self,
        request: ModelRequest,
        /,
        *,
        sink: ChunkSink | None = None,
        endpoint: Endpoint | None = None,
        deadline_s: float | None = None,
    ) -> ModelResponse:
        """Ask the model that the request names; see the contract's `Models`."""
        name = self._providers.resolve(request.model)
        if name != request.model:
            request = structs.replace(request, model=name)
        options, named = CallOptions(deadline_s), name.partition("/")[0]
        if endpoint is None:
            return await self._ask(request, await self._providers.enter(named), sink, options)
        async with self._providers.at(named, endpoint) as provider:
            return await self._ask(request, provider, sink, options, endpoint)

    async def run(self, name: str, input: Any, options: CallOptions, /) -> ModelResponse:
        """Ask a model by its address, ``model:provider/model``; see `ComponentKind`."""
        resolved = self._providers.resolve(name)
        request = _request(resolved, input)
        provider = await self._providers.enter(resolved.partition("/")[0])
        return await self._ask(request, provider, None, options)

    def resolve(self, model: str = "", /) -> str:
        """Return ``provider/model`` for a name as people write it."""
        return self._providers.resolve(model)

    def providers(self) -> Sequence[ProviderInfo]:
        """Return what is known of every provider, sorted by name; loads them."""
        return self._providers.infos()

    def names(self) -> Sequence[str]:
        """Return the providers' names, without importing any."""
        return self._providers.names()

    async def _ask(
        self,
        request: ModelRequest,
        provider: Provider,
        sink: ChunkSink | None,
        options: CallOptions,
        endpoint: Endpoint = _SETTINGS,
    ) -> ModelResponse:
        operations = self._operations
        component = ComponentRef("model", request.model, f"model:{request.model}")
        as_of = operations.as_of  # before anybody is asked: a change from here on counts
        shown = _hidden(request)
        call = _Call(request, shown, provider, sink, operations)
        plain = not operations.asks(_CHUNKS, request.model)
        response: ModelResponse = await operations.execute(
            options.operation(
                MODEL,
                component,
                shown,
                call.body,
                prepare=call.prepare,
                repeatable=True,
                depends=lambda: (endpoint.base_url, endpoint.api_key, self._providers.offline),
                leave=call.leave,
                ready=same if plain else None,
                as_of=as_of,
            )
        )
        if call.stream is not None:
            await call.stream.finish()
        return reveal_fields(response)


async def _nobody(chunk: ModelChunk) -> None:
    """Take the chunks of a call that is not streamed: hooks at ``model_chunk`` judge its answer all the same."""


class _Call:
    """One call of a model on its way through `prepare`, body and `leave`.

    Args:
        request: What is asked.
        shown: The same as hooks are shown it.
        provider: Who is asked.
        sink: Takes the chunks, if anybody wants them.
        operations: Says who stands at ``after_model_call``.

    Attributes:
        stream: The chunks; None on the straight path, where nobody is shown any.
    """

    __slots__ = ("_operations", "_provider", "_request", "_shown", "_sink", "stream")

    def __init__(
        self,
        request: ModelRequest,
        shown: ModelRequest,
        provider: Provider,
        sink: ChunkSink | None,
        operations: Operations,
    ) -> None:
        self._request = request
        self._shown = shown
        self._provider = provider
        self._sink = sink
        self._operations = operations
        self.stream: ModelStream | None = None if sink is None else self._streamed()

    def _streamed(self) -> ModelStream:
        name, operations = self._request.model, self._operations
        holds = Watch(operations, partial(operations.settles, MODEL, name))
        return ModelStream(self._sink or _nobody, holds, Watch(operations, partial(operations.asks, _CHUNKS, name)))

    async def prepare(self, request: ModelRequest, asker: Asker) -> ModelRequest:
        """Begin a stream anew."""
        if self.stream is None:
            self.stream = self._streamed()
        await self.stream.begin(asker)
        return request

    async def leave(self, response: ModelResponse, asker: Asker) -> ModelResponse:
        """Show the hooks what of a response they have not seen yet."""
        if self.stream is None:
            self.stream = self._streamed()
        return await self.stream.leave(response, asker)

    async def body(self, request: ModelRequest) -> ModelResponse:
        """Ask the provider; hooks must have left the model what it is."""
        if request.model != self._request.model:
            message = f"model:{self._request.model}: a hook changed the model to {request.model!r}"
            raise InvalidInputError(f"{message}; answer Redirect instead", field="model")
        response = await self._answered(request)
        if not isinstance(response, ModelResponse):
            message = f"model:{request.model}: its provider answered {type(response).__name__}, no ModelResponse"
            raise ProviderError(f"{message}; report it to its author", code="protocol")
        if self.stream is None:  # nobody is to be shown it
            return hide_fields(response)
        return await self.stream.leave(response)

    async def _answered(self, request: ModelRequest) -> ModelResponse:
        """What the provider answers; what kept a chunk from being taken counts more than what it made of that."""
        stream = self.stream
        asked = self._request if request is self._shown else reveal_fields(request)
        taken = None if self._sink is None or stream is None else stream.take
        try:
            response = await self._provider.complete(request.model.partition("/")[2], asked, taken)
        except Exception as error:
            if stream is not None and stream.failure is not None:
                raise stream.failure  # noqa: B904 - it comes first, and is what the error comes from
            if isinstance(error, LlmspellError):
                raise
            # The error's text may quote a request, which may hold a secret.
            message = f"model:{request.model}: its provider failed with {type(error).__name__}; report it to its author"
            raise ProviderError(message) from error
        if stream is not None and stream.failure is not None:
            raise stream.failure
        return response


def _hidden(request: ModelRequest) -> ModelRequest:
    try:
        return hide_fields(request)
    except InvalidInputError as error:
        message = f"model:{request.model}: its input: {str(error).removeprefix('value: ')}"
        raise InvalidInputError(message) from None


def _request(model: str, given: Any) -> ModelRequest:
    """Return what a call by address asks: a text, ``{"input": text}``, or a mapping of a request's fields."""
    fields: dict[str, Any] = {"input": given} if isinstance(given, str) else dict(given or {})
    text = fields.pop("input", None)
    if text is not None:
        fields["messages"] = [*fields.get("messages", ()), Message("user", str(text))]
    request: ModelRequest = fit({**fields, "model": model}, ModelRequest, f"model:{model}")
    return request
