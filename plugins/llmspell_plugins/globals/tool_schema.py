"""A tool's parameters as scripts see them: one entry each, made from the JSON schema that models are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmspell_hookspecs.values import thaw

__all__ = ["parameters_of", "script_schema"]

_REF: Final = "#/$defs/"


def script_schema(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{name, description, parameters, json_schema}``.

    Args:
        described: What the tool tells of itself, its JSON schema under ``parameters`` or ``schema``.
    """
    schema = thaw(described.get("schema") or described.get("parameters") or {})
    return {
        "name": described.get("name", ""),
        "description": described.get("description", ""),
        "parameters": parameters_of(schema),
        "json_schema": schema,
    }


def parameters_of(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return for each parameter its name, type, description, whether it is required, and its default and choices."""
    definitions = schema.get("$defs", {})
    required = set(schema.get("required", ()))
    found = []
    for name, given in schema.get("properties", {}).items():
        inner = _resolve(given, definitions)
        entry = {
            "name": name,
            "type": inner.get("type", "any"),
            "description": given.get("description", inner.get("description", "")),
            "required": name in required,
        }
        if given.get("default") is not None:
            entry["default"] = given["default"]
        if "enum" in inner:
            entry["enum"] = list(inner["enum"])
        found.append(entry)
    return found


def _resolve(given: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema behind a reference or the first choice that is not null."""
    for option in given.get("anyOf", given.get("allOf", ())):
        if option.get("type") != "null":
            return _resolve(option, definitions)
    reference = str(given.get("$ref", ""))
    if reference.startswith(_REF):
        target: Mapping[str, Any] = definitions.get(reference.removeprefix(_REF), {})
        return target
    return given
