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
from msgspec import Struct, structs

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
_COMPLETED: Final = Outcome("completed")
_current, _enter, _leave = CURRENT.get, CURRENT.set, CURRENT.reset
"""Bound once: Python 3.11 takes an imported name for a module, and would make a bound method at each call of one."""


def _no_cache() -> ResultCache:
    message = "service ResultCache: nothing offers it; run this within a host"
    raise ComponentNotFoundError(message, address="ResultCache")


class _Way(Struct):
    """An operation on the straight path, with all that the course needs if it is to go on there.

    Attributes:
        operation: What was asked for.
        frame: Where it stands among the running operations.
        chains: The hooks around it.
        generation: Of the runner's, as it began.
        asked: The call as it came, frozen if anybody is shown it.
        subject: The call as it runs.
        context: What hooks before it were given, if there are any.
        is_ready: Whether it is prepared.
        began_s: Since when it runs, on trio's clock; None if it has no deadline.
        ref: What is told of it, once somebody watches its body.
        elapsed_ns: How long the body took.
    """

    operation: Operation
    frame: Frame
    chains: Chains
    generation: object
    asked: Any
    subject: Any
    context: HookContext[Any] | None = None
    is_ready: bool = False
    began_s: float | None = None
    ref: OperationRef | None = None
    elapsed_ns: int = 0


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
        tap, watch, stand_in: Join those who are; see the contract's `Operations`.
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
        self.tap, self.watch = partial(self._join, "taps"), partial(self._join, "watches")
        self.stand_in = partial(self._join, "stand_ins")
        self._nursery = nursery
        self.numbers = itertools.count(1)
        self._turn = _TURNS
        self._baggage: Mapping[str, str] = MappingProxyType({})
        self._kept: dict[OperationKind, dict[str, Chains]] = {}
        self.limit(limits)
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
            frame = Frame(self, None, component, hops, operation.language or "python", 0, (), 0, None, self._baggage)
        else:
            frame = self._within(around, component, hops, operation.language, apart=operation.apart)
            hops = frame.hops
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
        subject, top = operation.subject, frame.top
        if top is not None:
            if top.running >= self._descendants:
                raise self._crowded(frame)
            top.running += 1
        token = _enter(frame)
        limit_s, prepare = operation.deadline_s, operation.prepare
        try:
            if chains is NO_CHAINS and limit_s is None and prepare is None and not self._measured:
                failure: BaseException | None = None  # the straight path at its shortest: nobody is asked or told
                value: Any = None
                try:
                    if operation.started is not None:
                        operation.started()
                    value = await operation.body(subject)
                    if not (kind.to_result is same or type(value) is kind.result):
                        value = kind.to_result(value)
                    if self.as_of is generation or not self._is_awaited(operation):
                        return value
                except BaseException as error:
                    failure = error
                way = _Way(operation, frame, chains, generation, subject, subject)
                return await self._go_on_after(way, value, failure)
            if chains.on_record:
                frame.subject = subject
            if (
                chains.straight
                and (
                    (prepare is None and operation.leave is None)
                    or (operation.ready is not None and operation.as_of is generation)
                )
                and (limit_s is None or (limit_s > 0 and not chains.waits))
                and not self._measured
            ):
                return await self._go_straight(_Way(operation, frame, chains, generation, subject, subject))
            return await run(Course(self, operation, frame, chains, generation))
        finally:
            _leave(token)
            if top is not None:
                top.running -= 1

    def _within(
        self, around: Frame, component: ComponentRef, hops: int = 0, language: str = "", *, apart: bool = False
    ) -> Frame:
        """Return the frame of what runs within an operation, which may be another host's."""
        nested = around.nested + 1
        hops = hops or around.hops  # else each redirected one could have what it calls redirected as often again
        if around.owner is not self:
            frame = Frame(self, None, component, hops, language or "python", 0, (), nested, None, self._baggage)
        else:
            scopes, language, top = () if apart else around.scopes, language or around.language, around.top or around
            frame = Frame(
                self, around, component, hops, language, around.depth + 1, scopes, nested, top, around.baggage
            )
        if nested > self._depth or (nested >= _SHALLOW and _is_deep()):
            raise self._refused(frame)
        return frame

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

    async def _go_straight(self, way: _Way) -> Any:
        """Run an operation that only transforms and guards stand before, and whose end only sync observers watch.

        Whatever answers anything, fails or is cancelled goes on in the full course from here, and so does what finds
        that others came meanwhile: this is the same course for the case that nothing happens on it. Who keeps a journal
        is one more observer, for whom the chains were compiled anew.
        """
        operation, frame, chains, generation = way.operation, way.frame, way.chains, way.generation
        kind = operation.kind
        if operation.deadline_s is not None:
            way.began_s = trio.current_time()
        rest: Coroutine[Any, Any, Any] | None = None
        if chains.before is not None:
            rest = await self._approve(way, chains.before)
        elif chains is not NO_CHAINS or operation.ready is not None:
            rest = self._prepare(way)
        if rest is not None:
            return await rest
        # Run: from here on the body may have begun, so all that ends it has an outcome to settle.
        started_ns = perf_counter_ns()
        value = shown = NOTHING
        settled: Sequence[Callable[[Any, BaseException | None], object]] = ()
        failure: BaseException | None = None
        try:
            if operation.started is not None:
                operation.started()
            if chains.on_record:
                way.ref = frame.ref() if way.context is None else way.context.operation
                settled = watched(self, kind, way.ref, way.subject)
            running = (operation.quick or operation.body)(way.subject)
            if operation.quick is not None and type(running) is not CoroutineType:
                value = running  # it did not wait, so nothing could have stopped it: a scope would cost 5 us
            elif way.began_s is None:
                value = await running
            else:
                frame.limit = trio.CancelScope(deadline=way.began_s + operation.deadline_s)  # type: ignore[operator]
                with frame.limit:
                    value = await running
            if value is not NOTHING:
                if not (kind.to_result is same or type(value) is kind.result):
                    value = kind.to_result(value)
                if chains.on_record or (chains.after is not None and self.as_of is generation):
                    way.elapsed_ns = perf_counter_ns() - started_ns
                    try:
                        shown = freeze_fields(value, frame, "result", LARGEST if kind.sync else FEW)
                        value = thaw_fields(shown)
                    except TooManyItemsError:
                        shown = await frozen(value, frame, "result")
                        value = await beside(shown, thaw_fields, shown)
                else:
                    if chains is not NO_CHAINS or operation.ready not in _AS_IT_IS:
                        try:
                            value = renew(value, frame, "result", LARGEST if kind.sync else FEW)
                        except TooManyItemsError:
                            value = await renewed(value, frame, "result")
                    if self.as_of is generation or not self._is_awaited(operation):
                        return value
        except BaseException as error:
            failure = error
        # Settle and end: here if all went well and nobody came meanwhile, else in the full course.
        if failure is None and shown is not NOTHING and (self.as_of is generation or not self._is_awaited(operation)):
            for each in settled:
                each(shown, None)
            if chains.after is not None and self.as_of is generation:
                await self._tell_end(way, chains.after, shown)
            if chains.on_record:
                tell_taps(self, operation, frame, way.ref, way.subject, shown, way.elapsed_ns)
            return value
        way.elapsed_ns = perf_counter_ns() - started_ns
        return await self._go_on_after(way, value if shown is NOTHING else shown, failure, settled)

    def _prepare(self, way: _Way) -> Coroutine[Any, Any, Any] | None:
        """Prepare on the straight path where nobody is asked; returns what goes on in the full course, if it must."""
        operation, chains = way.operation, way.chains
        try:
            if operation.show is None and chains is not NO_CHAINS:
                most = LARGEST if operation.kind.sync else FEW
                way.asked = way.subject = freeze_fields(operation.subject, way.frame, "input", most)
            if operation.ready is not None:
                _make_ready(way, operation.ready)
        except TooManyItemsError:
            return run(Course(self, operation, way.frame, chains, way.generation, way.began_s))
        except BaseException as error:
            return self._leave(way, None, None, error, judged=False)
        return None

    async def _approve(self, way: _Way, chain: Chain) -> Coroutine[Any, Any, Any] | None:
        """Propose, prepare and approve on the straight path; returns what goes on in the full course, if it must."""
        operation, frame, generation = way.operation, way.frame, way.generation
        answered = verdict = context = failure = None
        judged = too_many = False
        try:
            most = LARGEST if operation.kind.sync else FEW
            way.asked = way.subject = subject = freeze_fields(operation.subject, frame, "input", most)
            context = HookContext(chain.name, subject, frame.component, frame.ref(), Metadata(), frame.language)
            way.context = context
            if chain.waits:
                answered = await advance_waiting(chain.transforms, 0, context)
            elif chain.transforms:
                answered = advance(chain.transforms, 0, context)
            if answered is None and operation.ready is not None and self.as_of is generation:
                _make_ready(way, operation.ready)
            if answered is None and chain.guards and self.as_of is generation:
                if way.subject is not subject:
                    context = structs.replace(context, subject=way.subject)
                judged = True
                verdict = await judge(chain.guards, context)
        except TooManyItemsError:
            if context is None:  # nobody has been asked about it yet
                return run(Course(self, operation, frame, way.chains, generation, way.began_s))
            too_many = True
        except BaseException as error:
            failure = error
        if answered or verdict or too_many or failure is not None or self.as_of is not generation:
            return self._leave(way, answered, verdict, failure, judged=judged)
        return await self._tell_before(way, chain) if chain.observers else None

    async def _leave(
        self, way: _Way, answered: Any, verdict: Any, failure: BaseException | None, *, judged: bool
    ) -> Any:
        """Go on in the full course before the body has begun, with what a hook answered or what went wrong."""
        course = await self._go_on(way)
        if verdict is not None:
            course.keep_answer(verdict[0], verdict[1], way.subject)
            failure = course.cancel(verdict[0], verdict[1], way.subject, verdict[2])
        return await go_on(course, decide, rest_before(course, answered, failure, ready=way.is_ready, judged=judged))

    async def _tell_before(self, way: _Way, chain: Chain) -> Coroutine[Any, Any, Any] | None:
        """Tell the observers before it; returns what goes on in the full course, if it must."""
        interrupt: BaseException | None = None
        try:
            context: Any = way.context
            context = structs.replace(context, subject=way.subject, outcome=Outcome())
            await observe(chain.observers, context)
        except BaseException as error:  # a cancellation, or the user's own Ctrl-C: observers let nothing else leave
            interrupt = error
        if interrupt is None and self.as_of is way.generation:
            return None
        course = await self._go_on(way)  # an observer may have brought a wrap
        return go_on(course, run_told, None) if interrupt is None else go_on(course, lose, interrupt)

    async def _tell_end(self, way: _Way, chain: Chain, shown: Any) -> None:
        """Tell the observers at the end of the straight path."""
        operation, frame, before = way.operation, way.frame, way.context
        if before is None:
            subject = way.subject if operation.show is None else operation.show()
            ref, metadata = way.ref or frame.ref(), Metadata()
        else:
            subject, ref, metadata = way.subject, before.operation, before.metadata
        of, elapsed_ns = frame.component, way.elapsed_ns
        last = HookContext(chain.name, shown, of, ref, metadata, frame.language, subject, elapsed_ns, _COMPLETED)
        await observe(chain.observers, last)

    def _is_awaited(self, operation: Operation) -> bool:
        """Whether anybody is to be asked or told now that the body of an operation on the straight path has ended."""
        after = self.chains(operation.kind, operation.component.name).after
        return operation.release is not None or operation.leave is not None or after is not None

    async def _go_on_after(
        self,
        way: _Way,
        value: Any,
        failure: BaseException | None,
        settled: Sequence[Callable[[Any, BaseException | None], object]] = (),
    ) -> Any:
        """Settle and end in the full course what the body yielded, or what it raised or was cut off by."""
        scope = way.frame.limit
        course = await self._go_on(way)
        course.elapsed_ns = way.elapsed_ns
        if scope is not None and isinstance(failure, Exception) and scope.cancel_called:
            failure = course.deadline.instead_of(failure)
        if failure is None and value is NOTHING:
            failure = course.deadline.error()
        for each in settled:
            each(value if failure is None else None, failure)
        return await go_on_after(course, value, failure)

    async def _go_on(self, way: _Way) -> Course:
        """Return the course that goes on from here."""
        operation, subject = way.operation, way.subject
        course = Course(self, operation, way.frame, way.chains, way.generation, way.began_s)
        with trio.CancelScope(shield=True):  # those who are told of a cancellation are shown what was cancelled
            course.offered = course.proposed = course.subject = await _shown(course, way.asked)
            if way.is_ready and operation.show is not None:
                subject = operation.show()
            if subject is not way.asked:
                course.subject = await _shown(course, subject)
        if way.context is not None:
            course.follow(way.context)
        return course

    def chains(self, kind: OperationKind, component: str) -> Chains:
        """Return who stands around operations of this kind of a component, and who listens."""
        try:
            return self._kept[kind][component]
        except KeyError:
            return self._compile(kind, component)

    def look_again(self) -> None:
        """Look anew, at the next operation of each kind, who stands around it and who listens or keeps a journal."""
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

    def _join(self, row: str, function: Callable[..., Any]) -> Callable[[], None]:
        each = partial(function)  # so that the same function may stand there twice

        def leave() -> None:
            setattr(self, row, tuple(one for one in getattr(self, row) if one is not each))
            self._look_closer()

        setattr(self, row, (*getattr(self, row), each))
        self._look_closer()
        return leave

    def _look_closer(self) -> None:
        limits = self.limits
        self._measured = bool(limits.slow_ms is not None or limits.operation_time_s is not None or self.stand_ins)
        self.look_again()

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
        chain = self.chains(kind, component).after
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

    def _compile(self, kind: OperationKind, component: str) -> Chains:
        if sum(map(len, list(self._kept.values()))) >= _CHAINS:
            self._kept.clear()
        kept = self._kept.setdefault(kind, {})  # before the hooks are read: a change from here on throws it away
        points = (kind.before, kind.around, kind.after, kind.error)
        before, around, after, error = (self.registry.chain(point, component) if point else None for point in points)
        heard = is_heard(self.events, kind)
        straight = around is None and not heard and not (before and before.scripts) and _only_watches(after)
        waits = before is not None and any(hook.awaits for hook in before.hooks)
        chains = Chains(before, around, after, error, heard, straight, waits, bool(self.taps or self.watches))
        compiled = kept[component] = NO_CHAINS if chains == NO_CHAINS else chains
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
        if around is None:
            asking = Frame(self, None, component, 0, "python", 0, (), 0, None, self._baggage)
        else:
            asking = self._within(around, component)
        frame = around if around is not None and around.owner is self else asking
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


def _make_ready(way: _Way, ready: Callable[[Any], Any]) -> None:
    """Prepare an operation at once."""
    operation, chains, subject = way.operation, way.chains, ready(way.subject)
    if operation.show is None:
        if chains is not NO_CHAINS:
            subject = freeze_fields(subject, way.frame, "input", FEW)
    elif way.context is not None or chains.on_record:
        subject = operation.show()
    way.subject, way.is_ready = subject, True


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
