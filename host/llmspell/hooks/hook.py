"""A registered hook: the function, how it is called, and what has become of its calls.

Invariant: ``invoke`` is what chains call. It is the function itself wherever that is possible; a timeout, a thread or a
trace is put around it once, here, and never asked about per call.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from fnmatch import translate
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import trio

from llmspell_hookspecs import HookContext, HookKind
from llmspell_hookspecs.breaker import Breaker, BreakerProfile
from llmspell_hookspecs.errors import HookTimeoutError
from llmspell_hookspecs.marker import HookOptions
from llmspell_hookspecs.points import HookPoint
from llmspell_hookspecs.services import Appeal, HookInfo
from llmspell_hookspecs.signature import check_place, is_async, name_of
from llmspell_hookspecs.tally import Tally

if TYPE_CHECKING:
    from .registry import HookRegistry

__all__ = ["FOR_ALL", "BreakerTimer", "Hook"]

_log = logging.getLogger("llmspell.hooks")
FOR_ALL: Final = ("system", "plugin")
"""Topics whose notices reach the hooks of every script, whoever caused them."""
_BLOCKING_S: Final = 0.02
_PACE: Final = BreakerProfile(failures=1, slow_calls=3, slow_s=_BLOCKING_S, window_s=30, open_s=math.inf, successes=1)
"""When it is told that a sync hook holds up all others; a single call may have waited for the machine."""


class Hook:
    """One function at one point; keeps the contract's `HookHandle`.

    Attributes:
        invoke: What the chain calls with the context.
        awaits: Whether what it answers must be awaited.
        slow_s: From how long on `took` is to be told of a call.
        calls: How often it was called.
        failures: How often it failed.
        total_s: How long the calls took together; Python adds floats faster than nanoseconds.
        fits: Says of a component's name whether it is called there; None if it is for all. Made as it is registered:
            thousands of patterns would hold the loop for long when a chain is compiled.
        appeals: Asked about its Cancel, if it is a guard that wants a person asked.
        everywhere: Whether one of a script is asked about what others do, too.
        holder: The composite that asks it in place of the chain, if it is a transform of one.
        is_part: Whether it was registered with a composite, and goes with it.
        parts: Of a composite, what was registered with it.
        held: Of a composite, the transforms that it only names, in order.
        switched: Whether it is asked where nothing else was said of the session.
        sessions: Whether it is asked in these sessions.
    """

    def __init__(
        self,
        point: HookPoint,
        function: Callable[..., Any],
        options: HookOptions,
        *,
        sequence: int,
        plugin: str,
        language: str = "python",
        scope: str = "",
        registry: HookRegistry | None = None,
    ) -> None:
        self._registry = registry
        self.point = point
        self.function = function
        self.options = options
        self.sequence = sequence
        self.plugin = plugin
        self.language = language
        self.scope = scope
        self.name = options.name or name_of(function)
        self.id = f"{plugin}.{self.name}@{point.name}#{sequence}"
        self.enabled = True
        self.everywhere = point.topic in FOR_ALL
        self.breaker: Breaker | None = None
        self.pace: Breaker | None = None
        self.calls = 0
        self.failures = 0
        self.total_s = 0.0
        self.appeals: Sequence[Appeal] = ()
        self.fits = _fitting(point, options.match)
        self.tally: Tally | None = None
        self.holder: Hook | None = None
        self.is_part = False
        self.parts: list[Hook] = []
        self.held: list[Hook] = []
        self.switched = True
        self.sessions: dict[str, bool] = {}
        check_place(function, options, point, self.where, self.name)
        self.awaits = options.thread or is_async(function)
        self.invoke: Callable[[HookContext[Any]], Any] = function
        if options.thread:
            self.invoke = partial(trio.to_thread.run_sync, function, abandon_on_cancel=True)
        if options.timeout_s is not None:
            inner, limit_s = self.invoke, options.timeout_s
            self.invoke = lambda context: self.within(inner(context), limit_s, "; raise timeout_s, or do less")
        if options.quick is not None:
            self.invoke = _quickly(options.quick, self.invoke)
        self.slow_s = math.inf
        self.mind()

    @property
    def info(self) -> HookInfo:
        """What is known of it now."""
        return HookInfo(
            id=self.id,
            name=self.name,
            plugin=self.plugin,
            point=self.point.name,
            kind=self.options.kind.value,
            priority=self.options.priority,
            language=self.language,
            match=self.options.match,
            enabled=self.enabled and self.is_on,
            breaker=self.breaker.state if self.breaker else "none",
            tags=self.options.tags,
            calls=self.calls,
            failures=self.failures,
            total_ns=int(self.total_s * 1e9),
            scope=self.scope,
            within=f"{self.holder.plugin}.{self.holder.name}" if self.holder else "",
        )

    @property
    def is_on(self) -> bool:
        """Whether it is asked in any session."""
        return self.switched or True in self.sessions.values()

    @property
    def words(self) -> tuple[str, str, str]:
        """What settings, orders and composites may call it."""
        return self.name, self.plugin, f"{self.plugin}.{self.name}"

    @property
    def where(self) -> str:
        """How messages about it begin."""
        return f"hook {self.plugin}.{self.name} at {self.point.name}"

    def unregister(self) -> bool:
        """Take it out; False if it was out already."""
        return self._registry is not None and self._registry.remove(self)

    def enable(self, enabled: bool = True, /) -> None:
        """Call it, or call it no longer; of a composite all that came with it."""
        self.enabled = enabled
        if self._registry is not None:
            for part in self.parts:
                part.enabled = enabled and not self._registry.is_disabled(part)
            self._registry.changed(self.point.name)

    def reset_breaker(self) -> None:
        """Close its breaker by hand."""
        if self.breaker is not None:
            self.breaker.reset()

    def tell(self, problem: str) -> None:
        """Log a failure; of a script's hook, what it did already is only counted."""
        if self.scope:
            self.tally = self.tally or Tally(_log, f"{self.where}: it failed")
            self.tally.tell(f"{self.where}: {problem}")
        else:
            _log.warning("%s: %s", self.where, problem)

    def mind(self) -> None:
        """Set `slow_s`, as the breaker is now and as long as nothing was said of the time that it takes."""
        told = self.awaits or (self.pace is not None and self.pace.state == "open")
        breaker_s = math.inf if self.breaker is None else self.breaker.slow_s
        self.slow_s = breaker_s if told else min(breaker_s, _BLOCKING_S)

    def took(self, elapsed_s: float) -> None:
        """Count a call that took `slow_s` or longer."""
        if self.breaker is not None:
            self.breaker.took(elapsed_s)
        if elapsed_s >= _BLOCKING_S and not self.awaits:
            self.pace = self.pace or Breaker(_PACE, monotonic, lambda state: self._blocks())
            self.pace.took(elapsed_s)

    def _blocks(self) -> None:
        cause = "" if self.pace is None else self.pace.cause
        remedy = "do less in it" if self.point.sync_only else "make it async, or say thread=True"
        _log.warning("%s: it is a sync function and holds up everything else: %s; %s", self.where, cause, remedy)
        self.mind()

    def failed(self, error: BaseException | None = None) -> None:
        """Count a failure, and tell the breaker what it was."""
        self.failures += 1
        if self.breaker is not None:
            self.breaker.failed(error)

    def switch(self, on: bool | None, session: str) -> None:
        """Ask it from now on or no longer, in a session or for all; None takes back what was said."""
        if not session:
            self.switched = on is not False
        elif on is None:
            self.sessions.pop(session, None)
        else:
            if not self.sessions:
                self.invoke = _selected(self, self.invoke)
            self.sessions[session] = on

    def retire(self) -> None:
        """Call the function no longer, not even for operations whose chains still hold this hook.

        Only a guard still judges those: else a transform that takes it out would get its own operation past it.
        """
        if self.tally is not None:
            self.tally.end()
        if self.options.kind is HookKind.GUARD:
            return
        if self.options.kind is HookKind.WRAP:
            self.invoke = _encloses_nothing
        else:
            self.invoke = _goes_on_waiting if self.awaits else _goes_on

    async def within(self, answer: Awaitable[Any], limit_s: float, told: str) -> Any:
        """Wait for what it answers for so long at most."""
        with trio.move_on_after(limit_s):
            return await answer
        message = f"{self.where}: it took longer than {limit_s:g} s{told}"
        raise HookTimeoutError(message, hook=self.name, point=self.point.name)


def _quickly(quick: Callable[..., Any], inner: Callable[..., Any]) -> Callable[[HookContext[Any]], Any]:
    """Return an invocation that awaits a hook only where it cannot answer at once."""

    async def answered(context: HookContext[Any]) -> Any:
        answer = quick(context)
        return await inner(context) if answer is NotImplemented else answer

    return answered


def _selected(hook: Hook, inner: Callable[..., Any]) -> Callable[[HookContext[Any]], Any]:
    """Return an invocation that asks a hook in the sessions in which it is to be asked."""
    if isinstance(getattr(inner, "llmspell_inner", None), Hook):
        return inner
    off: Callable[..., Any] = _goes_on_waiting if hook.awaits else _goes_on
    if hook.options.kind is HookKind.WRAP:
        off = _encloses_nothing

    def selected(context: HookContext[Any]) -> Any:
        on = hook.sessions.get(context.operation.session_id, hook.switched)
        return inner(context) if on else off(context)

    setattr(selected, "llmspell_inner", hook)  # noqa: B010 - so that it is put around once
    return selected


def _fitting(point: HookPoint, match: str | None) -> Callable[[str], object] | None:
    if match is None:
        return None
    if point.topic == "event":  # a topic may be spelled with dots or colons
        match = match.replace(":", ".")
    return re.compile(translate(match)).match


def _goes_on(context: HookContext[Any]) -> None:
    return None


async def _goes_on_waiting(context: HookContext[Any]) -> None:
    return None


async def _encloses_nothing(context: HookContext[Any]) -> AsyncIterator[None]:
    yield


class BreakerTimer:
    """Brings hooks with an open breaker back, half open, when their time is up; one task of the host's nursery."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Breaker, int]] = []
        self._ties = itertools.count()
        self._news = trio.Event()

    def schedule(self, breaker: Breaker) -> None:
        """Probe this breaker when its ``open_s`` have passed."""
        heapq.heappush(self._due, (trio.current_time() + breaker.open_s, next(self._ties), breaker, breaker.openings))
        self._news.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            self._news = trio.Event()
            with trio.CancelScope(deadline=self._due[0][0] if self._due else math.inf):
                await self._news.wait()
            while self._due and self._due[0][0] <= trio.current_time():
                _, _, breaker, opening = heapq.heappop(self._due)
                if breaker.openings == opening:  # or it was reset meanwhile, and has a later date
                    breaker.probe()
