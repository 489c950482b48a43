"""Plain values (JSON-like), read-only and back.

Invariant: `freeze` answers mapping views and tuples all the way down; `thaw` answers fresh dicts and lists. Neither
touches values of other types.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["freeze", "thaw"]

_ATOMS = frozenset({str, int, float, bool, bytes, type(None)})
_NOTHING: MappingProxyType[str, Any] = MappingProxyType({})


def freeze(value: Any) -> Any:
    """Answer the value with every dict as a mapping view and every list as a tuple, all the way down."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is dict or kind is MappingProxyType:
        if not value:
            return _NOTHING
        for item in value.values():
            if type(item) not in _ATOMS:
                return MappingProxyType({key: freeze(item) for key, item in value.items()})
        return MappingProxyType(value.copy())
    if kind is tuple:
        for item in value:
            if type(item) not in _ATOMS and freeze(item) is not item:
                return tuple([freeze(item) for item in value])
        return value
    if kind is list:
        return tuple([item if type(item) in _ATOMS else freeze(item) for item in value])
    return value


def thaw(value: Any) -> Any:
    """Answer the value with every mapping as a dict and every sequence as a list, fresh all the way down."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is dict or kind is MappingProxyType or isinstance(value, Mapping):
        return {key: item if type(item) in _ATOMS else thaw(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [item if type(item) in _ATOMS else thaw(item) for item in value]
    return value
