"""JSON as services write it, read with its slips: a byte-order mark, half surrogates, bare control characters, NaN.

Invariant: unless asked for, each text that leaves here is UTF-8, with a stand-in letter for what is none. What is
larger than any model's answer has to be written to the letter, since reading it otherwise would hold every thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llmspell_plugins.json_text import sound

__all__ = ["BOM", "depth_of", "read_json"]

BOM: Final = b"\xef\xbb\xbf"
_LARGE: Final = 1024 * 1024


def read_json(data: bytes, large: msgspec.json.Decoder[Any] | None = None, *, halves: bool = False) -> Any:
    """Return the value.

    Args:
        data: As it came.
        large: Reads what is large, and passes over what nobody asks for.
        halves: Whether half a letter stays, since the next value may hold the other half.

    Raises:
        ValueError: It is no JSON; the text names the place and quotes nothing.
    """
    data = data.strip().removeprefix(BOM).strip()
    try:
        if large is not None and len(data) > _LARGE:
            return msgspec.to_builtins(large.decode(data))
        return msgspec.json.decode(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if len(data) > _LARGE:
            raise ValueError(str(error)) from None
        told = str(error)
    try:
        read = json.loads(data.decode("utf-8", "replace"), strict=False)
        return read if halves else sound(read)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError(told) from None


def depth_of(value: Any, most: int) -> int:
    """Return how many levels of mappings and sequences there are; counting ends above ``most``."""
    depth, level = 0, [value]
    while level and depth <= most:
        inner: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                inner.extend(item.values())
            elif isinstance(item, list | tuple):
                inner.extend(item)
        level = [item for item in inner if isinstance(item, Mapping | list | tuple)]
        depth += 1
    return depth
