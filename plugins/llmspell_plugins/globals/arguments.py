"""The globals ARGS and arg: what stands behind ``--`` on the command line, or was given to ``run_script``.

``--key value`` and ``--key=value`` are named, ``--flag`` alone is ``"true"``, the rest is positional from 1; index 0 is
the script's name; behind a bare ``--`` everything is positional. All values are strings, as in the original.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from llmspell_hookspecs import ScriptGlobal

__all__ = ["Arguments", "PositionalArguments", "parse_arguments"]


class Arguments(ScriptGlobal):
    """Bring ``ARGS``, all of them, as a plain table."""

    name: ClassVar[str] = "ARGS"

    def script_globals(self) -> Mapping[str, Any]:
        """Return the table."""
        named, positional = parse_arguments(self.scope.script.arguments)
        return {"ARGS": {0: self.scope.script.name, **dict(enumerate(positional, start=1)), **named}}


class PositionalArguments(ScriptGlobal):
    """Bring ``arg``, the positional ones, as a plain table."""

    name: ClassVar[str] = "arg"

    def script_globals(self) -> Mapping[str, Any]:
        """Return the table."""
        _, positional = parse_arguments(self.scope.script.arguments)
        return {"arg": {0: self.scope.script.name, **dict(enumerate(positional, start=1))}}


def parse_arguments(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the named and the positional arguments."""
    named: dict[str, str] = {}
    positional: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if argument == "--":
            return named, positional + waiting
        key, equals, value = argument[2:].partition("=")
        if not argument.startswith("--") or not key:
            positional.append(argument)
        elif equals:
            named[key] = value
        elif waiting and not waiting[0].startswith("--"):
            named[key] = waiting.pop(0)
        else:
            named[key] = "true"
    return named, positional
