"""The group of providers: what one must be."""

from __future__ import annotations

import inspect
from typing import Any, Final

from llmspell_hookspecs import Provider
from llmspell_hookspecs.kind import ComponentGroup

__all__ = ["PROVIDERS"]

_METHODS: Final = ("info", "at", "complete")


def _is_provider(item: Any) -> bool:
    return not inspect.ismodule(item) and all(callable(getattr(item, method, None)) for method in _METHODS)


def _problem(item: Any, name: str) -> str:
    if _is_provider(item):
        return ""
    lacks = ", ".join(method for method in _METHODS if not hasattr(item, method))
    return (
        f"does not implement the protocol llmspell_hookspecs.{Provider.__name__}; give it {lacks or 'what that says'}"
    )


PROVIDERS: Final = ComponentGroup(
    "llmspell.providers", "provider", _is_provider, "providers", _problem, constructed=False, typed=True
)
