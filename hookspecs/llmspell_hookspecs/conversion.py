"""Values that are not plain: how each is shown read-only, made again, and told apart; the other half of `values`.

Invariant: what is shown holds all of a value's state, so what is made again is what was shown. A type whose state
cannot be seen in full, or that cannot be made of it, is refused by its name. This module is longer than most because
the three must agree, type by type.
"""

from __future__ import annotations

import copy
import copyreg
import datetime
import ipaddress
import re
import uuid
import zoneinfo
from array import array
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from pathlib import PurePath
from types import EllipsisType, NotImplementedType, SimpleNamespace
from typing import Any, Final

from msgspec import Raw, Struct, structs
from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from .bounds import ATOMS, measure, take
from .errors import InvalidInputError
from .secret import HiddenText
from .values import FrozenList, FrozenMapping, FrozenObject, freeze_part, restore, spell

__all__ = ["freeze_other", "restore_other", "spell_other"]

_FIXED: Final = frozenset(
    {
        complex,
        range,
        EllipsisType,
        NotImplementedType,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        datetime.timezone,
        zoneinfo.ZoneInfo,
        Decimal,
        Fraction,
        uuid.UUID,
        re.Pattern,
        ipaddress.IPv4Address,
        ipaddress.IPv6Address,
        ipaddress.IPv4Interface,
        ipaddress.IPv6Interface,
        ipaddress.IPv4Network,
        ipaddress.IPv6Network,
        SecretStr,
        SecretBytes,
        Raw,
        HiddenText,
    }
)
"""Nobody changes one of these."""
_FIXED_FORMS: Final = (PurePath, *(_FIXED - {range, EllipsisType, NotImplementedType, re.Pattern}))
_HEAP_TYPE: Final = 1 << 9


class _Sealed:
    """Nothing is set on it from outside."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError(f"a read-only {type(self).__name__} has no {name!r} to set")


class _FrozenSequence(FrozenList, _Sealed):
    """A sequence of another type than list: its kind, and what else it consists of."""

    kind: type[Any]
    more: Any


class _FrozenSet(frozenset[Any], _Sealed):
    """A set of any kind but frozenset itself."""

    kind: type[Any]


class _FrozenBytes(bytes, _Sealed):
    """A bytearray, a memoryview or a subclass of bytes."""

    kind: type[Any]
    more: Any


class _FrozenText(str, _Sealed):
    """A subclass of str, on whose instances anybody could set something."""

    kind: type[Any]
    more: Any


class _FrozenInt(int, _Sealed):
    """Likewise of int."""

    kind: type[Any]
    more: Any


class _FrozenFloat(float, _Sealed):
    """Likewise of float."""

    kind: type[Any]
    more: Any


class _FrozenTuple(tuple[Any, ...], _Sealed):
    """Likewise of tuple."""

    kind: type[Any]
    more: Any


_BASES: Final[tuple[tuple[type, Callable[[Any], Any], type], ...]] = (
    (str, str.__str__, _FrozenText),
    (int, int.__index__, _FrozenInt),
    (float, float.__float__, _FrozenFloat),
    (bytes, lambda value: bytes.__getitem__(value, slice(None)), _FrozenBytes),
)
_SEALED: Final = (_FrozenSequence, _FrozenSet, _FrozenBytes, _FrozenText, _FrozenInt, _FrozenFloat, _FrozenTuple)
_SHOWN: Final = frozenset({FrozenMapping, FrozenObject, *_SEALED})


def _sealed(made: Any, kind: type, more: Any = None) -> Any:
    made.__dict__.update(kind=kind, more=more)
    return made


# Showing.


def freeze_other(value: Any, depth: int, room: list[int]) -> Any:
    """Return a read-only stand-in for a value that is neither an atom, a dict, a list, a tuple nor a frozen struct."""
    kind: type = type(value)
    if isinstance(value, BaseModel):  # first: every tool has one
        return _show_model(value, depth, room)
    if kind in _SHOWN:
        measure(value, depth, room)
        return value
    if kind in _FIXED or isinstance(value, Secret | SecretStr | SecretBytes):
        return value
    if isinstance(value, BaseException):
        raise _refused(value, "it is an error: hand on its text, or raise it")
    if _is_of_pydantic(kind):
        return value
    if isinstance(value, Enum):
        return _checked_member(value, depth, room)
    for form, show in _FORMS:
        if isinstance(value, form):
            return show(value, depth, room)
    if is_dataclass(kind) or hasattr(kind, "__attrs_attrs__"):
        return _show_object(value, depth, room)
    raise _refused(value)


@lru_cache(maxsize=1024)
def _is_of_pydantic(kind: type) -> bool:
    """Whether it is one of pydantic's own values, such as a URL, which nobody changes."""
    return any(base.__module__.startswith(("pydantic.networks", "pydantic_core")) for base in kind.__mro__)


def _checked_member(value: Enum, depth: int, room: list[int]) -> Enum:
    if freeze_part(value._value_, depth, room) is not value._value_:
        raise _refused(value, "its value can be changed")
    return value


def _show_fixed(value: Any, depth: int, room: list[int]) -> Any:
    """A subclass of what nobody changes: as it is, or where anybody could set something on it a copy without that."""
    return _fresh_fixed(value) if hasattr(value, "__dict__") else value


def _fresh_fixed(value: Any) -> Any:
    fresh = copy.copy(value)
    if type(fresh) is not type(value):
        raise _refused(value)
    return fresh


def _show_atom(value: Any, depth: int, room: list[int]) -> Any:
    _check_stateless(value)
    if not hasattr(value, "__dict__"):
        return value
    bare, form = next((bare, form) for base, bare, form in _BASES if isinstance(value, base))
    return _checked(value, _sealed(form(bare(value)), type(value)))


def _show_mapping(value: Mapping[Any, Any], depth: int, room: list[int]) -> FrozenMapping:
    kind = type(value)
    more: Any = None
    if isinstance(value, dict):
        _check_stateless(value)
        if isinstance(value, defaultdict):
            more = value.default_factory
        items = freeze_part(dict(dict.items(value)), depth, room)
    else:
        _check_stateless(value, {"data"} if isinstance(value, UserDict) else {"maps"})
        items = freeze_part(dict(value), depth, room)
    shown = FrozenMapping(kind, dict(items), more)
    _check_made(value, shown)
    return shown


def _show_sequence(value: Any, depth: int, room: list[int]) -> _FrozenSequence:
    _check_stateless(value, {"data"} if isinstance(value, UserList) else frozenset())
    more = value.maxlen if isinstance(value, deque) else value.typecode if isinstance(value, array) else None
    items = freeze_part(list(value), depth, room)
    shown: _FrozenSequence = _sealed(_FrozenSequence(items), type(value), more)
    _check_made(value, shown)
    return shown


def _show_tuple(value: tuple[Any, ...], depth: int, room: list[int]) -> tuple[Any, ...]:
    _check_stateless(value)
    items = freeze_part(tuple(tuple.__iter__(value)), depth, room)
    if hasattr(value, "__dict__"):
        return _checked(value, _sealed(_FrozenTuple(items), type(value)))  # type: ignore[no-any-return]
    if all(map(lambda one, other: one is other, items, tuple.__iter__(value))):
        return value
    return _made_tuple(type(value), items)


def _made_tuple(kind: type, items: Iterable[Any]) -> tuple[Any, ...]:
    try:
        made: tuple[Any, ...] = tuple.__new__(kind, items)
    except TypeError:
        raise _refused_kind(kind) from None
    return made


def _show_set(value: Any, depth: int, room: list[int]) -> frozenset[Any]:
    kind = type(value)
    _check_stateless(value)
    items = freeze_part(list(value), depth + 1, room)
    if any(frozen != item for frozen, item in zip(items, value, strict=True)):
        raise _refused(value, "it holds what can be changed")
    return frozenset(items) if kind is frozenset else _checked(value, _sealed(_FrozenSet(items), kind))


def _show_bytes(value: Any, depth: int, room: list[int]) -> _FrozenBytes:
    _check_stateless(value)
    more = (value.format, value.shape, value.readonly) if isinstance(value, memoryview) else None
    shown: _FrozenBytes = _checked(value, _sealed(_FrozenBytes(bytes(value)), type(value), more))
    return shown


def _show_struct(value: Struct, depth: int, room: list[int]) -> FrozenObject:
    take(room, len(value.__struct_fields__))
    items = {name: freeze_part(getattr(value, name), depth, room) for name in value.__struct_fields__}
    return FrozenObject(type(value), items, value.__copy__())  # type: ignore[attr-defined]


def _show_model(value: BaseModel, depth: int, room: list[int]) -> FrozenObject:
    kind = type(value)
    if not _is_makeable(kind):
        raise _refused(value)
    own, extra, private = value.__dict__, value.__pydantic_extra__, value.__pydantic_private__
    items = own.copy()
    names = None  # of the parts, if there are more than the fields
    if extra is not None or private is not None:
        names = (tuple(own), *(None if part is None else tuple(part) for part in (extra, private)))
        items.update(extra or {})
        items.update(private or {})
    take(room, len(items))
    for name, item in items.items():
        if type(item) not in ATOMS:
            frozen = freeze_part(item, depth, room)
            if frozen is not item:
                items[name] = frozen
    return FrozenObject(kind, items, (names, frozenset(value.__pydantic_fields_set__)))


@lru_cache(maxsize=1024)
def _is_makeable(kind: type) -> bool:
    """Whether an object of this class can be made without its constructor."""
    try:
        object.__new__(kind)
    except TypeError:
        return False
    return True


def _show_object(value: Any, depth: int, room: list[int]) -> FrozenObject:
    held = dict(getattr(value, "__dict__", {}))
    for name in _slots(type(value)):
        if hasattr(value, name):
            held[name] = object.__getattribute__(value, name)
    take(room, len(held))
    shown: FrozenObject = _checked(
        value, FrozenObject(type(value), {name: freeze_part(item, depth, room) for name, item in held.items()})
    )
    return shown


_FORMS: Final[tuple[tuple[Any, Callable[[Any, int, list[int]], Any]], ...]] = (
    ((str, int, float, bytes), _show_atom),
    ((dict, ChainMap, UserDict), _show_mapping),
    ((list, deque, array, UserList), _show_sequence),
    (tuple, _show_tuple),
    ((set, frozenset), _show_set),
    ((bytearray, memoryview), _show_bytes),
    (Struct, _show_struct),
    (_FIXED_FORMS, _show_fixed),
    (SimpleNamespace, _show_object),
)


# Making again.


def restore_other(value: Any) -> Any:
    """Return the value that a stand-in stands for, fresh."""
    kind = type(value)
    if kind in _MAKERS:
        return _MAKERS[kind](value)
    if kind is frozenset:
        return value
    if isinstance(value, tuple):
        return _made_tuple(kind, [restore(item) for item in tuple.__iter__(value)]) if _is_open(value) else value
    if kind in _FIXED or not hasattr(value, "__dict__") or not isinstance(value, _FIXED_FORMS):
        return value
    return value if isinstance(value, SecretStr | SecretBytes) else _fresh_fixed(value)


def _is_open(value: tuple[Any, ...]) -> bool:
    """Whether a part of it can be another's."""
    return any(restore(item) is not item for item in tuple.__iter__(value))


def _make_mapping(shown: FrozenMapping) -> Any:
    kind, items = shown._kind, {key: restore(item) for key, item in shown._items.items()}
    if not issubclass(kind, dict):
        made = object.__new__(kind)
        made.__dict__.update({"data": items} if issubclass(kind, UserDict) else {"maps": [items]})
        return made
    base = next(base for base in (OrderedDict, defaultdict, Counter, dict) if issubclass(kind, base))
    made = base.__new__(kind)
    if base is defaultdict:
        object.__setattr__(made, "default_factory", shown._more)
    setter = OrderedDict.__setitem__ if base is OrderedDict else dict.__setitem__
    for key, item in items.items():
        setter(made, key, item)
    return made


def _make_sequence(shown: _FrozenSequence) -> Any:
    kind, items = shown.kind, [restore(item) for item in shown]
    if issubclass(kind, array):
        return kind(shown.more, items)
    if issubclass(kind, UserList):
        made = object.__new__(kind)
        made.__dict__["data"] = items
        return made
    if issubclass(kind, deque):
        row = deque.__new__(kind)
        deque.__init__(row, items, shown.more)
        return row
    found: Any = list.__new__(kind)
    list.extend(found, items)
    return found


def _make_set(shown: _FrozenSet) -> Any:
    if issubclass(shown.kind, frozenset):
        return frozenset.__new__(shown.kind, shown)
    made: Any = set.__new__(shown.kind)
    set.update(made, shown)
    return made


def _make_bytes(shown: _FrozenBytes) -> Any:
    if shown.kind is memoryview:
        form, shape, readonly = shown.more
        view = memoryview(bytes(shown) if readonly else bytearray(shown))
        return view.cast(form, shape) if form != "B" or len(shape) != 1 else view
    if issubclass(shown.kind, bytes):
        return _make_atom(shown)
    made = bytearray.__new__(shown.kind)
    bytearray.extend(made, shown)
    return made


def _make_atom(shown: Any) -> Any:
    base, bare = next((base, bare) for base, bare, form in _BASES if isinstance(shown, base))
    return base.__new__(shown.kind, bare(shown))


def _make_tuple(shown: _FrozenTuple) -> Any:
    return tuple.__new__(shown.kind, [restore(item) for item in shown])


def _make_model(shown: FrozenObject) -> BaseModel:
    kind: Any = shown._kind
    names, fields_set = shown._more
    items, extra, private = restore(shown._items), None, None
    if names is not None:
        parts = [None if part is None else {name: items[name] for name in part} for part in names]
        items, extra, private = parts
    made: BaseModel = object.__new__(kind)
    setter = object.__setattr__
    setter(made, "__dict__", items)
    setter(made, "__pydantic_fields_set__", set(fields_set))
    if extra is not None or not kind.__pydantic_root_model__:
        setter(made, "__pydantic_extra__", extra)
        setter(made, "__pydantic_private__", private)
    return made


def _make_object(shown: FrozenObject) -> Any:
    made: Any
    if issubclass(shown._kind, BaseModel):
        return _make_model(shown)
    kind, more, items = shown._kind, shown._more, {name: restore(item) for name, item in shown._items.items()}
    if issubclass(kind, Struct):
        made = more.__copy__()
        for name, item in items.items():
            structs.force_setattr(made, name, item)
        return made
    made = SimpleNamespace.__new__(kind) if issubclass(kind, SimpleNamespace) else object.__new__(kind)
    slots = _slots(kind)
    for name, item in items.items():
        if name in slots:
            object.__setattr__(made, name, item)
        else:
            made.__dict__[name] = item
    return made


_MAKERS: Final[dict[type, Callable[[Any], Any]]] = {
    FrozenMapping: _make_mapping,
    FrozenObject: _make_object,
    _FrozenSequence: _make_sequence,
    _FrozenSet: _make_set,
    _FrozenBytes: _make_bytes,
    _FrozenText: _make_atom,
    _FrozenInt: _make_atom,
    _FrozenFloat: _make_atom,
    _FrozenTuple: _make_tuple,
}


# Telling apart.


def spell_other(value: Any, out: list[bytes]) -> None:
    """Add the bytes that stand for this frozen value and for no other."""
    kind: type = type(value)
    if isinstance(value, FrozenMapping):
        _name(value._kind, out)
        if issubclass(value._kind, OrderedDict):  # for which order is part of the value
            spell(tuple(value._items.items()), out)
        else:
            spell(value._items, out)
        _spell_more(value._more, out)
        return
    if isinstance(value, _FrozenSequence | _FrozenBytes):
        _name(value.kind, out)
        spell(FrozenList(value) if isinstance(value, tuple) else bytes(value), out)
        _spell_more(value.more, out)
        return
    _name(value.kind if isinstance(value, _SEALED) else kind, out)
    if isinstance(value, frozenset):
        spelled = sorted(_spelled(item) for item in value)
        out.append(b"%d;" % len(spelled))
        out.extend(spelled)
    elif isinstance(value, Enum):
        spell(value.name if value.name is not None else value.value, out)
    elif isinstance(value, SecretStr | SecretBytes | HiddenText):
        spell(value.get_secret_value(), out)
    elif isinstance(value, datetime.datetime | datetime.time):
        spell((value.isoformat(), value.fold, repr(value.tzinfo)), out)
    elif isinstance(value, complex):
        spell((value.real, value.imag), out)
    elif isinstance(value, re.Pattern):
        spell((value.pattern, value.flags), out)
    elif isinstance(value, BaseException):
        spell((str(kind), repr(value)), out)
    elif isinstance(value, tuple):
        spell(tuple(tuple.__iter__(value)), out)
    else:
        bare = next((bare for base, bare, _ in _BASES if isinstance(value, base)), str)
        spell(bare(value), out)


def _spelled(value: Any) -> bytes:
    out: list[bytes] = []
    spell(value, out)
    return b"".join(out)


def _name(kind: type, out: list[bytes]) -> None:
    name = f"{kind.__module__}.{kind.__qualname__}".encode("utf-8", "surrogatepass")
    out.append(b"<%d:%s" % (len(name), name))


def _spell_more(more: Any, out: list[bytes]) -> None:
    if isinstance(more, tuple | frozenset | str | int | None):  # a set's repr is another in every process
        spell(more, out)
    elif callable(more):
        spell(f"{getattr(more, '__module__', '')}.{getattr(more, '__qualname__', repr(more))}", out)


# Refusing.


def _slots(kind: type) -> set[str]:
    return set(copyreg._slotnames(kind))  # type: ignore[attr-defined]


def _check_stateless(value: Any, known: Iterable[str] = ()) -> None:
    own = set(getattr(value, "__dict__", ())) - set(known)
    if own:
        raise _refused(value, f"it has an attribute {sorted(own)[0]!r} of its own")
    kind = type(value)
    if kind.__flags__ & _HEAP_TYPE and (slots := {name for name in _slots(kind) if _written(kind, name)}):
        raise _refused(value, f"it has an attribute {sorted(slots)[0]!r} of its own")


def _written(kind: type, name: str) -> bool:
    """Whether a slot is from a class that somebody wrote, not from a library's."""
    owner = next((base for base in kind.__mro__ if name in base.__dict__), kind)
    return owner not in _FIXED and owner.__module__ not in ("pathlib", "fractions", "ipaddress", "uuid", "decimal")


def _check_made(value: Any, shown: Any) -> None:
    """Refuse now what could not be made again later."""
    kind = type(value)
    try:
        made = _MAKERS[type(shown)](_emptied(shown, kind))
    except (TypeError, ValueError, AttributeError):
        raise _refused(value) from None
    if type(made) is not kind:
        raise _refused(value)


def _emptied(shown: Any, kind: type) -> Any:
    """Return the same without what is in it, of which it is known that it can be made: each level is made once."""
    if isinstance(shown, FrozenMapping):
        return type(shown)(kind, dict.fromkeys(shown), shown._more)
    if isinstance(shown, _FrozenSequence | _FrozenTuple):
        return _sealed(type(shown)(), kind, shown.more)
    return shown


def _checked(value: Any, shown: Any) -> Any:
    _check_made(value, shown)
    return shown


def _refused(value: Any, why: str = "") -> InvalidInputError:
    return _refused_kind(type(value), why)


def _refused_kind(kind: type, why: str = "") -> InvalidInputError:
    if not issubclass(kind, type) and any("__call__" in vars(each) for each in kind.__mro__):  # as a language has it
        return InvalidInputError("value: a function cannot be handed over here; give plain values")
    what = f"a {kind.__qualname__} cannot be held read-only" + (f" ({why})" if why else "")
    return InvalidInputError(f"value: {what[:300]}; give plain values, a dataclass or a pydantic model")
