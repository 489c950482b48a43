"""The global Provider: which providers of models there are, and what they can do.

Invariant: asking costs no network; no key is ever told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from llmspell_hookspecs import Models, ProviderInfo, ScriptGlobal, script_method

__all__ = ["ProviderGlobal"]


class ProviderGlobal(ScriptGlobal):
    """See which providers of models there are."""

    name: ClassVar[str] = "Provider"

    @script_method()
    def list(self) -> Sequence[dict[str, Any]]:
        """Answer all providers: name, type, enabled, available, reason, default_model, capabilities."""
        return [_table(info) for info in self._models.providers()]

    @script_method()
    def get(self, name: str) -> dict[str, Any] | None:
        """Answer one provider, or nothing."""
        return next((_table(info) for info in self._models.providers() if info.name == name), None)

    @script_method()
    def get_capabilities(self, name: str) -> dict[str, Any] | None:
        """Answer what a provider can do: supports_streaming, supports_tools, available_models; or nothing."""
        return next((_capabilities(info) for info in self._models.providers() if info.name == name), None)

    @script_method()
    def is_available(self, name: str) -> bool:
        """Answer whether a provider can be asked now."""
        return any(info.name == name and info.available for info in self._models.providers())

    @script_method("default", "get_default")
    def default_model(self) -> str:
        """Answer the model that is asked if none is named."""
        return self._models.resolve()

    @property
    def _models(self) -> Models:
        return self.services.get(Models)


def _table(info: ProviderInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "type": info.type,
        "description": info.description,
        "enabled": info.available,
        "available": info.available,
        "reason": info.reason,
        "default_model": info.default_model,
        "base_url": info.base_url,
        "capabilities": _capabilities(info),
    }


def _capabilities(info: ProviderInfo) -> dict[str, Any]:
    return {
        "supports_streaming": info.streams,
        "supports_tools": info.tools,
        "supports_multimodal": False,
        "available_models": [*info.models],
    }
