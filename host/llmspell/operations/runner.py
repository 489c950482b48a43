"""The runner: the only place that runs operations.

Invariant: an operation without hooks costs two look-ups and a frame, then its body. Everything else goes through
`steps`. Nothing runs while a required plugin is missing. What is kept of a kind's chains lies in a dict of that
kind's own, which every change at one of its points throws away: what was compiled meanwhile goes with it.

It is longer than most because the straight path stands here, beside the course of which it is the short form.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from time import perf_counter_ns
from types import CoroutineType, MappingProxyType
from typing import Any, Final

import trio
from msgspec import structs

from llmspell.hooks import Chain, HookRegistry, advance, advance_waiting, judge, observe
from llmspell_hookspecs import Events, HookContext, InvalidInputError
from llmspell_hookspecs.bounds import FEW, LARGEST, TooManyItemsError
from llmspell_hookspecs.context import ComponentRef, Metadata, OperationRef, Outcome
from llmspell_hookspecs.errors import (
    ComponentNotFoundError,
    DepthLimitError,
    OperationError,
    PluginRequiredError,
    ResourceLimitError,
    text_of_error,
)
from llmspell_hookspecs.fit import freeze_fields, renew, thaw_fields, without_refused
from llmspell_hookspecs.operation import (
    BodyWatch,
    Ended,
    EndedOperation,
    Operation,
    OperationKind,
    RunningBody,
    StandIn,
    same,
)
from llmspell_hookspecs.result_store import ResultCache
from llmspell_hookspecs.tally import Tally
from llmspell_hookspecs.trace import Tracer

from .asking import ask_chain
from .beside import beside, frozen, renewed
from .correlation import CURRENT, Frame, RunnerLimits
from .course import NO_CHAINS, NOTHING, Chains, Course
from .steps import decide, go_on, go_on_after, is_heard, lose, rest_before, run, run_told, tell_taps, watched
from .together import Forks, Together

__all__ = ["Runner"]

_log = logging.getLogger("llmspell.operations")

_CHAINS: Final = 1024
_PROBLEMS: Final = 1000
_TURNS: Final = 64
"""After how many operations others have their turn."""
_SHALLOW: Final = 4
_ROOM: Final = 250
"""How many frames one operation needs at most, with its hooks and what tells of its failure."""
_AS_IT_IS: Final = (None, same)
"""Where nothing is prepared, and nobody is shown the result, it leaves as the body made it."""
_current, _enter, _leave = CURRENT.get, CURRENT.set, CURRENT.reset
"""Bound once: Python 3.11 takes an imported name for a module, and would make a bound method at each call of one."""


def _no_cache() -> ResultCache:
    message = "service ResultCache: nothing offers it; run this within a host"
    raise ComponentNotFoundError(message, address="ResultCache")


class Runner:
    """Runs operations; implements the contract's `Operations`.

    Args:
        registry: The hooks.
        limits: How far operations may go.
        nursery: The host's; forks run in it.
        call: Runs whatever has an address.
        tracer: Records what hooks do, if given.

    Attributes:
        prefix: Of the ids of operations.
        numbers: What follows it.
        as_of: Another object after every change of who stands at the points or listens, and of settings.
        refusal: Why no operation may run; empty if they may.
        results: Returns what keeps what hooks ask to keep.
        problems: What hooks answered wrongly where nobody could be told: outside operations, and as one ended badly.
        taps: Called with each operation as it ends.
        watches: Called as each body begins.
        stand_ins: Asked for what each body yields, the last one first.
        events: Where operations are told of; None for nowhere.
        running: Return the operation that runs, which costs less than `current`; asked within one only.
    """

    def __init__(
        self,
        registry: HookRegistry,
        limits: RunnerLimits,
        nursery: trio.Nursery,
        call: Callable[..., Awaitable[Any]],
        tracer: Tracer | None = None,
    ) -> None:
        self.registry = registry
        self.call = call
        self.tracer = tracer
        self.prefix = secrets.token_hex(4)
        self.refusal = ""
        self._closed = False
        self.results: Callable[[], ResultCache] = _no_cache
        self.problems: deque[Exception] = deque(maxlen=_PROBLEMS)
        self._tally = Tally(_log, "hooks: they answered wrongly, or failed, where nobody could be told,")
        self.events: Events | None = None
        self.running: Callable[[], Any] = CURRENT.get
        self.taps: tuple[Callable[[EndedOperation], None], ...] = ()
        self.watches: tuple[BodyWatch, ...] = ()
        self.stand_ins: tuple[StandIn, ...] = ()
        self._nursery = nursery
        self.numbers = itertools.count(1)
        self.limit(limits)
        self._turn = _TURNS
        self._baggage: Mapping[str, str] = MappingProxyType({})
        self._kept: dict[OperationKind, dict[str, Chains | None]] = {}
        registry.on_change.append(self._changed)

    async def execute(self, operation: Operation, /) -> Any:
        """Run an operation and return its result.

        Raises:
            OperationCancelledError: A hook cancelled it.
            OperationTimeoutError: Its deadline passed.
            DepthLimitError: It is nested too deeply, or was redirected too often.
            PluginRequiredError: A required plugin is missing.
            OperationError: The host is closed.
            Exception: Whatever its body raised, if no hook recovered it.
        """
        kind, component, hops = operation.kind, operation.component, operation.hops
        self._turn -= 1
        if self._turn <= 0 and not kind.sync:
            self._turn = _TURNS
            await trio.lowlevel.checkpoint()
        around = _current()
        if around is None:
            frame = Frame(self, None, component, hops, operation.language or "python")
            frame.baggage = self._baggage
        else:
            nested = around.nested + 1
            hops = hops or around.hops  # else each redirected one could have what it calls redirected as often again
            if around.owner is not self:
                frame = Frame(self, None, component, hops, operation.language or "python", 0, (), nested)
                frame.baggage = self._baggage
            else:
                scopes = () if operation.apart else around.scopes
                language = operation.language or around.language
                top = around.top or around
                frame = Frame(self, around, component, hops, language, around.depth + 1, scopes, nested, top)
                frame.baggage = around.baggage
                if top.running >= self._descendants:
                    raise self._crowded(frame)
            if nested > self._depth or (nested >= _SHALLOW and _is_deep()):
                raise self._refused(frame)
        if operation.baggage:
            frame.baggage = _carried(frame.address, frame.baggage, operation.baggage)
        if operation.scope:
            frame.scopes = (*frame.scopes, operation.scope)
        if self.refusal or (hops and hops > self._hops):
            raise self._refused(frame)
        generation = self.as_of
        try:
            chains = self._kept[kind][component.name]
        except KeyError:
            chains = self._compile(kind, component.name)
        token = _enter(frame)
        if frame.top is not None:
            frame.top.running += 1
        limit_s = operation.deadline_s
        try:
            if chains is None and limit_s is None and operation.prepare is None and not (self._measured or self.taps):
                failure: BaseException | None = None  # the straight path at its shortest: nobody is asked or told
                value: Any = None
                try:
                    if operation.started is not None:
                        operation.started()
                    value = await operation.body(operation.subject)
                    if not (kind.to_result is same or type(value) is kind.result):
                        value = kind.to_result(value)
                    if self.as_of is generation or not self._is_awaited(operation):
                        return value
                except BaseException as error:
                    failure = error
                subject = operation.subject
                course = await self._go_on(operation, frame, NO_CHAINS, generation, None, subject, subject, None, False)
                return await go_on_after(course, value, failure)
            if self.taps:
                frame.subject = operation.subject
            if (
                (chains is None or chains.straight)
                and (operation.prepare is None or (operation.ready is not None and operation.as_of is generation))
                and (operation.leave is None or (operation.ready is not None and operation.as_of is generation))
                and (limit_s is None or (limit_s > 0 and (chains is None or not chains.waits)))
                and not self._measured
            ):
                return await self._go_straight(operation, frame, chains or NO_CHAINS, generation)
            return await run(Course(self, operation, frame, chains or NO_CHAINS, generation))
        finally:
            _leave(token)
            if frame.top is not None:
                frame.top.running -= 1

    def run(
        self,
        kind: OperationKind,
        component: ComponentRef,
        subject: Any,
        body: Callable[[Any], Awaitable[Any]],
        /,
        *,
        repeatable: bool = False,
        deadline_s: float | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Run an operation of a service's own and return its result; see the contract's `Operations`."""
        return self.execute(Operation(kind, component, subject, body, None, None, deadline_s, repeatable))

    def prepare(
        self,
        kind: OperationKind,
        component: ComponentRef,
        subject: Any,
        body: Callable[[Any], Awaitable[Any]],
        /,
        *,
        repeatable: bool = False,
        deadline_s: float | None = None,
    ) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Return a function that runs it anew at each call; see the contract's `Operations`."""
        operation = Operation(kind, component, subject, body, None, None, deadline_s, repeatable)
        return partial(self.execute, operation)

    async def _go_straight(self, operation: Operation, frame: Frame, chains: Chains, generation: object) -> Any:
        """Run an operation that only transforms and guards stand before, and whose end only sync observers watch.

        Whatever answers anything, fails or is cancelled goes on in the full course from here, and so does what finds
        that others came meanwhile: this is the same course for the case that nothing happens on it. It is one function
        because each part in one of its own would cost what this path is there to save; only what is rare is elsewhere.
        """
        kind, chain, subject = operation.kind, chains.before, operation.subject
        began_s = None if operation.deadline_s is None else trio.current_time()
        context: HookContext[Any] | None = None
        asked: Any = subject
        answered = verdict = None
        taps = self.taps
        is_ready = judged = too_many = False
        failure: BaseException | None = None
        try:  # propose, prepare and approve
            if chain is not None or (operation.show is None and (taps or chains is not NO_CHAINS)):
                asked = subject = freeze_fields(subject, frame, "input", LARGEST if kind.sync else FEW)
            if chain is not None:
                context = HookContext(chain.name, subject, frame.component, frame.ref(), Metadata(), frame.language)
                if chain.waits:
                    answered = await advance_waiting(chain.transforms, 0, context)
                else:
                    answered = advance(chain.transforms, 0, context)
            if answered is None and operation.ready is not None and self.as_of is generation:
                subject = operation.ready(subject)
                if operation.show is None:
                    if taps or chains is not NO_CHAINS:
                        subject = freeze_fields(subject, frame, "input", FEW)
                elif context is not None or taps:
                    subject = operation.show()
                is_ready = True
            if answered is None and chain is not None and chain.guards and self.as_of is generation:
                if subject is not asked and context is not None:
                    context = structs.replace(context, subject=subject)
                judged = True
                verdict = await judge(chain.guards, context)  # type: ignore[arg-type]
        except TooManyItemsError:
            if context is None:  # nobody has been asked about it yet
                return await run(Course(self, operation, frame, chains, generation, began_s))
            too_many = True
        except BaseException as error:
            failure = error
        if (
            answered is not None
            or verdict is not None
            or failure is not None
            or too_many
            or self.as_of is not generation
        ):
            course = await self._go_on(operation, frame, chains, generation, began_s, asked, subject, context, is_ready)
            if verdict is not None:
                course.keep_answer(verdict[0], verdict[1], subject)
                failure = course.cancel(verdict[0], verdict[1], subject, verdict[2])
            rest = rest_before(course, answered, failure, ready=is_ready, judged=judged)
            return await go_on(course, decide, rest)
        if chain is not None and chain.observers and context is not None:
            interrupt: BaseException | None = None
            try:
                await observe(chain.observers, structs.replace(context, subject=subject, outcome=Outcome()))
            except BaseException as error:  # a cancellation, or the user's own Ctrl-C: observers let nothing else leave
                interrupt = error
            if interrupt is not None or self.as_of is not generation:  # an observer may have brought a wrap
                course = await self._go_on(
                    operation, frame, chains, generation, began_s, asked, subject, context, is_ready
                )
                return await (go_on(course, run_told, None) if interrupt is None else go_on(course, lose, interrupt))
        # Run: from here on the body may have begun, so all that ends it has an outcome to settle.
        started_ns = perf_counter_ns()
        value: Any = NOTHING
        shown: Any = NOTHING
        seen: Any = NOTHING
        ref: Any = None
        settled: list[Callable[[Any, BaseException | None], object]] = []
        elapsed_ns = 0
        limit: trio.CancelScope | None = None
        try:
            if operation.started is not None:
                operation.started()
            if taps:
                ref = frame.ref() if context is None else context.operation
                settled = watched(self, kind, ref, subject)
            running = (operation.quick or operation.body)(subject)
            if operation.quick is not None and type(running) is not CoroutineType:
                value = running  # it did not wait, so nothing could have stopped it: a scope would cost 5 us
            elif began_s is None:
                value = await running
            else:
                limit = frame.limit = trio.CancelScope(deadline=began_s + operation.deadline_s)  # type: ignore[operator]
                with limit:
                    value = await running
            if value is not NOTHING:
                if not (kind.to_result is same or type(value) is kind.result):
                    value = kind.to_result(value)
                fresh = chains is not NO_CHAINS or operation.ready not in _AS_IT_IS
                asks = chains.after is not None and self.as_of is generation
                if taps or asks:
                    elapsed_ns = perf_counter_ns() - started_ns
                    try:
                        seen = freeze_fields(value, frame, "result", LARGEST if kind.sync else FEW)
                        if not asks and fresh:
                            value = thaw_fields(seen)
                    except TooManyItemsError:
                        seen = await frozen(value, frame, "result")
                        if not asks and fresh:
                            value = await beside(seen, thaw_fields, seen)
                    if asks:
                        shown = seen
                elif fresh:
                    try:
                        value = renew(value, frame, "result", LARGEST if kind.sync else FEW)
                    except TooManyItemsError:
                        value = await renewed(value, frame, "result")
                if seen is NOTHING and (self.as_of is generation or not self._is_awaited(operation)):
                    return value
        except BaseException as error:
            failure = error
        # Settle and end: here if all went well and nobody came meanwhile, else in the full course.
        if failure is not None or value is not NOTHING:
            for each in settled:
                each(seen, failure)
        if shown is not NOTHING and failure is None and self.as_of is generation:
            await _tell_end(operation, frame, chains.after, subject, context, shown, elapsed_ns)
            if taps:
                tell_taps(self, operation, frame, ref, subject, shown, elapsed_ns)
            return await beside(shown, thaw_fields, shown)
        if (
            taps
            and seen is not NOTHING
            and failure is None
            and (self.as_of is generation or not self._is_awaited(operation))
        ):
            tell_taps(self, operation, frame, ref, subject, seen, elapsed_ns)
            return value
        elapsed_ns = perf_counter_ns() - started_ns
        course = await self._go_on(operation, frame, chains, generation, began_s, asked, subject, context, is_ready)
        course.elapsed_ns = elapsed_ns
        if limit is not None and isinstance(failure, Exception) and limit.cancel_called:
            failure = course.deadline.instead_of(failure)
        if failure is None and value is NOTHING:
            failure = course.deadline.error()
            for each in settled:
                each(None, failure)
        return await go_on_after(course, value, failure)

    def _is_awaited(self, operation: Operation) -> bool:
        """Whether anybody is to be asked or told now that the body of an operation on the straight path has ended."""
        chains = self.chains(operation.kind, operation.component.name)
        waits = operation.release is not None or operation.leave is not None
        return waits or (chains is not None and chains.after is not None)

    async def _go_on(
        self,
        operation: Operation,
        frame: Frame,
        chains: Chains,
        generation: object,
        began_s: float | None,
        asked: Any,
        subject: Any,
        context: HookContext[Any] | None,
        is_ready: bool,
    ) -> Course:
        """Return the course that goes on from here."""
        course = Course(self, operation, frame, chains, generation, began_s)
        with trio.CancelScope(shield=True):  # those who are told of a cancellation are shown what was cancelled
            course.offered = course.proposed = course.subject = await _shown(course, asked)
            if is_ready and operation.show is not None:
                subject = operation.show()
            if subject is not asked:
                course.subject = await _shown(course, subject)
        if context is not None:
            course.follow(context)
        return course

    def chains(self, kind: OperationKind, component: str) -> Chains | None:
        """Return who stands around operations of this kind of a component, and who listens; None for nobody."""
        try:
            return self._kept[kind][component]
        except KeyError:
            return self._compile(kind, component)

    def look_again(self) -> None:
        """Look anew, at the next operation of each kind, who stands around it and who listens to its events."""
        self._kept.clear()
        self.as_of = object()

    def _changed(self, point: str) -> None:
        """Look anew at the kinds around which this point stands; may be called by another thread."""
        for kind in list(self._kept):
            if point in (kind.before, kind.around, kind.after, kind.error):
                self._kept.pop(kind, None)
        self.as_of = object()  # last: whoever sees it sees the change

    def limit(self, limits: RunnerLimits) -> None:
        """Hold operations to these limits from now on."""
        self.limits = limits
        self.slow_ms = limits.slow_ms
        self._depth, self._hops, self._descendants = limits.depth, limits.hops, limits.descendants
        self._look_closer()

    def problem(self, error: Exception, /) -> None:
        """Keep and log an error that nobody is there to be told of; what came already is only counted."""
        self.problems.append(error)
        self._tally.tell(text_of_error(error))

    def tap(self, function: Callable[[EndedOperation], None], /) -> Callable[[], None]:
        """Call a function with each operation as it ends; see the contract's `Operations`."""

        def each(ended: EndedOperation) -> None:  # so that the same function may stand there twice
            function(ended)

        def leave() -> None:
            self.taps = tuple(tap for tap in self.taps if tap is not each)
            self._look_closer()

        self.taps = (*self.taps, each)
        self._look_closer()
        return leave

    def stand_in(self, function: StandIn, /) -> Callable[[], None]:
        """Ask a function for what each body yields; see the contract's `Operations`."""

        def each(running: RunningBody) -> Awaitable[Any]:
            return function(running)

        def leave() -> None:
            self.stand_ins = tuple(stand_in for stand_in in self.stand_ins if stand_in is not each)
            self._look_closer()

        self.stand_ins = (*self.stand_ins, each)
        self._look_closer()
        return leave

    def watch(self, function: BodyWatch, /) -> Callable[[], None]:
        """Call a function as each body begins and ends; see the contract's `Operations`."""

        def leave() -> None:
            self.watches = tuple(watch for watch in self.watches if watch is not function)
            self.as_of = object()

        self.watches = (*self.watches, function)
        self.as_of = object()
        return leave

    def _look_closer(self) -> None:
        limits = self.limits
        self._measured = bool(limits.slow_ms is not None or limits.operation_time_s is not None or self.stand_ins)
        self.as_of = object()

    def close(self) -> None:
        """Run nothing from now on."""
        self._tally.end()
        self._closed = True
        self.refusal = "the host is closed; use it within its block"

    def asks(self, points: Iterable[str], component: str, /) -> bool:
        """Return whether anybody stands at any of these points for a component."""
        chain = self.registry.chain
        for point in points:  # noqa: SIM110 - half of what any() costs, at every stage and event
            if chain(point, component):
                return True
        return False

    def settles(self, kind: OperationKind, component: str, /) -> bool:
        """Return whether anybody may change or withhold what an operation of this kind yields."""
        chains = self.chains(kind, component)
        chain = None if chains is None else chains.after
        return chain is not None and bool(chain.transforms or chain.guards or chain.scripts)

    def current(self) -> OperationRef:
        """Return the operation that runs."""
        frame = _current()
        if frame is None or frame.owner is not self:
            raise LookupError("no operation of this host runs here")
        return frame.ref()

    def carry(self, name: str, value: str, /) -> None:
        """Let what runs here, or else each that begins, carry a text from now on; see the contract's `Operations`."""
        frame = _current()
        if frame is not None and frame.owner is self:
            frame.baggage = _carried(frame.address, frame.baggage, {name: value})
        else:
            self._baggage = _carried("operations", self._baggage, {name: value})

    def reaches(self, scope: str, /) -> bool:
        """Return whether what runs here may reach something of a script's; see the contract's `Operations`."""
        frame = _current()
        scopes = () if frame is None or frame.owner is not self else frame.scopes
        return not scope or not scopes or scope in scopes

    def _compile(self, kind: OperationKind, component: str) -> Chains | None:
        if sum(map(len, list(self._kept.values()))) >= _CHAINS:
            self._kept.clear()
        kept = self._kept.setdefault(kind, {})  # before the hooks are read: a change from here on throws it away
        points = (kind.before, kind.around, kind.after, kind.error)
        before, around, after, error = (self.registry.chain(point, component) if point else None for point in points)
        heard = is_heard(self.events, kind)
        straight = around is None and not heard and not (before and before.scripts) and _only_watches(after)
        waits = before is not None and any(hook.awaits for hook in before.hooks)
        chains = Chains(before, around, after, error, heard, straight, waits)
        compiled = kept[component] = None if chains == NO_CHAINS else chains
        return compiled

    def _refused(self, frame: Frame) -> Exception:
        component, operation = frame.address, frame.id
        error: Exception
        if self._closed:
            error = OperationError(f"{component}: {self.refusal}", operation=operation, component=component)
        elif self.refusal:
            error = PluginRequiredError(f"{component}: {self.refusal}")
        else:
            what, limit = "nested", min(frame.nested - 1, self.limits.depth)  # or as deep as Python's stack carries
            culprit = "what calls itself, or a hook that matches its own call"
            if frame.hops > self.limits.hops:
                what, limit, culprit = "redirected", self.limits.hops, "a hook that redirects what it redirected"
            message = f"{component}: it is {what} more than {limit} times; look for {culprit}"
            error = DepthLimitError(message, operation=operation, component=component)
        _log.info("%s", error)
        return error

    def _crowded(self, frame: Frame) -> Exception:
        limit = self.limits.descendants
        message = f"{frame.address}: within its outermost operation {limit} others run, the most that"
        message += " limits.descendants allows; look for a hook that matches its own call, or do less at once"
        return ResourceLimitError(message, resource="descendants", limit=limit)

    def forks(self, frame: Frame) -> Forks:
        """Return room for the forks of an operation."""
        return Forks(self._nursery, self.call, frame, self.limits)

    async def ask(self, point: str, subject: Any, component: ComponentRef | None = None, /) -> Any:
        """Ask a check, decision or notice outside any operation, or beside the one that runs.

        Raises:
            OperationCancelledError: A hook cancelled.
            UnsupportedResultError: A hook answered what the point does not accept.
        """
        self._turn -= 1
        if self._turn <= 0:
            self._turn = _TURNS
            await trio.lowlevel.checkpoint()
        component = component or _HOST
        chain = self.registry.chain(point, component.name)
        if chain is None:
            return subject
        around = _current()
        nested = 0 if around is None else around.nested + 1
        around = around if around is not None and around.owner is self else None
        depth, language = (0, "python") if around is None else (around.depth + 1, around.language)
        scopes, top = ((), None) if around is None else (around.scopes, around.top or around)
        asking = Frame(self, around, component, 0, language, depth, scopes, nested, top)
        asking.baggage = self._baggage if around is None else around.baggage
        if nested > self.limits.depth or (nested >= _SHALLOW and _is_deep()):
            raise self._refused(asking)
        frame = around or asking
        context = HookContext(point, await frozen(subject), component, frame.ref(), Metadata(), frame.language)
        token = _enter(asking)
        try:
            scripts = chain.of_scripts(asking.scopes)
            answer = await ask_chain(chain, context, scripts=scripts, limit_s=self.limits.final_s)
            if answer.forks:
                forks = self.forks(asking)
                await forks.start(answer.forks)
                await forks.join(self.limits.final_s)
        finally:
            _leave(token)
        return await beside(answer.subject, thaw_fields, answer.subject)

    async def notify(self, point: str, subject: Any, component: ComponentRef | None = None, /) -> None:
        """Give a notice of the host's own; what hooks answer wrongly there is kept in ``problems``."""
        try:
            await self.ask(point, subject, component)
        except Exception as error:
            self.problem(error)

    async def together(
        self,
        calls: Sequence[Callable[[], Awaitable[Any]]],
        limit: int,
        /,
        *,
        stops: Callable[[Exception], bool] = lambda error: False,
    ) -> list[Ended]:
        """Run functions beside each other; see the contract's `Operations`."""
        frame = _current() or Frame(self, None, _HOST, 0, "python")
        return await Together(calls, stops, frame.root, self._nursery).run(limit)

    async def beside(self, value: Any, walk: Callable[..., Any], /, *arguments: Any) -> Any:
        """Call a function that walks a value, in a thread if it holds many items; see the contract's `Operations`."""
        self._turn -= 1
        if self._turn <= 0:
            self._turn = _TURNS
            await trio.lowlevel.checkpoint()
        return await beside(value, walk, *arguments)


def _carried(where: str, before: Mapping[str, str], more: Mapping[str, str]) -> Mapping[str, str]:
    """Return what an operation and all within it carry.

    Raises:
        InvalidInputError: It holds what is no text.
    """
    if not all(isinstance(part, str) for item in more.items() for part in item):
        raise InvalidInputError(f"{where}: its baggage holds what is no text; give texts", field="baggage")
    return MappingProxyType({name: text for name, text in {**before, **more}.items() if text})


async def _tell_end(
    operation: Operation,
    frame: Frame,
    chain: Chain | None,
    subject: Any,
    context: HookContext[Any] | None,
    shown: Any,
    elapsed_ns: int,
) -> None:
    """Tell the observers at the end of the straight path."""
    if chain is None:
        return
    if context is None:
        subject = subject if operation.show is None else operation.show()
        ref, metadata = frame.ref(), Metadata()
    else:
        ref, metadata = context.operation, context.metadata
    outcome = Outcome("completed")
    last = HookContext(chain.name, shown, frame.component, ref, metadata, frame.language, subject, elapsed_ns, outcome)
    await observe(chain.observers, last)


def _only_watches(chain: Chain | None) -> bool:
    """Whether nobody stands in a chain but observers that need not be awaited."""
    if chain is None:
        return True
    return not (chain.transforms or chain.guards or chain.scripts or any(hook.awaits for hook in chain.observers))


async def _shown(course: Course, subject: Any) -> Any:
    """Return a subject as hooks may see it, without what cannot be shown."""
    try:
        return await course.frozen(subject)
    except InvalidInputError:
        return without_refused(subject)


def _is_deep() -> bool:
    """Whether so little is left of Python's stack that one more operation might not find room to end in order."""
    try:
        sys._getframe(sys.getrecursionlimit() - _ROOM)
    except ValueError:
        return False
    return True


_HOST: Final = ComponentRef("system", "host")
