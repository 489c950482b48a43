"""Asking models: what a model call adds to the operation around it.

Invariant: a model is asked exactly what the guards saw; its chunks and its response pass their guards before anybody
has them (see `stream`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import structs

from llmspell_hookspecs import (
    Asker,
    CallOptions,
    ChunkSink,
    Closing,
    ComponentKind,
    ComponentRef,
    Endpoint,
    InvalidInputError,
    LlmspellError,
    Message,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    Models,
    OperationKind,
    Operations,
    Provider,
    ProviderError,
    ProviderInfo,
    Registries,
    Services,
    SettingsAccess,
    question_of,
    same,
)
from llmspell_hookspecs.fit import fit
from llmspell_plugins.kinds.hiding import hide_fields, reveal_fields

from .group import PROVIDERS
from .providers import ProviderRegistry
from .stream import ModelStream

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


_SETTINGS: Final = Endpoint()
"""Where settings say."""


class ModelRunner(ComponentKind, Closing):
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
            return await self._ask(request, self._providers.get(named), sink, options)
        async with self._providers.at(named, endpoint) as provider:
            return await self._ask(request, provider, sink, options, endpoint)

    async def run(self, name: str, input: Any, options: CallOptions, /) -> ModelResponse:
        """Ask a model by its address, ``model:provider/model``; see `ComponentKind`."""
        resolved = self._providers.resolve(name)
        request = _request(resolved, input)
        return await self._ask(request, self._providers.get(resolved.partition("/")[0]), None, options)

    def resolve(self, model: str = "", /) -> str:
        """Return ``provider/model`` for a name as people write it."""
        return self._providers.resolve(model)

    def providers(self) -> Sequence[ProviderInfo]:
        """Return what is known of every provider, sorted by name; loads them."""
        return self._providers.infos()

    def names(self) -> Sequence[str]:
        """Return the providers' names, without importing any."""
        return self._providers.names()

    async def __aexit__(self, *error: object) -> None:
        """Close the providers."""
        await self._providers.close()

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
        stream = ModelStream(sink or _nobody, lambda: operations.settles(MODEL, component.name))
        call = _Call(request.model, provider, stream, streams=sink is not None)
        as_of = operations.as_of  # before anybody is asked: a change from here on counts
        plain = sink is None and not operations.asks(("model_chunk",), component.name)
        response: ModelResponse = await operations.execute(
            options.operation(
                MODEL,
                component,
                _hidden(request),
                call.body,
                prepare=call.prepare,
                repeatable=True,
                depends=lambda: (endpoint.base_url, endpoint.api_key, self._providers.offline),
                leave=stream.leave,
                ready=same if plain else None,
                as_of=as_of,
            )
        )
        await stream.finish()
        return reveal_fields(response)


async def _nobody(chunk: ModelChunk) -> None:
    """Take the chunks of a call that is not streamed: hooks at ``model_chunk`` judge its answer all the same."""


class _Call:
    """One call of a model on its way through `prepare` and body."""

    __slots__ = ("_name", "_provider", "_stream", "_streams")

    def __init__(self, name: str, provider: Provider, stream: ModelStream, *, streams: bool) -> None:
        self._name = name
        self._provider = provider
        self._stream = stream
        self._streams = streams

    async def prepare(self, request: ModelRequest, asker: Asker) -> ModelRequest:
        """Begin a stream anew."""
        await self._stream.begin(asker)
        return request

    async def body(self, request: ModelRequest) -> ModelResponse:
        """Ask the provider; hooks must have left the model what it is."""
        if request.model != self._name:
            message = f"model:{self._name}: a hook changed the model to {request.model!r}; answer Redirect instead"
            raise InvalidInputError(message, field="model")
        response = await self._answered(request)
        if not isinstance(response, ModelResponse):
            message = f"model:{self._name}: its provider answered {type(response).__name__}, no ModelResponse"
            raise ProviderError(f"{message}; report it to its author", code="protocol")
        if not self._stream.begun:  # nobody is to be shown it, or they are as it leaves
            return hide_fields(response)
        return await self._stream.leave(response)

    async def _answered(self, request: ModelRequest) -> ModelResponse:
        """What the provider answers; what kept a chunk from being taken counts more than what it made of that."""
        stream = self._stream
        try:
            response = await self._provider.complete(
                self._name.partition("/")[2], reveal_fields(request), stream.take if self._streams else None
            )
        except Exception as error:
            if stream.failure is not None:
                raise stream.failure  # noqa: B904 - it comes first, and is what the error comes from
            if isinstance(error, LlmspellError):
                raise
            # The error's text may quote a request, which may hold a secret.
            message = f"model:{self._name}: its provider failed with {type(error).__name__}; report it to its author"
            raise ProviderError(message) from error
        if stream.failure is not None:
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
