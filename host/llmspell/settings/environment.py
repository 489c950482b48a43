"""Settings from the environment: ``LLMSPELL_SECTION__KEY``, and the original's flat names.

Invariant: a variable with ``__`` in its name, or with the name of a setting whose parts are joined otherwise, is a
setting or an error, since whoever sets it relies on it; any other one that says nothing to the host is warned about,
for plugins may read variables of their own.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from llmspell_hookspecs.errors import SettingsError, line_of_error
from llmspell_hookspecs.secret import is_secret_name
from llmspell_hookspecs.spelling import one_line
from llmspell_hookspecs.toml import listed, number_of, switch_of, text_as

from .schema import SCHEMA

__all__ = ["PREFIX", "from_environment", "suspicious"]

PREFIX: Final = "LLMSPELL_"
_PLACES: Final = frozenset({"CONFIG", "CONFIG_HOME", "DATA_HOME"})
"""Variables that say where settings lie, and are none themselves."""

_TABLE: Final = re.compile(r"PLUGINS_(.+)_(ENABLED|REQUIRED|DISTRIBUTION)")
"""How the switches of a plugin look when their parts are joined by single lines."""

Value = tuple[tuple[str, ...], Any]


_READ: Final = ("security", "paths", "read")
_WRITE: Final = ("security", "paths", "write")
_HOSTS: Final = ("security", "hosts", "allowed")
_FLAT: Final[dict[str, Callable[[str], list[Value]]]] = {
    "DEFAULT_ENGINE": lambda text: [(("default_language",), text)],
    "ENGINE": lambda text: [(("default_language",), text)],
    "SCRIPT_TIMEOUT_SECONDS": lambda text: [(("scripts", "time_s"), number_of(text))],
    "MAX_MEMORY_BYTES": lambda text: [(("scripts", "memory_bytes"), text)],
    "MAX_EXECUTION_TIME_MS": lambda text: [(("limits", "operation_time_s"), number_of(text) / 1000)],
    "ALLOW_FILE_ACCESS": lambda text: [(path, [".", "<tmp>"] if switch_of(text) else []) for path in (_READ, _WRITE)],
    "ALLOW_NETWORK_ACCESS": lambda text: [(_HOSTS, ["*"] if switch_of(text) else [])],
    "TOOLS_ALLOWED_PATHS": lambda text: [(path, listed(text)) for path in (_READ, _WRITE)],
}
"""The original's variables for which there is a setting here."""


def from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Yield variable, path and value of each setting in the environment, the original's names first.

    Raises:
        SettingsError: A variable names no setting, or its value cannot be read.
    """
    names = [name for name in sorted(environment) if name.startswith(PREFIX)]
    for name in names:
        if convert := _FLAT.get(name.removeprefix(PREFIX)):
            try:
                for path, value in convert(environment[name]):
                    yield name, path, value
            except ValueError as error:
                raise SettingsError(f"{name}: {line_of_error(error)}", origin=name) from None
    for name in names:
        path = tuple(name.removeprefix(PREFIX).lower().split("__"))
        if not SCHEMA.is_known(path) and (right := _respelled(name)):
            raise SettingsError(f"{name}: there is no such setting; write {right}", origin=name)
        if len(path) > 1 or path in SCHEMA.keys:
            field = SCHEMA.field(path)
            secret = is_secret_name(path[-1])
            yield name, path, text_as(field and field.annotation, environment[name], name, secret=secret)


def suspicious(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each flat variable that is no setting."""
    known = {name: name for name in (*_FLAT, *_PLACES)} | {
        _joined(path): "__".join(path).upper() for path in SCHEMA.keys
    }
    for name in sorted(environment):
        rest = name.removeprefix(PREFIX)
        if rest != name and rest not in known and "__" not in rest:
            near = difflib.get_close_matches(rest.upper(), known, 1, 0.85)
            remedy = f"did you mean {PREFIX}{known[near[0]]}?" if near else "unset it, unless a plugin reads it"
            yield f"{one_line(name, 100)}: there is no such setting; {remedy}"


def _respelled(name: str) -> str:
    """The variable of the setting whose name this is, but for the lines between its parts; empty if there is none."""
    rest = _joined(name.removeprefix(PREFIX).split("_"))
    if rest in _FLAT or rest in _PLACES:
        return f"{PREFIX}{rest}" if f"{PREFIX}{rest}" != name else ""
    for path in SCHEMA.keys:
        if _joined(path) == rest:
            return PREFIX + "__".join(path).upper()
    table = _TABLE.fullmatch(rest)
    return f"{PREFIX}PLUGINS__{table[1]}__{table[2]}" if table else ""


def _joined(parts: Sequence[str]) -> str:
    return "_".join(part for part in parts if part).upper()
