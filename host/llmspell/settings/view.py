"""The settings as plain values for people, scripts and programs: secrets masked.

Invariant: nothing that leaves here holds a secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from llmspell_hookspecs.keys import flatten, join, split
from llmspell_hookspecs.masking import mask

from .layers import LoadedSettings
from .origin import Origin

__all__ = ["SettingRow", "plain", "rows"]


class SettingRow(Struct, frozen=True):
    """One setting.

    Attributes:
        key: Its dotted path.
        value: Plain; a secret is masked.
        origin: Where it came from.
    """

    key: str
    value: Any
    origin: Origin


def plain(loaded: LoadedSettings, section: str = "") -> Any:
    """Return a section, or all, as fresh dicts and lists; None if there is no such section."""
    value = mask(loaded.settings.model_dump())
    for name in split(section) if section else ():
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


def rows(loaded: LoadedSettings) -> Iterator[SettingRow]:
    """Yield every setting with its origin; a plugin's switches only where they are set."""
    for path, value in flatten(plain(loaded)):
        key = join(path)
        if not (path[0] == "plugins" and len(path) == 3 and key not in loaded.origins):
            yield SettingRow(key, value, loaded.origin(key))
