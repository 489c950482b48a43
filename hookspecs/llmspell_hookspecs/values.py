"""Values that cross between a caller, hooks and a body: read-only for hooks, and back as they were.

`freeze` makes a read-only copy, all the way down and whatever the type: mapping views, tuples and frozen sets, and for
objects with fields a view of them. `restore` makes of that a fresh value, equal to the first and of its types, so that
nobody can tell whether a hook stood between. `thaw` makes plain dicts and lists of it. `canonical` tells values apart.

Invariant: what is frozen holds all of the value's state, and nothing that anybody else can change; what cannot be held
so (a generator, a lock, an object of one's own) is refused by its type's name, what is nested too deeply, in a circle
or holds too much by that, before more is done with it: what is frozen can be walked by anybody. Enums, dates, numbers,
paths and the like are what they are: nobody changes them. Plugins are trusted code: whoever sets a field by force, by
`msgspec.structs.force_setattr` or ``object.__setattr__``, is outside this promise.

It is longer than most because what freezes and what restores are to be read beside each other.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from inspect import signature
from types import MappingProxyType, ModuleType
from typing import Any, Final

from msgspec import Struct, structs

from .bounds import ATOMS, DEEPEST, LARGEST, TooManyItemsError, check_bounds, measure, too_deep, too_large
from .errors import InvalidInputError

__all__ = [
    "FrozenList",
    "FrozenMapping",
    "FrozenObject",
    "Settled",
    "canonical",
    "freeze",
    "restore",
    "thaw",
]

_MANY: Final = 20_000
_SHORT: Final = 64
_NOTHING: Final[MappingProxyType[Any, Any]] = MappingProxyType({})


class Settled(Struct, frozen=True):
    """A struct whose fields are made read-only, all the way down, when it is made; so it is never frozen again.

    A conversation grows by a message or two with each call of a model, and is shown to hooks as a whole each time.
    A list becomes a tuple.
    """

    def __post_init__(self) -> None:
        """Make the fields read-only.

        Raises:
            InvalidInputError: One holds what `freeze` refuses.
        """
        for part in structs.astuple(self):
            kind = type(part)
            if kind not in ATOMS and part is not _NOTHING and (kind is not tuple or not is_kept(part)):
                _settle_fields(self)
                return


class Shape(Struct, frozen=True):
    """What is the same for all structs of a class.

    Attributes:
        frozen: Whether nobody can set their fields.
        settled: Whether they are settled.
        make: Makes one of its fields, in order: by their places, in a third of the time that their names take.
    """

    frozen: bool
    settled: bool
    make: Callable[..., Any]


def _shape(kind: Any) -> Shape | None:
    if not issubclass(kind, Struct):
        return None
    names, places = kind.__struct_fields__, signature(kind).parameters.values()
    by_place = all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in places)
    make = kind if by_place else lambda *fields: kind(**dict(zip(names, fields, strict=True)))
    frozen = bool(kind.__struct_config__.frozen)
    # Of a class of one's own below it, nothing is taken for granted.
    settled = frozen and kind.__base__ is Settled and kind.__post_init__ is Settled.__post_init__
    return Shape(frozen, settled, make)


shape_of: Final[Callable[[Any], Shape | None]] = functools.lru_cache(maxsize=1024)(_shape)
"""The shape of a class of structs; None of any other. Asked about each message of a conversation, so not in Python."""


class FrozenList(tuple[Any, ...]):
    """A list that nobody can change; unlike a tuple it becomes a list again."""

    __slots__ = ()


_EMPTY: Final = FrozenList()


class FrozenMapping(Mapping[Any, Any]):
    """A mapping of another type than dict that nobody can change.

    Args:
        kind: The type that it becomes again.
        items: What it holds, frozen.
        more: What else it consists of.
    """

    __slots__ = ("_items", "_kind", "_more")
    _items: Mapping[Any, Any]
    _kind: type[Any]
    _more: Any

    def __init__(self, kind: type, items: dict[Any, Any], more: Any = None) -> None:
        _set_kind(self, kind)  # as `object.__setattr__` does, in half the time
        _set_items(self, MappingProxyType(items))
        _set_more(self, more)

    def __getitem__(self, key: Any) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def items(self) -> ItemsView[Any, Any]:
        """Return the view of what it holds itself: that of `Mapping` asks for each key and value with calls of ours."""
        return self._items.items()

    def values(self) -> ValuesView[Any]:
        """Return the view of what it holds itself."""
        return self._items.values()

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError(f"a read-only {self._kind.__name__} has no {name!r} to set")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def with_items(self, items: Mapping[Any, Any]) -> FrozenMapping:
        """Return the same with these items in place of its own of their names."""
        return type(self)(self._kind, {**self._items, **items}, self._more)

    def __repr__(self) -> str:
        return f"{self._kind.__name__}({dict(self._items)!r})"


_set_kind: Final = FrozenMapping.__dict__["_kind"].__set__
_set_items: Final = FrozenMapping.__dict__["_items"].__set__
_set_more: Final = FrozenMapping.__dict__["_more"].__set__


class FrozenObject(FrozenMapping):
    """The fields of an object (a dataclass, a pydantic model), by name or as attributes, that nobody can change."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self._items[name]
        except KeyError:
            raise AttributeError(f"a read-only {self._kind.__name__} has no field {name!r}") from None


def freeze(value: Any, most: int = LARGEST) -> Any:
    """Return a read-only copy of the value, all the way down.

    Args:
        value: Of any type.
        most: How many items are walked.

    Raises:
        InvalidInputError: It holds what cannot be read-only, or is no value that `check_bounds` lets pass.
        TooManyItemsError: It holds more than ``most`` items, which are fewer than a value may hold.
    """
    kind = type(value)
    if kind in ATOMS:
        return value
    if kind is dict and value:  # what is asked for most: flat, by texts
        for key, item in value.items():
            if type(item) not in ATOMS or type(key) is not str:
                break
        else:
            if len(value) <= most:
                return MappingProxyType(value.copy())
    elif (shape := shape_of(kind)) is not None and shape.frozen:
        if shape.settled:
            return value
        shown = _flat_struct(value, shape, most)
        if shown is not None:
            return shown
    room = [min(most, _MANY)]
    try:
        try:
            return _freeze(value, DEEPEST, room)
        except InvalidInputError:
            if room[0] >= 0:
                raise
            if most < LARGEST:
                raise TooManyItemsError from None
            check_bounds(value)  # looks at what is shared once, where freezing it would do so again and again
            return _freeze(value, DEEPEST, [LARGEST])
    except RecursionError:
        raise too_deep() from None


def _freeze(value: Any, depth: int, room: list[int]) -> Any:
    """Freeze what is no atom. Loops where a comprehension would cost a second frame for each level.

    Args:
        value: No atom.
        depth: How many levels there may be from here on.
        room: How many items there may still be in all; the same list throughout.
    """
    kind = type(value)
    if kind is FrozenList or kind is FrozenObject:  # which may be a part of more than it was when it was frozen
        items = value if kind is FrozenList else value._items.values()
        if depth and ATOMS.issuperset(map(type, items)):
            room[0] -= len(items)
            if room[0] < 0:
                raise too_large()
        else:
            measure(value, depth, room)
        return value
    if depth == 0:
        raise too_deep()
    if kind is dict or kind is MappingProxyType:
        if value is _NOTHING:
            return value
        return MappingProxyType(_frozen_items(value, depth, room)) if value else _NOTHING
    if kind is list:
        room[0] -= len(value)
        if room[0] < 0:
            raise too_large()
        if ATOMS.issuperset(map(type, value)):
            return FrozenList(value) if value else _EMPTY
        items = value.copy()
        for index, item in enumerate(value):
            if type(item) not in ATOMS:
                items[index] = _freeze(item, depth - 1, room)
        return FrozenList(items)
    if kind is tuple:
        return _frozen_tuple(value, depth, room)
    if (shape := shape_of(kind)) is not None and shape.frozen:
        if shape.settled:
            room[0] -= len(kind.__struct_fields__)
            if room[0] < 0:
                raise too_large()
            return value
        return _frozen_struct(value, shape, depth, room)
    return _conversion().freeze_other(value, depth, room)


def _flat_struct(value: Any, shape: Shape, most: int) -> Any:
    """Return a struct read-only that holds nothing but atoms and flat mappings by texts; None for any other."""
    found = structs.astuple(value)
    fields: list[Any] | None = None
    for index, field in enumerate(found):
        kind = type(field)
        if kind in ATOMS or field is _NOTHING:
            continue
        if kind is not dict and kind is not MappingProxyType:
            if not is_kept(field):
                return None
            continue
        size = len(field)
        if size > most or size > _MANY:
            return None
        if size:
            items = field.copy()  # who made a view may hold what it shows
            if type(items) is not dict:
                items = dict(field)
            for key, item in items.items():
                if type(item) not in ATOMS or type(key) is not str:
                    return None
        if fields is None:
            fields = list(found)
        fields[index] = MappingProxyType(items) if size else _NOTHING
    return value if fields is None else shape.make(*fields)


def _settle_fields(made: Struct) -> None:
    for name, part in zip(made.__struct_fields__, structs.astuple(made), strict=True):
        if type(part) not in ATOMS and part is not _NOTHING and not is_kept(part):
            frozen = freeze(part)
            structs.force_setattr(made, name, tuple(frozen) if type(frozen) is FrozenList else frozen)


def is_kept(value: Any) -> bool:
    """Whether nobody can change it, so that it need not be made anew: settled and bare structs, and tuples of such."""
    if type(value) is not tuple:
        return _is_kept_struct(value)
    if len(value) > _SHORT:
        return all(kind in ATOMS or _is_settled(kind) for kind in set(map(type, value)))
    for item in value:
        kind = type(item)
        if kind not in ATOMS and not _is_kept_struct(item):
            return False
    return True


def _is_settled(kind: type) -> bool:
    shape = shape_of(kind)
    return shape is not None and shape.settled


def _is_kept_struct(value: Any) -> bool:
    shape = shape_of(type(value))
    if shape is None or not shape.frozen:
        return False
    return shape.settled or ATOMS.issuperset(map(type, structs.astuple(value)))


def _copied(value: Any) -> dict[Any, Any]:
    """Return a dict of the items; a view's own ``copy`` is three times as fast as ``dict`` of it."""
    items = value.copy()
    return items if type(items) is dict else dict(value)


def _frozen_items(value: Mapping[Any, Any], depth: int, room: list[int]) -> dict[Any, Any]:
    room[0] -= len(value)
    if room[0] < 0:
        raise too_large()
    items = _copied(value)
    for key, item in items.items():
        if type(item) not in ATOMS:
            items[key] = _freeze(item, depth - 1, room)
        if type(key) is not str and type(key) not in ATOMS:
            _check_key(key, depth, room)
    return items


def _check_key(key: Any, depth: int, room: list[int]) -> None:
    frozen = _freeze(key, depth - 1, room)
    if frozen is not key and (type(frozen) is not type(key) or frozen != key):
        raise InvalidInputError(f"value: a mapping has a {type(key).__name__} as a key; use texts as keys")


def _frozen_tuple(value: tuple[Any, ...], depth: int, room: list[int]) -> tuple[Any, ...]:
    room[0] -= len(value)
    if room[0] < 0:
        raise too_large()
    items: list[Any] | None = None
    for index, item in enumerate(value):
        if type(item) not in ATOMS:
            frozen = _freeze(item, depth - 1, room)
            if frozen is not item:
                items = list(value) if items is None else items
                items[index] = frozen
    return value if items is None else tuple(items)


def _frozen_struct(value: Any, shape: Shape, depth: int, room: list[int]) -> Any:
    found = structs.astuple(value)
    fields: list[Any] | None = None
    room[0] -= len(found)
    if room[0] < 0:
        raise too_large()
    for index, field in enumerate(found):
        if type(field) not in ATOMS and field is not _NOTHING:
            if isinstance(field, BaseException) and getattr(type(value), "holds_error", False):
                continue
            frozen = _freeze(field, depth - 1, room)
            if frozen is not field:
                fields = list(found) if fields is None else fields
                fields[index] = frozen
    return value if fields is None else shape.make(*fields)


def restore(value: Any) -> Any:
    """Return a fresh value of the types that it had before `freeze`."""
    kind = type(value)
    if kind in ATOMS:
        return value
    if kind is MappingProxyType or kind is dict:
        items = _copied(value)
        for key, item in items.items():
            if type(item) not in ATOMS:
                items[key] = restore(item)
        return items
    if kind is FrozenList or kind is list:
        found = list(value)
        if not ATOMS.issuperset(map(type, found)):
            for index, item in enumerate(value):
                if type(item) not in ATOMS:
                    found[index] = restore(item)
        return found
    if kind is tuple:
        return value if ATOMS.issuperset(map(type, value)) else tuple([restore(item) for item in value])
    if (shape := shape_of(kind)) is not None:
        if shape.settled:
            return value
        held = structs.astuple(value)
        fields: list[Any] | None = None
        for index, field in enumerate(held):
            if type(field) not in ATOMS:
                fresh = restore(field)
                if fresh is not field:
                    fields = list(held) if fields is None else fields
                    fields[index] = fresh
        return value if fields is None else shape.make(*fields)
    return _conversion().restore_other(value)


def thaw(value: Any) -> Any:
    """Return the value with every mapping as a dict and every sequence as a list, fresh all the way down."""
    kind = type(value)
    if kind in ATOMS:
        return value
    if kind is dict or kind is MappingProxyType or isinstance(value, Mapping):
        return {key: item if type(item) in ATOMS else thaw(item) for key, item in value.items()}
    if kind is list or isinstance(value, tuple):
        return [item if type(item) in ATOMS else thaw(item) for item in value]
    return value


def canonical(value: Any) -> bytes:
    """Return bytes that stand for this value and its exact types: the same for equal ones, never for others.

    1, 1.0 and True differ, as do a list and a tuple, a text and bytes, 0.0 and -0.0; the order of a mapping's keys and
    of a set is no difference. Secrets are part of it, so it is to be hashed, never shown.

    Raises:
        InvalidInputError: `freeze` refuses it.
    """
    out: list[bytes] = []
    try:
        spell(freeze(value), out)
    except RecursionError:  # settled structs within each other, which are not walked when they are frozen
        raise too_deep() from None
    return b"".join(out)


def spell(value: Any, out: list[bytes]) -> None:
    """Add a frozen value's bytes, from which its end can be told."""
    kind = type(value)
    if value is None or kind is bool:
        out.append(b"N" if value is None else b"T" if value else b"F")
    elif kind is int:
        out.append(b"i%x;" % value)
    elif kind is float:
        out.append(b"dnan-----" if value != value else b"d" + struct.pack(">d", value))
    elif kind is str:
        encoded = value.encode("utf-8", "surrogatepass")
        out.append(b"s%d:" % len(encoded))
        out.append(encoded)
    elif kind is bytes:
        out.append(b"b%d:" % len(value))
        out.append(value)
    elif kind is MappingProxyType:
        _spell_items(value, out)
    elif kind is FrozenList or kind is tuple:
        out.append(b"[%d;" % len(value) if kind is FrozenList else b"(%d;" % len(value))
        for item in value:
            spell(item, out)
    elif isinstance(value, Struct):
        name = f"{kind.__module__}.{kind.__qualname__}"
        out.append(b"S")
        spell((name, *structs.astuple(value)), out)
    else:
        _conversion().spell_other(value, out)


def _spell_items(value: Mapping[Any, Any], out: list[bytes]) -> None:
    pairs = []
    for key, item in value.items():
        own: list[bytes] = []
        spell(key, own)
        length = len(own)
        spell(item, own)
        pairs.append((b"".join(own[:length]), b"".join(own[length:])))
    pairs.sort()
    out.append(b"{%d;" % len(pairs))
    for pair in pairs:
        out.extend(pair)


def freeze_part(value: Any, depth: int, room: list[int]) -> Any:
    """Return a part of a value frozen, one level below it."""
    return value if type(value) in ATOMS else _freeze(value, depth - 1, room)


@functools.cache
def _conversion() -> ModuleType:
    """Return the other half of this module, which needs this one and which most values never need."""
    from . import conversion

    return conversion
