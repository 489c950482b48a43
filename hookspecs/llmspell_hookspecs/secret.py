"""Which names are those of secrets, for everybody who shows, masks or hands out values by name; and masked values.

Invariant: what is hidden is shown as a mask, from the first hook on; whoever runs has the real text of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct, structs

from .values import FrozenList, FrozenMapping, FrozenObject

__all__ = ["HiddenText", "hide", "hide_item", "holds_secret", "is_secret_name", "keep_hidden", "reveal", "tells"]

_BARE: Final = frozenset({int, float, bool, type(None)})
"""Nothing of these types is hidden."""
_MASK: Final = "**********"
_NAME: Final = re.compile(
    r"key|token|pass(w|ph)|pwd|secret|credential|private|auth(?!ors?(?![a-z]))|cookie|dsn", re.IGNORECASE
)
_TELLING: Final = re.compile(
    r"(api|access|private|signing|encryption|account)[-_ ]?key|(?<!max_)token$|passw|passphrase|pwd$|secret|credential"
    r"|authorization|cookie$",
    re.IGNORECASE,
)
_USER: Final = re.compile(r"(?<=://)[^/?#\s@]*@")
_PAIR: Final = re.compile(r"[?&;#][^&;#\s]*")  # whole, so that a row of question marks does not take its square

Names: TypeAlias = Literal["telling", "any", "all"]
"""Which names' texts are hidden: those that mean nothing but a secret, any that may, or every text."""


def is_secret_name(name: str) -> bool:
    """Return whether a key, parameter or variable of this name holds a secret."""
    return _NAME.search(name) is not None


class HiddenText(str):
    """A text as hooks are shown it: with its secrets masked. It keeps the real one for whoever runs.

    Args:
        shown: The masked text.
        real: What it stands for: a text, or bytes.
    """

    __slots__ = ("_real",)
    _real: Any

    def __new__(cls, shown: str, real: str | bytes) -> HiddenText:
        """Make one; nothing of it can be changed."""
        made = super().__new__(cls, shown)
        object.__setattr__(made, "_real", real)
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError(f"a hidden text has no {name!r} to set")

    def __reduce__(self) -> Any:
        return str, (str(self),)

    def get_secret_value(self) -> Any:
        """Return the real text, or bytes."""
        return self._real


def hide(value: Any, names: Names = "telling") -> Any:
    """Return a frozen value with its secrets hidden: texts under a secret's name, and what URLs carry of them."""
    kind = type(value)
    if kind is str:
        return HiddenText(_MASK, value) if names == "all" and value else _hidden_url(value)
    if kind is bytes:
        return HiddenText(_MASK, value) if names == "all" and value else value
    if kind is MappingProxyType or kind is dict:
        changed = _hidden_items(value, names)
        return value if changed is None else MappingProxyType({**value, **changed})
    if kind is FrozenObject or isinstance(value, FrozenMapping):  # the latter asks an abstract class, for 0.4 us
        changed = _hidden_items(value, names)
        return value if changed is None else value.with_items(changed)
    if (kind is FrozenList or kind is tuple) and not _BARE.issuperset(map(type, value)):
        return _each(value, lambda item: hide(item, names))
    return value


def hide_item(key: Any, item: Any, names: Names = "telling") -> Any:
    """Return a frozen value with its secrets hidden, as it stands under a key of a mapping."""
    if type(item) in _BARE:
        return item
    hidden = type(key) is str and (tells(key) if names == "telling" else _may_tell(key))
    return hide(item, "all" if hidden else names)


def _hidden_items(value: Mapping[Any, Any], names: Names) -> dict[Any, Any] | None:
    changed: dict[Any, Any] | None = None
    for key, item in value.items():
        if type(item) in _BARE:
            continue
        hidden = hide(item, names) if names == "all" else hide_item(key, item, names)
        if hidden is not item:
            changed = {} if changed is None else changed
            changed[key] = hidden
    return changed


@lru_cache(maxsize=4096)
def tells(name: str) -> bool:
    """Return whether a name means nothing but a secret."""
    return _TELLING.search(name) is not None


@lru_cache(maxsize=4096)
def _may_tell(name: str) -> bool:
    return is_secret_name(name)


def _hidden_url(text: str) -> str:
    if "://" not in text:
        return text
    shown = _USER.sub(_MASK + "@", text)
    shown = _PAIR.sub(_hidden_pair, shown)
    return text if shown == text else HiddenText(shown, text)


def _hidden_pair(found: re.Match[str]) -> str:
    name, _, value = found[0].partition("=")
    return f"{name}={_MASK}" if value and is_secret_name(name[1:]) else found[0]


def reveal(value: Any, found: list[str] | None = None) -> Any:
    """Return a frozen value with its hidden texts as they are.

    Args:
        value: Frozen, or not.
        found: Gets each secret that was revealed, and those of the types for secrets.
    """
    kind = type(value)
    if kind is str or kind in _BARE:
        return value
    if kind is HiddenText:
        if found is not None:
            found.append(_text(value.get_secret_value()))
        return value.get_secret_value()
    if kind is MappingProxyType or kind is dict or isinstance(value, FrozenMapping):
        changed = {}
        for key, item in value.items():
            if type(item) is not str and type(item) not in _BARE:
                real = reveal(item, found)
                if real is not item:
                    changed[key] = real
        if not changed:
            return value
        return value.with_items(changed) if isinstance(value, FrozenMapping) else MappingProxyType({**value, **changed})
    if kind is list:
        return [reveal(item, found) for item in value]
    if (kind is FrozenList or kind is tuple) and not _BARE.issuperset(map(type, value)):
        return _each(value, lambda item: reveal(item, found))
    reads = None if found is None else getattr(value, "get_secret_value", None)
    if found is not None and reads is not None:  # a type of secrets, which stays what it is
        found.append(_text(reads()))
    return value


def _text(secret: Any) -> str:
    return secret.decode(errors="replace") if isinstance(secret, bytes) else str(secret)


def keep_hidden(new: Any, current: Any) -> Any:
    """Return a frozen value with what a hook left masked as it is in the value that the hook was shown."""
    reads = getattr(current, "get_secret_value", None)
    if reads is not None:
        return current if isinstance(new, str) and str.__str__(new) == str(current) else new
    if isinstance(new, Mapping) and isinstance(current, Mapping):
        changed = {key: keep_hidden(item, current[key]) for key, item in new.items() if key in current}
        changed = {key: item for key, item in changed.items() if item is not new[key]}
        if not changed:
            return new
        return new.with_items(changed) if isinstance(new, FrozenMapping) else MappingProxyType({**new, **changed})
    if isinstance(new, tuple) and isinstance(current, tuple) and type(new) in (tuple, FrozenList):
        pairs = iter([*current, *([None] * len(new))])
        return _each(new, lambda item: keep_hidden(item, next(pairs)))
    return new


def holds_secret(value: Any) -> bool:
    """Return whether a frozen value holds a secret: a hidden text, a type for secrets, or anything under its name."""
    kind = type(value)
    if kind is str or kind is bytes or kind in _BARE:
        return False
    if isinstance(value, Struct):
        return any(map(_is_secret, value.__struct_fields__, structs.astuple(value)))
    if isinstance(value, Mapping):
        return any(_is_secret(key, item) for key, item in value.items())
    if isinstance(value, tuple | frozenset):
        return any(map(holds_secret, value))
    return hasattr(value, "get_secret_value")


def _is_secret(name: Any, item: Any) -> bool:
    if type(item) in _BARE:
        return False
    return holds_secret(item) or (type(name) is str and tells(name) and hide(item, "all") is not item)


def _each(value: tuple[Any, ...], change: Callable[[Any], Any]) -> tuple[Any, ...]:
    changed = [change(item) for item in value]
    if all(map(lambda one, other: one is other, changed, value)):
        return value
    return type(value)(changed)
