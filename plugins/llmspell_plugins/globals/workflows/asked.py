"""How a script asks for a run: its id, whether it is kept, and what is said of one that goes on.

Invariant: a word or a value that is not understood is an error that names it; nothing is dropped in silence.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.runs import Verdict
from llmspell_hookspecs.spelling import told

__all__ = ["read_options", "read_verdicts"]

_ACTIONS: Final = ("again", "skip", "done")


def read_options(where: str, given: Any, kinds: Mapping[str, tuple[type, str]]) -> dict[str, Any]:
    """Return the options of a call, each of its type.

    Args:
        where: What the script called.
        given: What it gave; None for none.
        kinds: For each option its type, and what that is called.

    Raises:
        InvalidInputError: One is unknown, or of another type.
    """
    options: dict[str, Any] = {}
    for name, value in _table(where, "the options", given).items():
        if name not in kinds:
            near = ", ".join(difflib.get_close_matches(str(name), kinds, 1)) or ", ".join(kinds)
            raise InvalidInputError(f"{where}: there is no option {told(name)}; did you mean {near}?", field="options")
        kind, called = kinds[name]
        if not isinstance(value, kind):
            raise InvalidInputError(f"{where}: {name} is {told(value)}; give {called}", field=name)
        options[name] = value
    return options


def read_verdicts(where: str, given: Any) -> dict[str, Verdict]:
    """Return what a script says of interrupted stages: ``{charge = "again"}``, or a table with action and output.

    Raises:
        InvalidInputError: It is none of those.
    """
    said = {}
    for path, each in _table(where, "the verdicts", given).items():
        table = each if isinstance(each, Mapping) else {"action": each}
        action = table.get("action")
        if action not in _ACTIONS or not table.keys() <= {"action", "output"}:
            message = f"{where}: the verdict of {told(path)} is {told(each)}; give {', '.join(_ACTIONS)}"
            raise InvalidInputError(f'{message}, or {{action = "done", output = ...}}', field="verdicts")
        said[str(path)] = Verdict(action, table.get("output"))
    return said


def _table(where: str, what: str, given: Any) -> Mapping[Any, Any]:
    if given is None or (isinstance(given, list | tuple) and not given):  # an empty table of Lua is a list
        return {}
    if not isinstance(given, Mapping):
        raise InvalidInputError(f"{where}: {what} are {told(given)}; give a table", field="options")
    return given
