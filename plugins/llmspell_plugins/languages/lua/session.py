"""One runtime of Lua and what it runs: its slices, its requests to the host, its callbacks, its end.

Invariant: a request ends its slice; the host answers it on trio; the next slice begins with the answer. When the run is
over nothing of Lua's is left, and its functions answer that their script has ended.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import trio

from llmspell_hookspecs.entropy import Entropy
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.language import ScriptInterface, ScriptObject
from llmspell_hookspecs.script import ScriptRun
from llmspell_hookspecs.services import Hooks

from .budget import Budget
from .convert import Crossing, is_light
from .desk import Desk
from .engine import Engine, Outcome
from .failures import chunk_of, script_failure
from .function import LuaFunction
from .slices import TIMED_OUT, Place, Slices
from .system import System

__all__ = ["Session", "chunk_name", "enclosed"]

_WIPE_BYTES = 1024 * 1024
_QUICK_S = 0.002
_PAUSE_S = 0.004
_PAUSE_AFTER = 64
_logger = logging.getLogger("llmspell.script")


class Session:
    """One runtime: for a script from its beginning to its end, or for one chunk after the other.

    Args:
        script: What runs.
        interface: What it is given.
        acting: The names of what the language brings itself and acts by.

    Attributes:
        name: What errors call that which runs.
    """

    def __init__(self, script: ScriptRun, interface: ScriptInterface, acting: frozenset[str]) -> None:
        self.name = script.name
        self._script = script
        self._interface = interface
        self._limits = interface.limits
        self._withheld = frozenset() if interface.granted is None else acting - interface.granted
        self._released: deque[int] = deque()
        self._dropped: list[int] = []
        self._numbers = itertools.count(1)
        self._has_globals = False
        self._closed = False
        self._lock = trio.Lock()
        self._budget = Budget(self._limits.time_s)
        self._crossing = Crossing(self._make_function)
        self._system = System(interface)
        self._desk = Desk(self._crossing, interface, self._system)
        self._known: dict[int | None, bool] = {}  # functions that were called, and whether all of that was short
        self._quick = True  # until one of its functions was, and then was not
        self._held_s, self._rows = 0.0, 0  # since its slices last let others run
        self._watch = trio.CancelScope()
        self._engine: Engine
        self._slices: Slices

    def _make_function(self, number: int) -> LuaFunction:
        return LuaFunction(number, self._call, self._released, self._make_function)

    # The main script and its callbacks

    async def run(self) -> Any:
        """Run the script to its end and return its value.

        Raises:
            ScriptError: It failed, or a limit ended it.
        """
        await self.open()
        value = await self.flushed("run", _source_of(self._script), chunk_name(self.name))
        await self._interface.scope.end()
        await self._flush()
        return value

    async def flushed(self, function: str, *arguments: Any) -> Any:
        """Do as `perform`, and write out what was written to files that are open, also of what failed.

        Raises:
            ScriptError: It failed, or a limit ended it.
        """
        try:
            value = await self.perform(function, *arguments)
        except ScriptError:
            with contextlib.suppress(ScriptError):
                await self._flush()
            raise
        await self._flush()
        return value

    async def perform(self, function: str, *arguments: Any) -> Any:
        """Begin a function of the kernel, go on until its coroutine has ended and return its value.

        Raises:
            ScriptError: It failed, or a limit ended it.
        """
        number = next(self._numbers)

        def begin(stride: int) -> Outcome:
            try:
                self._give_globals()
            except MemoryError:
                return (b"limit", b"memory", b"", b"")
            return self._engine.slice(function, number, stride, *arguments)

        return await self._drive(number, begin, None, light=True)

    def renew(self) -> None:
        """Let what runs next have all the time of a script."""
        self._budget.renew()

    def _give_globals(self) -> None:
        if not self._has_globals:
            for name in self._withheld:
                self._engine.withhold(name)
            for each, value in self._interface.globals.items():
                self._engine.set_global(each, self._crossing.pack(value))
            self._has_globals = True

    async def _watched(self) -> None:
        """Look after the slices, also of a run that is cancelled, until the run is over."""
        with self._watch:
            await self._slices.watch()

    async def open(self) -> None:
        """Make the runtime, off the loop: the first one in a process loads the library."""
        inline, callback_s = self._limits.slices == "loop", self._limits.callback_s
        draws = self._interface.services.get(Entropy).is_kept
        limits, ask = self._limits, self._desk.ask
        make = partial(Engine, limits.memory_bytes, limits.instructions, self._budget.check, ask, draws=draws)
        self._crossing.sorts = draws
        self._engine = make() if inline else await trio.to_thread.run_sync(make)
        self._engine.limit_values(self._limits.value_items, self._limits.value_bytes)
        self._slices = Slices(self._engine, self._budget, callback_s, inline)
        trio.lowlevel.spawn_system_task(self._watched)
        scope: Any = self._interface.scope
        if hasattr(scope, "stack"):
            scope.stack = self._frames

    async def _flush(self) -> None:
        """Write out what the script has written to files that it left open."""
        if self._system.has_files:
            await self.perform("flush")

    async def _call(self, function: int, arguments: Sequence[Any]) -> Any:
        """Call a function of the script."""
        number = next(self._numbers)

        def begin(stride: int) -> Outcome:
            return self._engine.slice("call", number, stride, function, self._crossing.pack_values(arguments))

        return await self._drive(number, begin, function, light=is_light(arguments))

    async def _drive(self, number: int, begin: Callable[[int], Outcome], callback: int | None, *, light: bool) -> Any:
        """Run slice after slice until a coroutine has ended; answer its value."""
        finished = False
        try:
            outcome = await self._slice(begin, callback, light)
            while outcome[0] == b"request":
                answer, light = await self._answer(*outcome[1:])
                outcome = await self._slice(partial(self._proceed, number, answer), callback, light)
            finished = True
        finally:
            if not finished:
                self._dropped.append(number)
        if outcome[0] != b"done":
            raise self._failure(outcome, callback is not None and self._budget.left_s > 0)
        values = outcome[1]
        return tuple(values) if len(values) > 1 else (values[0] if values else None)

    def _proceed(self, number: int, answer: Callable[[], bytes], stride: int) -> Outcome:
        return self._engine.slice("proceed", number, stride, answer())

    async def _answer(
        self, target: ScriptObject | None, method: str, arguments: Sequence[Any]
    ) -> tuple[Callable[[], bytes], bool]:
        """Do what the script asks for; answer what packs the answer, within the next slice, and whether it is light."""
        if target is None and method == "leave_loop":
            return partial(self._desk.pack_answer, None), False
        try:
            if target is None:
                value = await self._system.answer(method, list(arguments))
            else:
                value = await self._interface.call(target, method, arguments)
        except Exception as error:  # whatever it is becomes an error of the script
            refusal = self._desk.refusal(error)
            return (lambda: refusal), True
        return partial(self._desk.pack_answer, value), is_light(value)

    async def _slice(self, work: Callable[[int], Outcome], callback: int | None, light: bool) -> Outcome:
        """Run one slice when no other runs; one of a callback on the loop if that was quick so far."""
        if callback is not None and self._budget.left_s <= 0:
            self._drop_hooks()
            return TIMED_OUT
        if self._held_s > _PAUSE_S or self._rows >= _PAUSE_AFTER:  # a row of them, each of them short
            self._held_s, self._rows = 0.0, 0
            await trio.lowlevel.checkpoint()
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            if self._closed or self._slices.abandoned:
                message = f"{self.name}: the script has ended; its functions cannot be called"
                raise ScriptError(message, file=self.name, code="ended")
            quick = self._quick and self._known.get(callback, False)
            place = self._slices.place(callback is not None, light and quick)
            outcome = await self._slices.run(place, partial(self._work, work))
            if callback is not None:
                self._note(callback, place)
            return outcome
        finally:
            self._lock.release()

    def _note(self, callback: int, place: Place) -> None:
        """Note how long a slice of a callback took: what is not quick, or may not stay so, runs in a thread."""
        took_s = self._budget.last_s
        if place.on_loop:
            self._held_s += took_s
            self._rows += 1
        if took_s > _QUICK_S:
            self._quick = self._quick and not place.on_loop
            self._known[callback] = False
        else:
            self._known.setdefault(callback, True)

    def _drop_hooks(self) -> None:
        """Take the script's hooks out, since it has no time left to answer."""
        scope = self._interface.scope
        if self._interface.services.get(Hooks).unregister_scope(scope.id):
            message = "%s: its %g s of processor time are spent, so its hooks are dropped; raise scripts.time_s"
            _logger.warning(message, self.name, self._limits.time_s)

    def _work(self, work: Callable[[int], Outcome], stride: int) -> Outcome:
        """Do one slice: what Lua does, and what is to be converted and tidied up behind it."""
        outcome = work(stride)
        if outcome[0] == b"done":
            outcome = (b"done", self._crossing.unpack(outcome[1]))
        elif outcome[0] == b"request":
            _, number, method, payload = outcome
            target = self._crossing.objects.find(number) if number else None
            outcome = (b"request", target, method.decode(), self._crossing.unpack(payload))
        self._tidy()
        return outcome

    def _tidy(self) -> None:
        dropped, self._dropped = self._dropped, []
        functions = [self._released.popleft() for _ in range(len(self._released))]
        for number in functions:
            self._known.pop(number, None)
        for number, count in self._engine.tidy(dropped, functions):
            self._crossing.objects.release(number, count)

    # Its end

    def _failure(self, outcome: Outcome, callback: bool) -> ScriptError:
        kind, *texts = (text.decode("utf-8", "replace") for text in outcome)
        text, where, trace = [*texts, "", ""][:3]
        error = script_failure(kind, text, where, trace, name=self.name, limits=self._limits, callback=callback)
        told = self._desk.last_error
        if told is not None and text.endswith(told[0]):
            error.__cause__ = told[1]
        return error

    def _frames(self) -> list[dict[str, Any]]:
        """Return the script's stack; called by a pure method, within a slice."""
        name, chunk = self.name, chunk_of(self.name)
        return [
            {"function": function, "file": name if file == chunk else file, "line": line}
            for function, file, line in self._engine.frames()
        ]

    async def close(self) -> None:
        """End whatever still runs, close the files and let go of the runtime."""
        self._closed = True
        self._budget.stopped = True
        with trio.CancelScope(shield=True):
            async with self._lock:
                self._system.close()
                if hasattr(self, "_engine"):
                    await self._let_go()
        self._crossing.objects.clear()
        self._desk.last_error = None
        scope: Any = self._interface.scope
        if hasattr(scope, "stack"):
            scope.stack = None

    async def _let_go(self) -> None:
        self._watch.cancel()
        if self._slices.abandoned:
            return
        if self._engine.used_bytes > _WIPE_BYTES:
            await trio.to_thread.run_sync(self._wipe)
        self._engine.close()

    def _wipe(self) -> None:
        """Let go of all that may be large; the last error's frames hold what could not be given to the script."""
        self._desk.last_error = None
        self._engine.wipe()


def _source_of(script: ScriptRun) -> bytes:
    """Return the source as Lua takes it, its first line a comment if it begins with #."""
    text = script.source.removeprefix("\ufeff")
    return enclosed("--" + text if text.startswith("#") else text)


def enclosed(text: str) -> bytes:
    """Return the text with a closing value around it.

    It keeps ``return f()`` from being a tail call, which would lose the line.
    """
    text = f"local _llmspell_ <close> = nil {text}"
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a letter, which is three bytes to Lua, as in values
        return text.encode("utf-8", "surrogatepass")


def chunk_name(name: str) -> bytes:
    """Return the name as Lua takes it: of a file."""
    return f"@{chunk_of(name)}".encode()
