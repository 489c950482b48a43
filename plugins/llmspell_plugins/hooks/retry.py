"""The plugin retry: runs again what failed and may succeed, after a while, and not too often.

The attempts are those of the operation, so calls that run at once share no count. A budget bounds how much all retries
together add to the load of one provider, tool or agent: when many fail at once, few are asked again.

Invariant: what a hook cancelled is not run again, nor what its component does not declare repeatable (the host sees to
both). No wait is longer than ``max_delay_s``, and no operation begins a wait beyond ``max_s`` from its first failure.
Durations in seconds.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict, deque
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import Failure, HookContext, OperationCancelledError, Policy, Retry, Services
from llmspell_hookspecs.borrowing import Borrowing
from llmspell_hookspecs.errors import ProviderError, SecurityError
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.stateful import plain_state, state_of
from llmspell_plugins.hooks.standing import CALLED, POINTS, stand

from .call_match import address_of, fits, provider_of

__all__ = ["RetryHook", "RetrySettings", "delay_of"]

_KEPT: Final = 10_000
_WINDOW_S: Final = 60.0
_PRIORITY: Final = 1_000_000
_ANY_KIND: Final = frozenset({"rate_limited", "unavailable", "connection", "timeout"})
"""Codes of errors that may be gone the next time, whatever raised them."""


class RetrySettings(BaseModel):
    """``[plugins.retry]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: Annotated[tuple[str, ...], Policy.SUBSET_ONLY] = Field(
        default=("model:*", "tool:*"), description="Globs for the addresses of what is run again."
    )
    attempts: Annotated[int, Policy.LOWER_ONLY] = Field(default=3, ge=1, le=100, description="In all, with the first.")
    max_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=300.0, ge=0, description="Counted from the first failure; no wait ends later."
    )
    backoff: Annotated[Literal["exponential", "linear", "fibonacci", "fixed"], Policy.FREE] = Field(
        default="exponential", description="How waits grow: 1 2 4 8, 1 2 3 4, 1 1 2 3, 1 1 1 1 times the first."
    )
    base_s: Annotated[float, Policy.FREE] = Field(default=0.5, ge=0, description="The first wait.")
    max_delay_s: Annotated[float, Policy.LOWER_ONLY] = Field(default=60.0, ge=0, description="The longest wait.")
    jitter: Annotated[Literal["none", "full", "equal", "decorrelated"], Policy.FREE] = Field(
        default="full",
        description="Waits at random: from 0 to all of it, from half of it, or from the first to three times the last.",
    )
    retry_on: Annotated[tuple[str, ...], Policy.LOCKED] = Field(
        default=(), description="Codes, or parts of texts, of errors that are worth it; if none, as the error says."
    )
    never_on: Annotated[tuple[str, ...], Policy.SUPERSET_ONLY] = Field(
        default=(), description="Codes, or parts of texts, of errors that are not, whatever retry_on says."
    )
    honour_retry_after: Annotated[bool, Policy.ON_ONLY] = Field(
        default=True, description="Whether the wait that a provider asks for counts; a longer one than may be ends it."
    )
    budget: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=0.1, ge=0, le=100, description="Retries that a provider, tool or agent is given for each call a minute."
    )
    budget_least: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=10, ge=0, description="Retries a minute that it is given in any case."
    )


class _Course(Struct):
    """What is known of an operation that failed: since when, and how long it waited last."""

    since_s: float
    last_s: float = 0.0


class _LoadState(Struct, frozen=True):
    """Calls and retries of one provider, tool or agent: ages in seconds, and how many."""

    calls: list[tuple[float, int]]
    retries: list[tuple[float, int]]


class _State(Struct, frozen=True):
    """What outlives the plugin."""

    at_s: float
    loads: dict[str, _LoadState]
    counts: dict[str, int]


class _Load:
    """Calls and retries of the last minute, of one provider, tool or agent."""

    __slots__ = ("_calls", "_retries")

    def __init__(self) -> None:
        self._calls: deque[list[Any]] = deque()  # time and count
        self._retries: deque[list[Any]] = deque()

    def call(self, now_s: float) -> None:
        """Count a call."""
        self._count(self._calls, now_s)

    def retry(self, now_s: float, budget: float, least: int) -> bool:
        """Count a retry if there is room for one; returns whether there is."""
        if self._sum(self._retries, now_s) + 1 > max(least, int(budget * self._sum(self._calls, now_s))):
            return False
        self._count(self._retries, now_s)
        return True

    def state(self, now_s: float) -> _LoadState:
        """Return both, by age."""
        self._sum(self._calls, now_s), self._sum(self._retries, now_s)
        calls, retries = ([(now_s - at_s, count) for at_s, count in row] for row in (self._calls, self._retries))
        return _LoadState(calls, retries)

    def load(self, state: _LoadState, then_s: float) -> None:
        """Take both over."""
        self._calls.extend([then_s - age_s, count] for age_s, count in state.calls)
        self._retries.extend([then_s - age_s, count] for age_s, count in state.retries)

    @staticmethod
    def _count(row: deque[list[Any]], now_s: float) -> None:
        if not row or now_s - row[-1][0] >= 1:
            row.append([now_s, 0])
        row[-1][1] += 1

    @staticmethod
    def _sum(row: deque[list[Any]], now_s: float) -> int:
        while row and row[0][0] <= now_s - _WINDOW_S:
            row.popleft()
        return sum(int(count) for _, count in row)


class RetryHook:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host.
    """

    name = "retry"
    Settings: ClassVar[type[BaseModel]] = RetrySettings
    borrowing = Borrowing(frozenset(RetrySettings.model_fields))

    def __init__(self, settings: RetrySettings, services: Services) -> None:
        self._settings = settings
        self._clock = services.get(Clock)
        self._dice = random.Random()  # noqa: S311 - it spreads load, it guards nothing
        self._courses: OrderedDict[str, _Course] = OrderedDict()
        self._loads: OrderedDict[str, _Load] = OrderedDict()
        self._counts: Counter[str] = Counter()
        for kind in CALLED:
            _, after, error = POINTS[kind]
            if any(fits(pattern.partition(":")[0], kind) for pattern in settings.match):
                stand(self, after, self._completed, kind="observe")
                stand(self, error, self._failed, priority=_PRIORITY, waits=True)  # a busy machine takes none out
                stand(self, error, self._ended, kind="observe")

    def stats(self) -> dict[str, int]:
        """Return how many retries were asked for, and how many were not because of attempts, time or budget."""
        return dict(self._counts)

    async def dump_state(self) -> Any:
        """Return the calls and retries of the last minute, and the counts; see the contract's `Stateful`."""
        now_s = self._clock.monotonic_s()
        loads = {key: load.state(now_s) for key, load in self._loads.items()}
        return plain_state(_State(self._clock.now_s(), loads, dict(self._counts)))

    async def load_state(self, state: Any, /) -> None:
        """Take that over; a clock that was set back frees no retry."""
        given = state_of(state, _State, self.name)
        then_s = self._clock.monotonic_s() - max(0.0, self._clock.now_s() - given.at_s)
        for key, each in list(given.loads.items())[-_KEPT:]:
            self._loads.setdefault(key, _Load()).load(each, then_s)
        self._counts.update(given.counts)

    def _completed(self, context: HookContext[Any]) -> None:
        self._load(context).call(self._clock.monotonic_s())
        if self._courses.pop(context.operation.id, None) is not None:
            self._counts["recovered"] += 1

    def _ended(self, context: HookContext[Failure]) -> None:
        self._courses.pop(context.operation.id, None)

    def _failed(self, context: HookContext[Failure]) -> Retry | None:
        settings, now_s = self._settings, self._clock.monotonic_s()
        load = self._load(context)
        load.call(now_s)
        if not any(fits(pattern, address_of(context)) for pattern in settings.match):
            return None
        if not self._is_worth_it(context.subject):
            return None
        attempt = context.operation.attempt
        if attempt >= settings.attempts:
            self._counts["attempts_used"] += 1
            return None
        course = self._course(context.operation.id, now_s)
        delay_s = self._delay_s(context.subject, attempt, course.last_s)
        if delay_s is None or now_s + delay_s - course.since_s > settings.max_s:
            self._counts["time_used"] += 1
            return None
        if not load.retry(now_s, settings.budget, settings.budget_least):
            self._counts["budget_used"] += 1
            return None
        course.last_s = delay_s
        self._counts["retries"] += 1
        return Retry(delay_s, settings.attempts)

    def _is_worth_it(self, failure: Failure) -> bool:
        settings, error = self._settings, failure.error
        if isinstance(error, OperationCancelledError | SecurityError):
            return False
        if _meets(settings.never_on, failure):
            return False
        if settings.retry_on:
            return _meets(settings.retry_on, failure)
        if isinstance(error, ProviderError):
            return error.retryable
        return failure.code in _ANY_KIND or isinstance(error, OSError | TimeoutError)

    def _delay_s(self, failure: Failure, attempt: int, last_s: float) -> float | None:
        """Return the next wait; None if what the provider asks for is longer than it may be."""
        settings, error = self._settings, failure.error
        asked_s = error.retry_after_s if isinstance(error, ProviderError) else None
        if asked_s is not None and settings.honour_retry_after:
            return asked_s if asked_s <= settings.max_delay_s else None
        return delay_of(settings, attempt, last_s, self._dice.random())

    def _course(self, operation: str, now_s: float) -> _Course:
        course = self._courses.get(operation)
        if course is None:
            course = self._courses[operation] = _Course(now_s)
            if len(self._courses) > _KEPT:
                self._courses.popitem(last=False)
        return course

    def _load(self, context: HookContext[Any]) -> _Load:
        key = f"{context.component.kind}:{provider_of(context)}"
        load = self._loads.get(key)
        if load is None:
            load = self._loads[key] = _Load()
            if len(self._loads) > _KEPT:
                self._loads.popitem(last=False)
        self._loads.move_to_end(key)
        return load


def delay_of(settings: RetrySettings, attempt: int, last_s: float, chance: float) -> float:
    """Return the wait after an attempt.

    Args:
        settings: Say how waits grow and spread.
        attempt: Which failed, from 1.
        last_s: The wait before it; 0 if there was none.
        chance: From 0 to 1, at random.
    """
    base_s, most_s = settings.base_s, settings.max_delay_s
    if settings.jitter == "decorrelated":
        highest_s = max(base_s, 3 * (last_s or base_s))
        return min(most_s, base_s + chance * (highest_s - base_s))
    number = min(attempt, 64)
    factors: dict[str, int] = {
        "exponential": 2 ** (number - 1),
        "linear": number,
        "fibonacci": _fibonacci(number),
        "fixed": 1,
    }
    delay_s = min(most_s, base_s * factors[settings.backoff])
    if settings.jitter == "full":
        return delay_s * chance
    return delay_s / 2 + delay_s / 2 * chance if settings.jitter == "equal" else delay_s


def _fibonacci(number: int) -> int:
    one, two = 1, 1
    for _ in range(number - 1):
        one, two = two, one + two
    return one


def _meets(wanted: tuple[str, ...], failure: Failure) -> bool:
    message = failure.message.casefold()
    return any(each in (failure.code, failure.type) or each.casefold() in message for each in wanted)
