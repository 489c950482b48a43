"""Values that cross, as MessagePack: Python to bytes and back; ``pack.lua`` is the other half.

What becomes what: nothing is ``nil``, booleans, whole numbers and floats stay what they are (beyond 64 bits a whole
number becomes a float), texts are UTF-8 and what is not UTF-8 is ``bytes``; a list is a table from 1, also when it is
empty or has holes (Lua remembers the length of those); a mapping is a table; an empty table made by Lua is a mapping.

Invariant: no call into C takes long enough to hold the interpreter's lock for milliseconds; large values go in pieces.
At most 100 levels cross.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from pydantic import BaseModel

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.bounds import check_bounds
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.language import ScriptObject

from .function import LuaFunction
from .objects import Objects
from .reading import read_array

__all__ = ["Crossing", "is_light"]

DEPTH: Final = 100
_PIECE: Final = 4000
_FAST_BYTES: Final = 128 * 1024
_FUNCTION, _OBJECT = 1, 2


def is_light(value: Any, weight: int = _PIECE) -> bool:
    """Return whether a value is so small that it may cross in one go."""
    stack = [value]
    while stack:
        item = stack.pop()
        weight -= 1
        kind = type(item)
        if kind is str or kind is bytes:
            weight -= len(item) >> 6
        elif isinstance(item, Mapping):
            weight -= len(item)
            if weight >= 0:
                stack.extend(item.values())
        elif kind is list or kind is tuple:
            if len(item) > weight:
                return False
            stack.extend(item)
        elif isinstance(item, msgspec.Struct):
            stack.extend(getattr(item, field) for field in item.__struct_fields__)
        if weight < 0:
            return False
    return True


class Crossing:
    """Packs and unpacks the values of one script.

    Attributes:
        sorts: Whether the mappings that Lua packed have their keys sorted, so that each run gives the same.
    """

    def __init__(self, make_function: Callable[[int], LuaFunction]) -> None:
        self.sorts = False
        self.objects = Objects()
        self._make_function = make_function
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._plain)
        self._decoder = msgspec.msgpack.Decoder(ext_hook=self._extension)

    def pack_answer(self, answer: Any) -> bytes:
        """Return the bytes of a method's answer; a tuple stands for several."""
        return self.pack_values(answer if type(answer) is tuple else (answer,))

    def pack_values(self, values: Sequence[Any]) -> bytes:
        """Return the bytes of some values.

        Raises:
            InvalidInputError: One of them cannot be given to a script.
        """
        if len(values) > 60000:
            raise InvalidInputError(f"script: {len(values)} values at once; give a list instead")
        return self.pack(values)

    def pack(self, value: Any) -> bytes:
        """Return the bytes of one value.

        Raises:
            InvalidInputError: It cannot be given to a script.
        """
        try:
            if not is_light(value):
                _check(value)
            try:
                return self._encode(value, 0)
            except (OverflowError, UnicodeEncodeError):
                return self._encode(_tamed(value, 0), 0)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"script: a value cannot be given to it: {line_of_error(error)}; give plain values"
            ) from error

    def _encode(self, value: Any, depth: int) -> bytes:
        if depth > DEPTH:
            raise InvalidInputError(f"script: a value is nested deeper than {DEPTH} levels; flatten it")
        if is_light(value):
            return self._encoder.encode(value)
        if isinstance(value, msgspec.Struct):
            value = msgspec.structs.asdict(value)
        if isinstance(value, Mapping):
            return self._encode_mapping(value, depth)
        if isinstance(value, list | tuple):
            return self._encode_list(value, depth)
        return self._encoder.encode(value)

    def _encode_mapping(self, value: Mapping[Any, Any], depth: int) -> bytes:
        out = [_head(len(value), 0x80, b"\xde", b"\xdf")]
        for key, item in value.items():
            out.append(self._encoder.encode(key))
            out.append(self._encode(item, depth + 1))
        return b"".join(out)

    def _encode_list(self, value: Sequence[Any], depth: int) -> bytes:
        out = [_head(len(value), 0x90, b"\xdc", b"\xdd")]
        for start in range(0, len(value), 512):
            chunk = list(value[start : start + 512])
            if is_light(chunk):
                out.append(self._encoder.encode(chunk)[1 if len(chunk) < 16 else 3 :])
            else:
                out.extend(self._encode(item, depth + 1) for item in chunk)
        return b"".join(out)

    def _plain(self, value: Any) -> Any:
        """Return what the encoder takes in place of a value that it does not know."""
        if isinstance(value, ScriptObject):
            return msgspec.msgpack.Ext(_OBJECT, struct.pack(">II", *self.objects.send(value)))
        if isinstance(value, LuaFunction):
            return msgspec.msgpack.Ext(_FUNCTION, struct.pack(">q", value.number_in(self._make_function)))
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, BaseModel):
            return value.model_dump()
        if isinstance(value, os.PathLike | BaseException):
            return str(value)
        if isinstance(value, Iterable) and not isinstance(value, memoryview):
            return list(value)
        raise TypeError(f"{type(value).__name__} is no plain value")

    def unpack(self, payload: bytes) -> list[Any]:
        """Return the values that Lua packed."""
        values: list[Any] = (
            self._decoder.decode(payload) if len(payload) <= _FAST_BYTES else read_array(payload, self._extension)
        )
        return _in_order(values) if self.sorts else values

    def _extension(self, code: int, data: memoryview) -> Any:
        if code == _FUNCTION:
            return self._make_function(struct.unpack(">q", data)[0])
        return self.objects.find(struct.unpack(">II", data)[0])


def _in_order(value: Any) -> Any:
    """Return a value with the keys of its mappings sorted: Lua has them in another order in each run."""
    if type(value) is dict:
        names = sorted(value, key=lambda key: (type(key).__name__, str(key)))
        return {name: _in_order(value[name]) for name in names}
    return [_in_order(item) for item in value] if type(value) is list else value


def _check(value: Any) -> None:
    try:
        check_bounds(value)
    except InvalidInputError as error:
        reason = str(error).removeprefix("value: it")
        deep = f" is nested deeper than {DEPTH} levels, or holds itself; flatten it"
        raise InvalidInputError(f"script: a value{deep if 'nested' in reason else reason}") from None


def _head(length: int, small: int, mark16: bytes, mark32: bytes) -> bytes:
    if length < 16:
        return bytes((small + length,))
    if length < 65536:
        return mark16 + struct.pack(">H", length)
    return mark32 + struct.pack(">I", length)


def _tamed(value: Any, depth: int) -> Any:
    """Return the value with whole numbers beyond 64 bits as floats and texts that are no Unicode as bytes."""
    if depth > DEPTH:
        raise InvalidInputError(f"script: a value is nested deeper than {DEPTH} levels; flatten it")
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if type(value) is int and not -(2**63) <= value < 2**63:
        return float(value) if abs(value) < 2**1023 else float("inf") * (1 if value > 0 else -1)
    if isinstance(value, str):
        return _tamed_text(value)
    if isinstance(value, Mapping):
        return {_tamed(key, depth + 1): _tamed(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tamed(item, depth + 1) for item in value]
    return value


def _tamed_text(value: str) -> str | bytes:
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value
