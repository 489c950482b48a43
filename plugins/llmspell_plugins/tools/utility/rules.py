"""Rules for values: the twelve kinds that data_validation takes, as models and as checks.

Invariant: a boolean is no number; a length counts characters or items. A rule but ``required`` and ``type`` says
nothing of a value that is missing. Patterns are collected here and run by whoever asks, in a child process.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

__all__ = ["Problem", "Rule", "check", "patterns_of"]

_DEEPEST = 32
_EMAIL = re.compile(
    r"(?!\.)[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])",
    re.ASCII,
)
_HOST = re.compile(r"[\w](?:[\w.-]{0,251}[\w])?\.?|\[[0-9A-Fa-f:.]+\]")
_PHONE = re.compile(r"\+?\d[\d ().-]{5,22}\d", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    message: str | None = Field(default=None, max_length=500, description="What to say in place of the tool's words.")


class Required(_Rule):
    """There is a value."""

    type: Literal["required"]


class OfType(_Rule):
    """It is of a type."""

    type: Literal["type"]
    expected: Literal["string", "number", "integer", "boolean", "array", "object", "null"] = Field(
        description="Which; number is an integer, too."
    )


class Length(_Rule):
    """A text, array or object is so long."""

    type: Literal["length"]
    min: int | None = Field(default=None, ge=0, description="At least.")
    max: int | None = Field(default=None, ge=0, description="At most.")


class Range(_Rule):
    """A number lies between."""

    type: Literal["range"]
    min: float | None = Field(default=None, description="At least.")
    max: float | None = Field(default=None, description="At most.")


class Pattern(_Rule):
    """A regular expression is found in a text."""

    type: Literal["pattern"]
    regex: str = Field(
        max_length=10_000,
        validation_alias=AliasChoices("regex", "pattern"),
        description="As Python writes them; also called pattern.",
    )


class Enum(_Rule):
    """It is one of some values."""

    type: Literal["enum"]
    values: list[Any] = Field(max_length=10_000, description="Which.")


class Email(_Rule):
    """It is an address for e-mail."""

    type: Literal["email"]


class Url(_Rule):
    """It is a URL with scheme and host."""

    type: Literal["url"]
    schemes: list[str] = Field(default=["http", "https", "ftp", "ftps"], max_length=20, description="Those allowed.")


class Date(_Rule):
    """It is a date in a format."""

    type: Literal["date"]
    format: str = Field(default="%Y-%m-%d", max_length=100, description="As strptime reads it; empty for ISO 8601.")


class Custom(_Rule):
    """It is of a kind that has a name."""

    type: Literal["custom"]
    name: Literal["phone", "uuid", "credit_card"] = Field(description="Which.")


class Array(_Rule):
    """It is an array of so many items, each by rules."""

    type: Literal["array"]
    min_items: int | None = Field(default=None, ge=0, description="At least.")
    max_items: int | None = Field(default=None, ge=0, description="At most.")
    unique: bool = Field(default=False, description="No item comes twice.")
    item_rules: list[Rule] = Field(default=[], max_length=100, description="For each item.")


class Object(_Rule):
    """It is an object whose fields follow rules."""

    type: Literal["object"]
    properties: dict[str, list[Rule]] = Field(default={}, max_length=1000, description="Rules by the field's name.")
    required: list[str] = Field(default=[], max_length=1000, description="Fields that must be there.")
    additional_properties: bool = Field(default=True, description="Whether there may be others.")


Rule: TypeAlias = Annotated[
    Required | OfType | Length | Range | Pattern | Enum | Email | Url | Date | Custom | Array | Object,
    Field(discriminator="type"),
]
Array.model_rebuild()
Object.model_rebuild()

Problem: TypeAlias = dict[str, Any]
"""``{field, value, rule, message}``."""
Matches: TypeAlias = Mapping[tuple[str, str], bool]


def patterns_of(rules: Sequence[Rule], value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield each pattern with the text that it is for."""
    for rule in rules:
        if isinstance(rule, Pattern) and isinstance(value, str):
            yield rule.regex, value
        for _, inner, part in _parts(rule, value, ""):
            if depth < _DEEPEST:
                yield from patterns_of(inner, part, depth + 1)


def check(rules: Sequence[Rule], value: Any, matches: Matches, field: str = "", depth: int = 0) -> Iterator[Problem]:
    """Yield what is wrong.

    Args:
        rules: By which.
        value: What is checked.
        matches: For each pattern and text of `patterns_of`, whether it is found.
        field: The value's place, such as ``user.tags[0]``; empty for the whole.
        depth: How deep it lies.
    """
    if depth > _DEEPEST:
        yield _problem(field, value, "depth", f"it is nested deeper than {_DEEPEST}")
        return
    for rule in rules:
        for wrong in _wrongs(rule, value, matches):
            yield _problem(field, value, rule.type, rule.message or wrong)
        if isinstance(rule, Object) and isinstance(value, Mapping):
            yield from _fields(rule, value, field)
        for place, inner, part in _parts(rule, value, field):
            yield from check(inner, part, matches, place, depth + 1)


def _problem(field: str, value: Any, rule: str, message: str) -> Problem:
    shown = value if value is None or isinstance(value, bool | int | float) else f"{value!s:.200}"
    return {"field": field or "value", "value": shown, "rule": rule, "message": message}


def _parts(rule: Rule, value: Any, field: str) -> Iterator[tuple[str, Sequence[Rule], Any]]:
    """What lies in the value and has rules of its own."""
    if isinstance(rule, Array) and _kind(value) == "array" and rule.item_rules:
        for index, item in enumerate(value):
            yield f"{field}[{index}]", rule.item_rules, item
    elif isinstance(rule, Object) and isinstance(value, Mapping):
        for name, inner in rule.properties.items():
            yield _within(field, name), inner, value.get(name)


def _fields(rule: Object, value: Mapping[str, Any], field: str) -> Iterator[Problem]:
    for name in rule.required:
        if value.get(name) is None:
            yield _problem(_within(field, name), None, "required", rule.message or f"the field {name} is missing")
    if not rule.additional_properties:
        for name in value:
            if name not in rule.properties and name not in rule.required:
                told = rule.message or f"there is no field {name}"
                yield _problem(_within(field, str(name)), value[name], "object", told)


def _within(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case list() | tuple():
            return "array"
    return type(value).__name__


def _wrongs(rule: Rule, value: Any, matches: Matches) -> Iterator[str]:
    kind = _kind(value)
    if isinstance(rule, Required):
        if value is None or value == "":
            yield "a value is required"
        return
    if isinstance(rule, OfType):
        whole = kind == "number" and (isinstance(value, int) or float(value).is_integer())
        if kind != rule.expected and not (rule.expected == "integer" and whole):
            yield f"it is of type {kind}, not {rule.expected}"
        return
    if value is None:
        return
    match rule:
        case Length(min=least, max=most):
            if kind not in ("string", "array", "object"):
                yield f"a {kind} has no length"
            elif least is not None and len(value) < least:
                yield f"its length is {len(value)}, less than {least}"
            elif most is not None and len(value) > most:
                yield f"its length is {len(value)}, more than {most}"
        case Range(min=smallest, max=largest):
            if kind != "number":
                yield f"it is of type {kind}, not a number"
            elif smallest is not None and not value >= smallest:
                yield f"it is less than {smallest:g}"
            elif largest is not None and not value <= largest:
                yield f"it is more than {largest:g}"
        case Pattern(regex=regex):
            if kind != "string":
                yield f"it is of type {kind}, not a text"
            elif not matches[regex, value]:
                yield f"it does not match {regex:.100}"
        case Enum(values=values):
            if not any(_same(value, each) for each in values):
                yield "it is none of the values allowed"
        case Array(min_items=least, max_items=most):
            if kind != "array":
                yield f"it is of type {kind}, not an array"
            elif least is not None and len(value) < least:
                yield f"it has {len(value)} items, fewer than {least}"
            elif most is not None and len(value) > most:
                yield f"it has {len(value)} items, more than {most}"
            elif rule.unique and len({_frozen(item) for item in value}) != len(value):
                yield "an item comes twice"
        case Object():
            if kind != "object":
                yield f"it is of type {kind}, not an object"
        case _:
            if kind != "string" or not _is_worded(rule, value):
                name = rule.name if isinstance(rule, Custom) else rule.type
                yield f"it is no {name.replace('_', ' ')}"


def _is_worded(rule: Email | Url | Date | Custom, text: str) -> bool:
    match rule:
        case Email():
            return len(text) <= 254 and len(text.partition("@")[0]) <= 64 and _EMAIL.fullmatch(text) is not None
        case Url():
            return _is_url(text, rule.schemes)
        case Date():
            return _is_date(text, rule.format)
    if rule.name == "uuid":
        return _UUID.fullmatch(text) is not None and bool(uuid.UUID(text))
    if rule.name == "phone":
        return _PHONE.fullmatch(text) is not None and 7 <= sum(map(str.isdigit, text)) <= 15
    return _is_card(text)


def _is_url(text: str, schemes: Sequence[str]) -> bool:
    if len(text) > 8192 or any(letter.isspace() or not letter.isprintable() for letter in text):
        return False
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    bracketed = f"[{host}]" if host and ":" in host else host or ""
    return parts.scheme.lower() in schemes and _HOST.fullmatch(bracketed) is not None and ".." not in bracketed


def _is_date(text: str, form: str) -> bool:
    if len(text) > 100:
        return False
    try:
        if form:
            datetime.strptime(text, form)
        elif len(text) <= 10:
            date.fromisoformat(text)
        else:
            datetime.fromisoformat(text)
    except (ValueError, re.error, IndexError):
        return False
    return True


def _is_card(text: str) -> bool:
    """Whether the digits have the length of a card's and Luhn's sum."""
    digits = text.replace(" ", "").replace("-", "")
    if not (digits.isascii() and digits.isdecimal() and 12 <= len(digits) <= 19):
        return False
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(each // 10 + each % 10 for each in doubled) % 10 == 0


def _same(one: Any, other: Any) -> bool:
    return bool(_frozen(one) == _frozen(other))


def _frozen(value: Any) -> Any:
    """A value that can be compared and hashed: True is not 1, and 1 is 1.0."""
    match value:
        case bool() | None:
            return (type(value), value)
        case Mapping():
            return (Mapping, frozenset((key, _frozen(item)) for key, item in value.items()))
        case list() | tuple():
            return (list, tuple(map(_frozen, value)))
    return value
