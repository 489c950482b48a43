"""Running a command of a hook file: as a process of its own, with what it is sent as JSON on standard input.

Invariant: when a command is over, or its caller has gone, nobody of its process group lives; what it may take of time,
of output and of neighbours is bounded, and it has no variable of the host's that holds a secret. Durations in seconds,
sizes in bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import trio

from llmspell_hookspecs.errors import LlmspellError, line_of_error
from llmspell_hookspecs.secret import is_secret_name
from llmspell_plugins.json_text import is_small
from llmspell_plugins.tools.system.running import Limits, run_program

from .answer import Answer, failed, read_answer
from .file import Command
from .settings import HookFilesSettings

__all__ = ["Commands"]

_MOST_FILE_BYTES = 16 * 1024**3


class Commands:
    """Runs commands.

    Args:
        settings: What they may use.
        folder: The project's, where they run.
    """

    def __init__(self, settings: HookFilesSettings, folder: str) -> None:
        self._settings = settings
        self._folder = folder
        self._room = trio.CapacityLimiter(settings.max_parallel)
        self._shell = shutil.which("bash") or shutil.which("sh") or "/bin/sh"

    async def ask(self, command: Command, sent: Mapping[str, Any]) -> Answer:
        """Run a command and return what it answered, or what stands for an answer that it did not give."""
        settings = self._settings
        text = await _encoded(sent)
        if text is None:
            return failed(command, "what it is about cannot be written as JSON")
        if len(text) > settings.max_input_bytes:
            return failed(command, f"what it is about has {len(text)} bytes; {settings.max_input_bytes} are sent")
        time_s = min(command.timeout_s or settings.timeout_s, settings.max_timeout_s)
        limits = Limits(time_s, settings.max_memory_bytes, settings.max_output_bytes, _MOST_FILE_BYTES)
        async with self._room:
            try:
                ended = await run_program(
                    self._line(command), self._environment(), self._folder, limits, text, who="hook_files"
                )
            except LlmspellError as error:
                return failed(command, line_of_error(error).removeprefix("hook_files: "))
        return read_answer(command, ended, (time_s, settings.max_output_bytes))

    def _line(self, command: Command) -> list[str]:
        if command.arguments is not None:
            program = command.command.replace("${CLAUDE_PROJECT_DIR}", self._folder)
            return [program, *(each.replace("${CLAUDE_PROJECT_DIR}", self._folder) for each in command.arguments)]
        return [self._shell, "-c", command.command]

    def _environment(self) -> dict[str, str]:
        """The variables that settings hand on; none whose name tells of a secret."""
        handed = {
            name: value
            for name, value in os.environ.items()
            if any(fnmatchcase(name, glob) for glob in self._settings.environment) and not is_secret_name(name)
        }
        return {**handed, "CLAUDE_PROJECT_DIR": self._folder}


async def _encoded(sent: Mapping[str, Any]) -> bytes | None:
    work = partial(_text, sent)
    try:
        return work() if is_small(sent) else await trio.to_thread.run_sync(work)
    except (TypeError, ValueError, RecursionError):
        return None


def _text(sent: Mapping[str, Any]) -> bytes:
    return json.dumps(sent, allow_nan=False).encode()
