"""Operations of a service's own: which points stand around a kind of them, and how one is run.

Invariant: a kind is data. The host's one runner is the only place that gives it effect. Durations in seconds.

It is longer than most because what is asked for, what runs and what ended stand beside the protocol that they serve.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, runtime_checkable

from msgspec import Struct

from .context import ComponentRef, OperationRef, Outcome
from .payload import payload_of
from .results import HookResult

__all__ = [
    "Asker",
    "BodyWatch",
    "Ended",
    "EndedOperation",
    "HookAnswer",
    "Operation",
    "OperationKind",
    "Operations",
    "RunningBody",
    "RunningOperation",
    "StandIn",
    "same",
]


def same(value: Any) -> Any:
    """Return the value."""
    return value


class OperationKind(Struct, frozen=True, eq=False):
    """Which points stand around a kind of operation, and what it yields.

    One value is one kind: make it once, since the host keeps what stands around it under the value itself.

    Attributes:
        name: ``tool``, ``script`` ...
        before: The point before it; empty for none.
        around: The point around its body; empty for none.
        after: The point after it; empty for none.
        error: The point at its failure; empty for none.
        timeout: The notice when its deadline passes; empty for none.
        result: The type of what it yields.
        to_result: Makes that of a bare value.
        payload: What a Redirect's target is given, from the subject or from the result; their own ``payload()`` if this
            is left out.
        identity: What of a subject makes two askings the same, for Cache.
        sync: Whether it never waits: its hooks and body are sync, and nobody is told that it was slow.
        named: Fields of the result that are those of the subject, whatever a hook answers.
        events: Whether its operations are told of as events: ``tool.started``, ``.completed``, ``.failed``,
            ``.cancelled``.
        facts: What of a result those events tell.
        composes: Whether its body reaches the outside only by operations within it, so that a replay runs it again and
            serves those; otherwise what the body yielded is served.
    """

    name: str
    before: str = ""
    around: str = ""
    after: str = ""
    error: str = ""
    timeout: str = ""
    result: type = object
    to_result: Callable[[Any], Any] = same
    payload: Callable[[Any], Any] = payload_of
    identity: Callable[[Any], Any] = same
    sync: bool = False
    named: tuple[str, ...] = ()
    events: bool = False
    facts: Callable[[Any], Mapping[str, Any]] | None = None
    composes: bool = False


class Asker(Protocol):
    """How a preparing operation asks its checks and decisions.

    Attributes:
        approved: What guards let pass, if that runs again after it ran; else something that is no subject.
    """

    approved: Any

    async def ask(
        self, point: str, subject: Any, settle: Callable[[Any], None] | None = None, *, withheld: bool = False
    ) -> Any:
        """Ask a point of the operation and return the subject as its hooks leave it.

        Before the guards have let the call pass, hooks of scripts are not asked: they follow when they have. So what
        is done with a decision belongs into ``settle``, which is called again with what they leave. The same goes for
        a part of a result that is ``withheld`` until guards have let the whole of it pass.

        Raises:
            OperationCancelledError: A hook cancelled.
        """

    def forget_held(self) -> None:
        """Ask hooks of scripts no more about what they were not asked about yet."""

    def hold(self, time_s: float) -> None:
        """Shorten the deadline of the operation, if it has one, to this time from its start."""


class Operation(Struct, frozen=True):
    """An operation that is asked for.

    Attributes:
        kind: Its kind.
        component: What runs.
        subject: What it is asked to do.
        body: Does it, given the approved subject.
        prepare: Validates, resolves and allocates; returns the subject that the guards see and the body gets.
        release: Gives back what was allocated, whatever became of it.
        leave: Brings a result into the form in which it leaves, before guards judge it; asked again about each that
            takes its place, so it leaves alone what it made.
        deadline_s: How long it may take in all.
        repeatable: Whether the body may run again after it ran.
        hops: How often it was redirected so far.
        started: Told once the operation is past its guards, or has ended.
        language: Where it was asked for; empty for that of the operation around it.
        scope: The run of a script that begins here; empty for none.
        apart: Whether the hooks of the scripts that it descends from are not asked.
        depends: Returns what its result depends on beside component and subject; Cache keeps it under that, too.
        ready: Does what ``prepare`` does where nobody is asked, at once, and returns what the body gets; given only
            while nobody stands at any point that ``prepare``, ``leave`` or ``release`` ask. Then what the body returns
            leaves as it is.
        as_of: The generation of the runner's for which ``ready`` is given; with another one it is not used.
        baggage: What it and all within it carry, beside what those around it gave: texts, which hooks read in
            ``context.operation``. The ``session`` separates what Cache keeps.
        show: Returns what ``prepare`` would have returned, after ``ready``.
        quick: Does what ``body`` does after ``ready`` as far as it goes without waiting; returns the result, or a
            coroutine that does the rest.
    """

    kind: OperationKind
    component: ComponentRef
    subject: Any
    body: Callable[[Any], Awaitable[Any]]
    prepare: Callable[[Any, Asker], Awaitable[Any]] | None = None
    release: Callable[[Asker], Awaitable[None]] | None = None
    deadline_s: float | None = None
    repeatable: bool = False
    hops: int = 0
    started: Callable[[], None] | None = None
    language: str = ""
    scope: str = ""
    apart: bool = False
    leave: Callable[[Any, Asker], Awaitable[Any]] | None = None
    depends: Callable[[], Any] | None = None
    ready: Callable[[Any], Any] | None = None
    as_of: object = None
    show: Callable[[], Any] | None = None
    quick: Callable[[Any], Any] | None = None
    baggage: Mapping[str, str] | None = None


class HookAnswer(Struct, frozen=True):
    """What a hook answered that was not to go on.

    Attributes:
        point: Where.
        hook: Which, as ``plugin.name``.
        answer: What.
        subject: What it was asked about, read-only.
    """

    point: str
    hook: str
    answer: HookResult
    subject: Any = None


class RunningBody(Struct, frozen=True):
    """An operation whose body is to run now.

    Attributes:
        kind: Its kind.
        component: What runs.
        operation: Which it is.
        subject: The call as the guards let it pass; read-only.
        run: Runs the body, within the wraps; returns its result read-only.
    """

    kind: OperationKind
    component: ComponentRef
    operation: OperationRef
    subject: Any
    run: Callable[[], Awaitable[Any]]


BodyWatch = Callable[[OperationKind, OperationRef, Any], Callable[[Any, BaseException | None], object]]
"""Told as a body begins: the kind, which operation, and the call; what it returns is told what the body yielded, or
what it raised or was cancelled by. All of it is read-only. Neither may wait or raise."""
StandIn = Callable[[RunningBody], Awaitable[Any]]
"""Returns what a body yields, or raises what it raises; of a kind that is ``sync`` without waiting."""


class EndedOperation(Struct, frozen=True):
    """An operation as it ended, for a journal.

    Attributes:
        kind: The name of its kind.
        component: What ran.
        operation: Which it was, as of its last attempt.
        asked: The call as the guards let it pass, or as far as it came; read-only.
        status: How it ended.
        value: Its result as it leaves, or the `Failure`; read-only.
        outcome: What the hooks decided.
        elapsed_ns: How long its body took, in the last attempt.
        language: Where it was asked for.
        answers: What its hooks answered around the body, in order, but for those that let it go on.
        of: Its kind itself.
    """

    kind: str
    component: ComponentRef
    operation: OperationRef
    asked: Any
    status: Literal["completed", "failed", "cancelled"]
    value: Any
    outcome: Outcome
    elapsed_ns: int
    language: str
    answers: tuple[HookAnswer, ...] = ()
    of: OperationKind | None = None


class RunningOperation(Protocol):
    """An operation that runs; what is told of it is made when it is asked for."""

    @property
    def address(self) -> str:
        """What runs, as ``kind:name``."""

    def ref(self) -> OperationRef:
        """Return what hooks are told of it."""

    def asked(self) -> tuple[str, Any]:
        """Return its id and what it was asked for before any hook changed that, while `Operations.tap` has anybody.

        Of a check or a notice it is the operation around it; an empty id if there is none.
        """

    def paused(self) -> AbstractContextManager[None]:
        """Return a block whose time counts against no deadline: of this operation, and of those that wait for it.

        It is for waits that somebody asked for, such as an answer of a person; bound them.
        """

    def stop(self, reason: str, /) -> bool:
        """End it as if its deadline had passed, with an `OperationTimeoutError` that says this; False if it has none.

        Args:
            reason: What was done, and what to do, after the name of what ran.
        """


class Ended(Struct, frozen=True):
    """How one of several calls beside each other ended.

    Attributes:
        value: What it returned.
        error: What it raised.
        cancelled: Whether it was cut off because another one failed.
    """

    value: Any = None
    error: Exception | None = None
    cancelled: bool = False


@runtime_checkable
class Operations(Protocol):
    """Runs operations of a service's own through the host's one runner.

    One without hooks and deadline costs two look-ups, a frame and its body.
    """

    async def run(
        self,
        kind: OperationKind,
        component: ComponentRef,
        subject: Any,
        body: Callable[[Any], Awaitable[Any]],
        /,
        *,
        repeatable: bool = False,
        deadline_s: float | None = None,
    ) -> Any:
        """Run it and return its result.

        Args:
            kind: Its kind.
            component: On what; hooks match its name.
            subject: What is asked for, a struct of the type that the point before it carries.
            body: Does it, given the subject as hooks approved it, which may be read-only.
            repeatable: Whether the body may run again after it ran.
            deadline_s: How long it may take in all.

        Raises:
            OperationCancelledError: A hook cancelled it.
            OperationTimeoutError: The deadline passed.
            Exception: Whatever the body raised, if no hook recovered it.
        """

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
        """Return a function that runs it anew at each call; for what is asked for often in the same words."""

    async def execute(self, operation: Operation, /) -> Any:
        """Run an operation as a component kind makes it, and return its result; raises as `run` does."""

    def current(self) -> OperationRef:
        """Return the operation that runs.

        Raises:
            LookupError: None of this host does.
        """

    def running(self) -> RunningOperation:
        """Return the operation that runs, which costs less than `current`; asked within one of this host only."""

    def carry(self, name: str, value: str, /) -> None:
        """Let the operation that runs, and all that begins within it from now on, carry a text in its baggage.

        Outside of any operation each that begins from now on carries it. An empty text takes it out again.

        Raises:
            InvalidInputError: The name or the value is no text.
        """

    def reaches(self, scope: str, /) -> bool:
        """Return whether what runs here may reach something of a script's.

        Args:
            scope: The run of a script that it goes with; empty for what is open to all.
        """

    @property
    def as_of(self) -> object:
        """Another object after every change of hooks, listeners and settings: what was worked out before is stale."""

    def asks(self, points: Sequence[str], component: str, /) -> bool:
        """Return whether any hook stands at one of these points for a component."""

    def settles(self, kind: OperationKind, component: str, /) -> bool:
        """Return whether anybody may change or withhold what an operation of this kind yields."""

    async def ask(self, point: str, subject: Any, component: ComponentRef, /) -> Any:
        """Ask a check, a decision or a notice and return the subject as its hooks leave it.

        Raises:
            OperationCancelledError: A hook cancelled.
        """

    async def notify(self, point: str, subject: Any, /) -> None:
        """Give a notice of the system; what hooks answer wrongly there is kept among the host's problems."""

    def tap(self, function: Callable[[EndedOperation], None], /) -> Callable[[], None]:
        """Call a function with each operation as it ends, after all that observes it; returns what takes it out.

        What the function raises is kept among the host's problems. It may not wait.
        """

    def watch(self, function: BodyWatch, /) -> Callable[[], None]:
        """Call a function as each body begins and ends, at each attempt; returns what takes it out."""

    def stand_in(self, function: StandIn, /) -> Callable[[], None]:
        """Ask a function for what each body yields; it may run the body. Returns what takes it out.

        While anybody does so every operation takes its full course; otherwise it costs nothing. The one that came last
        is asked first, and the ``run`` that it is given asks the one before it.
        """

    async def together(
        self,
        calls: Sequence[Callable[[], Awaitable[Any]]],
        limit: int,
        /,
        *,
        stops: Callable[[Exception], bool] = ...,
    ) -> list[Ended]:
        """Run functions beside each other within the operation that runs; all have ended when it returns or raises.

        Use it in place of a nursery wherever what runs may itself run many: they begin and are cancelled in turns.

        Args:
            calls: What runs.
            limit: How many at once.
            stops: Returns whether an error cuts off the others; none does if left out.

        Returns:
            How each ended, in their order.
        """

    async def beside(self, value: Any, walk: Callable[..., Any], /, *arguments: Any) -> Any:
        """Call a function that walks a value and only reads; in a thread if the value holds many items."""

    def problem(self, error: Exception, /) -> None:
        """Keep among the host's problems, and log, an error that nobody is there to be told of."""
