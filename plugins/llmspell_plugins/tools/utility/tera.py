"""Tera's templates as Jinja2 reads them: its filters, tests and functions, and what differs in loops and values.

Invariant: a template reaches keys and items of the values, and nothing else of Python: no attribute, no method, no
other template, no environment, no clock. Sources: the documentation of Tera 1 and of Jinja2 3.1. It does not read
``set_global``, backquoted texts, ``include`` and ``extends``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup, escape

__all__ = ["environment", "shown"]

_LOOP: Final = frozenset({"index", "index0", "first", "last"})
_MOST: Final = 100_000
_SIGNS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "%": math.fmod,
}


def environment(*, escape: bool) -> SandboxedEnvironment:
    """Return what reads templates.

    Args:
        escape: Whether values are escaped for HTML.
    """
    made = _Tera(
        autoescape=escape,
        undefined=_Missing,
        finalize=_kept,
        keep_trailing_newline=True,
        extensions=[_Macros],
    )
    made.globals = {"range": _range, "throw": _throw}
    made.filters = dict(_FILTERS)
    made.tests = dict(_TESTS)
    return made


def shown(value: Any) -> str:
    """Return how a value is written: ``true``, nothing for null, ``[1, 2]``, ``[object]``."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    return "[object]" if isinstance(value, Mapping) else str(value)


def _kept(value: Any) -> Any:
    return value if isinstance(value, str | Undefined | Macro) else shown(value)


class _Missing(StrictUndefined):
    """A value that is not there: false where that is asked, else an error."""

    __slots__ = ()

    def __bool__(self) -> bool:  # type: ignore[override]
        return False


class _Macros(Extension):
    """Reads ``self::name(...)`` as ``name(...)``."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        for token in stream:
            if token.type == "name" and token.value == "self" and stream.current.type == "colon":
                next(stream)
                stream.expect("colon")
                continue
            yield token


class _Tera(SandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            if isinstance(loop.target, nodes.Tuple):  # ``for key, value in map``
                loop.iter = nodes.Filter(loop.iter, "pairs", [], [], None, None, lineno=loop.lineno)
        return tree

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Undefined):
            return obj[argument]
        try:
            if isinstance(obj, Mapping) or (isinstance(obj, list | tuple) and isinstance(argument, int)):
                return obj[argument]
        except LookupError:
            pass
        return self.undefined(obj=obj, name=argument)

    def is_safe_callable(self, obj: Any) -> bool:
        return isinstance(obj, Macro) or obj in (_range, _throw)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator not in _SIGNS:
            raise ValueError(f"there is no {operator}")
        for value in (left, right):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{operator} needs numbers; ~ joins texts")
        if abs(left) > 1 << 63 or abs(right) > 1 << 63:
            raise ValueError(f"{operator}: a number is too large")
        result = _SIGNS[operator](left, right)
        return int(result) if operator == "%" and isinstance(left, int) and isinstance(right, int) else result


def _range(end: int, start: int = 0, step_by: int = 1) -> list[int]:
    made = range(start, end, step_by)
    if len(made) > _MOST:
        raise ValueError(f"range: more than {_MOST} numbers")
    return list(made)


def _throw(message: str) -> str:
    raise ValueError(str(message))


def _pairs(value: Any) -> Any:
    return list(value.items()) if isinstance(value, Mapping) else value


def _default(value: Any, value_: Any = "", /, **given: Any) -> Any:
    return given.get("value", value_) if isinstance(value, Undefined) else value


def _replace(text: str, /, *both: str, **named: str) -> str:
    old, new = both or (named["from"], named["to"])
    return str(text).replace(old, new)


def _truncate(text: str, length: int = 255, end: str = "…") -> str:
    return text if len(text) <= length else text[:length] + end


def _slugify(text: str) -> str:
    import unicodedata

    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def _round(value: float, method: str = "common", precision: int = 0) -> float | int:
    by = 10**precision
    scaled = value * by
    whole = {"ceil": math.ceil, "floor": math.floor}.get(method)
    rounded = whole(scaled) if whole else math.floor(abs(scaled) + 0.5) * (1 if scaled >= 0 else -1)
    return rounded / by if precision else rounded


def _at(item: Any, path: str | None) -> Any:
    for part in path.split(".") if path else ():
        item = item[int(part) if isinstance(item, list) else part]
    return item


def _unique(items: list[Any], attribute: str | None = None, case_sensitive: bool = False) -> list[Any]:
    seen: dict[str, Any] = {}
    for item in items:
        key = _at(item, attribute)
        folded = key.lower() if isinstance(key, str) and not case_sensitive else key
        seen.setdefault(json.dumps(folded, sort_keys=True), item)
    return list(seen.values())


def _group_by(items: list[Any], attribute: str) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(shown(_at(item, attribute)), []).append(item)
    return groups


def _chosen(items: list[Any], attribute: str, value: Any = None) -> list[Any]:
    return [item for item in items if (_at(item, attribute) == value if value is not None else _at(item, attribute))]


def _concat(items: list[Any], /, **named: Any) -> list[Any]:
    other = named["with"]
    return [*items, *(other if isinstance(other, list) else [other])]


def _pluralize(number: float, singular: str = "", plural: str = "s") -> str:
    return singular if abs(number) == 1 else plural


def _json(value: Any, pretty: bool = False) -> Markup:
    marks = None if pretty else (",", ":")
    text = json.dumps(value, ensure_ascii=False, indent=2 if pretty else None, separators=marks)
    return Markup(text)  # noqa: S704  # as Tera: JSON is not escaped, so that scripts can hold it


def _get(value: Mapping[str, Any], key: str, **more: Any) -> Any:
    if key in value or "default" not in more:
        return value[key]
    return more["default"]


def _int(value: Any, default: int = 0, base: int = 10) -> int:
    try:
        return int(value, base) if isinstance(value, str) else int(value)
    except ValueError:
        return default


def _float(value: Any, default: float = 0.0) -> float:
    try:
        return float(value)
    except ValueError:
        return default


def _indent(text: str, prefix: str = "    ", first: bool = False, blank: bool = False) -> str:
    lines = text.split("\n")
    put = (prefix + line if (at or first) and (line or blank) else line for at, line in enumerate(lines))
    return "\n".join(put)


_FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "pairs": _pairs,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "capitalize": lambda text: text.capitalize(),
    "title": lambda text: re.sub(r"\S+", lambda word: word[0][0].upper() + word[0][1:].lower(), text),
    "wordcount": lambda text: len(text.split()),
    "replace": _replace,
    "addslashes": lambda text: re.sub(r"([\\\"'])", r"\\\1", text),
    "slugify": _slugify,
    "trim": lambda text: text.strip(),
    "trim_start": lambda text: text.lstrip(),
    "trim_end": lambda text: text.rstrip(),
    "trim_start_matches": lambda text, pat: re.sub(f"^(?:{re.escape(pat)})+", "", text),
    "trim_end_matches": lambda text, pat: re.sub(f"(?:{re.escape(pat)})+$", "", text),
    "truncate": _truncate,
    "linebreaksbr": lambda text: text.replace("\r\n", "<br>").replace("\n", "<br>"),
    "striptags": lambda text: re.sub(r"<[^>]*>", "", text),
    "spaceless": lambda text: re.sub(r">\s+<", "><", text),
    "indent": _indent,
    "split": lambda text, pat: text.split(pat),
    "urlencode": lambda text: quote(text, safe="/"),
    "urlencode_strict": lambda text: quote(text, safe=""),
    "escape": escape,
    "safe": Markup,
    "first": lambda items: items[0] if items else "",
    "last": lambda items: items[-1] if items else "",
    "nth": lambda items, n: items[n] if n < len(items) else "",
    "join": lambda items, sep="": sep.join(map(shown, items)),
    "length": len,
    "reverse": lambda items: items[::-1],
    "sort": lambda items, attribute=None: sorted(items, key=lambda item: _at(item, attribute)),
    "unique": _unique,
    "slice": lambda items, start=0, end=None: items[start:end],
    "group_by": _group_by,
    "filter": _chosen,
    "map": lambda items, attribute: [_at(item, attribute) for item in items],
    "concat": _concat,
    "abs": abs,
    "round": _round,
    "pluralize": _pluralize,
    "json_encode": _json,
    "as_str": shown,
    "get": _get,
    "default": _default,
    "int": _int,
    "float": _float,
}
_TESTS: Final[dict[str, Callable[..., bool]]] = {
    "defined": lambda value: not isinstance(value, Undefined),
    "undefined": lambda value: isinstance(value, Undefined),
    "odd": lambda number: number % 2 == 1,
    "even": lambda number: number % 2 == 0,
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, Mapping),
    "iterable": lambda value: isinstance(value, list | tuple | Mapping),
    "divisibleby": lambda number, by: number % by == 0,
    "starting_with": lambda text, start: text.startswith(start),
    "ending_with": lambda text, end: text.endswith(end),
    "containing": lambda value, item: item in value,
    "matching": lambda text, pattern: re.search(pattern, text) is not None,
}
