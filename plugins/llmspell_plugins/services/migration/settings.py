"""What ``plugins.migrations`` takes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, field_validator

from llmspell_hookspecs import InvalidInputError, Policy
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.migration import Schema

__all__ = ["MigrationSettings", "function_of", "schema_of"]


class MigrationSettings(BaseModel):
    """What ``migration`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schemas: Annotated[dict[str, dict[str, Any]], Policy.FREE] = Field(
        default={}, description="By name: scope, keys, versions with fields, and transitions with steps."
    )
    functions: dict[str, str] = Field(
        default={}, description="What the step custom may call, by name: module:function."
    )
    batch: Annotated[int, Policy.FREE] = Field(
        default=100, ge=1, le=10_000, description="How many items are written at once."
    )

    @field_validator("schemas")
    @classmethod
    def _fit(cls, schemas: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, table in schemas.items():
            try:
                schema_of(name, table)
            except InvalidInputError as error:
                raise ValueError(line_of_error(error)) from None
        return schemas

    @field_validator("functions")
    @classmethod
    def _named(cls, functions: dict[str, str]) -> dict[str, str]:
        for name, place in functions.items():
            module, colon, function = place.partition(":")
            if not (colon and module and function):
                raise ValueError(f"{name} is {place!r}; write module:function")
        return functions


def schema_of(name: str, table: dict[str, Any]) -> Schema:
    """Return the schema that a table of settings declares.

    Raises:
        InvalidInputError: It declares none.
    """
    try:
        return msgspec.convert({**table, "name": name}, Schema)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"schema {name[:40]}: {line_of_error(error)}; correct it", field="schemas") from None


def function_of(name: str, place: str) -> Callable[[Any], Any]:
    """Return the function that stands at ``module:function``.

    Raises:
        InvalidInputError: There is none.
    """
    module, _, attribute = place.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # a module of somebody else's fails in whatever way
        kind = type(error).__name__
        message = f"plugins.migrations.functions.{name}: {module[:80]} cannot be imported ({kind}); correct it"
        raise InvalidInputError(message, field="functions") from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        message = f"plugins.migrations.functions.{name}: there is no function {place[:80]}; correct it"
        raise InvalidInputError(message, field="functions")
    function: Callable[[Any], Any] = found
    return function
