"""Tables of options that a script gives, read by a model.

Invariant: what is wrong is told in one line: where, which option, with which value, and what to give instead; a name
that there is not, with the nearest that there is.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.parameters import models_at, written_names
from llmspell_hookspecs.spelling import told

__all__ = ["moment", "unknown_option", "validated"]

Model = TypeVar("Model", bound=BaseModel)
_ADVICE: Final = {
    "int": "give a whole number",
    "float": "give a number",
    "finite": "give a number",
    "bool": "give true or false",
    "string": "give a text",
    "tuple": "give a list",
    "model": "give a table",
    "dict": "give a table",
    "literal": "use {expected}",
    "enum": "use {expected}",
    "greater_than_equal": "give {ge} or more",
    "greater_than": "give more than {gt}",
    "less_than_equal": "give {le} or less",
    "string_too_long": "give {max_length} characters or fewer",
    "too_long": "give {max_length} or fewer",
}
"""By the kind of a mistake, or the word that it begins with, what to do."""


def validated(where: str, model: type[Model], given: Any) -> Model:
    """Return a script's options as a model; an empty list, which an empty table is in some languages, says nothing.

    Args:
        where: How messages begin.
        model: It.
        given: What the script gave.

    Raises:
        InvalidInputError: It is no table, or an option is unknown or wrong.
    """
    if isinstance(given, list | tuple) and not given:
        given = {}
    if not isinstance(given, Mapping):
        raise InvalidInputError(f"{where}: the options are a {type(given).__name__}; give a table", field="options")
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        field = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = {name for each in models_at(model, first["loc"]) for name in written_names(each)}
            raise unknown_option(where, field, sorted(known)) from None
        words = first["type"], first["type"].partition("_")[0]
        bounds = {
            key: f"{value:.15g}" if isinstance(value, float) else value for key, value in first.get("ctx", {}).items()
        }
        advice = next((_ADVICE[word].format(**bounds) for word in words if word in _ADVICE), "")
        advice = advice or first["msg"].removeprefix("Value error, ")
        message = f"{where}: {field} = {told(first['input'])} is wrong; {advice}"
        raise InvalidInputError(message, field=field) from None


def moment(value: Any) -> Any:
    """Return a time as ISO 8601 writes it as seconds since the epoch; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("give a time such as 2026-11-29T15:04:05, or seconds since 1970") from None


def unknown_option(where: str, name: str, known: list[str]) -> InvalidInputError:
    """Return the error of an option that there is not: the nearest that there is, else all."""
    near = difflib.get_close_matches(name.rpartition(".")[2][:80], known, 1)
    advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    return InvalidInputError(f"{where}: there is no option {name[:80]!r}; {advice}", field=name)
