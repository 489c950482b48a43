"""A hook file: ``{"hooks": {"PreToolUse": [{"matcher": ..., "hooks": [{"type": "command", "command": ...}]}]}}``.

Invariant: a file is read whole, or refused with the place that is wrong. What this host does not do is told by name:
no event, matcher or option of a file is passed over in silence. Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs.errors import InvalidInputError, PluginError, line_of_error
from llmspell_hookspecs.regular import read_regular

from .matcher import check_matcher, named
from .tools import NONE_HERE

__all__ = ["EVENTS", "Command", "HookFile", "read_hook_file"]

EVENTS: Final[Mapping[str, str]] = {
    "PreToolUse": "before_tool_execution",
    "PostToolUse": "after_tool_execution",
    "UserPromptSubmit": "before_agent_execution",
    "Stop": "after_agent_execution",
    "SubagentStop": "after_agent_execution",
    "SessionStart": "before_agent_init",
    "SessionEnd": "before_agent_shutdown",
    "Notification": "tool_error",
}
"""The events that are honoured, and the host's point of each."""
_ELSEWHERE: Final[Mapping[str, str]] = {
    "PreCompact": "nothing is compacted here: an agent forgets its oldest messages (max_conversation)",
    "PostCompact": "nothing is compacted here",
    "PermissionRequest": "there is no dialogue; PreToolUse may answer ask",
    "PermissionDenied": "there is no dialogue",
    "PostToolUseFailure": "the point tool_error is for plugins",
    "PostToolBatch": "tools are asked about one by one",
    "SubagentStart": "UserPromptSubmit is asked about agents that nobody else runs",
    "StopFailure": "the point agent_error is for plugins",
    "Setup": "there is no such mode",
    "ConfigChange": "the point configuration_change is for plugins",
    "InstructionsLoaded": "no such files are read",
    "UserPromptExpansion": "there are no such commands",
    "Elicitation": "no server asks anybody here",
    "ElicitationResult": "no server asks anybody here",
    "TeammateIdle": "there are no teams",
    "TaskCreated": "there are no such tasks",
    "TaskCompleted": "there are no such tasks",
    "WorktreeCreate": "there are no worktrees",
    "WorktreeRemove": "there are no worktrees",
    "CwdChanged": "the folder stays the same",
    "FileChanged": "the tool file_watcher watches files",
}
"""The events of Claude Code that this host has not, and why."""
_UNREAD: Final[Mapping[str, str]] = {
    "statusMessage": "nothing is shown while it runs",
    "description": "it is for people",
    "once": "it runs each time",
    "async": "it is waited for",
    "asyncRewake": "it is waited for",
    "if": "it runs for whatever its matcher is about",
}
_MOST_BYTES: Final = 1024 * 1024
_MOST_COMMANDS: Final = 200
_LONGEST: Final = 20_000


class Command(Struct, frozen=True):
    """A command of a file.

    Attributes:
        event: When it runs.
        matcher: What it is about; empty for all.
        command: For a shell; with arguments, the program's file.
        arguments: None if a shell reads the command.
        timeout_s: How long it may run; None if the file does not say.
        file: Whose it is.
    """

    event: str
    matcher: str
    command: str
    arguments: tuple[str, ...] | None
    timeout_s: float | None
    file: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.event} command {' '.join(self.command.split())!r:.80}"


class HookFile(Struct, frozen=True):
    """A file that was read.

    Attributes:
        path: Where it lies.
        sha256: The hash of what it holds.
        commands: In the order of the file, each once.
        told: What of it this host does not do, one line each.
        unsupported: Whether that is an event.
    """

    path: str
    sha256: str
    commands: tuple[Command, ...]
    told: tuple[str, ...] = ()
    unsupported: bool = False


def read_hook_file(path: Path) -> HookFile:
    """Return what a file says.

    Raises:
        PluginError: It cannot be read, or anything in it is none of what a hook file holds.
    """
    try:
        content = read_regular(path, _MOST_BYTES)
    except OSError as error:
        message = f"hook file {path}: it cannot be read ({line_of_error(error)}); correct plugins.hook_files.files"
        raise PluginError(message, plugin="hook_files") from error
    reader = _Reader(str(path))
    try:
        document = json.loads(content.decode(), object_pairs_hook=_once)
        commands = reader.document(document)
    except (InvalidInputError, ValueError, RecursionError) as error:
        message = f"hook file {path}: {line_of_error(error)}; correct it, or take it out of plugins.hook_files.files"
        raise PluginError(message, plugin="hook_files") from error
    return HookFile(str(path), hashlib.sha256(content).hexdigest(), commands, tuple(reader.told), reader.unsupported)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInputError(f"{twice!r:.60} stands twice in one object")
    return found


class _Reader:
    """Reads one document."""

    def __init__(self, file: str) -> None:
        self.told: list[str] = []
        self.unsupported = False
        self._file = file

    def document(self, document: Any) -> tuple[Command, ...]:
        """Return the commands of a whole file."""
        hooks = _object(document, "the file").get("hooks")
        others = sorted(set(document) - {"hooks", "$schema", "description", "disableAllHooks"})
        if others:
            self.told.append(f"{', '.join(others)}: only hooks are read of a file of settings")
        if hooks is None:
            raise InvalidInputError('it has no "hooks"')
        found: dict[Command, None] = {}
        for event, groups in _object(hooks, "hooks").items():
            for command in self._event(event, groups):
                found[command] = None  # the same one twice runs once, as it does there
        if len(found) > _MOST_COMMANDS:
            raise InvalidInputError(f"it has {len(found)} commands; at most {_MOST_COMMANDS} are run")
        if document.get("disableAllHooks") is True:
            self.told.append("disableAllHooks: none of its commands runs")
            return ()
        return tuple(found)

    def _event(self, event: str, groups: Any) -> list[Command]:
        if event in _ELSEWHERE:
            self.unsupported = True
            self.told.append(f"{event} is not honoured: {_ELSEWHERE[event]}")
        elif event not in EVENTS:
            near = ", ".join(get_close_matches(event, [*EVENTS, *_ELSEWHERE]))
            raise InvalidInputError(
                f"hooks.{event}: there is no such event; did you mean {near or 'one of Claude Code'}?"
            )
        found = []
        for number, group in enumerate(_list(groups, f"hooks.{event}")):
            found += self._group(event, group, f"hooks.{event}[{number}]")
        return found if event in EVENTS else []

    def _group(self, event: str, group: Any, where: str) -> list[Command]:
        _only(_object(group, where), {"matcher", "hooks", "description"}, where)
        matcher = group.get("matcher", "")
        if matcher is None:
            matcher = ""
        if not isinstance(matcher, str):
            raise InvalidInputError(f"{where}.matcher: it is no text")
        try:
            check_matcher(matcher)
        except InvalidInputError as error:
            raise InvalidInputError(f"{where}.matcher: {line_of_error(error)}") from None
        if event in ("PreToolUse", "PostToolUse"):
            for name in sorted(named(matcher) & NONE_HERE):
                self.told.append(f"{where}.matcher: no tool here is {name}, so nothing is asked about it")
        items = _list(group.get("hooks"), f"{where}.hooks")
        return [self._command(event, matcher, item, f"{where}.hooks[{n}]") for n, item in enumerate(items)]

    def _command(self, event: str, matcher: str, item: Any, where: str) -> Command:
        kind = _object(item, where).get("type")
        if kind != "command":
            raise InvalidInputError(f"{where}.type: {kind!r:.40} is not run here; only command is")
        _only(item, {"type", "command", "args", "timeout", "shell", *_UNREAD}, where)
        for name in sorted(set(item) & set(_UNREAD)):
            if item[name] not in (None, False, ""):
                self.told.append(f"{where}.{name} has no effect: {_UNREAD[name]}")
        if item.get("shell", "bash") not in ("bash", "sh"):
            raise InvalidInputError(f"{where}.shell: {item['shell']!r:.40} is not run here; only bash is")
        command, arguments = item.get("command"), item.get("args")
        if not _is_text(command) or not command.strip():
            raise InvalidInputError(f"{where}.command: it is no text that can be run")
        if arguments is not None and not (isinstance(arguments, list) and all(map(_is_text, arguments))):
            raise InvalidInputError(f"{where}.args: they are no list of texts")
        timeout_s = item.get("timeout")
        if timeout_s is not None and not (type(timeout_s) in (int, float) and 0 < timeout_s < 1e6):
            raise InvalidInputError(f"{where}.timeout: {timeout_s!r:.40} is no number of seconds above 0")
        given = None if arguments is None else tuple(arguments)
        return Command(event, matcher, command, given, timeout_s, self._file)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and "\0" not in value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInputError(f"{where}: it is no object")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInputError(f"{where}: it is no list")
    return value


def _only(item: Mapping[str, Any], names: set[str], where: str) -> None:
    unknown = sorted(set(item) - names)
    if unknown:
        near = ", ".join(get_close_matches(unknown[0], sorted(names)))
        raise InvalidInputError(
            f"{where}.{unknown[0]}: nothing is known of it{f'; did you mean {near}?' if near else ''}"
        )
