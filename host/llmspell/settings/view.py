"""The settings as they were loaded, where each value came from, and all of it as plain values: secrets masked.

Invariant: no plain value that leaves here holds a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from pydantic import BaseModel

from llmspell_hookspecs.keys import flatten, join, split
from llmspell_hookspecs.masking import mask

from .model import Settings
from .schema import DEFAULT, Origin
from .tighten import Judges

__all__ = ["LoadedSettings", "SettingRow", "plain", "rows"]


class LoadedSettings(Struct, frozen=True):
    """The settings, and where each came from.

    Attributes:
        settings: What counts.
        origins: For each dotted key that is set, where; `origin` answers for all.
        project_dir: What relative paths are relative to.
        judges: Who judges paths and hosts by them.
        warnings: What looks wrong and is no error.
        tables: The settings as they were written, merged.
        files: The files that were read, by layer.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    project_dir: Path
    judges: Judges
    warnings: tuple[str, ...] = ()
    tables: Mapping[str, Any] = {}
    files: Mapping[str, Path] = {}

    def origin(self, key: str) -> Origin:
        """Return where a key's value came from."""
        return self.origins.get(join(split(key)), DEFAULT)


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
    value: Any = loaded.settings
    for name in split(section) if section else ():
        table = _fields(value) if isinstance(value, BaseModel) else value
        if not isinstance(table, Mapping) or name not in table:
            return None
        value = table[name]
    return mask(_opened(value))


def _fields(model: BaseModel) -> dict[str, Any]:
    return {**{name: getattr(model, name) for name in type(model).model_fields}, **(model.__pydantic_extra__ or {})}


def _opened(value: Any) -> Any:
    """Return each model as a table; what pydantic itself does that with takes longer to build than all else to open."""
    if isinstance(value, BaseModel):
        value = _fields(value)
    return {name: _opened(item) for name, item in value.items()} if isinstance(value, Mapping) else value


def rows(loaded: LoadedSettings) -> Iterator[SettingRow]:
    """Yield every setting with its origin; a plugin's switches only where they are set."""
    for path, value in flatten(plain(loaded)):
        key = join(path)
        if not (path[0] == "plugins" and len(path) == 3 and key not in loaded.origins):
            yield SettingRow(key, value, loaded.origin(key))
