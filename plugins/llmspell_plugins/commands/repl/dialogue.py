"""What the prompt does with what it is told: evaluates chunks, shows their values, obeys its own commands.

Invariant: whatever a chunk does is at most one line of error, and the dialogue goes on; an interrupt ends the chunk
that runs and nothing else.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import click
import trio

from llmspell_hookspecs.errors import ScriptError, line_of_error
from llmspell_hookspecs.script import ScriptConsole, ScriptRun, Scripts

from .prompt import Prompt, no_command

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["COMMANDS", "Dialogue", "Reader"]

COMMANDS: Final = {
    ".help": "show this",
    ".load FILE": "run a file in this session: its globals and hooks stay",
    ".run FILE [ARGUMENT ...]": "run a file as llmspell run does, apart from this session",
    ".globals": "list the names that there are, and their types",
    ".history": "list what was typed",
    ".clear": "clear the screen",
    ".reset": "begin a new session: globals, hooks and subscriptions go",
    ".exit": "end; so do .quit and Ctrl-D",
    ".quit": "end",
}
_KEYS: Final = """Tab completes; Ctrl-C clears the line or ends the chunk that runs. A line that begins with a space
is not kept in the history file."""
_COMMAND: Final = re.compile(r"\.([a-z]+)(?:\s+(.*))?\Z", re.DOTALL)


class Reader(Protocol):
    """Where chunks come from."""

    @property
    def history(self) -> Sequence[str]:
        """What was typed, the oldest first."""

    async def ask(self, session: ScriptConsole, /) -> str | None:
        """Return the next chunk or command; None at the end."""


class Dialogue(Prompt):
    """A prompt that evaluates chunks.

    Attributes:
        failures: How many chunks and commands failed.
    """

    def __init__(self, host: CommandHost, invocation: Invocation, reader: Reader) -> None:
        super().__init__()
        self.failures = 0
        self._scripts = host.get(Scripts)
        self._invocation = invocation
        self._reader = reader
        self._lasts = False
        self._commands: dict[str, Callable[[ScriptConsole, str], Awaitable[None]]] = {
            "clear": self._clear,
            "exit": self._exit,
            "globals": self._globals,
            "help": self._help,
            "history": self._history,
            "load": self._load,
            "quit": self._exit,
            "reset": self._reset,
            "run": self._run,
        }

    async def hold(self, language: str) -> None:
        """Return chunk after chunk until there is none; a session that has ended is followed by another."""
        while not self._over:
            async with self._scripts.console(ScriptRun("", language, "repl")) as session:
                self._lasts = True
                await self._converse(session)

    async def _converse(self, session: ScriptConsole) -> None:
        while self._lasts and not self._over:
            text = await self._reader.ask(session)
            if text is None:
                self._over = True
            elif text.strip():
                await self._answer(session, text)

    async def _answer(self, session: ScriptConsole, text: str) -> None:
        command = _COMMAND.match(text.strip())
        with self._interruptible() as scope:
            try:
                if command is None:
                    await self._show(await session.evaluate(text))
                else:
                    await self._obey(session, command[1], (command[2] or "").strip())
            except Exception as error:  # whatever it is, the dialogue goes on
                self._fail(error)
        if scope.cancelled_caught:
            self.failures += 1
            self._invocation.note("llmspell: interrupted")

    def _fail(self, error: BaseException) -> None:
        self.failures += 1
        error = self._invocation.report(error)
        if isinstance(error, ScriptError) and error.code == "ended":
            self._lasts = False
            self._invocation.note("llmspell: the session is lost; a new one begins, without its globals and hooks")

    async def _show(self, value: Any) -> None:
        await trio.to_thread.run_sync(self._invocation.show, value)

    # The prompt's own commands

    async def _obey(self, session: ScriptConsole, name: str, rest: str) -> None:
        if name in self._commands:
            await self._commands[name](session, rest)
            return
        raise no_command(name, self._commands)

    async def _help(self, _session: ScriptConsole, _rest: str) -> None:
        rows = [{"command": name, "does": text} for name, text in COMMANDS.items()]
        self._invocation.show_rows(rows, ("command", "does"))
        if not self._invocation.json:
            self._invocation.say(_KEYS)

    async def _load(self, session: ScriptConsole, rest: str) -> None:
        await self._show(await session.load(_words(".load", rest, most=1)[0]))

    async def _run(self, _session: ScriptConsole, rest: str) -> None:
        path, *arguments = _words(".run", rest)
        await self._show(await self._scripts.run_file(path, arguments))

    async def _globals(self, session: ScriptConsole, _rest: str) -> None:
        rows = [{"name": name, "type": kind} for name, kind in (await session.globals()).items()]
        self._invocation.show_rows(rows, ("name", "type"), empty="there are no globals")

    async def _history(self, _session: ScriptConsole, _rest: str) -> None:
        for number, text in enumerate(self._reader.history, 1):
            self._invocation.say(f"{number:5}  " + text.replace("\n", "\n       "))

    async def _clear(self, _session: ScriptConsole, _rest: str) -> None:
        if sys.stdout.isatty():
            os.write(sys.stdout.fileno(), b"\x1b[2J\x1b[1;1H")

    async def _reset(self, _session: ScriptConsole, _rest: str) -> None:
        self._lasts = False

    async def _exit(self, _session: ScriptConsole, _rest: str) -> None:
        self._over = True


def _words(command: str, rest: str, *, most: int | None = None) -> list[str]:
    """Return a file and what stands behind it, quoted as in a shell."""
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise click.UsageError(f"{command}: {line_of_error(error).lower()}; close the quotation") from error
    if not words:
        raise click.UsageError(f"{command}: the file is missing; name one")
    if most is not None and len(words) > most:
        raise click.UsageError(f"{command}: {words[most]!r} is too much; it takes one file, .run takes arguments")
    return words
