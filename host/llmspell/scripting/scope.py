"""One run of a script: where it writes to and reads from, what is to be undone when it ends, and what it is given.

The interface that a language adapter is given is language-neutral: the same call of a global's method, with the same
plain arguments, comes from Lua, JavaScript and Python.

Invariant: only methods marked with ``script_method`` can be reached, under their marked spellings, with arguments that
fit their signatures. Every callback given to `on_close` runs exactly once, the last one first, whatever the others do;
one that comes when the scope is closed already runs at once.
"""

from __future__ import annotations

import inspect
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import trio
from msgspec import Struct

from llmspell.operations import CURRENT, Frame
from llmspell_hookspecs import Services
from llmspell_hookspecs.binding import binding_of
from llmspell_hookspecs.errors import ResourceLimitError, line_of_error
from llmspell_hookspecs.language import HookAdapter, ScriptLimits, ScriptObject, ScriptScope
from llmspell_hookspecs.script import ScriptRun
from llmspell_hookspecs.spelling import spell_out

__all__ = ["Interface", "Scope"]

_CLOSING_S: Final = 5.0
Closer = Callable[[], Awaitable[None] | None]
_logger = logging.getLogger("llmspell.script")
_LINE_CHARACTERS: Final = 16 * 1024 * 1024


class Scope:
    """One run of a script; implements the contract's ``ScriptScope``.

    Attributes:
        id: Unique within the host.
        script: What runs.
        adapter: How the language's hooks take contexts and give results.
        stack: Set by a language that can tell its call stack: answers frames from the innermost outwards, each with
            ``function``, ``file`` and ``line``; called within a slice of the script.
    """

    def __init__(
        self,
        id: str,
        script: ScriptRun,
        adapter: HookAdapter,
        *,
        write: Callable[[str], object] | None = None,
        read_line: Callable[[], str | None] | None = None,
    ) -> None:
        self.id = id
        self.script = script
        self.adapter = adapter
        self.stack: Callable[[], Sequence[Mapping[str, Any]]] | None = None
        self._write = write or _write_stdout
        self._read_line = read_line or _read_stdin
        self._endings: list[Callable[[], Awaitable[None]]] = []
        self._callbacks: list[Closer] = []
        self._closed = False
        self._lock = threading.Lock()

    @property
    def language(self) -> str:
        """The language's name."""
        return self.script.language

    def write(self, text: str, /) -> None:
        """Write to the script's output; callable on any thread, one text at a time."""
        with self._lock:
            self._write(text)

    def read_line(self) -> str | None:
        """Return the next line of the script's input, without its end; None at the end. Blocks."""
        return self._read_line()

    def on_end(self, callback: Callable[[], Awaitable[None]], /) -> None:
        """Await this when a whole script has come to its end without a failure, while its functions may be called."""
        self._endings.append(callback)

    async def end(self) -> None:
        """Await what `on_end` was given."""
        while self._endings:
            await self._undo_waiting(self._endings.pop(0)())

    def on_close(self, callback: Closer, /) -> None:
        """Call this when the script ends, or now if it has ended; an async one must come before that."""
        if self._closed:
            self._undo(callback)
        else:
            self._callbacks.append(callback)

    async def close(self) -> None:
        """Undo what the script set up, also when it is cancelled; a second call does nothing."""
        self._closed = True
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSING_S):
            while self._callbacks:
                waiting = self._undo(self._callbacks.pop())
                if waiting is not None:
                    await self._undo_waiting(waiting)

    def _undo(self, callback: Closer) -> Awaitable[None] | None:
        """Call one; its failure must not keep the others from theirs."""
        try:
            return callback()
        except Exception as error:
            self._failed(error)
            return None

    async def _undo_waiting(self, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        text = line_of_error(error)
        _logger.warning("%s: a clean-up failed: %s; repair it", self.script.name, text, exc_info=error)


def _write_stdout(text: str) -> None:
    """Write as it is, but not to a terminal; a letter that the encoding lacks has a stand-in."""
    out = sys.stdout
    text = spell_out(text) if out.isatty() else text
    try:
        out.write(text)
    except UnicodeEncodeError:
        encoding = out.encoding or "utf-8"
        out.write(text.encode(encoding, "replace").decode(encoding))
    out.flush()


def _read_stdin() -> str | None:
    line = sys.stdin.readline(_LINE_CHARACTERS)
    if len(line) == _LINE_CHARACTERS and not line.endswith("\n"):
        message = f"standard input: a line of more than {_LINE_CHARACTERS} characters; end it earlier"
        raise ResourceLimitError(message, resource="line", limit=_LINE_CHARACTERS)
    return line.removesuffix("\n") if line else None


class Interface(Struct, frozen=True, eq=False):
    """The script interface of one run; implements the contract's ``ScriptInterface``.

    Attributes:
        scope: The run.
        services: What the adapter may use of the host.
        limits: What the script may use.
        globals: The globals by name: script objects and plain values.
        home: Stands for the run: what the script does where others run, such as in a hook about a notice, descends
            from it.
        granted: What the script may see of what its language brings itself and acts by; None for all.
    """

    scope: ScriptScope
    services: Services
    limits: ScriptLimits
    globals: Mapping[str, Any]
    home: Frame | None = None
    granted: frozenset[str] | None = None

    async def call(self, target: ScriptObject, method: str, arguments: Sequence[Any], /) -> Any:
        """Call a method of a script object as a script does.

        Raises:
            InvalidInputError: There is no such method, or the arguments do not fit.
        """
        binding, frame = binding_of(target, method), CURRENT.get()
        outside = self.home is not None and (frame is None or self.scope.id not in frame.scopes)
        token = CURRENT.set(self.home.within(frame)) if self.home is not None and outside else None
        try:
            answer = binding.function(target, *binding.bind(target, method, arguments))
            return await answer if inspect.isawaitable(answer) else answer
        finally:
            if token is not None:
                CURRENT.reset(token)

    def call_pure(self, target: ScriptObject, method: str, arguments: Sequence[Any], /) -> Any:
        """Call a pure method, on whatever thread.

        Raises:
            InvalidInputError: There is no such method, it is not pure, or the arguments do not fit.
        """
        binding = binding_of(target, method, pure=True)
        return binding.function(target, *binding.bind(target, method, arguments))
