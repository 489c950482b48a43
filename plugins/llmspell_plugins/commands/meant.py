"""What an argument means: JSON where it is JSON, else a text.

Invariant: what begins as JSON that holds something does is JSON or wrong, and is never taken for a text: a bracket that
was forgotten would change what is kept or run, and nobody would be told.
"""

from __future__ import annotations

import json
from typing import Any, Final

import click

from llmspell_hookspecs.errors import line_of_error

__all__ = ["meant"]

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
