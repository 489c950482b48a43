"""The course of one operation: its state between the six steps, and what its hooks are told of it.

Invariant: a course belongs to one operation and one task; what it hands to hooks is frozen, but for the metadata.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

from llmspell.hooks import FOR_ALL, Chain, Hook, observe, still_judging
from llmspell_hookspecs import Cancel, Failure, Fork, HookContext, HookResult, OperationCancelledError, Phase
from llmspell_hookspecs.context import ForkOutcome, Metadata, OperationRef, Outcome
from llmspell_hookspecs.fit import freeze_fields
from llmspell_hookspecs.operation import HookAnswer, Operation
from llmspell_hookspecs.result_store import CacheKey

from .asking import Answer, ask_chain, cancellation, seen_by_scripts
from .beside import beside, frozen
from .correlation import Frame
from .deadline import Deadline
from .together import Forks

if TYPE_CHECKING:
    from .runner import Runner

__all__ = ["NOTHING", "NO_CHAINS", "Chains", "Course", "ToKeep"]

NOTHING: Final[Any] = object()
"""Stands for a value that is not there yet."""


class ToKeep(Struct, frozen=True):
    """What is to be stored when an operation completes.

    Attributes:
        key: Under which key.
        ttl_s: How long it is fresh.
        value: The value; `NOTHING` for the body's.
        persist: Whether the second level is to have it, too.
    """

    key: CacheKey
    ttl_s: float
    value: Any
    persist: bool = False


class _Held(Struct, frozen=True):
    """What hooks of scripts are asked about when the guards have let the call pass."""

    chain: Chain
    scripts: Chain
    subject: Any
    settle: Callable[[Any], None] | None


class Chains(Struct, frozen=True):
    """The chains around a kind of operation of one component.

    Attributes:
        heard: Whether anybody listens to its events.
        straight: Whether nobody but transforms, guards and observers before it is asked unless it fails, and nobody but
            sync observers is told of its end.
        waits: Whether any hook before it must be awaited.
        on_record: Whether anybody keeps a journal, or watches bodies.
    """

    before: Chain | None
    around: Chain | None
    after: Chain | None
    error: Chain | None
    heard: bool = False
    straight: bool = True
    waits: bool = False
    on_record: bool = False


NO_CHAINS: Final = Chains(None, None, None, None)
"""Around what nobody is asked about."""


class Course(Struct, eq=False):
    """The state of one operation.

    Attributes:
        house: The runner.
        operation: What was asked for.
        frame: Where it stands among the running operations.
        chains: The hooks around it, as of the last `look`.
        next: The call that a hook wants the next attempt to begin with; `NOTHING` for the same one.
        subject: What is judged now: the call, or the result.
        offered: The call as the transforms of scripts left it, before any other hook added to it.
        proposed: The call as the transforms left it.
        approved: The call as the guards let it pass; `NOTHING` until then.
        body_value: What the body yielded in this attempt; `NOTHING` if it did not.
        elapsed_ns: How long the body took.
        outcome: What the hooks decided last.
        cancelled: The hook's Cancel that ended it.
        ended_after: Whether it got as far as the after point.
        ending: Whether nothing but its end is left.
        wanted: The forks that transforms asked for and guards have not let pass yet.
        stores: What goes into the cache when it completes.
        questions: About which subject each cache was asked.
        attempts_allowed: How often it may run in all.
        began_s: Since when it runs, on trio's clock; None for now.
        deadline: How long it may take in all.
        forks: Those that were started, if any were.
        held: What hooks of scripts are still to be asked, or told.
        answers: What hooks answered but to go on, while somebody keeps a journal.
        until_s: Until when what is left may take, once the caller has cancelled it.
    """

    house: Runner
    operation: Operation
    frame: Frame
    chains: Chains
    _generation: object
    began_s: float | None = None
    next: Any = NOTHING
    subject: Any = None
    offered: Any = None
    proposed: Any = None
    approved: Any = NOTHING
    body_value: Any = NOTHING
    elapsed_ns: int = 0
    outcome: Outcome | None = None
    cancelled: OperationCancelledError | None = None
    ended_after: bool = False
    ending: bool = False
    wanted: list[Fork] = []
    stores: list[ToKeep] = []
    questions: dict[tuple[str, str, str], Any] = {}
    attempts_allowed: int = 1 << 31
    until_s: float = inf
    forks: Forks | None = None
    deadline: Deadline = NOTHING
    _ref: OperationRef | None = None
    _metadata: Metadata = field(default_factory=Metadata)
    held: list[_Held] = []
    answers: list[HookAnswer] = []

    def __post_init__(self) -> None:
        self.subject = self.offered = self.proposed = self.operation.subject
        limits_s = (self.operation.deadline_s, self.house.limits.operation_time_s)
        limit_s = min((each_s for each_s in limits_s if each_s is not None), default=None)
        self.deadline = Deadline(limit_s, self.frame, self.began_s)

    @property
    def limit_s(self) -> float | None:
        """How long each hook may wait from now on; set once it ends, or once its deadline has passed."""
        return self.house.limits.final_s if self.ending or self.deadline.passed is not None else None

    def follow(self, context: HookContext[Any]) -> None:
        """Go on where the straight path has come to: with the ids and the metadata that its hooks were shown."""
        self._ref, self._metadata = context.operation, context.metadata

    def look(self) -> Chains:
        """Return who stands around it now: a guard that came while it runs judges the points that are still to come.

        A guard that was taken out meanwhile still judges it. Who listens was decided as it started.
        """
        house = self.house
        if self._generation is house.as_of:
            return self.chains
        self._generation = house.as_of
        old, new = self.chains, house.chains(self.operation.kind, self.frame.component.name)
        self.chains = Chains(
            still_judging(old.before, new.before),
            new.around,
            still_judging(old.after, new.after),
            still_judging(old.error, new.error),
            old.heard,
            False,
        )
        return self.chains

    @property
    def asked(self) -> Any:
        """What was asked for: as approved, else as proposed."""
        return self.proposed if self.approved is NOTHING else self.approved

    @property
    def ref(self) -> OperationRef:
        """What hooks are told of it, for the attempt that runs."""
        if self._ref is None:
            self._ref = self.frame.ref()
        return self._ref

    def begin_attempt(self, attempt: int) -> None:
        """Go on with this attempt."""
        self.frame.attempt = attempt
        self._ref = None

    @property
    def component(self) -> str:
        """The component as ``kind:name``."""
        return self.frame.address

    def context(
        self, chain: Chain, subject: Any, outcome: Outcome | None = None, forks: tuple[ForkOutcome, ...] = ()
    ) -> HookContext[Any]:
        """Return what the hooks of a chain are given; those of scripts, only what the guards let pass."""
        frame = self.frame
        if chain.scripted:
            outcome = seen_by_scripts(outcome)
            forks = tuple(fork for fork in forks if fork.call.scope and fork.call.scope in frame.scopes)
        if not chain.late:
            return HookContext(
                chain.name, subject, frame.component, self.ref, self._metadata, frame.language, None, 0, outcome, forks
            )
        return HookContext(
            chain.name,
            subject,
            frame.component,
            self.ref,
            self._metadata,
            frame.language,
            self.offered if chain.scripted and self.approved is NOTHING else self.asked,
            self.elapsed_ns,
            outcome,
            forks,
        )

    def keep_answer(self, hook: Hook, answer: HookResult, subject: Any) -> None:
        """Keep what a hook answered, for those who keep a journal."""
        if self.house.taps:
            self.answers.append(HookAnswer(hook.point.name, f"{hook.plugin}.{hook.name}", answer, subject))

    def cancel(self, hook: Hook, cancel: Cancel, subject: Any, cause: BaseException | None = None) -> Exception:
        """Note that a hook cancelled the operation, and return the error that says so."""
        self.outcome = Outcome("cancelled", cancel, f"{hook.plugin}.{hook.name}")
        self.cancelled = cancellation(hook, cancel, self.context(Chain(hook.point, ()), subject), cause)
        return self.cancelled

    async def frozen(self, value: Any, what: str = "value") -> Any:
        """Return a value of the operation's read-only; one of many items is made so beside the loop, if it may wait."""
        at_once = self.operation.kind.sync
        return freeze_fields(value, self.frame, what) if at_once else await frozen(value, self.frame, what)

    async def beside(self, value: Any, walk: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function that walks a value; beside the loop if there are many items and the operation may wait."""
        return walk(*arguments) if self.operation.kind.sync else await beside(value, walk, *arguments)

    def scripts(self, chain: Chain | None) -> Chain | None:
        """Return the hooks of scripts at the point of a chain that are asked about this operation."""
        return None if chain is None or not chain.scripts else chain.of_scripts(self.frame.scopes)

    async def ask(
        self, point: str, subject: Any, settle: Callable[[Any], None] | None = None, *, withheld: bool = False
    ) -> Any:
        """Ask a check, a decision or a notice of this operation; see `Asker`."""
        chain = self.house.registry.chain(point, self.frame.component.name)
        if chain is None:
            if settle is not None:
                settle(subject)
            return subject
        scripts = self.scripts(chain)
        held = withheld or (scripts is not None and self.approved is NOTHING and chain.point.topic not in FOR_ALL)
        context = self.context(chain, await self.frozen(subject))
        answer = await self._answered(
            ask_chain(chain, context, self.until_s, None if held else scripts, self._limit_at(chain))
        )
        if settle is not None:
            settle(answer.subject)
        if scripts is not None and held:
            self.held.append(_Held(chain, scripts, answer.subject, settle))
        await self.start_forks(answer.forks)
        return answer.subject

    def _limit_at(self, chain: Chain) -> float | None:
        """How long each hook of a lone point may wait; those of a notice change nothing, so nobody waits for them."""
        return self.house.limits.final_s if chain.point.phase is Phase.NOTICE else self.limit_s

    async def ask_held(self) -> None:
        """Ask the hooks of scripts about what they were not asked about before the guards let the call pass."""
        held, self.held = self.held, []
        for each in held:
            context = self.context(each.scripts, each.subject)
            answer = await self._answered(
                ask_chain(each.chain, context, inf, each.scripts, self._limit_at(each.chain), held=True)
            )
            if each.settle is not None and answer.subject is not each.subject:
                each.settle(answer.subject)
            self.wanted.extend(answer.forks)

    def forget_held(self) -> None:
        """Ask hooks of scripts no more about what is void by now."""
        self.held = []

    async def tell_held(self, failure: Failure) -> None:
        """Tell the observers of scripts that what they were to be asked about came to nothing."""
        held, self.held = self.held, []
        for each in held:
            context = self.context(each.scripts, failure, Outcome("failed", error=failure))
            await observe(each.scripts.observers, context, self.limit_s)

    async def _answered(self, asking: Awaitable[Answer]) -> Answer:
        try:
            return await asking
        except OperationCancelledError as error:
            self.cancelled = error
            self.outcome = Outcome("cancelled", Cancel(error.reason, error.code), error.hook)
            if self.house.taps:
                self.answers.append(HookAnswer(error.point, error.hook, Cancel(error.reason, error.code)))
            raise

    def hold(self, time_s: float) -> None:
        """Shorten the deadline; see `Asker`."""
        self.deadline.hold(time_s)

    async def start_forks(self, forks: list[Fork]) -> None:
        """Start these forks; they end with the operation."""
        if not forks:
            return
        if self.forks is None:
            self.forks = self.house.forks(self.frame)
        await self.forks.start(forks)

    def note(self, hook: Hook | None, result: str, detail: str) -> None:
        """Record what the runner did, if the host traces."""
        if self.house.tracer is not None:
            point = hook.point.name if hook is not None else ""
            self.house.tracer.note(point, result, detail, component=self.component, operation=self.frame.id)
