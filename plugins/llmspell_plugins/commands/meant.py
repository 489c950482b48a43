"""What an argument means: JSON where it is JSON, else a text; a time, and a number of seconds.

Invariant: what begins as JSON that holds something does is JSON or wrong, and is never taken for a text: a bracket that
was forgotten would change what is kept or run, and nobody would be told.
"""

from __future__ import annotations

import json
from datetime import datetime
from math import isfinite
from typing import Any, Final

import click

from llmspell_hookspecs.errors import line_of_error

__all__ = ["finite", "meant", "moment"]

_BEGINS: Final = ("{", "[", '"')


def meant(text: str, where: str) -> Any:
    """Return what a text means.

    Args:
        text: As it was given.
        where: What it was given as, for the error.

    Raises:
        click.UsageError: It begins as JSON and is none.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise click.UsageError(f"{where}: it is nested too deeply; make it flatter") from error
    except ValueError as error:
        if not text.lstrip().startswith(_BEGINS):
            return text
        remedy = "write JSON; a text that begins so stands in double quotes"
        raise click.UsageError(f"{where}: it is no JSON: {line_of_error(error)}; {remedy}") from error


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return a time, in seconds since the epoch or as ISO 8601 writes it, as seconds since the epoch."""
    if value is None:
        return None
    try:
        return finite(ctx, param, float(value))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is no time; write 2026-11-29T15:04:05, or seconds since 1970") from None


def finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Return a number as it is; what is none, or has no end, is refused."""
    if value is not None and not isfinite(value):
        raise click.BadParameter(f"{value} is no number of seconds; write one such as 60")
    return value
