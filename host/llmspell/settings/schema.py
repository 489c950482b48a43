"""Where a setting came from, and what is wrong with one: the file and line, the key, the value and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct
from pydantic import ValidationError

from llmspell_hookspecs.errors import SettingsError
from llmspell_hookspecs.keys import KEY_PARTS, join
from llmspell_hookspecs.schema import Schema

from .model import PluginTable, Settings

__all__ = ["DEFAULT", "SCHEMA", "Locate", "Origin", "diagnose"]

SCHEMA: Final = Schema(Settings, {"plugins": PluginTable})


class Origin(Struct, frozen=True):
    """Where a value came from.

    Attributes:
        layer: ``default``, ``user``, ``project``, ``environment``, ``command line``, ``code`` or ``script``.
        source: The file, or the variable, or nothing.
        line: In the file, from 1; 0 if it is none.
    """

    layer: str
    source: str = ""
    line: int = 0

    def __str__(self) -> str:
        """The source and line as an editor takes them; the layer if there is no source."""
        return f"{self.source or self.layer}:{self.line}" if self.line else self.source or self.layer


DEFAULT = Origin("default")
Locate = Callable[[Sequence[str]], Origin]
"""Returns where a key was set."""


def diagnose(error: ValidationError, locate: Locate) -> SettingsError:
    """Return the error to raise for the first thing that the model refused.

    Args:
        error: What pydantic raised.
        locate: Returns where a key was set.
    """
    first = error.errors(include_url=False)[0]
    path = tuple(str(part) for part in first["loc"])[:KEY_PARTS]
    while len(path) > 1 and SCHEMA.field(path[:-1]) is not None:
        path = path[:-1]
    origin = locate(path)
    more = error.error_count() - 1
    rest = f" (and {more} more)" if more else ""
    return SettingsError(f"{origin}: {SCHEMA.problem(path, first)}{rest}", origin=str(origin), key=join(path))
