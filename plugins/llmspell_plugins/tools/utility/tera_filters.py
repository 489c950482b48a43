"""Tera's filters and tests, and how Tera writes a value; `tera` reads the templates that use them.

Invariant: a filter of texts takes a text and one of arrays an array, and anything else is refused, as Tera does; what
comes out is plain, so that only ``safe`` as the last filter keeps a value from being escaped. Source: the documentation
of Tera 1. It has no filter and no function that asks the clock, chance or the environment.

It is longer than most because the filters are one table.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Undefined
from markupsafe import Markup

from llmspell_hookspecs.spelling import told

__all__ = ["FILTERS", "TESTS", "NotANumber", "escaped", "joinable", "kind_of", "shown", "there"]

_LETTERS: Final = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D"}
    | {"ł": "l", "Ł": "L", "þ": "th", "Þ": "Th", "ð": "d", "Ð": "D", "\u0131": "i"}
)
"""Latin letters that no normal form takes apart."""
_HTML: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "/": "&#x2F;"}
_XML: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
_DIRECTIVES: Final = frozenset("YCymbBhdeaAwujUWGgVDxFHkIlPpMSfRTXrZzs%nt")
_JOINER: Final = "\u200d"
_NAMES: Final = {"replace": ("from", "to"), "concat": ("with",), "get": ("key", "default"), "default": ("value",)}
"""The arguments of filters whose functions do not name them so."""


class NotANumber:
    """What a division by zero gives: false where that is asked."""

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "NaN"


def shown(value: Any) -> str:
    """Return how a value is written: ``true``, nothing for null, ``[1, 2]``, ``[object]``, and 2 for 2.0."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_shown(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    return "[object]" if isinstance(value, Mapping) else str(value)


def _float_shown(value: float) -> str:
    """All its digits, without an exponent, and no point where nothing stands behind it."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}inf"
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def escaped(text: str) -> str:
    """Return the text for HTML, with the six characters that OWASP names."""
    return "".join(_HTML.get(letter, letter) for letter in text)


def joinable(value: Any) -> str:
    """Return what ``~`` joins of a value: of a text or a number, and of nothing else."""
    if isinstance(value, Undefined):
        return str(value)  # raises that it is not there
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"~ joins texts and numbers, and this is {kind_of(value)}")
    return str(shown(value))


def kind_of(value: Any) -> str:
    """Return what a value is, as messages call it."""
    kinds = {bool: "a boolean", type(None): "null", list: "an array", tuple: "an array", str: "a text"}
    return kinds.get(type(value), "an object" if isinstance(value, Mapping) else "a number")


def _of(kinds: type | tuple[type, ...], word: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, for values of these kinds only; of arrays a copy, of texts a plain one."""

    def filtered(value: Any, /, *given: Any, **named: Any) -> Any:
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"{name} takes {word}, and this is {kind_of(there(value))}")
        plain = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, str) else value
        return _called(name, function, plain, given, named)

    return filtered


def _of_any(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda value, /, *given, **named: _called(name, function, value, given, named)


def _called(name: str, function: Callable[..., Any], value: Any, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """What a filter or test gives; where Python finds that an argument does not fit, an error that says which."""
    try:
        return function(value, *given, **named)
    except (TypeError, AttributeError, LookupError, ArithmeticError) as error:
        takes = _NAMES.get(name) or list(inspect.signature(function).parameters)[1:]
        said = ", ".join([*map(told, given), *(f"{each}={told(item)}" for each, item in named.items())])
        remedy = f"it takes {' and '.join(takes)}" if takes else "it takes no argument"
        raise ValueError(f"{name}({said}) does not fit: {remedy}") from error


def there(value: Any) -> Any:
    """Return the value, if there is one; raise if not."""
    return str(value) if isinstance(value, Undefined) else value


# Texts


def _written_ends(pattern: str) -> str:
    """The pattern with the line ends and tabs that a text of Tera, which knows no escapes, only spells."""
    return pattern.replace("\\n", "\n").replace("\\t", "\t")


def _replace(text: str, /, *both: str, **named: str) -> str:
    old, new = both or (named["from"], named["to"])
    return text.replace(old, new)


def _clusters(text: str) -> list[str]:
    """What a reader sees as letters: marks, joiners and what they join stay with their letter."""
    found: list[str] = []
    for letter in text:
        follows = unicodedata.category(letter) in ("Mn", "Me", "Mc", "Sk") and not letter.isascii()
        if found and (follows or letter == _JOINER or found[-1].endswith(_JOINER)):
            found[-1] += letter
        else:
            found.append(letter)
    return found


def _truncate(text: str, length: int = 255, end: str = "…") -> str:
    letters = _clusters(text)
    return text if len(letters) <= length else "".join(letters[:length]) + end


def _slugify(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.translate(_LETTERS)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def _indent(text: str, prefix: str = "    ", first: bool = False, blank: bool = False) -> str:
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    put = (prefix + line if (first if at == 0 else blank or line.strip()) else line for at, line in enumerate(lines))
    return "\n".join(put)


def _int(value: Any, default: int = 0, base: int = 10) -> int:
    if not isinstance(value, str):
        return int(_of((int, float), "a number", "int", lambda number: number)(value))
    text = value.strip()
    bare = text.removeprefix({2: "0b", 8: "0o", 16: "0x"}.get(base, "")) if base != 10 else text
    if re.fullmatch(r"[+-]?[0-9A-Za-z]+", bare):
        try:
            return int(bare, base)
        except ValueError:
            return default
    return int(float(bare)) if re.fullmatch(r"[+-]?[0-9]*\.[0-9]*", bare) and len(bare.strip("+-.")) > 0 else default


def _float(value: Any, default: float = 0.0) -> float:
    if not isinstance(value, str):
        return float(_of((int, float), "a number", "float", lambda number: number)(value))
    try:
        return float(value) if "_" not in value else default
    except ValueError:
        return default


def _date(value: Any, format: str = "%Y-%m-%d", timezone: str = "") -> str:
    """A moment, from seconds since 1970 or ISO 8601, as strftime writes it."""
    if set(re.findall(r"%[-_0]?(.?)", format)) - _DIRECTIVES:
        raise ValueError(f"date: the format {format[:40]!r} has a directive that is not known")
    try:
        zone = ZoneInfo(timezone) if timezone else UTC
        moment = _moment(value)
        moment = (
            moment if moment.tzinfo and not timezone else moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(zone)
        )
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError(f"date: there is no time zone {timezone[:40]!r}") from None
    return moment.strftime(format)


def _moment(value: Any) -> datetime:
    if isinstance(value, int) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    if not isinstance(value, str):
        raise ValueError(f"date takes a text or whole seconds, and this is {kind_of(there(value))}")
    try:
        if "T" in value:
            return datetime.fromisoformat(value)
        found = date.fromisoformat(value)
        return datetime(found.year, found.month, found.day, tzinfo=UTC)
    except ValueError:
        raise ValueError(f"date: {value[:40]!r} is no date of ISO 8601") from None


# Numbers


def _round(value: float, method: str = "common", precision: int = 0) -> float | int:
    by = 10.0**precision if precision else 1
    match method:
        case "common":
            rounded = _away(value * by)
        case "ceil":
            rounded = math.ceil(value * by)
        case "floor":
            rounded = math.floor(value * by)
        case _:
            raise ValueError(f"round: there is no method {method[:40]!r}; take common, ceil or floor")
    return rounded / by if precision else rounded


def _away(value: float) -> int:
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def _pluralize(number: float, singular: str = "", plural: str = "s") -> str:
    return singular if abs(number) == 1 else plural


def _size(number: float) -> str:
    """A count of bytes as people read it, by 1024 to the next unit."""
    size = float(number)
    if size < 0:
        raise ValueError("filesizeformat takes no negative number")
    for unit in ("B", "KB", "MB", "GB", "TB", "PB"):
        if size < 1024 or unit == "PB":
            return f"{size:.2f}".removesuffix(".00") + f" {unit}"
        size /= 1024
    return ""


# Arrays


_NOTHING: Final = object()


def _at(item: Any, path: str | None) -> Any:
    """What stands at a path within an item; `_NOTHING` if nothing does."""
    for part in path.split(".") if path else ():
        if isinstance(item, Mapping) and part in item:
            item = item[part]
        elif isinstance(item, list | tuple) and part.isdecimal() and int(part) < len(item):
            item = item[int(part)]
        else:
            return _NOTHING
    return item


def _present(items: list[Any], attribute: str | None) -> Iterator[tuple[Any, Any]]:
    """The items that have the attribute, and it is not null, each with it."""
    for item in items:
        found = _at(item, attribute)
        if found is not _NOTHING and found is not None:
            yield item, found


def _sort(items: list[Any], attribute: str | None = None) -> list[Any]:
    keys = [_at(item, attribute) for item in items]
    if any(key is _NOTHING for key in keys):
        raise ValueError(f"sort: an item has no {str(attribute)[:40]!r}")
    kinds = {kind_of(key) for key in keys}
    if len(kinds) > 1 or kinds & {"null", "an object"}:
        raise ValueError(
            f"sort: it orders texts, numbers, booleans or arrays, and these are {' and '.join(sorted(kinds))}"
        )
    by_length = "an array" in kinds
    order = sorted(range(len(items)), key=lambda at: len(keys[at]) if by_length else keys[at])
    return [items[at] for at in order]


def _unique(items: list[Any], attribute: str | None = None, case_sensitive: bool = False) -> list[Any]:
    seen: dict[str, Any] = {}
    for item, key in _present(items, attribute):
        folded = key.lower() if isinstance(key, str) and not case_sensitive else key
        seen.setdefault(json.dumps(folded, sort_keys=True), item)
    return list(seen.values())


def _group_by(items: list[Any], attribute: str) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for item, key in _present(items, attribute):
        groups.setdefault(key if isinstance(key, str) else json.dumps(key), []).append(item)
    return groups


def _chosen(items: list[Any], attribute: str, value: Any = None) -> list[Any]:
    found = _present(items, attribute)
    return [item for item, each in found if value is None or _same(each, value)]


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal in JSON, where true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _concat(items: list[Any], /, **named: Any) -> list[Any]:
    other = named["with"]
    return [*items, *(other if isinstance(other, list | tuple) else [other])]


# All


def _default(value: Any, value_: Any = "", /, **given: Any) -> Any:
    return given.get("value", value_) if isinstance(value, Undefined) else value


def _json(value: Any, pretty: bool = False) -> str:
    marks = None if pretty else (",", ":")
    return json.dumps(there(value), ensure_ascii=False, indent=2 if pretty else None, separators=marks)


def _get(value: Mapping[str, Any], key: str, **more: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"get takes an object, and this is {kind_of(there(value))}")
    if key in value or "default" in more:
        return value.get(key, more.get("default"))
    raise ValueError(f"get: there is no {told(key)}; give default=..., or a key that is there")


def _length(value: Any) -> int:
    if not isinstance(value, str | list | tuple | Mapping):
        raise ValueError(f"length takes a text, an array or an object, and this is {kind_of(there(value))}")
    return len(value)


def _reverse(value: Any) -> Any:
    if not isinstance(value, str | list | tuple):
        raise ValueError(f"reverse takes a text or an array, and this is {kind_of(there(value))}")
    return value[::-1]


_TEXTS: Final[dict[str, Callable[..., Any]]] = {
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "capitalize": lambda text: text[:1].upper() + text[1:].lower(),
    "title": lambda text: re.sub(r"\b[\w'][\w']*\b", lambda word: word[0][0].upper() + word[0][1:].lower(), text),
    "wordcount": lambda text: len(text.split()),
    "replace": _replace,
    "addslashes": lambda text: re.sub(r"([\\\"'])", r"\\\1", text),
    "slugify": _slugify,
    "trim": lambda text: text.strip(),
    "trim_start": lambda text: text.lstrip(),
    "trim_end": lambda text: text.rstrip(),
    "trim_start_matches": lambda text, pat: re.sub(f"^(?:{re.escape(_written_ends(pat))})+", "", text),
    "trim_end_matches": lambda text, pat: re.sub(rf"(?:{re.escape(_written_ends(pat))})+\Z", "", text),
    "truncate": _truncate,
    "linebreaksbr": lambda text: text.replace("\r\n", "<br>").replace("\n", "<br>"),
    "striptags": lambda text: re.sub(r"<!--.*?-->|<[^>]*>", "", text),
    "spaceless": lambda text: re.sub(r">\s+<", "><", text),
    "indent": _indent,
    "split": lambda text, pat: text.split(_written_ends(pat)) if pat else ["", *text, ""],
    "urlencode": lambda text: quote(text, safe="/"),
    "urlencode_strict": lambda text: re.sub(
        rb"[^A-Za-z0-9]", lambda byte: b"%%%02X" % byte[0][0], text.encode()
    ).decode(),
    "escape": escaped,
    "escape_xml": lambda text: "".join(_XML.get(letter, letter) for letter in text),
}
_LISTS: Final[dict[str, Callable[..., Any]]] = {
    "first": lambda items: items[0] if items else "",
    "last": lambda items: items[-1] if items else "",
    "nth": lambda items, n: items[n] if 0 <= n < len(items) else "",
    "join": lambda items, sep="": sep.join(map(shown, items)),
    "sort": _sort,
    "unique": _unique,
    "slice": lambda items, start=0, end=None: items[start:end],
    "group_by": _group_by,
    "filter": _chosen,
    "map": lambda items, attribute: [found for _, found in _present(items, attribute)],
    "concat": _concat,
}
_NUMBERS: Final[dict[str, Callable[..., Any]]] = {
    "abs": abs,
    "round": _round,
    "pluralize": _pluralize,
    "filesizeformat": _size,
}
_ANY: Final[dict[str, Callable[..., Any]]] = {
    "safe": lambda value: Markup(shown(there(value))),  # noqa: S704  # that is what it is for
    "length": _length,
    "reverse": _reverse,
    "json_encode": _json,
    "as_str": lambda value: shown(there(value)),
    "get": _get,
    "default": _default,
    "int": _int,
    "float": _float,
    "date": _date,
}
FILTERS: Final[dict[str, Callable[..., Any]]] = {
    **{name: _of(str, "a text", name, function) for name, function in _TEXTS.items()},
    **{name: _of((list, tuple), "an array", name, function) for name, function in _LISTS.items()},
    **{name: _of((int, float), "a number", name, function) for name, function in _NUMBERS.items()},
    **{name: _of_any(name, function) for name, function in _ANY.items()},
}


def _asked(name: str, function: Callable[..., bool], *kinds: type) -> Callable[..., bool]:
    """The test, of a value that is there and of these kinds; of any if none is named."""

    def tested(value: Any, /, *given: Any) -> bool:
        asked = there(value)
        if kinds and (not isinstance(asked, kinds) or (isinstance(asked, bool) and bool not in kinds)):
            raise ValueError(f"{name} is not asked of {kind_of(asked)}")
        return bool(_called(name, function, asked, given, {}))

    return tested


TESTS: Final[dict[str, Callable[..., bool]]] = {
    "defined": lambda value: not isinstance(value, Undefined),
    "undefined": lambda value: isinstance(value, Undefined),
    "odd": _asked("odd", lambda number: math.fmod(number, 2) != 0, int, float),
    "even": _asked("even", lambda number: math.fmod(number, 2) == 0, int, float),
    "divisibleby": _asked("divisibleby", lambda number, by: by != 0 and math.fmod(number, by) == 0, int, float),
    "string": _asked("string", lambda value: isinstance(value, str)),
    "number": _asked("number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    "object": _asked("object", lambda value: isinstance(value, Mapping)),
    "iterable": _asked("iterable", lambda value: isinstance(value, list | tuple | Mapping)),
    "starting_with": _asked("starting_with", lambda text, start: text.startswith(start), str),
    "ending_with": _asked("ending_with", lambda text, end: text.endswith(end), str),
    "containing": _asked("containing", lambda value, item: item in value, str, list, tuple, dict),
    "matching": _asked("matching", lambda text, pattern: re.search(pattern, text) is not None, str),
}
