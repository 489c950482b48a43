"""One function an item: the steps of a migration and the check of what comes out, as straight code.

An item costs as many dict operations as it has steps; calling a function for each would cost three times that. So the
source of one function is written, with the names of fields as literals and all else as its globals, and compiled.

Invariant: nothing of a schema enters the source but field names, as Python literals, and the function changes nothing
that it is given: tables are copied before they are written to.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.migration import Convert, Copy, Custom, Default, Merge, Remove, Rename, Split, Step

from .conversion import CONVERSIONS, text_of
from .paths import MISSING, find, parse, put, take

__all__ = ["ItemError", "Transform", "compile_steps"]

Transform = Callable[[Any], Any]
_ATOMS: Final = (str, int, float, bool, bytes, type(None))


class ItemError(Exception):
    """An item cannot be brought over; its text is a half sentence that names the field."""


def compile_steps(where: str, steps: Iterable[Step], check: Transform | None = None) -> Transform:
    """Return the function that applies the steps to an item, and then checks it.

    Args:
        where: For messages.
        steps: In order.
        check: Returns nothing, or raises `ItemError`; see `check.checker`.

    Raises:
        InvalidInputError: A step is wrong.
    """
    code = _Code(where)
    for step in steps:
        code.add(step)
    return code.compiled(check)


class _Code:
    """The source as it is written, and what it refers to."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lines: list[str] = []
        self._names: dict[str, Any] = {"MISSING": MISSING, "as_table": _as_table}
        self._is_table = False
        """Whether the item is a table at this place, and a copy."""

    def compiled(self, check: Transform | None) -> Transform:
        if check is not None:
            self._lines.append(f"{self._name(check)}(item)")
        body = "\n    ".join([*self._lines, "return item"])
        source = f"def transform(item):\n    {body}\n"
        # What is run is written above, of literals and numbered names: see the invariant.
        exec(compile(source, f"<{self._where}>", "exec"), self._names)  # noqa: S102
        made: Transform = self._names["transform"]
        return made

    def add(self, step: Step) -> None:
        if isinstance(step, Custom):
            self._lines.append(f"item = {self._name(_guarded(step))}(item)")
            self._is_table = False
            return
        if not self._is_table:
            self._lines.append("item = {**item} if item.__class__ is dict else as_table(item)")
            self._is_table = True
        paths = [parse(self._where, path) for path in _fields(step)]
        if all(len(path) == 1 for path in paths) and isinstance(step, Copy | Rename | Remove | Default | Convert):
            self._add_flat(step)
        else:
            self._lines.append(f"{self._name(_closure(self._where, step))}(item)")

    def _add_flat(self, step: Copy | Rename | Remove | Default | Convert) -> None:
        match step:
            case Copy(source, target):
                self._lines.append(f"if {source!r} in item: item[{target!r}] = item[{source!r}]")
            case Rename(source, target):
                if source != target:
                    self._lines.append(f"if {source!r} in item: item[{target!r}] = item.pop({source!r})")
            case Remove(field):
                self._lines.append(f"if {field!r} in item: del item[{field!r}]")
            case Default(field, value):
                made = self._name(value) if isinstance(value, _ATOMS) else f"{self._name(_copier(value))}()"
                self._lines.append(f"if {field!r} not in item: item[{field!r}] = {made}")
            case Convert(field, type):
                convert = self._name(_converter(field, type))
                self._lines.append(f"if {field!r} in item: item[{field!r}] = {convert}(item[{field!r}])")

    def _name(self, value: Any) -> str:
        name = f"_{len(self._names)}"
        self._names[name] = value
        return name


def _as_table(item: Any) -> dict[str, Any]:
    """Return what is a table, though no dict; what is none is refused."""
    if isinstance(item, Mapping):
        return dict(item)
    raise ItemError("it is no table, and only the step custom takes what is none")


def _fields(step: Step) -> Sequence[str]:
    match step:
        case Copy(source, target) | Rename(source, target):
            return source, target
        case Convert(field) | Default(field) | Remove(field):
            return (field,)
        case Split(field, into):
            return field, *into
        case Merge(fields, into):
            return *fields, into
    return ()


def _closure(where: str, step: Step) -> Callable[[dict[str, Any]], None]:
    """Return a function that does what a step says, whatever its paths."""
    paths = [parse(where, path) for path in _fields(step)]
    first, last = paths[0], paths[-1]
    match step:
        case Copy():
            return lambda item: _set(item, last, find(item, first))
        case Rename():
            return (lambda item: None) if first == last else lambda item: _set(item, last, take(item, first))
        case Remove():
            return lambda item: _taken(item, first)
        case Default(_, value):
            make = _copier(value)
            return lambda item: _set(item, first, make() if find(item, first) is MISSING else MISSING)
        case Convert(field, type):
            convert = _converter(field, type)

            def converting(item: dict[str, Any]) -> None:
                value = find(item, first)
                if value is not MISSING:
                    _set(item, first, convert(value))

            return converting
        case Split(field, _, separator):
            return _splitter(where, field, paths[1:], separator)
        case Merge(_, _, separator):
            return _merger(where, paths[:-1], last, separator)
    raise AssertionError(step)


def _set(item: dict[str, Any], path: Sequence[str], value: Any) -> None:
    if value is MISSING:
        return
    try:
        put(item, path, value)
    except ValueError as error:
        raise ItemError(line_of_error(error)) from None


def _taken(item: dict[str, Any], path: Sequence[str]) -> None:
    take(item, path)


def _splitter(
    where: str, field: str, into: Sequence[Sequence[str]], separator: str
) -> Callable[[dict[str, Any]], None]:
    if not into or not separator:
        lacking = "fields to split into" if not into else "a separator"
        raise InvalidInputError(f"{where}: the split of {field} has no {lacking}; give it", field="steps")
    source = parse(where, field)

    def split(item: dict[str, Any]) -> None:
        value = find(item, source)
        if value is MISSING or value is None:
            return
        if not isinstance(value, str):
            raise ItemError(f"{field}: it is no text, so it cannot be split")
        parts = value.split(separator, len(into) - 1)
        take(item, source)
        for path, part in zip(into, parts + [""] * (len(into) - len(parts)), strict=True):
            _set(item, path, part)

    return split


def _merger(
    where: str, sources: Sequence[Sequence[str]], target: Sequence[str], separator: str
) -> Callable[[dict[str, Any]], None]:
    if not sources:
        raise InvalidInputError(f"{where}: a merge into {'.'.join(target)} has no fields; give them", field="steps")

    def merge(item: dict[str, Any]) -> None:
        values = [(path, value) for path in sources if (value := find(item, path)) is not MISSING]
        if not values:
            return
        for path, value in values:
            if isinstance(value, dict | list | bytes):
                raise ItemError(f"{'.'.join(path)}: it is no text or number, so it cannot be merged")
        for path, _ in values:
            take(item, path)
        _set(item, target, separator.join(text_of(value) for _, value in values if value is not None))

    return merge


def _converter(field: str, type: str) -> Transform:
    convert = CONVERSIONS[type]
    as_it_is = {"int": int, "float": float, "text": str, "bool": bool}.get(type)

    def converted(value: Any) -> Any:
        if value.__class__ is as_it_is or value is None:
            return value
        try:
            return convert(value)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            told = line_of_error(error)
            reason = told if told.startswith("it ") else "it is none"
            raise ItemError(f"{field}: it cannot be made {type}: {reason}") from None

    return converted


def _copier(value: Any) -> Callable[[], Any]:
    return (lambda: value) if isinstance(value, _ATOMS) else (lambda: copy.deepcopy(value))


def _guarded(step: Custom) -> Transform:
    """Return a function of somebody else's, told by its name when it fails; it is given a copy of its own."""
    function, name = step.function, step.name

    def call(item: Any) -> Any:
        try:
            return function(copy.deepcopy(item))
        except ItemError:
            raise
        except Exception as error:
            kind = type(error).__name__
            raise ItemError(f"custom {name}: {kind} in the function of that name") from error

    return call
