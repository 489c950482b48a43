"""The providers of models: by name, made on first use from an entry point and the settings.

``[providers.NAME]`` makes a provider of that name from the entry point that its ``type`` names, or else from the entry
point of its own name. An entry point needs no table: ``offline/rules`` and, once its key is set, ``openai/gpt-4o-mini``
work as they are.

With ``providers.offline`` the offline provider answers for every model, whatever its name and its provider are; names
stay as they were asked for, so that hooks see them, and no other provider is made to answer.

Invariant: a provider is made once, opened when it is first asked, and left with the host.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, Final

from msgspec import Struct, structs
from pydantic import BaseModel

from llmspell_hookspecs import LlmspellError, ModelRequest, ModelResponse, Provider, ProviderInfo
from llmspell_hookspecs.errors import ComponentNotFoundError, PluginError, ResourceLimitError
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.kind import Registry
from llmspell_hookspecs.model import ChunkSink, Endpoint
from llmspell_hookspecs.services import SettingsAccess

__all__ = ["ProviderRegistry"]

_ENDPOINTS: Final = 256
_OFFLINE: Final = "offline"
_log = logging.getLogger("llmspell.models")


class _Stead:
    """The offline provider in the place of all; it is told when it first answers."""

    Settings: ClassVar[type[BaseModel]] = BaseModel
    rank: ClassVar[int | None] = None

    def __init__(self, offline: Provider) -> None:
        self.info = offline.info
        self.offline = offline
        self._told = False

    def at(self, endpoint: Endpoint, /) -> Provider:
        """Return itself: it is asked nowhere, and needs no key."""
        return self

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        """Return with its default model, unless one of its own is asked for."""
        if not self._told:
            self._told = True
            _log.warning("model:%s: the offline provider answers, for every model (providers.offline)", request.model)
        info = self.info()
        own = request.model == f"{_OFFLINE}/{model}" and model in info.models
        return await self.offline.complete(model if own else info.default_model, request, sink)


class _Elsewhere(Struct):
    """A provider at an endpoint of an agent's own, and how many ask it now."""

    provider: Provider
    users: int = 0


class ProviderRegistry:
    """Providers by name.

    Args:
        types: The plugins of the group: what makes a provider.
        settings: Give each provider its table, say the default, and whether the offline provider answers for all.
    """

    def __init__(self, types: Registry[Any], settings: SettingsAccess) -> None:
        self._settings = settings
        self._stead: _Stead | None = None
        self._types = types
        self._made: dict[str, Provider] = {}
        self._elsewhere: dict[tuple[str, str, str], _Elsewhere] = {}
        self._default = ""

    @property
    def offline(self) -> bool:
        """Whether the offline provider answers for all of them."""
        return bool(self._section.offline)

    @property
    def _section(self) -> Any:
        return self._settings.section("providers")

    def names(self) -> tuple[str, ...]:
        """Return all names, without importing anything."""
        return tuple(sorted({*self._types.names(), *(self._section.__pydantic_extra__ or {})}))

    def get(self, name: str) -> Provider:
        """Return the provider of this name, making it if need be.

        Raises:
            ComponentNotFoundError: There is none.
            PluginError: It cannot be loaded, or its settings do not fit.
        """
        if self.offline:
            return self._offline()
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    async def enter(self, name: str) -> Provider:
        """Return the provider of this name, made and opened if need be; raises as `get` does."""
        made = self.get(name)
        lived = made.offline if isinstance(made, _Stead) else made
        if not self._types.is_open(lived):
            await self._types.open(lived)
        return made

    @asynccontextmanager
    async def at(self, name: str, endpoint: Endpoint) -> AsyncIterator[Provider]:
        """Return the provider of this name at an endpoint, for the block; it is kept for the next one that asks there.

        Raises:
            InvalidInputError: It cannot be asked at this endpoint.
            ResourceLimitError: Too many endpoints are asked at once.
        """
        made = await self.enter(name)
        if self.offline:
            yield made
            return
        secret = "" if endpoint.api_key is None else endpoint.api_key.get_secret_value()
        key = (name, endpoint.base_url, secret)
        if key not in self._elsewhere:
            await self._make_room(name)
        known = self._elsewhere.pop(key, None)
        place = self._elsewhere[key] = known or _Elsewhere(made.at(endpoint))
        place.users += 1  # before it is opened: what is asked makes no room for another
        try:
            if known is None:
                await self._types.build(lambda: place.provider, self._type_of(name))
            else:
                await self._types.open(place.provider)
            yield place.provider
        finally:
            place.users -= 1

    async def _make_room(self, name: str) -> None:
        """Let go of the endpoint that nobody has asked for the longest time, if there are too many."""
        while len(self._elsewhere) >= _ENDPOINTS:
            unused = next((key for key, place in self._elsewhere.items() if not place.users), None)
            if unused is None:
                message = f"provider {name}: more than {_ENDPOINTS} endpoints are asked at once; wait for some of them"
                raise ResourceLimitError(message, resource="endpoints", limit=_ENDPOINTS)
            provider = self._elsewhere.pop(unused).provider
            if provider is not self._made.get(unused[0]):
                await self._types.leave(provider)

    def infos(self) -> Sequence[ProviderInfo]:
        """Return what is known of each, sorted by name; of one that does not load, why not."""
        return [self._info(name) for name in self.names()]

    def resolve(self, model: str = "") -> str:
        """Return ``provider/model`` for a name as people write it.

        Raises:
            ComponentNotFoundError: There is no such provider, or it has no default model.
            PluginError: The default model of one that cannot be loaded is asked for.
        """
        provider, _, name = model.partition("/")
        if name and provider in self._made:
            return model
        if self.offline:
            return self._nominal(model or self._section.default)
        if provider and not name:
            model = provider
        if name and provider:
            self._check(provider, model)
            return model
        if not model:
            return self.default()
        if model in self.names():
            return self._with_default_model(model)
        return f"{self._listing(model)}/{model}"

    def default(self) -> str:
        """Return the model that is asked if none is named."""
        if self.offline:
            return self._nominal(self._section.default)
        if self._section.default:
            name = self._section.default
            provider = name.partition("/")[0]
            self._check(provider, name)
            return name if "/" in name else self._with_default_model(name)
        if not self._default:
            self._default = self._first_available()
        return self._default

    def _make(self, name: str) -> Provider:
        kind = self._type_of(name)
        if kind not in self._types.names():
            raise self._types.missing(kind)
        provider: Provider = self._types.make(name, kind)
        return provider

    def _type_of(self, name: str) -> str:
        """Return the entry point that makes a provider: what its table says, or the one of its own name."""
        table = (self._section.__pydantic_extra__ or {}).get(name, {})
        return str(table.get("type", name))

    def _offline(self) -> Provider:
        if self._stead is None:
            self._stead = _Stead(self._make(_OFFLINE))
        return self._stead

    def _nominal(self, model: str) -> str:
        """The name of a model that need not exist: as it is, or as if it were the offline provider's."""
        provider, _, name = model.partition("/")
        return model if provider and name else f"{_OFFLINE}/{provider or name or self._offline().info().default_model}"

    def _info(self, name: str) -> ProviderInfo:
        kind = self._type_of(name)
        try:
            provider = self.get(name)
            with Blamed(partial(_untold, name), spares=LlmspellError):
                info = provider.info()
                reason = "providers.offline: the offline provider answers" if self.offline else info.reason
                return structs.replace(info, name=name, type=kind, reason=reason)
        except LlmspellError as error:
            return ProviderInfo(name, kind, available=False, reason=str(error))

    def _check(self, provider: str, model: str) -> None:
        if provider not in self.names():
            near = self._types.missing(provider)
            message = f"model {model!r}: {near}; write provider/model"
            raise ComponentNotFoundError(message, address=f"model:{model}")

    def _listing(self, model: str) -> str:
        """The provider that lists this model, the default one first; the default one if none does."""
        default = self.default().partition("/")[0]
        listing = [info.name for info in self.infos() if model in info.models]
        return default if default in listing or not listing else min(listing, key=self._place)

    def _place(self, name: str) -> tuple[float, str]:
        rank = self._rank(name)
        return math.inf if rank is None else rank, name

    def _with_default_model(self, provider: str) -> str:
        info = self._info(provider)
        if not info.default_model:
            self.get(provider)  # if it does not load, that is what is to be told
            message = f"model {provider!r}: this provider has no default model; write {provider}/<model>"
            raise ComponentNotFoundError(message, address=f"model:{provider}")
        return f"{provider}/{info.default_model}"

    def _first_available(self) -> str:
        ranked: list[tuple[int, str]] = []
        for name in self.names():
            rank = self._rank(name)
            if rank is not None and self._info(name).available:
                ranked.append((rank, name))
        if not ranked:
            message = "model: no provider is available; set a key such as OPENAI_API_KEY, or providers.default"
            raise ComponentNotFoundError(message, address="model:")
        return self._with_default_model(min(ranked)[1])

    def _rank(self, name: str) -> int | None:
        try:
            rank: int | None = getattr(self.get(name), "rank", None)
        except LlmspellError:  # named by `provider list` and by whoever asks it
            return None
        return rank


def _untold(name: str, error: BaseException) -> PluginError:
    message = f"provider {name}: it cannot be described: {text_of(error)}; repair it, or disable it"
    return PluginError(message, plugin=name)
