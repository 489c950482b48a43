"""Large values from Lua, read piece by piece in Python so that the interpreter's lock is free in between.

Invariant: reads exactly what ``pack.lua`` writes: a small part of MessagePack.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

__all__ = ["read_array"]

_FIXED: Final[dict[int, Any]] = {0xC0: None, 0xC2: False, 0xC3: True}
_SIZES: Final = {0xC6: ">I", 0xDA: ">H", 0xDB: ">I", 0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}
_NUMBERS: Final = {0xCB: ">d", 0xD3: ">q"}


def read_array(payload: bytes, extension: Callable[[int, memoryview], Any]) -> list[Any]:
    """Return the array that the payload holds.

    Args:
        payload: The bytes.
        extension: Returns the value of an extension from its type and its eight bytes.
    """
    values: list[Any] = _Reader(payload, extension).read()
    return values


class _Reader:
    def __init__(self, payload: bytes, extension: Callable[[int, memoryview], Any]) -> None:
        self._payload = memoryview(payload)
        self._extension = extension
        self._at = 0

    def read(self) -> Any:
        mark = self._payload[self._at]
        self._at += 1
        if mark < 0x80:
            return mark
        if mark >= 0xE0:
            return mark - 256
        if mark in _FIXED:
            return _FIXED[mark]
        if mark in _NUMBERS:
            return self._number(_NUMBERS[mark])
        if mark == 0xD7:
            data = self._take(9)
            return self._extension(data[0], data[1:])
        return self._sized(mark)

    def _sized(self, mark: int) -> Any:
        if mark in _SIZES:
            size = self._number(_SIZES[mark])
        elif mark < 0xA0:
            size, mark = mark & 0x0F, 0xDF if mark < 0x90 else 0xDD
        else:
            size, mark = mark & 0x1F, 0xDB
        if mark in (0xDE, 0xDF):
            return {self.read(): self.read() for _ in range(size)}
        if mark in (0xDC, 0xDD):
            return [self.read() for _ in range(size)]
        return bytes(self._take(size)) if mark == 0xC6 else str(self._take(size), "utf-8")

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, size: int) -> memoryview:
        self._at += size
        return self._payload[self._at - size : self._at]
