"""The global Provider: which providers of models there are, and what they can do.

Invariant: asking costs no network; no key is ever told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from llmspell_hookspecs import ProviderInfo, ScriptGlobal, script_method
from llmspell_hookspecs.model import Models
from llmspell_plugins.providers.prices import context_tokens

__all__ = ["ProviderGlobal"]


class ProviderGlobal(ScriptGlobal):
    """See which providers of models there are."""

    name: ClassVar[str] = "Provider"

    @script_method()
    async def list(self) -> Sequence[dict[str, Any]]:
        """Return all providers: name, type, enabled, available, reason, default_model, capabilities."""
        return [await _table(info) for info in self._models.providers()]

    @script_method()
    async def get(self, name: str) -> dict[str, Any] | None:
        """Return one provider, or nothing."""
        info = self._named(name)
        return None if info is None else await _table(info)

    @script_method()
    async def get_capabilities(self, name: str) -> dict[str, Any] | None:
        """Return what a provider can do, or nothing if there is none of this name.

        That is supports_streaming, supports_tools, supports_multimodal, available_models and, where it is known of the
        default model, max_context_tokens.
        """
        info = self._named(name)
        return None if info is None else await _capabilities(info)

    @script_method()
    def is_available(self, name: str) -> bool:
        """Return whether a provider can be asked now."""
        info = self._named(name)
        return info is not None and info.available

    @script_method("default", "get_default")
    def default_model(self) -> str:
        """Return the model that is asked if none is named."""
        return self._models.resolve()

    def _named(self, name: str) -> ProviderInfo | None:
        return next((info for info in self._models.providers() if info.name == name), None)

    @property
    def _models(self) -> Models:
        return self.services.get(Models)


async def _table(info: ProviderInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "type": info.type,
        "description": info.description,
        "enabled": info.available,
        "available": info.available,
        "reason": info.reason,
        "default_model": info.default_model,
        "base_url": info.base_url,
        "capabilities": await _capabilities(info),
    }


async def _capabilities(info: ProviderInfo) -> dict[str, Any]:
    return {
        "supports_streaming": info.streams,
        "supports_tools": info.tools,
        "supports_multimodal": False,
        "max_context_tokens": await context_tokens(info.type or info.name, info.default_model),
        "available_models": [*info.models],
    }
