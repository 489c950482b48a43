"""Mailboxes beside a plain model: what comes out, and where every event went."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmspell.events.mailbox import Held, Mailbox
from llmspell_hookspecs import Event, InvalidInputError
from llmspell_hookspecs.bucket import TokenBuckets, TokenRate
from llmspell_hookspecs.overflow import read_options

COUNTS = ("matched", "delivered", "dropped", "rejected", "sampled", "expired", "discarded", "pending")
OVERFLOWS = ("drop_oldest", "drop_newest", "block", "reject", "sample(0.4)")
PRIORITIES = (0, 0, 0, -5, -1, 1, 7)


def account(mailbox: Mailbox) -> dict[str, int]:
    return {name: getattr(mailbox, name) for name in COUNTS}


class MailboxMachine(RuleBasedStateMachine):
    """Puts, takes, withdrawals and a close in any order; the model is one list, sorted by priority."""

    @initialize(capacity=st.integers(1, 12), overflow=st.sampled_from(OVERFLOWS), as_published=st.booleans())
    def begin(self, capacity: int, overflow: str, as_published: bool) -> None:
        self.marks: list[str] = []
        self.options = read_options(capacity, overflow, None, as_published)
        self.mailbox = Mailbox(self.options, lambda event: True, lambda mailbox, mark: self.marks.append(mark))
        self.queue: list[Event] = []
        self.waiting: list[tuple[Event, Held]] = []
        self.count: Counter[str] = Counter()
        self.high = False
        self.credit = 0.0
        self.expected_marks: list[str] = []
        self.made = 0

    @rule(priorities=st.lists(st.sampled_from(PRIORITIES), min_size=1, max_size=8), old=st.booleans())
    def put_some(self, priorities: list[int], old: bool) -> None:
        for priority in priorities:
            self.put(priority, old)

    def rank(self, event: Event) -> int:
        return 0 if self.options.as_published else event.priority

    def put(self, priority: int, old: bool) -> None:
        self.made += 1
        event = Event("a", self.made, timestamp=1.0, ttl_s=0.5 if old else None, priority=priority)
        if self.mailbox.closed:
            return
        full = self.mailbox.put_ranked(event) if priority else self.mailbox.put(event)
        self.count["matched"] += 1
        refused = self.model_put(event)
        assert full == refused
        if full and self.options.overflow == "block":
            self.waiting.append((event, self.mailbox.hold(event)))
            self.waiting.sort(key=lambda each: self.rank(each[0]))
        elif full:
            self.mailbox.reject()
            self.count["rejected"] += 1

    def model_put(self, event: Event) -> bool:
        """Return whether the publisher must hear that there is no room."""
        capacity, overflow = self.options.capacity, self.options.overflow
        above = len(self.queue) >= max(1, capacity * 4 // 5)
        if not self.high and above:
            self.high = True
            self.expected_marks.append("high")
        if above and overflow == "sample":
            self.credit += self.options.rate
            if self.credit < 1:
                self.count["sampled"] += 1
                return False
            self.credit -= 1
        if len(self.queue) >= capacity:
            if overflow in ("block", "reject"):
                return True
            self.count["dropped"] += 1
            last = max(map(self.rank, [*self.queue, event]))
            least = [each for each in [*self.queue, event] if self.rank(each) == last]
            gone = least[-1 if overflow == "drop_newest" else 0]
            if gone is event:
                return False
            self.queue.remove(gone)
        self.insert(event)
        return False

    def insert(self, event: Event) -> None:
        self.queue.append(event)
        self.queue.sort(key=self.rank)

    @rule(count=st.integers(1, 12))
    def take_some(self, count: int) -> None:
        for _ in range(count):
            self.take()

    def take(self) -> None:
        if self.mailbox.closed:
            assert self.mailbox.take() is None
            return
        expected = self.model_take()
        assert self.mailbox.take() is expected

    def model_take(self) -> Event | None:
        while self.queue:
            event = self.queue.pop(0)
            if self.high and self.waiting:
                self.insert(self.waiting.pop(0)[0])
            elif self.high and len(self.queue) <= self.options.capacity // 5:
                self.high = False
                self.expected_marks.append("low")
            if event.ttl_s is None or self.options.as_published:
                self.count["delivered"] += 1
                return event
            self.count["expired"] += 1
        return None

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: Any) -> None:
        index = data.draw(st.integers(0, len(self.waiting) - 1))
        _, held = self.waiting.pop(index)
        assert self.mailbox.withdraw(held)
        assert not self.mailbox.withdraw(held)
        self.count["rejected"] += 1

    @precondition(lambda self: self.made > 60)
    @rule()
    def close(self) -> None:
        self.count["discarded"] += len(self.queue) + len(self.waiting)
        held = [held for _, held in self.waiting]
        self.queue.clear()
        self.waiting.clear()
        self.mailbox.close()
        assert all(one.admitted.is_set() for one in held)

    @invariant()
    def every_event_is_accounted_for(self) -> None:
        found = account(self.mailbox)
        self.count["pending"] = len(self.queue) + len(self.waiting)
        assert found == {name: self.count[name] for name in COUNTS}
        assert found["matched"] == sum(count for name, count in found.items() if name != "matched")
        assert self.marks == self.expected_marks
        assert len(self.queue) <= self.options.capacity


TestMailbox = MailboxMachine.TestCase
TestMailbox.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ((0, "block", None), "capacity"),
        ((1_000_001, "block", None), "capacity"),
        ((1, "sometimes", None), "overflow"),
        ((1, "sample(0)", None), "overflow"),
        ((1, "sample(1.5)", None), "overflow"),
        ((1, "block", -1.0), "block_s"),
    ],
)
def test_wrong_options_are_refused_by_name(options: tuple[int, str, float | None], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_options(*options)

    assert refused.value.field == field


async def test_a_sleeping_consumer_is_woken_once_for_many_events() -> None:
    mailbox = Mailbox(read_options(100, "drop_oldest", None), lambda event: True, lambda mailbox, mark: None)
    woken: list[int] = []

    async def consume() -> None:
        while not mailbox.closed:
            await mailbox.wait()
            woken.append(mailbox.pending)
            while mailbox.take() is not None:
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            for number in range(20):
                mailbox.put(Event("a", number))
        await trio.testing.wait_all_tasks_blocked()
        mailbox.close()

    assert woken == [20, 20, 20, 0]


def test_a_source_may_burst_then_publishes_at_its_rate_and_others_are_not_held_to_it() -> None:
    now = 0.0
    flow = TokenBuckets(TokenRate(rate=10, burst=3), clock=lambda: now)

    burst = [flow.admit("script:a"), *[flow.admit("script:a/part") for _ in range(3)]]
    other = flow.admit("script:b")
    now = 0.25
    later = [flow.admit("script:a") for _ in range(3)]

    assert burst == [True, True, True, False]
    assert other
    assert later == [True, True, False]


def test_forgotten_sources_start_anew_and_the_number_of_known_ones_is_bounded() -> None:
    flow = TokenBuckets(TokenRate(rate=1, burst=1), clock=lambda: 0.0)

    for number in range(5000):
        flow.admit(f"s{number}")

    assert len(flow._buckets) == 4096
    assert flow.admit("s0")
    assert not flow.admit("s4999")
