"""Checks of items: whether one is what its version says, compiled like the steps that lead there."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from pydantic import BaseModel, ValidationError

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.migration import SchemaField, SchemaVersion

from .compile import ItemError, Transform
from .paths import MISSING, find, parse

__all__ = ["checker"]

_TYPES: Final[dict[str, tuple[str, str]]] = {
    "text": ("v.__class__ is not str", "a text"),
    "int": ("v.__class__ is not int", "a whole number"),
    "float": ("v.__class__ is not float", "a number with a fraction"),
    "number": ("v.__class__ is not int and v.__class__ is not float", "a number"),
    "bool": ("v.__class__ is not bool", "true or false"),
    "list": ("v.__class__ is not list", "a list"),
    "table": ("v.__class__ is not dict", "a table"),
    "datetime": ("not is_time(v)", "a time in ISO 8601"),
}


def checker(where: str, version: SchemaVersion, *, strict: bool) -> Transform | None:
    """Return what raises `ItemError` for an item that is not of this version; None if it is held to nothing.

    Raises:
        InvalidInputError: The version is declared wrongly.
    """
    if version.model is not None:
        return _by_model(where, version.model, strict=strict)
    if not version.fields:
        return None
    lines: list[str] = ["if item.__class__ is not dict: wrong('', 'a table')"]
    names: dict[str, Any] = {"MISSING": MISSING, "find": find, "wrong": _wrong, "is_time": _is_time, "absent": _absent}
    for path, field in version.fields.items():
        lines += _lines(where, path, field, names, strict=strict)
    if strict:
        names["only"] = _only(frozenset(parse(where, path) for path in version.fields))
        lines.append("only(item)")
    source = "def check(item):\n    " + "\n    ".join(lines) + "\n"
    # As in `compile`: of literals and numbered names.
    exec(compile(source, f"<{where}>", "exec"), names)  # noqa: S102
    made: Transform = names["check"]
    return made


def _lines(where: str, path: str, field: SchemaField, names: dict[str, Any], *, strict: bool) -> list[str]:
    parts = parse(where, path)
    if len(parts) == 1:
        lines = [f"v = item.get({path!r}, MISSING)"]
    else:
        name = f"_{len(names)}"
        names[name] = parts
        lines = [f"v = find(item, {name})"]
    tests = []
    if field.type != "any":
        test, words = _TYPES[field.type]
        tests.append(f"if {test}: wrong({path!r}, {words!r})")
    if strict and (bounds := _bounds(where, path, field)) is not None:
        name = f"_{len(names)}"
        names[name] = bounds
        tests.append(f"{name}(v)")
    if not field.null:
        tests.insert(0, f"if v is None: wrong({path!r}, 'something that is not null')")
    guard = "v is not MISSING" if not field.null else "v is not MISSING and v is not None"
    if field.required:
        lines.append(f"if v is MISSING: absent({path!r})")
    if tests:
        lines.append(f"if {guard}:")
        lines += [f"    {test}" for test in tests]
    return lines


def _bounds(where: str, path: str, field: SchemaField) -> Callable[[Any], None] | None:
    """Return what checks how large a value is, and what it holds."""
    try:
        pattern = re.compile(field.pattern) if field.pattern else None
    except re.error:
        message = f"{where}: the pattern of {path}, {field.pattern[:40]!r}, is no regular expression; correct it"
        raise InvalidInputError(message, field="pattern") from None
    low, high, shortest, longest = field.min, field.max, field.min_length, field.max_length
    if pattern is None and not field.values and (low, high, shortest, longest) == (None, None, None, None):
        return None

    def check(value: Any) -> None:
        if field.values and not any(value == each and type(value) is type(each) for each in field.values):
            raise ItemError(f"{path}: it is none of the {len(field.values)} values that it may be")
        if isinstance(value, int | float) and not isinstance(value, bool):
            if low is not None and not value >= low:
                raise ItemError(f"{path}: it is below {low:g}")
            if high is not None and not value <= high:
                raise ItemError(f"{path}: it is above {high:g}")
        if isinstance(value, str | list):
            if shortest is not None and len(value) < shortest:
                raise ItemError(f"{path}: it is shorter than {shortest}")
            if longest is not None and len(value) > longest:
                raise ItemError(f"{path}: it is longer than {longest}")
        if pattern is not None and isinstance(value, str) and pattern.fullmatch(value) is None:
            raise ItemError(f"{path}: it does not match {field.pattern}")

    return check


def _by_model(where: str, model: Any, *, strict: bool) -> Transform:
    if isinstance(model, type) and issubclass(model, BaseModel):
        validate, refusal = model.model_validate, ValidationError

        def by_pydantic(item: Any) -> None:
            try:
                validate(item, strict=strict or None)
            except refusal as error:
                first = error.errors(include_url=False, include_input=False, include_context=False)[0]
                place = ".".join(map(str, first["loc"])) or "it"
                raise ItemError(f"{place}: it does not fit {model.__name__} ({first['type']})") from None

        return by_pydantic
    if isinstance(model, type) and issubclass(model, msgspec.Struct):

        def by_msgspec(item: Any) -> None:
            try:
                msgspec.convert(item, model)
            except msgspec.ValidationError as error:
                raise ItemError(f"it does not fit {model.__name__}: {line_of_error(error)}") from None

        return by_msgspec
    message = f"{where}: its model is a {type(model).__name__}; give a pydantic model or a msgspec struct"
    raise InvalidInputError(message, field="model")


def _only(known: frozenset[tuple[str, ...]]) -> Transform:
    """Return what refuses fields that no path names, leads to, or stands above."""
    top = {parts[0] for parts in known}
    below = {parts[:length] for parts in known for length in range(1, len(parts))}

    def check(table: Any) -> None:
        if not table.keys() <= top:
            _unknown((), table, top)
        for parts in below:
            if parts in known:
                continue
            inner = find(table, parts)
            if isinstance(inner, dict):
                names = {each[len(parts)] for each in known if each[: len(parts)] == parts and len(each) > len(parts)}
                if not inner.keys() <= names:
                    _unknown(parts, inner, names)

    return check


def _unknown(parts: tuple[str, ...], table: dict[str, Any], names: set[str]) -> None:
    name = min(key for key in table if key not in names)
    raise ItemError(f"{'.'.join((*parts, name))[:80]}: no such field is declared")


def _wrong(path: str, words: str) -> None:
    raise ItemError(f"{path}: it is not {words}" if path else f"it is not {words}")


def _absent(path: str) -> None:
    raise ItemError(f"{path}: it is required and is not there")


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value) is not None
    except ValueError:
        return False
