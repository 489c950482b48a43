"""Names and schemas of tools as services take them, and back.

Services refuse a whole request for one tool whose name has a dot, a space or a letter beyond ASCII, begins with a digit
or is longer than 64 characters, and for a schema that is no object at its root (OpenAI, Azure, Anthropic, Gemini).

Invariant: within a request no two tools share a name, a name stands for the same tool in each request, and what comes
back has the name that the host knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2s
from typing import Any, Final

__all__ = ["ToolNames", "object_schema"]

_TAKEN_AS_IT_IS: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_LONGEST: Final = 64
_MOST: Final = 1000
"""How many choices of a schema are looked at."""
_CHOICES: Final = ("anyOf", "oneOf", "allOf")


class ToolNames:
    """The names of one request.

    Args:
        names: Of the tools that it offers.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._own: dict[str, str] = {}
        for name in names:
            self._own[self.sent(name)] = name

    def sent(self, name: str) -> str:
        """Return what a service is told a tool is called; the same each time."""
        if _TAKEN_AS_IT_IS.fullmatch(name):
            return name
        mark = blake2s(name.encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name)
        plain = plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}"
        return f"{plain[: _LONGEST - len(mark) - 1]}_{mark}"

    def known(self, name: str) -> str:
        """Return what the host calls the tool that a service calls so."""
        return self._own.get(name, name)


def object_schema(schema: Any) -> dict[str, Any]:
    """Return a schema whose root says that it is an object, as services demand of a tool's parameters."""
    return _object(schema, frozenset(), [_MOST])


def _object(schema: Any, within: frozenset[str], room: list[int]) -> dict[str, Any]:
    """Return it as an object.

    Args:
        schema: The schema.
        within: The definitions that it is a choice of; one that is a choice of itself adds nothing.
        room: How many choices may still be looked at; the same list throughout.
    """
    plain: dict[str, Any] = dict(schema) if isinstance(schema, Mapping) else {}
    plain, within = _resolved(plain, within)
    for word in _CHOICES:
        if word in plain:
            plain = _united(plain, word, within, room)
    for word in ("enum", "not", "const"):
        plain.pop(word, None)
    plain["type"] = "object"
    if not isinstance(plain.get("properties"), Mapping):
        plain["properties"] = {}
    return plain


def _resolved(schema: dict[str, Any], within: frozenset[str]) -> tuple[dict[str, Any], frozenset[str]]:
    """A root that only refers to one of its definitions becomes that definition; returned with those on the way."""
    while isinstance(reference := schema.get("$ref"), str):
        found: Any = schema
        for step in reference.removeprefix("#/").split("/"):
            found = found.get(step) if isinstance(found, Mapping) else None
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        again = reference in within or found is schema
        schema = {**rest, **found} if isinstance(found, Mapping) and not again else rest
        within |= {reference}
    schema.pop("$ref", None)
    return schema, within


def _united(schema: dict[str, Any], word: str, within: frozenset[str], room: list[int]) -> dict[str, Any]:
    """One object with what each choice of the root allows; needed is what all of them need (of ``allOf``, any)."""
    choices = schema.pop(word)
    definitions = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    objects: list[dict[str, Any]] = []
    for choice in choices if isinstance(choices, list | tuple) else ():
        if isinstance(choice, Mapping) and choice.get("type", "object") in ("object", ["object", "null"]):
            room[0] -= 1
            if room[0] < 0:
                break
            objects.append(_object({**definitions, **choice}, within, room))
    properties: dict[str, Any] = {}
    for each in objects:
        for name, value in each["properties"].items():
            old = properties.get(name, value)
            properties[name] = old if old == value else {"anyOf": [old, value]}
    needs = [set(each.get("required") or ()) for each in objects]
    needed = (set.union if word == "allOf" else set.intersection)(*needs) if needs else set()
    own = schema.get("required") or ()
    schema["properties"] = {**properties, **(schema.get("properties") or {})}
    schema["required"] = [name for name in schema["properties"] if name in needed or name in own]
    return schema
