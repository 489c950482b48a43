"""Lifespans: what a plugin brings is entered before it is used, and left when the host closes.

A plugin may be an async context manager, and may have ``async def run(self, *, task_status)``, which runs meanwhile.
One task enters and leaves each, since trio's scopes want that; it is shielded, so that also a cancelled host leaves in
order what it entered. What a constructor asks of the services is what it needs: that is entered before it.

Invariant: a thing is entered once, whoever asks for it and however many do so at once; one that could not be entered is
tried again by the next who asks. All are left in reverse, each in a time of its own, and all of them in one. Durations
in seconds.
"""

from __future__ import annotations

import contextvars
import inspect
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from math import inf
from typing import Any, Final

import trio
from msgspec import Struct, field, structs

from llmspell_hookspecs import LlmspellError
from llmspell_hookspecs.errors import PluginError, text_of_error
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.plugin import Closing, PluginInfo

__all__ = ["Lifespans", "open_lifespans"]

_ENTERING_S: Final = 30.0
_LEAVING_S: Final = 5.0
_LEAVING_ALL_S: Final = 30.0
_log = logging.getLogger("llmspell.plugins")


class _Life(Struct, eq=False):
    """One time that something is entered, or tried.

    Attributes:
        settled: Set once it is entered, or could not be.
        error: Why it could not be entered.
        leave: Set when it is to be left.
        left: Set once that has happened.
        scope: Bounds how long it takes to enter and to leave.
    """

    settled: trio.Event = field(default_factory=trio.Event)
    error: Exception | None = None
    leave: trio.Event = field(default_factory=trio.Event)
    left: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=partial(trio.CancelScope, shield=True))


class _Held(Struct, eq=False):
    """One thing that has a lifespan, or needs what has one.

    Attributes:
        name: The plugin as people know it.
        needs: What has to be entered before it.
        life: Its life, once somebody has asked for it; None again when that is over.
    """

    name: str
    info: PluginInfo
    thing: Any
    needs: list[_Held]
    life: _Life | None = None

    @property
    def at_once(self) -> bool:
        """Whether it may be used before it is entered."""
        return isinstance(self.thing, Closing)

    @property
    def entered(self) -> bool:
        """Whether it is there to be used."""
        return self.life is not None and self.life.settled.is_set() and self.life.error is None


class Lifespans:
    """Everything that plugins of one host brought and that has to be entered.

    Args:
        nursery: Outlives everything that uses what is entered here; None where nothing is entered.

    Attributes:
        failed: Told of each plugin that could not be entered, or whose ``run`` failed, with the reason.
        closing: Whether nothing is entered any more.
        held: What has a lifespan, by its id; all else is open as it is.
    """

    def __init__(self, nursery: trio.Nursery | None) -> None:
        self.failed: Callable[[PluginInfo], None] = lambda info: None
        self._nursery = nursery
        self._context = contextvars.copy_context()
        self.held: dict[int, _Held] = {}
        self._order: list[_Held] = []
        self._collecting: list[list[_Held]] = []
        self.closing = False

    @contextmanager
    def collect(self) -> Iterator[list[_Held]]:
        """Yield a list of what the block, which constructs something, asks for and what is not open yet."""
        needs: list[_Held] = []
        self._collecting.append(needs)
        try:
            yield needs
        finally:
            self._collecting.pop()

    def keep(self, info: PluginInfo, thing: Any, needs: list[_Held], word: str = "plugin") -> None:
        """Take over what was constructed, to be entered with what it needs when it is first used."""
        if needs or _is_context(thing) or _task_of(thing) is not None:
            self.held.setdefault(id(thing), _Held(f"{word} {info.name}", info, thing, needs))

    def is_open(self, thing: Any) -> bool:
        """Return whether something may be used as it is."""
        held = self.held.get(id(thing))
        return held is None or held.entered or (held.at_once and not held.needs)

    def ask(self, thing: Any) -> bool:
        """Return whether something may be handed out: it is open, or a constructor asks for it."""
        held = self.held.get(id(thing))
        if held is not None and held.life is None and held.at_once and not self.closing:
            self._begin(held)
        if not self.is_open(thing):
            if not self._collecting:
                return False
            self._collecting[-1].append(self.held[id(thing)])
        return True

    async def enter(self, thing: Any) -> None:
        """Enter something and what it needs, or wait until somebody else has.

        Raises:
            PluginError: It could not be entered, or what it needs could not.
            LlmspellError: Its own reason why it could not be entered.
        """
        held = self.held.get(id(thing))
        await self.enter_all(() if held is None else (held,))

    async def enter_all(self, needs: Iterable[_Held]) -> None:
        """Enter what something needs that is not kept itself; raises as `enter` does."""
        for held in (each for each in needs if not each.entered):
            if held.life is None and (self.closing or self._nursery is None):
                raise _too_late(held)
            life = held.life or self._begin(held)
            await life.settled.wait()
            if life.error is not None:
                raise life.error

    def _begin(self, held: _Held) -> _Life:
        life = held.life = _Life()
        if self._nursery is not None:  # it outlives the operation that asked for it, and is no part of that
            self._context.copy().run(partial(self._nursery.start_soon, self._live, held, life, name=held.name))
        return life

    async def close(self, keeping: str = "") -> None:
        """Leave what was entered, the last one first.

        A service that is there at once and needs nothing is left at the very end: who has it may have been entered
        before it was first asked for, as a kind is, and uses it until it is left itself.

        Args:
            keeping: The entry point group of what is left by the next call only.
        """
        self.closing = not keeping
        order = self._order[::-1]
        last = [each for each in order if each.at_once and not each.needs and each.info.group == "llmspell.services"]
        first = [each for each in order if each not in last and each.info.group != keeping]
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _LEAVING_ALL_S):
            for held in first if keeping else [*first, *last]:
                if held.life is not None:
                    await self._end(held.life)

    async def leave(self, thing: Any) -> None:
        """Leave something before the host closes, and let go of it; what leaves already, or was not entered, may."""
        held = self.held.pop(id(thing), None)
        if held is not None and held.life is not None and not held.life.leave.is_set():
            await self._end(held.life)

    async def _end(self, life: _Life) -> None:
        life.leave.set()
        if not life.settled.is_set():
            life.scope.cancel()
        life.scope.deadline = min(life.scope.deadline, trio.current_time() + _LEAVING_S)
        try:
            await life.left.wait()
        finally:
            if not life.left.is_set():  # there is no more time: it ends where it first waits
                life.scope.cancel()
                with trio.CancelScope(shield=True):
                    await life.left.wait()

    async def _live(self, held: _Held, life: _Life) -> None:
        """Enter a thing, wait, and leave it."""
        try:
            with Blamed(partial(_failed, held), spares=LlmspellError):
                await self.enter_all(held.needs)
                self._order.append(held)
                await self._within(held, life)
        except Exception as error:
            if not life.leave.is_set():
                self.failed(structs.replace(held.info, error=text_of_error(error)))
            elif life.settled.is_set():
                _log.warning("%s", text_of_error(error))
            life.error = error
        finally:
            if held in self._order:
                self._order.remove(held)
            held.life = None  # the next who asks tries again
            if life.settled.is_set():
                self._leave_those_who_need(held)
            life.settled.set()
            life.left.set()

    def _leave_those_who_need(self, held: _Held) -> None:
        """Leave what still uses a thing that failed: the next who asks enters both again, in order."""
        for each in self.held.values():
            if held in each.needs and each.entered and each.life is not None and self._nursery is not None:
                self._nursery.start_soon(self._end, each.life)

    async def _within(self, held: _Held, life: _Life) -> None:
        task = _task_of(held.thing)
        opened = held.thing if _is_context(held.thing) else nullcontext()
        life.scope.deadline = trio.current_time() + _ENTERING_S
        failure = None
        with life.scope:
            async with opened:
                try:
                    async with trio.open_nursery() as nursery:
                        if task is not None:
                            await nursery.start(partial(_run, task))
                        if not life.leave.is_set():
                            life.scope.deadline = inf
                            life.settled.set()
                            await life.leave.wait()
                        nursery.cancel_scope.cancel()
                finally:  # its task may have failed while nobody wants it to leave
                    failure = None if life.leave.is_set() else sys.exception()
                    life.scope.deadline = min(life.scope.deadline, trio.current_time() + _LEAVING_S)
        if life.leave.is_set() and not life.settled.is_set():
            raise _too_late(held)
        if life.scope.cancelled_caught:
            what, most = ("close", _LEAVING_S) if life.settled.is_set() else ("open", _ENTERING_S)
            before = f"it failed while it ran: {text_of(_single(failure))}, and " if failure and held.entered else ""
            message = f"{held.name}: {before}it took more than {most:g} s to {what}; repair it, or disable it"
            raise PluginError(message, plugin=held.info.name) from failure


async def _run(task: Callable[..., Any], *, task_status: trio.TaskStatus[None]) -> None:
    if inspect.signature(task).parameters:
        await task(task_status=task_status)
    else:  # it does not say when it is ready: it is at once
        task_status.started()
        await task()


def _too_late(held: _Held) -> PluginError:
    return PluginError(f"{held.name}: the host closes; use it while that is open", plugin=held.info.name)


def _failed(held: _Held, error: BaseException) -> PluginError:
    error = _single(error)
    what = "it failed while it ran" if held.entered else "it cannot be opened"
    if held.life is not None and held.life.leave.is_set():
        what = "it did not end in order"
    return PluginError(f"{held.name}: {what}: {text_of(error)}; repair it, or disable it", plugin=held.info.name)


def _single(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _is_context(thing: Any) -> bool:
    """Whether it is an async context manager; what it makes on demand counts as nothing."""
    kind = type(thing)
    return all(inspect.getattr_static(kind, name, None) is not None for name in ("__aenter__", "__aexit__"))


def _task_of(thing: Any) -> Callable[..., Any] | None:
    """Return what runs meanwhile: a ``run`` that takes nothing, or ``task_status`` alone. A tool's takes parameters."""
    static = inspect.getattr_static(type(thing), "run", None)
    if not inspect.iscoroutinefunction(static) or inspect.isclass(thing):
        return None
    _, *parameters = inspect.signature(static).parameters.values()
    if any(parameter.name != "task_status" for parameter in parameters):
        return None
    task: Callable[..., Any] = thing.run
    return task


@asynccontextmanager
async def open_lifespans() -> AsyncIterator[Lifespans]:
    """Yield the lifespans of a host; what was entered is left when the block is."""
    async with trio.open_nursery() as nursery:
        lifespans = Lifespans(nursery)
        try:
            yield lifespans
        finally:
            await lifespans.close()
