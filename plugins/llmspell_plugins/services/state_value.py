"""The values of state, to bytes and back: MessagePack of plain values.

Invariant: what is written comes back equal (a tuple as a list); what would not is refused, never bent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import trio

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.bounds import ATOMS, check_bounds
from llmspell_hookspecs.errors import ResourceLimitError, StorageError, line_of_error

__all__ = ["decode", "encode", "encoded"]

_DEEPEST: Final = 100
_MANY: Final = 1000
"""Encoding so many parts takes a millisecond or two."""
_TEXT: Final = frozenset({str})
_decode: Final = msgspec.msgpack.Decoder().decode


def encode(where: str, value: Any, max_bytes: int) -> bytes:
    """Return the bytes of a value.

    Args:
        where: For messages.
        value: Plain.
        max_bytes: How many at most.

    Raises:
        InvalidInputError: It is not plain.
        ResourceLimitError: It is too large.
    """
    if type(value) not in ATOMS:
        _check(where, value)
    try:
        encoded = msgspec.msgpack.encode(value if _is_flat(value) else _plain(where, value, _DEEPEST))
    except UnicodeEncodeError:
        raise _wrong(where, "it has a text with a lone surrogate", "take it out") from None
    except OverflowError:
        raise _wrong(where, "it has a whole number of more than 64 bits", "write that as a text") from None
    if len(encoded) > max_bytes:
        message = f"{where}: its value has {len(encoded)} bytes; keep at most {max_bytes} under one key"
        raise ResourceLimitError(message, resource="state_bytes", limit=max_bytes)
    return encoded


async def encoded(where: str, value: Any, max_bytes: int) -> bytes:
    """Return the bytes of a value, made in a thread where making them would hold the loop; raises as `encode` does."""
    if _has_many(value):
        return await trio.to_thread.run_sync(encode, where, value, max_bytes)
    return encode(where, value, max_bytes)


def _has_many(value: Any) -> bool:
    """Return whether a value has so many parts that encoding it would hold the loop."""
    count, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        count += 1
        if not isinstance(part, Mapping | list | tuple):
            continue
        if count + len(waiting) + len(part) > _MANY:
            return True
        waiting.extend(part.values() if isinstance(part, Mapping) else part)
    return False


def decode(where: str, encoded: bytes) -> Any:
    """Return the value, fresh.

    Raises:
        StorageError: These are not the bytes of a value.
    """
    try:
        return _decode(encoded)
    except (msgspec.DecodeError, RecursionError) as error:
        message = (
            f"{where}: what is stored there is no value of ours: {line_of_error(error)}; delete it, or restore the file"
        )
        raise StorageError(message) from error


def _check(where: str, value: Any) -> None:
    try:
        check_bounds(value)
    except InvalidInputError as error:
        raise _wrong(where, str(error).removeprefix("value: ").partition(";")[0], "keep less in one value") from None


def _is_flat(value: Any) -> bool:
    """Return whether it is a dict of what has no parts, as most are: it is encoded as it is."""
    return type(value) is dict and ATOMS.issuperset(map(type, value.values())) and _TEXT.issuperset(map(type, value))


def _plain(where: str, value: Any, depth: int) -> Any:
    """Return the value with dicts and lists only, all the way down."""
    kind = type(value)
    if kind in ATOMS:
        return value
    if _is_flat(value):
        return value
    if depth == 0:
        raise _wrong(where, f"it is nested more than {_DEEPEST} deep, or holds itself", "keep less in one value")
    if kind is dict or isinstance(value, Mapping):
        plain = {}
        for key, item in value.items():
            if type(key) is not str:
                raise _wrong(where, f"it has the key {key!r}, a {type(key).__name__}", "use texts as keys")
            plain[key] = item if type(item) in ATOMS else _plain(where, item, depth - 1)
        return plain
    if isinstance(value, list | tuple):
        return [_plain(where, item, depth - 1) for item in value]
    raise _wrong(where, f"it has a {kind.__name__}", "give texts, numbers, booleans, bytes, lists and tables")


def _wrong(where: str, reason: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"{where}: its value cannot be kept: {reason}; {remedy}", field="value")
