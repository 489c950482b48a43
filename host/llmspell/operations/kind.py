"""What an operation is: its kind (the contract's `OperationKind`) and the one asked for.

Invariant: both are data. The runner is the only place that gives them effect. Durations in seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from msgspec import Struct

from llmspell_hookspecs import Call, ComponentRef, OperationKind, same

__all__ = ["Asker", "Caller", "Operation", "OperationKind", "RunnerLimits", "same"]


class Asker(Protocol):
    """How a preparing operation asks its checks and decisions.

    Attributes:
        approved: What guards let pass, if that runs again after it ran; else something that is no subject.
    """

    approved: Any

    async def ask(
        self, point: str, subject: Any, settle: Callable[[Any], None] | None = None, *, withheld: bool = False
    ) -> Any:
        """Ask a point of the operation and answer the subject as its hooks leave it.

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
        prepare: Validates, resolves and allocates; answers the subject that the guards see and the body gets.
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


class RunnerLimits(Struct, frozen=True):
    """How far operations may go.

    Attributes:
        depth: How many operations may be around one.
        hops: How often one may be redirected.
        slow_ms: From how long on an operation is reported as slow; None for never.
        operation_time_s: How long any operation may take; None for no limit.
        forks: How many forks one operation may start.
        descendants: How many operations may run at once within one root operation, and how many forks.
        final_s: How long each hook may wait once an operation ends, or its deadline has passed.
        script_delay_s: The longest wait before a retry that a script's hook asks for.
    """

    depth: int = 32
    hops: int = 8
    slow_ms: float | None = None
    operation_time_s: float | None = None
    forks: int = 64
    descendants: int = 1000
    final_s: float = 5.0
    script_delay_s: float = 60.0


class Caller(Protocol):
    """Runs whatever has an address."""

    async def __call__(self, call: Call, /, *, hops: int = 0, started: Callable[[], None] | None = None) -> Any:
        """Run it and answer its result."""
