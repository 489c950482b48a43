"""Keys as people write them: ``limits.depth``, ``plugins."my.plugin".path``.

Invariant: `split` undoes `join`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .errors import SettingsError

__all__ = ["flatten", "join", "merge", "nest", "spelled_names", "split"]

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
