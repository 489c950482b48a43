"""Which of Claude Code's tools a tool of this host is, and what its parameters are called there.

A call is shown as what it does: one that writes is a ``Write`` whatever the tool is called, and one that touches two
paths is shown once for each, so that a command that guards a path sees it in whatever call it stands. A tool without a
name there is shown under its own, with its own parameters; matchers may name it so in any case.

Invariant: what a command changes is taken over exactly, or the call is denied.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs.errors import InvalidInputError
from llmspell_hookspecs.secret import HiddenText

__all__ = ["NONE_HERE", "TABLE", "Shown", "shown_call"]

Parameters = Mapping[str, Any]


class Shown(Struct, frozen=True):
    """A call as a command is shown it.

    Attributes:
        name: The tool's name there; ours if it has none there.
        input: Its parameters there.
        own: The tool's name here.
        taken: Returns the parameters here for an input that a command changed.
    """

    name: str
    input: dict[str, Any]
    own: str
    taken: Callable[[Mapping[str, Any]], dict[str, Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """What matchers may call it."""
        return (self.name, self.own, self.own.replace("-", "_"), self.own.replace("_", "-"))


class _Row(Struct, frozen=True):
    """A tool there.

    Attributes:
        name: Its name there.
        fields: Its parameters, there and here.
        operations: Which operations of the tool here it is; empty for all.
    """

    name: str
    fields: Mapping[str, str]
    operations: tuple[str, ...] = ()


TABLE: Final[Mapping[str, tuple[_Row, ...]]] = {
    "process_executor": (_Row("Bash", {"command": ""}),),
    "file_operations": (
        _Row("Read", {"file_path": "path"}, ("read", "exists", "metadata", "info", "stat")),
        _Row("Write", {"file_path": "path", "content": "input"}, ("write", "append", "delete", "create_dir", "mkdir")),
        _Row("LS", {"path": "path"}, ("list_dir", "ls", "dir")),
        _Row("Read", {"file_path": "source_path"}, ("copy", "cp")),
        _Row("Write", {"file_path": "target_path"}, ("copy", "cp")),
        _Row("Write", {"file_path": "source_path"}, ("move", "mv", "rename")),
        _Row("Write", {"file_path": "target_path"}, ("move", "mv", "rename")),
        _Row("Write", {"file_path": "path"}),
    ),
    "file-editor": (
        _Row("Read", {"file_path": "path"}, ("view",)),
        _Row("Write", {"file_path": "path", "content": "new_text"}, ("create",)),
        _Row(
            "Edit",
            {"file_path": "path", "old_string": "old_text", "new_string": "new_text"},
            ("str_replace", "replace", "insert", "undo", "undo_edit"),
        ),
        _Row("Edit", {"file_path": "path"}),
    ),
    "file_search": (_Row("Grep", {"pattern": "pattern", "path": "path"}),),
    "web-fetch": (_Row("WebFetch", {"url": "input"}),),
    "http_request": (_Row("WebFetch", {"url": "input"}),),
    "web-scraper": (_Row("WebFetch", {"url": "input"}),),
    "web_search": (_Row("WebSearch", {"query": "input"}),),
}
"""The tools of the box that have a name there; of the rows whose operation it is all are shown, else the last."""
NONE_HERE: Final = frozenset(
    {
        "Agent",
        "AskUserQuestion",
        "BashOutput",
        "ExitPlanMode",
        "Glob",
        "KillShell",
        "LSP",
        "NotebookEdit",
        "NotebookRead",
        "Skill",
        "SlashCommand",
        "Task",
        "TodoRead",
        "TodoWrite",
    }
)
"""The tools there that no tool here is: a matcher that names one is told of when its file is read."""
_SHELL: Final = re.compile(r"[();<>|&`$*?\[\]{}~\\\n#!]")
_ALIASES: Final = {"url": "input", "query": "input", "command": "executable", "args": "arguments"}
"""Under which names the parameters may be given here, before the tool has named them."""


def shown_call(tool: str, parameters: Parameters) -> tuple[Shown, ...]:
    """Return how a call is shown: in one way, or for calls that touch several paths in several."""
    rows = _rows(tool, parameters)
    if not rows:
        return (Shown(tool, dict(parameters), tool, dict),)
    if tool == "process_executor":
        return (_bash(tool, parameters),)
    return tuple(_shown(tool, parameters, row, alone=len(rows) == 1) for row in rows)


def _rows(tool: str, parameters: Parameters) -> Sequence[_Row]:
    rows = TABLE.get(tool, ())
    operation = parameters.get("operation")
    fitting = [row for row in rows if operation in row.operations]
    return fitting or rows[-1:]


def _shown(tool: str, parameters: Parameters, row: _Row, *, alone: bool) -> Shown:
    named = {_ALIASES.get(key, key) if key not in row.fields.values() else key: key for key in parameters}
    held = {theirs: named[ours] for theirs, ours in row.fields.items() if ours in named}
    shown = {theirs: parameters[key] for theirs, key in held.items()}
    rest = {key: value for key, value in parameters.items() if key not in held.values()}

    def taken(changed: Mapping[str, Any]) -> dict[str, Any]:
        if not alone:
            raise InvalidInputError(f"a call of {tool} that touches two paths cannot be changed")
        found = dict(rest)
        for name, value in changed.items():
            if name in row.fields:
                found[held.get(name, row.fields[name])] = value
            elif name not in rest or value != rest[name]:
                raise InvalidInputError(f"{row.name} has no {name!r:.60} here that could be changed")
        return found

    return Shown(row.name, {**shown, **{k: v for k, v in rest.items() if k not in shown}}, tool, taken)


def _bash(tool: str, parameters: Parameters) -> Shown:
    """A program and its arguments as the line that a shell would be given."""
    program = parameters.get("executable", parameters.get("command", ""))
    arguments = parameters.get("arguments", parameters.get("args")) or []
    line = shlex.join([str(program), *map(str, arguments)]) if isinstance(arguments, list | tuple) else str(program)
    rest = {k: v for k, v in parameters.items() if k not in ("executable", "command", "arguments", "args")}

    def taken(changed: Mapping[str, Any]) -> dict[str, Any]:
        if any(key not in rest or rest[key] != value for key, value in changed.items() if key != "command"):
            raise InvalidInputError("of a Bash only the command can be changed")
        command = changed.get("command")
        if not isinstance(command, str):
            raise InvalidInputError("a Bash without a command cannot be run")
        if any(isinstance(each, HiddenText) for each in (program, *arguments)):
            raise InvalidInputError("a Bash that holds a secret cannot be changed")
        return {**rest, **_program(command)}

    return Shown("Bash", {"command": line, **rest}, tool, taken)


def _program(line: str) -> dict[str, Any]:
    """The program and its arguments of a line that needs no shell."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = []
    quoted = bool(words) and shlex.join(words) == line
    if not words or "=" in words[0] or (not quoted and _SHELL.search(line)):
        raise InvalidInputError("the command that it answers needs a shell, and there is none here")
    return {"executable": words[0], "arguments": words[1:]}
