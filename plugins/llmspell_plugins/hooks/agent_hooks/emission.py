"""One asking of the interceptors at one point: who is asked, what became of it, and the record.

Invariant: each interceptor has a copy of its own of the context, and nothing that it does to it is seen. Whatever
fails is a denial with the reason that the contract has for it, and each emission leaves one record, a cancelled one
too. A sync interceptor runs in a worker thread, so that one that hangs holds up nobody but those who wait for it.
Durations in seconds, sizes in bytes. Source: AGENT-HOOKS-0.1, sections 6 to 10.
"""

from __future__ import annotations

import inspect
import json
import math
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import trio
from msgspec import Struct

from llmspell_hookspecs.errors import InvalidInputError, line_of_error
from llmspell_hookspecs.foreign import Blamed
from llmspell_hookspecs.values import thaw
from llmspell_plugins.json_text import is_small

from .approval import Resolution
from .composition import Settled, settle
from .configuration import Binding, Configuration, IdentityProvider
from .failure import FailedError, as_failure
from .target import PLACES, TransformError, transformed
from .verdict import ALLOW, Verdict, host_error, read_verdict, recorded, unite

__all__ = ["Emission", "Emitter"]

_THREADS: Final = 16


class Emission(Struct, frozen=True):
    """What became of an asking.

    Attributes:
        verdict: The one that counts.
        target: What the action is given, or what it has given.
        proceeds: Whether it goes on.
        record: What is kept of it.
    """

    verdict: Verdict
    target: Any
    proceeds: bool
    record: Mapping[str, Any]


class Emitter:
    """Asks interceptors.

    Args:
        configuration: Whom, and how.

    Attributes:
        configuration: The same.
        records: What is kept of the last emissions, in order.
        dropped: How many records had to go.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.records: deque[Mapping[str, Any]] = deque(maxlen=configuration.most_records)
        self.dropped = 0
        self._threads = trio.CapacityLimiter(_THREADS)

    async def emit(self, context: dict[str, Any], accepts: Callable[[Any], object] | None = None) -> Emission:
        """Ask those who are bound at the context's point.

        Args:
            context: Plain JSON; it is not changed.
            accepts: Raises `InvalidInputError` for a target that the host can do nothing with.
        """
        course = _Course(self.configuration, context, accepts, self._threads)
        is_whole = False
        try:
            await course.run()
            is_whole = True
        finally:
            if not is_whole:  # cancelled: the action does not go on, and the row of records has no gap
                course.end(Settled(host_error("interceptor_failed", "Cancelled")))
                self._keep(course.record())
        record = course.record()
        self._keep(record)
        proceeds = self.configuration.mode == "evaluate_only" or course.settled.verdict.permits
        return Emission(course.settled.verdict, course.context["target"], proceeds, record)

    def reject(self, context: dict[str, Any], problem: str) -> Emission:
        """Note that a context could not be made, so that nobody was asked.

        Args:
            context: As much of it as there is: its envelope.
            problem: Why not.
        """
        course = _Course(self.configuration, context, None, self._threads)
        course.end(Settled(host_error("context_invalid", problem[:200])))
        record = course.record()
        self._keep(record)
        return Emission(course.settled.verdict, None, self.configuration.mode == "evaluate_only", record)

    def _keep(self, record: Mapping[str, Any]) -> None:
        self.dropped += len(self.records) == self.records.maxlen
        self.records.append(record)


class _Course:
    """One emission under way."""

    def __init__(
        self,
        configuration: Configuration,
        context: dict[str, Any],
        accepts: Callable[[Any], object] | None,
        threads: trio.CapacityLimiter,
    ) -> None:
        self._configuration = configuration
        self._accepts = accepts
        self._threads = threads
        self.context = context
        self._point: str = context["interception_point"]
        bound = [each for each in configuration.bindings if each.points is None or self._point in each.points]
        self._bindings = bound
        self._given: list[Verdict] = []
        self._enforces = configuration.mode == "enforce"
        self._resolved_by: str | None = None
        self._truncated: bool | None = None
        self._input: str | None = None
        self._enforced: str | None = None
        self.settled = Settled(ALLOW)

    # The course.

    async def run(self) -> None:
        """Ask everybody who is to be asked."""
        try:
            self._input = self._enforced = await self._identity(self.context, check_size=True)
        except InvalidInputError as error:
            self.end(Settled(host_error("context_invalid", line_of_error(error)[:200])))
            return
        if not self._bindings:
            self.end(Settled(host_error("no_interceptor")))
            return
        before = self.context["target"]
        if self._configuration.composition.profile == "sequential/first_deny":
            await self._first_deny()
        else:
            await self._all()
        if self.context["target"] is not before:
            await self._identify_again()

    async def _identify_again(self) -> None:
        """Give what interceptors made of the target its identity; what can have none is denied."""
        try:
            self._enforced = await self._identity(self.context, check_size=True)
        except InvalidInputError as error:
            self._enforced = None
            self.end(Settled(host_error("context_invalid", line_of_error(error)[:200])))

    def end(self, settled: Settled) -> None:
        """Let this be what became of it."""
        self.settled = settled

    async def _first_deny(self) -> None:
        last: Settled = Settled(ALLOW)
        pool: list[Verdict] = []
        resumes = self._configuration.composition.knobs["on_approval"] == "resume"
        for index, binding in enumerate(self._bindings):
            verdict = await self._ask(binding, self.context)
            self._given.append(verdict)
            pool.append(verdict)
            decided: int | None = index
            stops = False
            if verdict.is_liftable:
                resolution = await self._consult(verdict)
                if resolution is not None:
                    verdict = resolution.verdict
                    decided = None if verdict.is_of_host else index
                    stops = resolution.lifts and not resumes
                    pool.append(verdict)
            if verdict.decision == "transform":
                verdict = await self._fold(verdict)
                decided = index if verdict.permits else None
            if not verdict.permits or stops:
                self._truncated = index + 1 < len(self._bindings)
                self.end(Settled(unite(verdict, pool), decided))
                return
            if verdict.decision == "transform":
                last = Settled(verdict, index)
        self._truncated = False
        self.end(Settled(unite(last.verdict, pool), last.decided_by))

    async def _all(self) -> None:
        composition = self._configuration.composition
        if composition.is_sequential:
            if not await self._ask_in_turn():
                return
            self._truncated = False
        else:
            await self._ask_beside()
        settled = settle(composition, self._given)
        if settled.applies:
            folded = await self._fold(settled.verdict)
            settled = Settled(folded, settled.decided_by if folded.permits else None)
        elif settled.verdict.is_liftable:
            settled = await self._lifted(settled)
        self.end(settled)

    async def _ask_in_turn(self) -> bool:
        """Ask everybody, each seeing what those before made of the target; False if that cannot be."""
        for index, binding in enumerate(self._bindings):
            verdict = await self._ask(binding, self.context)
            if verdict.decision == "transform":
                verdict = await self._fold(verdict)
                if not verdict.permits:
                    self._given.append(verdict)
                    self._truncated = index + 1 < len(self._bindings)
                    self.end(Settled(verdict))
                    return False
            self._given.append(verdict)
        return True

    async def _ask_beside(self) -> None:
        """Ask everybody about the same target, beside each other."""
        found: list[Verdict] = [ALLOW] * len(self._bindings)

        async def ask(index: int, binding: Binding) -> None:
            found[index] = await self._ask(binding, self.context)

        async with trio.open_nursery() as nursery:
            for index, binding in enumerate(self._bindings):
                nursery.start_soon(ask, index, binding)
        self._given = found

    async def _lifted(self, settled: Settled) -> Settled:
        """Ask whether a denial is lifted, once."""
        resolution = await self._consult(settled.verdict)
        if resolution is None:
            return settled
        verdict = resolution.verdict
        if not resolution.lifts:
            return Settled(unite(verdict, self._given), None if verdict.is_of_host else settled.decided_by)
        if verdict.decision == "transform":
            verdict = await self._fold(verdict)
            if not verdict.permits:
                return Settled(verdict)
        return Settled(unite(verdict, [*self._given, verdict]), settled.decided_by)

    # Its parts.

    async def _ask(self, binding: Binding, context: dict[str, Any]) -> Verdict:
        function = binding.interceptor.intercept
        limit_s = math.inf if binding.timeout_s is None else binding.timeout_s
        try:
            with trio.move_on_after(limit_s) as scope, Blamed(as_failure):
                answer = await _called(function, context, self._threads)
        except FailedError as error:
            return host_error("interceptor_failed", line_of_error(error))
        return host_error("interceptor_timeout") if scope.cancelled_caught else read_verdict(answer)

    async def _fold(self, verdict: Verdict) -> Verdict:
        """Apply a transform, or find out only that it applies; returns the denial that stands for one that does not."""
        change = verdict.transform
        assert change is not None
        try:
            target = transformed(self._point, self.context["target"], change.path, thaw(change.value))
            if self._accepts is not None:
                self._accepts(target)
        except TransformError as error:
            return host_error(error.reason, line_of_error(error))
        except InvalidInputError as error:
            return host_error("transform_invalid", line_of_error(error)[:200])
        if self._enforces:
            self.context = _with_target(self.context, self._point, target)
        return verdict

    async def _consult(self, verdict: Verdict) -> Resolution | None:
        """Ask the seam about a denial that may be lifted; None if there is nobody, or nothing, to ask."""
        seam = self._configuration.seam
        if seam is None or not self._enforces or self._point == "agent_shutdown":
            return None
        resolution = await seam.consult(verdict, self.context, self._identity)
        self._resolved_by = "approval" if resolution.lifts else "rejection"
        return resolution

    async def _identity(self, context: dict[str, Any], *, check_size: bool = False) -> str | None:
        """Return the identity of a context, or None where there are none.

        Raises:
            InvalidInputError: It can have none, or its provider failed.
        """
        most = self._configuration.most_bytes if check_size else None
        work = partial(_identified, context, self._configuration.identity, most)
        if is_small(context["target"]):
            return work()
        return await trio.to_thread.run_sync(work)

    # The record.

    def record(self) -> dict[str, Any]:
        """Return what is kept of it."""
        configuration, context = self._configuration, self.context
        provider = configuration.identity
        found: dict[str, Any] = {
            "interception_point": self._point,
            "mode": configuration.mode,
            "verdict": recorded(self.settled.verdict),
            "input_identity": self._input,
            "enforced_identity": self._enforced,
            "identity_provider": None if provider is None else provider.name,
            "session_id": context["session"]["id"],
            "sequence": context["sequence"],
            "decided_by": self.settled.decided_by,
            "composition": configuration.composition.wire(),
            "timestamp": context["timestamp"],
            "verdicts": [_summary(*each) for each in enumerate(zip(self._given, self._bindings, strict=False))],
            "interceptors_registered": len(self._bindings),
        }
        optional = {
            "declaration": configuration.declaration or None,
            "fold_truncated": self._truncated,
            "resolved_by": self._resolved_by,
        }
        return {**found, **{name: value for name, value in optional.items() if value is not None}}


def _summary(index: int, pair: tuple[Verdict, Binding]) -> dict[str, Any]:
    verdict, binding = pair
    found: dict[str, Any] = {"index": index, "decision": verdict.decision}
    if verdict.reason is not None:
        found["reason"] = verdict.reason
    if binding.name:
        found["name"] = binding.name
    return found


async def _called(function: Callable[[Any], Any], context: dict[str, Any], threads: trio.CapacityLimiter) -> Any:
    """Return what a function answers about a copy of a context; one that is not async runs in a thread."""
    if inspect.iscoroutinefunction(function):
        copied = thaw(context) if is_small(context["target"]) else await trio.to_thread.run_sync(thaw, context)
        return await function(copied)
    run = partial(_run_on_copy, function, context)
    answer = await trio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=threads)
    return await answer if inspect.isawaitable(answer) else answer


def _run_on_copy(function: Callable[[Any], Any], context: dict[str, Any]) -> Any:
    return function(thaw(context))


def _with_target(context: dict[str, Any], point: str, target: Any) -> dict[str, Any]:
    """Return a context with another target, and the member that it stands for."""
    first, *rest = PLACES[point]
    return {**context, "target": target, first: {**context[first], rest[0]: target} if rest else target}


def _identified(context: dict[str, Any], provider: IdentityProvider | None, most_bytes: int | None) -> str | None:
    if most_bytes is not None:
        size = len(json.dumps(context, ensure_ascii=False, default=str).encode(errors="replace"))
        if size > most_bytes:
            raise InvalidInputError(f"agent context: it has {size} bytes; at most {most_bytes} are shown to anybody")
    if provider is None:
        return None
    try:
        with Blamed(as_failure, spares=InvalidInputError):
            identity = provider.function(context)
    except FailedError as error:
        raise InvalidInputError(f"identity provider: {line_of_error(error)}") from None
    if not isinstance(identity, str):
        raise InvalidInputError(f"identity provider: it returned a {type(identity).__name__}; return a text")
    return identity
