"""Values by a JSON schema, for hypothesis: most of them fit it, some are of another type, and some are hostile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hypothesis import strategies as st

__all__ = ["HOSTILE", "values_of"]

_DEEPEST: Final = 5
_WIDEST: Final = 10**9

HOSTILE: Final[tuple[Any, ...]] = (
    "",
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\x",
    ".hidden",
    "a\x00b",
    "\ud800",
    "\u202e\x1b[2J",
    "http://127.0.0.1:1/",
    "http://169.254.169.254/latest/meta-data",
    "file:///etc/passwd",
    "{{7*7}}{% for x in y %}",
    "'; drop table x; --",
    "$(id)",
    "(" * 500,
    "x" * 20_000,
    -1,
    2**70,
    1e308,
    float("nan"),
    True,
    None,
    [],
    {},
    [[[[[[]]]]]],
    {"a": {"b": [None]}},
)
"""What programs stumble over."""

_TEXTS: Final = st.one_of(
    st.text(max_size=40), st.sampled_from(["a", "1", "x.txt", "a,b\n1,2", '{"a": 1}', "<a>b</a>"])
)


def values_of(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for what a JSON schema, as pydantic writes them, speaks of.

    Args:
        schema: With its ``$defs``.
    """
    return _values(schema, schema.get("$defs", {}), 0)


def _values(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> st.SearchStrategy[Any]:
    """Nine of ten as the schema says, or nearly."""
    sound = _sound(schema, definitions, depth)
    return st.integers(0, 9).flatmap(lambda number: sound if number else st.sampled_from(HOSTILE))


def _sound(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if depth > _DEEPEST:
        return st.none()
    if "$ref" in schema:
        return _sound(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions, depth + 1)
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return st.one_of([_sound(each, definitions, depth + 1) for each in schema[word]])
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    match schema.get("type"):
        case "object":
            return _mapping(schema, definitions, depth)
        case "array":
            items = schema.get("items")
            one = _values(items if isinstance(items, Mapping) else {}, definitions, depth + 1)
            return st.lists(
                one, min_size=min(schema.get("minItems", 0), 20), max_size=max(schema.get("minItems", 0), 4)
            )
        case "string":
            return st.from_regex(schema["pattern"]) if "pattern" in schema else _TEXTS
        case "integer":
            least, most = _bounds(schema)
            return st.integers(int(least), int(most))
        case "number":
            return st.floats(*_bounds(schema))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    return st.one_of(_TEXTS, st.integers(), st.none(), st.dictionaries(st.text(max_size=5), st.integers(), max_size=3))


def _mapping(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> st.SearchStrategy[Any]:
    required = set(schema.get("required", ()))
    fields = {name: _values(each, definitions, depth + 1) for name, each in schema.get("properties", {}).items()}
    if not fields:
        further = schema.get("additionalProperties")
        one = _values(further if isinstance(further, Mapping) else {}, definitions, depth + 1)
        return st.dictionaries(st.text(max_size=8), one, max_size=4)
    return st.fixed_dictionaries(
        {name: each for name, each in fields.items() if name in required},
        optional={name: each for name, each in fields.items() if name not in required},
    )


def _bounds(schema: Mapping[str, Any]) -> tuple[float, float]:
    least = schema.get("minimum", schema.get("exclusiveMinimum", -_WIDEST))
    most = schema.get("maximum", schema.get("exclusiveMaximum", max(_WIDEST, least)))
    return min(least, most), most
