"""The identity of an agent context: RFC 8785 (JCS) and SHA-256 over what the contract requires of it.

Invariant: what has no exact canonical form has no identity. An integer beyond 2**53 - 1, a number that is not finite
and half a surrogate pair are refused, never rounded or replaced, for then two contexts would share an identity. A float
has its shortest digits, however large it is.
Depth in levels, sizes in bytes. Source: AGENT-HOOKS-0.1, section 10.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Final

from llmspell_hookspecs.errors import InvalidInputError

__all__ = ["DEEPEST", "canonical_json", "context_identity", "projected"]

DEEPEST: Final = 128
"""How deeply a context may be nested."""
_LARGEST: Final = 2**53 - 1
_ALWAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "spec": (),
    "interception_point": (),
    "timestamp": (),
    "sequence": (),
    "agent": ("id", "framework"),
    "session": ("id",),
    "target": (),
}
"""What every context has, and which members of it count; of those without a list all of it does."""
_TOOL_CALL: Final = ("id", "name", "args")
_RESPONSE: Final = ("content", "tool_calls", "finish_reason")
_AT: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "agent_startup": {"agent_init": ("tools_registered",)},
    "input": {"input": ("content", "role")},
    "pre_model_call": {"model": ("id",), "messages": ()},
    "post_model_call": {"model": ("id",), "response": _RESPONSE},
    "pre_tool_call": {"tool_call": _TOOL_CALL},
    "post_tool_call": {"tool_call": _TOOL_CALL, "tool_result": ("value", "is_error")},
    "output": {"output": ("content",)},
    "agent_shutdown": {"summary": ("reason",)},
}


def context_identity(context: Mapping[str, Any]) -> str:
    """Return ``sha256:`` and the hash of what the contract requires of a context.

    Raises:
        InvalidInputError: It is of no point, or holds what has no exact canonical form.
    """
    text = canonical_json(projected(context))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def projected(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a context that its identity is made of.

    Raises:
        InvalidInputError: It is of no point.
    """
    point = context.get("interception_point")
    if not isinstance(point, str) or point not in _AT:
        raise InvalidInputError(f"agent context: {point!r:.60} is no interception point; see the contract's eight")
    found: dict[str, Any] = {}
    for name, members in {**_ALWAYS, **_AT[point]}.items():
        value = context.get(name)
        if members and isinstance(value, Mapping):
            value = {member: value[member] for member in members if member in value}
        found[name] = value
    return found


def canonical_json(value: Any) -> str:
    """Return a value of JSON as RFC 8785 writes it.

    Raises:
        InvalidInputError: It holds what JSON has not, or what would not come back as it is.
    """
    out: list[str] = []
    _write(value, out, 0)
    return "".join(out)


def _write(value: Any, out: list[str], depth: int) -> None:
    if depth > DEEPEST:
        raise InvalidInputError(f"agent context: it is nested more than {DEEPEST} levels deep; flatten it")
    if value is None or value is True or value is False:
        out.append("null" if value is None else "true" if value else "false")
    elif isinstance(value, str):
        out.append(_text(value))
    elif isinstance(value, int | float):
        out.append(_number(value))
    elif isinstance(value, Mapping):
        _write_items(value, out, depth)
    elif isinstance(value, list | tuple):
        out.append("[")
        for index, item in enumerate(value):
            if index:
                out.append(",")
            _write(item, out, depth + 1)
        out.append("]")
    else:
        raise InvalidInputError(f"agent context: a {type(value).__name__} is no value of JSON; give text or numbers")


def _write_items(value: Mapping[Any, Any], out: list[str], depth: int) -> None:
    pairs = []
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidInputError(f"agent context: a key is a {type(key).__name__}; keys of JSON are texts")
        pairs.append((_units(key), key, item))
    pairs.sort(key=lambda pair: pair[0])
    out.append("{")
    for index, (_, key, item) in enumerate(pairs):
        if index:
            out.append(",")
        out.append(_text(key))
        out.append(":")
        _write(item, out, depth + 1)
    out.append("}")


def _units(text: str) -> bytes:
    """The UTF-16 code units of a text, in the order of which members stand."""
    try:
        return text.encode("utf-16-be")
    except UnicodeEncodeError:
        raise InvalidInputError("agent context: a text holds half a surrogate pair; send whole letters") from None


def _text(text: str) -> str:
    _units(text)
    return json.dumps(text, ensure_ascii=False)


def _number(value: int | float) -> str:
    if isinstance(value, int):
        if not -_LARGEST <= value <= _LARGEST:
            raise InvalidInputError("agent context: an integer is beyond 2**53 - 1; send it as a text")
        return int.__repr__(value)
    if not math.isfinite(value):
        raise InvalidInputError("agent context: a number is not finite; send it as a text")
    if value == 0:
        return "0"
    return _shortest(value)


def _shortest(value: float) -> str:
    """A finite number other than 0 as ECMAScript writes it: its shortest digits, by its rules for the exponent."""
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, part = mantissa.partition(".")
    digits = (whole + part).lstrip("0")
    point = len(digits) - len(part) + int(exponent or 0)  # the value is 0.digits * 10**point
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    shown = digits[0] + (f".{digits[1:]}" if count > 1 else "")
    return f"{sign}{shown}e{'+' if point > 0 else '-'}{abs(point - 1)}"
