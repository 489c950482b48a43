"""Fitting what a hook answers to the type that its point carries.

Invariant: what is answered here is frozen all the way down and of the type asked for; a misfit names its field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct, structs

from .bounds import ATOMS, FEW, LARGEST, TooManyItemsError, check_bounds, too_deep
from .errors import InvalidInputError
from .secret import keep_hidden
from .spelling import told
from .values import freeze, is_kept, restore, shape_of

__all__ = ["bound", "fit", "freeze_fields", "name_after", "plain", "renew", "thaw_fields", "without_refused"]

T = TypeVar("T")
_NONE: Final[tuple[Any, ...]] = ()
"""There is one empty tuple only."""
_MAPPINGS: Final = frozenset({dict, MappingProxyType})


class Addressed(Protocol):
    """What can be told where it is; asked only when something is wrong."""

    @property
    def address(self) -> str:
        """The component as ``kind:name``."""


def freeze_fields(value: T, where: str | Addressed = "", what: str = "value", most: int = LARGEST) -> T:
    """Return a value read-only all the way down.

    Args:
        value: Of any type.
        where: Whose it is, for the error.
        what: What it is, for the error.
        most: How many items are walked.

    Raises:
        InvalidInputError: It holds what cannot be.
        TooManyItemsError: It holds more than ``most`` items, which are fewer than a value may hold.
    """
    try:
        frozen: T = freeze(value, most)
    except InvalidInputError as error:
        if not where:
            raise
        raise _told(error, where if isinstance(where, str) else where.address, what) from None
    return frozen


def bound(value: Any, where: str, what: str = "value") -> None:
    """Check that a value that no hook will see can be walked by whoever gets it; see `check_bounds`."""
    try:
        check_bounds(value)
    except InvalidInputError as error:
        raise _told(error, where, what) from None


def _told(error: InvalidInputError, where: str, what: str) -> InvalidInputError:
    return InvalidInputError(f"{where}: its {what}: {str(error).removeprefix('value: ')}")


def without_refused(subject: Any) -> Any:
    """Return a subject that cannot be shown without the fields that are why, or that are too large for the loop."""
    shown: dict[str, Any] = {}
    for name in getattr(subject, "__struct_fields__", ()):
        try:
            shown[name] = freeze(getattr(subject, name), FEW)
        except (InvalidInputError, TooManyItemsError):
            shown[name] = freeze({}) if isinstance(getattr(subject, name), Mapping) else None
    return structs.replace(subject, **shown) if shown else None


def thaw_fields(value: T) -> T:
    """Return a fresh value, of the types that it had before it was frozen."""
    fresh: T = restore(value)
    return fresh


def renew(value: T, where: str | Addressed, what: str, most: int = LARGEST) -> T:
    """Return a value as it comes back when hooks have seen it: fresh, and nobody else's.

    Raises:
        InvalidInputError: It holds what cannot be shown.
        TooManyItemsError: It holds more than ``most`` items, which are fewer than a value may hold.
    """
    if type(value) in ATOMS:
        return value
    shape = shape_of(type(value))
    if shape is not None and shape.frozen:  # flat, as most results are
        found = structs.astuple(value)  # type: ignore[arg-type]
        fields: list[Any] | None = None
        for index, field in enumerate(found):
            kind = type(field)
            if kind in ATOMS or field is _NONE:
                continue
            if kind in _MAPPINGS and not field:
                if fields is None:
                    fields = list(found)
                fields[index] = {}
            elif not is_kept(field):
                return thaw_fields(freeze_fields(value, where, what, most))
        return value if fields is None else shape.make(*fields)
    return thaw_fields(freeze_fields(value, where, what, most))


def plain(value: Any) -> Any:
    """Return the value as fresh dicts, lists and atoms; what is none of those by its `repr`.

    Raises:
        InvalidInputError: It is nested more deeply than Python can walk.
    """
    try:
        return _plain(value)
    except RecursionError:
        raise too_deep() from None


def _plain(value: Any) -> Any:
    if type(value) in ATOMS:
        return value
    if isinstance(value, Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {_text(key, str): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool | bytes):
        return value
    return _text(value, repr)


def _text(value: Any, spell: Callable[[Any], str]) -> str:
    """Return what stands for a value in plain data; its own code may fail at it."""
    try:
        return spell(value)
    except Exception:
        return told(value)


def fit(value: Any, wanted: type, where: str, current: Any = None) -> Any:
    """Return the value as the wanted type, frozen.

    Args:
        value: Of that type, or a mapping of its fields.
        wanted: A struct type, or ``object`` for anything.
        where: Who answered what, for the error.
        current: Fields that a mapping leaves out keep this one's values.

    Raises:
        InvalidInputError: It does not fit; names the field.
    """
    if wanted is object or isinstance(value, wanted):
        return _kept(freeze_fields(value, where, "answer"), current)
    if not isinstance(value, Mapping):
        message = f"{where}: a {type(value).__name__} is no {wanted.__name__}; give one, or a mapping of its fields"
        raise InvalidInputError(message)
    fields: tuple[str, ...] = wanted.__struct_fields__  # type: ignore[attr-defined]
    unknown = [str(key) for key in value if key not in fields]
    if unknown:
        message = f"{where}: {wanted.__name__} has no field {unknown[0]!r}; it has {', '.join(fields)}"
        raise InvalidInputError(message, field=unknown[0])
    kept = {} if current is None else {name: getattr(current, name) for name in fields}
    given = restore(freeze_fields(value, where, "answer"))
    try:
        return _kept(freeze_fields(msgspec.convert({**kept, **given}, wanted), where, "answer"), current)
    except (msgspec.ValidationError, RecursionError) as error:
        field = str(error).rpartition("`$.")[2].rstrip("`")
        message = f"{where}: it does not fit {wanted.__name__}: {error}"
        raise InvalidInputError(message, field=field) from error


def _kept(new: Any, current: Any) -> Any:
    """Return what a hook answered, with the secrets that it left masked."""
    if not isinstance(new, Struct) or type(new) is not type(current):
        return keep_hidden(new, current)
    changed = {}
    for name, field, own in zip(new.__struct_fields__, structs.astuple(new), structs.astuple(current), strict=True):
        if field is not own and (kept := keep_hidden(field, own)) is not field:
            changed[name] = kept
    return structs.replace(new, **changed) if changed else new


def name_after(result: T, subject: Any, fields: tuple[str, ...]) -> T:
    """Return the result with these fields as the subject has them."""
    own = {name: getattr(subject, name) for name in fields}
    if all(getattr(result, name) == value for name, value in own.items()):
        return result
    return structs.replace(result, **own)  # type: ignore[type-var]
