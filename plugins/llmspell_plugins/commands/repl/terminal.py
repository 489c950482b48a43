"""The prompt on a terminal: editing, history and completion by prompt_toolkit, in a thread of its own.

Invariant: the loop goes on while the prompt waits, and what is written meanwhile appears above it; a cancelled prompt
gives the terminal back as it was. The history file is readable by its owner only.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import has_focus, is_searching
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import CompleteStyle

from llmspell_hookspecs import LlmspellError

from .lines import Lines, Partner

__all__ = ["Terminal", "open_history"]

T = TypeVar("T")


class _Interrupted(Exception):  # noqa: N818 - it is no error
    """Ctrl-C at the prompt."""


class Terminal:
    """Asks for chunks on a terminal.

    Args:
        lines: Where scripts read from while a chunk runs.
        history: Keeps what was typed.
        commands: The names of the prompt's own commands, with their dots.
        guarded: Returns a stream that spells out what would steer the terminal.
    """

    def __init__(
        self, lines: Lines, history: History, commands: Sequence[str], guarded: Callable[[TextIO], TextIO]
    ) -> None:
        self._guarded = guarded
        self._lines = lines
        self._history = history
        self._asking = False
        self._ending: Exception | None = None
        self._session: Partner
        self._token: trio.lowlevel.TrioToken
        self._prompt: PromptSession[str] = PromptSession(
            history=history,
            completer=_Names(commands, lambda text: self._on_loop(self._session.complete, text, ())),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            multiline=True,
            prompt_continuation=lambda width, _line, _soft: "... ".rjust(width),
            key_bindings=self._bindings(),
            interrupt_exception=_Interrupted,
        )

    @property
    def history(self) -> Sequence[str]:
        """What was typed, the oldest first."""
        return self._history.get_strings()

    async def ask(self, session: Partner) -> str | None:
        """Return the next chunk, or a line that begins with a dot; nothing after Ctrl-C, None at the end."""
        self._session, self._token = session, trio.lowlevel.current_trio_token()
        self._asking, self._ending = True, None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leave_when_cancelled)
            try:
                text = await trio.to_thread.run_sync(self._read)
            finally:
                self._asking = False
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint_if_cancelled()
        return text

    def _read(self) -> str | None:
        try:
            with patch_stdout(raw=True), _replaced(self._guarded):
                return self._prompt.prompt(f"{self._session.language}> ", pre_run=self._leave_at_once)
        except _Interrupted:
            return ""
        except EOFError:
            return None

    async def _leave_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._leave(EOFError())

    def interrupt(self) -> None:
        """Do as Ctrl-C does: clear what is typed, or let a script that reads have no line."""
        if self._asking:
            self._leave(_Interrupted())
        else:
            self._lines.stop()

    def _leave(self, ending: Exception) -> None:
        """End the prompt; one that has not begun ends as it begins."""
        self._ending = ending
        loop = self._prompt.app.loop
        if self._asking and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._leave_at_once)

    def _leave_at_once(self) -> None:
        app, ending = self._prompt.app, self._ending
        if ending is not None and app.future is not None and not app.future.done():
            app.exit(exception=ending)

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()

        @bindings.add("enter", filter=has_focus("DEFAULT_BUFFER") & ~is_searching)
        def _accept(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            text = buffer.text
            if text.startswith(".") or not self._on_loop(self._session.is_incomplete, text, False):
                buffer.validate_and_handle()
            else:
                buffer.newline()

        @bindings.add("c-z")
        def _stop(event: KeyPressEvent) -> None:
            # To this thread, which so stops before it draws the prompt anew.
            run_in_terminal(lambda: signal.raise_signal(signal.SIGTSTP))

        return bindings

    def _on_loop(self, function: Callable[[str], Awaitable[T]], text: str, otherwise: T) -> T:
        """Ask the session from the prompt's thread; what cannot be told is told when the chunk runs."""
        try:
            return trio.from_thread.run(function, text, trio_token=self._token)
        except LlmspellError:
            return otherwise


@contextmanager
def _replaced(guarded: Callable[[TextIO], TextIO]) -> Iterator[None]:
    """What is written above the prompt is foreign text, too."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = guarded(sys.stdout), guarded(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Names(Completer):
    """Completes what the session knows, the prompt's commands and their files."""

    def __init__(self, commands: Sequence[str], names: Callable[[str], Iterable[str]]) -> None:
        self._commands = commands
        self._names = names
        self._files = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Return what the text before the cursor may become."""
        text = document.text_before_cursor
        command, space, rest = text.partition(" ")
        if text.startswith(".") and space:
            return self._files.get_completions(Document(rest), complete_event)
        if text.startswith("."):
            return [Completion(name, -len(text)) for name in self._commands if name.startswith(command)]
        if not text.strip():
            return []
        return [Completion(name, -_overlap(text, name)) for name in self._names(text)]


def _overlap(text: str, name: str) -> int:
    """Return how much of the text's end the name begins with."""
    longest = min(len(text), len(name))
    return next((size for size in range(longest, 0, -1) if text.endswith(name[:size])), 0)


class _PrivateHistory(FileHistory):
    """Keeps in the file what does not begin with a space."""

    def store_string(self, string: str) -> None:
        if not string.startswith(" "):
            super().store_string(string)


def open_history(path: Path) -> tuple[History, str]:
    """Return the history that is kept in a file, and why it is not kept there if it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a pipe would be read without end
                raise OSError(errno.EINVAL, "it is no regular file")
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        return InMemoryHistory(), f"{path}: the history cannot be kept there: {error.strerror}; name another --history"
    return _PrivateHistory(str(path)), ""
