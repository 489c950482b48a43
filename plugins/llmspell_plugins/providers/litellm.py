"""The litellm provider: every service that litellm knows, asked in the host's asyncio thread.

Invariant: litellm neither retries nor chooses another model, and a script's options reach it only by the names listed
here, since some of its own would send a key to another address; a model's name is never a URL, and a key or URL from
settings belongs to one service, whatever model is named. A call that is cancelled
is cancelled there too. Durations in seconds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Final, Self

from msgspec import Struct, structs
from pydantic import Field, model_validator

from llmspell_hookspecs import InvalidInputError, ModelChunk, ModelRequest, ModelResponse, ProviderInfo, Services
from llmspell_hookspecs.errors import ProviderError, line_of_error
from llmspell_hookspecs.model import ChunkSink, Endpoint
from llmspell_hookspecs.services import AsyncioThread
from llmspell_hookspecs.values import thaw
from llmspell_plugins.json_text import sound
from llmspell_plugins.tool_uses import ids_of

from .chat_answer import Assembly, BrokenOffError
from .chat_names import ToolNames
from .chat_request import chat_messages, chat_tools, chosen_tool
from .endpoint import Place, ServiceSettings, key_of
from .failures import error_in, protocol_error, stream_error
from .litellm_failures import litellm_error
from .litellm_library import close_clients, installed, library
from .prices import cost_usd

__all__ = ["LiteLLM", "LiteLLMSettings", "Route", "Routed"]

_OPTIONS: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "service_tier",
        "thinking",
        "tool_choice",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
    }
)


class Route(Struct, frozen=True):
    """One of litellm's services under a name of its own.

    Attributes:
        prefix: What litellm calls it; empty for all of them, then a model's name begins with its service.
        key_variable: The environment variable that has its key.
        default_model: What is asked if a name has no model.
        models: Some that it has.
        description: One sentence for people.
    """

    prefix: str = ""
    key_variable: str = ""
    default_model: str = ""
    models: tuple[str, ...] = ()
    description: str = "Every service that litellm knows: litellm/<service>/<model>."


class LiteLLMSettings(ServiceSettings):
    """``[providers.NAME]`` of what litellm asks."""

    service: str = Field(default="", description="The only service to ask, as litellm names it, such as mistral.")

    @model_validator(mode="after")
    def _give_nothing_to_every_service(self) -> LiteLLMSettings:
        if not self.service and (self.base_url or self.api_key or self.api_key_env):
            raise ValueError("base_url and keys belong to one service; name it with service, such as mistral")
        return self


class LiteLLM:
    """What litellm asks.

    Args:
        settings: Where and how.
        services: Gives the asyncio thread.
        place: With which key, if not the one from settings.
    """

    Settings: ClassVar[type[ServiceSettings]] = LiteLLMSettings
    rank: ClassVar[int | None] = None
    route: ClassVar[Route] = Route()

    def __init__(self, settings: ServiceSettings, services: Services, place: Place | None = None) -> None:
        self._settings = settings
        self._services = services
        self._asyncio = services.get(AsyncioThread)
        key, self._key_source = key_of(settings.api_key, settings.api_key_env or self.route.key_variable, services)
        self._place = place or Place(settings.base_url, key)
        self._library: Any = None
        self._prefix = settings.service if isinstance(settings, LiteLLMSettings) else self.route.prefix

    def info(self) -> ProviderInfo:
        """Return what is known of it; litellm is not imported for that."""
        settings, route = self._settings, self.route
        missing = self._missing()
        return ProviderInfo(
            "",
            available=not missing,
            reason=missing or self._key_source or "litellm looks for each service's key in the environment",
            default_model=settings.default_model or route.default_model,
            base_url=settings.base_url,
            streams=True,
            tools=True,
            models=settings.models or route.models,
            description=route.description,
        )

    def at(self, endpoint: Endpoint, /) -> LiteLLM:
        """Return the same services with another key.

        Raises:
            InvalidInputError: It names a URL, to which litellm would go without the host's judgement.
        """
        place = self._place.at(endpoint)
        if not place.trusted:
            message = "base_url: litellm asks only where settings say; use the provider openai_compatible, or settings"
            raise InvalidInputError(message, field="base_url")
        return type(self)(self._settings, self._services, place)

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        """Ask the model; see the contract's `Provider`."""
        where = f"model:{request.model}"
        if missing := self._missing():
            raise ProviderError(f"{where}: {missing}", code="authentication")
        named = f"{self._prefix}/{model}" if self._prefix else model
        self._check_key(where, named)
        names = ToolNames(tool.name for tool in request.tools)
        keywords = self._keywords(where, named, request, names)
        assembly = Assembly(request.model, ids_of(request.messages), names)
        if self._library is None:
            self._library = await library()
        litellm = self._library
        try:
            if sink is None:
                self._add(where, assembly, await self._asyncio.run(_whole, litellm, keywords), whole=True)
                response = assembly.response()
            else:
                response = await self._streamed(where, litellm, keywords, assembly, sink)
        except ValueError as error:
            raise protocol_error(where, f"the provider's answer makes no sense: {line_of_error(error)}") from error
        except _LibraryError as error:
            # Neither the library's error nor its text may be shown: both hold headers and bodies.
            raise litellm_error(where, error.error, self._place.secrets) from None
        service, _, name = named.partition("/")
        cost = await cost_usd(service, name, response.usage, assembly.cached_tokens)
        return structs.replace(response, usage=structs.replace(response.usage, cost_usd=cost))

    async def __aenter__(self) -> Self:
        """Return itself; the connections are opened as they are needed."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the connections that litellm keeps, if it was ever asked."""
        if self._library is not None:
            await self._asyncio.run(close_clients, self._library)

    def _missing(self) -> str:
        if not installed():
            return "litellm is not installed; pip install litellm"
        variable = self._settings.api_key_env or self.route.key_variable
        if variable and self._place.key is None:
            return self._key_source or f"it has no key; set {variable}, or api_key in its [providers] table"
        return ""

    def _check_key(self, where: str, named: str) -> None:
        """Check a key that litellm itself would take from the environment."""
        key, problem = key_of(self._place.key, f"{named.partition('/')[0].upper()}_API_KEY", self._services)
        if key is None and problem:
            raise ProviderError(f"{where}: {problem}", code="authentication")

    def _keywords(self, where: str, named: str, request: ModelRequest, names: ToolNames) -> dict[str, Any]:
        _check_name(where, named)
        keywords = _checked_options(where, request.options)
        keywords |= {
            "model": named,
            "messages": chat_messages(request, names),
            "timeout": self._settings.timeout_s,
            "max_retries": 0,
            "num_retries": 0,
            "_skip_mcp_handler": True,
        }
        if request.tools:
            keywords["tools"] = sound(thaw(chat_tools(request.tools, names)))
        if "tool_choice" in keywords:
            keywords["tool_choice"] = chosen_tool(keywords["tool_choice"], names)
        if request.temperature is not None:
            keywords["temperature"] = request.temperature
        if request.max_tokens is not None:
            keywords.setdefault("max_tokens", request.max_tokens)
        if request.stop:
            keywords["stop"] = list(request.stop)
        if self._place.key is not None:
            keywords["api_key"] = self._place.key.get_secret_value()
        if self._place.base_url:
            keywords["api_base"] = self._place.base_url
        return keywords

    async def _streamed(
        self, where: str, litellm: Any, keywords: dict[str, Any], assembly: Assembly, sink: ChunkSink
    ) -> ModelResponse:
        index = 0
        async with self._asyncio.stream(_chunks, litellm, keywords) as chunks:
            async for chunk in chunks:
                text = self._add(where, assembly, chunk)
                if text:
                    await sink(ModelChunk("text", text, index=index))
                    index += 1
        if not assembly.finished:
            raise protocol_error(where, "the provider's stream ended before the answer was whole", retryable=True)
        if text := assembly.end():
            await sink(ModelChunk("text", text, index=index))
            index += 1
        response = assembly.response()
        for use in response.tool_uses:
            await sink(ModelChunk("tool_use", tool_use=use, index=index))
            index += 1
        return response

    def _add(self, where: str, assembly: Assembly, value: Mapping[str, Any], *, whole: bool = False) -> str:
        error = error_in(value)
        if error is not None:
            raise stream_error(where, error, self._place.secrets)
        try:
            return assembly.add(value, whole=whole)
        except BrokenOffError as broken:
            raise stream_error(
                where, {"message": f"the model gave up: {line_of_error(broken)}"}, self._place.secrets
            ) from None


class Routed(LiteLLM):
    """One of litellm's services under a name of its own; a subclass says which."""

    Settings = ServiceSettings


class _LibraryError(Exception):
    """Carries an error of the library's out of the asyncio thread."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


async def _whole(litellm: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer = await litellm.acompletion(**keywords)
        return _plain(answer)
    except Exception as error:
        raise _LibraryError(error) from None


async def _chunks(litellm: Any, keywords: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    try:
        stream = await litellm.acompletion(**keywords, stream=True, stream_options={"include_usage": True})
        async with aclosing(stream):
            async for chunk in stream:
                yield _plain(chunk)
    except Exception as error:
        raise _LibraryError(error) from None


def _plain(answer: Any) -> dict[str, Any]:
    plain: dict[str, Any] = answer.model_dump(warnings=False)
    return plain


def _check_name(where: str, named: str) -> None:
    """Some of litellm's services take a URL for a model's name, and send it their key."""
    if "://" in named or "http:" in named.lower() or "https:" in named.lower():
        message = f"{where}: a model's name may not be a URL; name the model, and set base_url in settings"
        raise InvalidInputError(message, field="model")


def _checked_options(where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    for name in options:
        if name not in _OPTIONS:
            known = ", ".join(sorted(_OPTIONS))
            message = f"{where}: options.{name}: litellm is not given this; there are {known}"
            raise InvalidInputError(message, field=f"options.{name}")
    return {name: thaw(value) for name, value in options.items() if value is not None}
