"""Keys as people write them: ``limits.depth``, ``plugins."my.plugin".path``.

Invariant: `split` undoes `join`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from reprlib import Repr
from typing import Any, Final

from .errors import SettingsError

__all__ = [
    "KEY_PARTS",
    "VALUE_CHARACTERS",
    "flatten",
    "join",
    "merge",
    "nest",
    "shown_key",
    "shown_value",
    "spelled_names",
    "split",
]

KEY_PARTS: Final = 8
"""How many parts of a key a message shows."""
VALUE_CHARACTERS: Final = 120
"""How much of a key or a value a message shows."""
_BARE = re.compile(r"[^.\s\"']+")
_PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^.\s"']+))\s*(?:(\.)|$)""")


def join(parts: Sequence[str]) -> str:
    """Return the dotted key of a path."""
    return ".".join(part if _BARE.fullmatch(part) else f"'{part}'" if '"' in part else f'"{part}"' for part in parts)


def split(key: str) -> tuple[str, ...]:
    """Return the path of a dotted key.

    Raises:
        SettingsError: It is none.
    """
    parts: list[str] = []
    place, more = 0, True
    while more:
        match = _PART.match(key, place)
        if match is None:
            raise SettingsError(f"settings: {key!r} is no key; write one such as limits.depth", key=key)
        quoted, single, bare, dot = match.groups()
        parts.append(next(part for part in (quoted, single, bare) if part is not None))
        place, more = match.end(), dot is not None
    return tuple(parts)


def flatten(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and value of everything in the table that is no table itself, or an empty one."""
    for name, value in table.items():
        path = (*above, str(name))
        if isinstance(value, Mapping) and value:
            yield from flatten(value, path)
        else:
            yield path, value


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both tables as one: what is a table in both is merged, all else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def nest(path: Sequence[str], value: Any) -> dict[str, Any]:
    """Return the tables in which this path alone has this value."""
    for name in reversed(path):
        value = {name: value}
    answer: dict[str, Any] = value
    return answer


def spelled_names(name: str, group: str = "") -> tuple[str, ...]:
    """Return the spellings under which settings may name a plugin: with its group, in both numbers, and without.

    Args:
        name: Its name, or its name with the group before a colon.
        group: The entry point group, such as ``llmspell.storage``.
    """
    word, colon, bare = name.partition(":")
    if not group and colon:
        group, name = word, bare
    if not group:
        return (name,)
    word = group.removeprefix("llmspell.").removesuffix("s")
    return (f"{word}s:{name}", f"{word}:{name}", name)


def shown_key(path: Sequence[str]) -> str:
    """Return a key for a message, on one line and cut."""
    return _cut(_printable(join([_cut(part) for part in path[:KEY_PARTS]])))


def shown_value(value: Any) -> str:
    """Return a value for a message: as one writes it in Python, on one line and cut."""
    short = Repr()
    short.maxstring = short.maxother = short.maxlong = VALUE_CHARACTERS
    short.maxlist = short.maxtuple = short.maxdict = 6
    return _cut(_printable(short.repr(value)))


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARACTERS else text[:VALUE_CHARACTERS] + "..."
