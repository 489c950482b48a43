"""The limiters of rate_limit under any course of asking, leaving, counting more, time and being made anew."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmspell_plugins.hooks.rate_limit.limiter import FixedWindow, Limiter, SlidingWindow, TokenBucket

S = 1_000_000_000
RATE, BURST = 4, 6


class LimiterMachine(RuleBasedStateMachine):
    """A limiter beside a list of what it granted, of which each bound can be read off."""

    most_at_once = RATE

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 7 * S
        self.limiter = self.make()
        self.granted: list[tuple[int, int]] = []
        self.tickets: list[tuple[int, int]] = []  # of the newest only: a new limiter knows none of the old one's

    def make(self) -> Limiter:
        raise NotImplementedError

    @rule(wait_ns=st.integers(0, 2 * S))
    def time_goes_on(self, wait_ns: int) -> None:
        self.now_ns += wait_ns

    @rule(count=st.integers(1, RATE))
    def one_comes_and_waits_for_its_place(self, count: int) -> None:
        at_ns = self.limiter.earliest(count, self.now_ns)
        assert at_ns >= self.now_ns
        assert self.limiter.earliest(count, at_ns) == at_ns
        self.tickets.append((count, self.limiter.take(count, at_ns)))
        self.granted.append((at_ns, count))

    @rule()
    def one_looks_and_takes_nothing(self) -> None:
        before = self.limiter.earliest(1, self.now_ns), self.limiter.used(self.now_ns)
        assert (self.limiter.earliest(1, self.now_ns), self.limiter.used(self.now_ns)) == before
        if self.limiter.is_idle(self.now_ns):
            assert before == (self.now_ns, 0)

    @precondition(lambda self: self.tickets and self.granted[-1][0] > self.now_ns)
    @rule()
    def the_last_one_leaves_before_its_turn(self) -> None:
        if self.limiter.give_back(*self.tickets.pop()):
            self.granted.pop()
        else:
            self.tickets.clear()  # its place is lost, and so the last one is nobody's

    @rule()
    def it_is_made_anew_of_what_it_had(self) -> None:
        anew = self.make()
        for at_ns, count in self.limiter.taken(self.now_ns):
            anew.take(count, at_ns)
        assert anew.earliest(1, self.now_ns) >= self.limiter.earliest(1, self.now_ns)
        self.limiter = anew
        self.tickets.clear()

    @invariant()
    def no_more_is_granted_than_may_be(self) -> None:
        for start_ns, _ in self.granted:
            for length_ns in (S // 3, S, 5 * S):
                end_ns = start_ns + length_ns
                assert sum(count for at_ns, count in self.granted if start_ns <= at_ns < end_ns) <= self.most(
                    start_ns, length_ns
                )

    def most(self, start_ns: int, length_ns: int) -> float:
        raise NotImplementedError


class Bucket(LimiterMachine):
    """At most the burst, and what comes after."""

    def make(self) -> Limiter:
        return TokenBucket(RATE, S, BURST)

    def most(self, start_ns: int, length_ns: int) -> float:
        return BURST + RATE * length_ns / S


class Sliding(LimiterMachine):
    """At most the rate in any time of the length, wherever it begins."""

    def make(self) -> Limiter:
        return SlidingWindow(RATE, S)

    def most(self, start_ns: int, length_ns: int) -> float:
        return RATE * -(-length_ns // S)


class Fixed(LimiterMachine):
    """At most the rate in each window that a time touches."""

    def make(self) -> Limiter:
        return FixedWindow(RATE, S, S // 4)

    def most(self, start_ns: int, length_ns: int) -> float:
        first, last = ((at_ns - S // 4) // S for at_ns in (start_ns, start_ns + length_ns - 1))
        return RATE * (last - first + 1)


def case_of(machine: Callable[[], LimiterMachine]) -> type:
    case: type = machine.TestCase  # type: ignore[attr-defined]
    case.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)  # type: ignore[attr-defined]
    return case


TestBucket, TestSliding, TestFixed = case_of(Bucket), case_of(Sliding), case_of(Fixed)
