"""The breaker of a transform: when it opens, when its hook comes back, and that it is the transform's alone."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kernel import Bench, opened, run
from llmspell import Host
from llmspell_hookspecs import HookContext, Retry
from llmspell_hookspecs.breaker import PROFILES, Breaker, BreakerState

BEFORE = "before_tool_execution"


class BreakerMachine(RuleBasedStateMachine):
    """A breaker against a model that keeps every event."""

    @initialize(name=st.sampled_from(sorted(PROFILES)))
    def begin(self, name: str) -> None:
        self.profile = PROFILES[name]
        self.now_s = 0.0
        self.told: list[BreakerState] = []
        self.breaker = Breaker(self.profile, lambda: self.now_s, self.told.append)
        self.failures: list[float] = []
        self.slow: list[float] = []
        self.state: BreakerState = "closed"
        self.good = 0
        self.openings = 0

    def _recent(self, times: list[float]) -> int:
        return sum(self.now_s - at <= self.profile.window_s for at in times)

    def _open(self) -> None:
        self.state = "open"
        self.openings += 1

    @rule(seconds=st.floats(0, 70))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def fail(self) -> None:
        self.breaker.failed()
        if self.state == "half_open":
            self._open()
        elif self.state == "closed":
            self.failures.append(self.now_s)
            if self._recent(self.failures) >= self.profile.failures:
                self._open()

    @rule(slow=st.booleans())
    def succeed(self, slow: bool) -> None:
        elapsed_s = self.profile.slow_s if slow else 0.0
        if elapsed_s >= self.breaker.slow_s:
            self.breaker.took(elapsed_s)
        if self.state == "half_open" and slow:
            self._open()
        elif self.state == "half_open":
            self.good += 1
            if self.good >= self.profile.successes:
                self._forget()
        elif self.state == "closed" and slow:
            self.slow.append(self.now_s)
            if self._recent(self.slow) >= self.profile.slow_calls:
                self._open()

    @rule()
    def probe(self) -> None:
        self.breaker.probe()
        if self.state == "open":
            self.state, self.good = "half_open", 0

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self._forget()

    def _forget(self) -> None:
        self.state, self.openings = "closed", 0
        self.failures, self.slow = [], []

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "breaker"):
            return
        assert self.breaker.state == self.state
        doubled = self.profile.open_s * 2 ** max(0, self.openings - 1)
        assert self.breaker.open_s == min(doubled, max(600.0, self.profile.open_s))
        assert all(one != other for one, other in zip(self.told, self.told[1:], strict=False))
        assert (self.told[-1] if self.told else "closed") == self.state


BreakerMachine.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
test_the_breaker_is_in_the_state_that_its_events_say = BreakerMachine.TestCase


@pytest.mark.parametrize(
    ("name", "failures", "slow_calls", "slow_s", "open_s", "successes"),
    [("default", 3, 2, 0.05, 15, 2), ("production", 2, 1, 0.025, 10, 1), ("conservative", 5, 3, 0.1, 30, 3)],
)
def test_the_three_profiles(
    name: str, failures: int, slow_calls: int, slow_s: float, open_s: float, successes: int
) -> None:
    profile = PROFILES[name]

    assert (profile.failures, profile.slow_calls, profile.slow_s) == (failures, slow_calls, slow_s)
    assert (profile.open_s, profile.successes) == (open_s, successes)


class Failing:
    """A hook that fails on demand."""

    def __init__(self) -> None:
        self.calls = 0
        self.broken = True

    def __call__(self, context: HookContext[Any]) -> None:
        self.calls += 1
        if self.broken:
            raise ValueError("broken")


def test_an_open_breaker_takes_its_hook_out_and_a_timer_brings_it_back_on_trial() -> None:
    failing = Failing()
    states: list[tuple[int, str]] = []

    async def main() -> None:
        async with opened(*Bench().plugins, settings={"hooks": {"breaker": "default"}}) as host:
            handle = host.hooks.register(BEFORE, failing)

            async def call(times: int) -> None:
                for _ in range(times):
                    await host.call("tool:echo")
                states.append((failing.calls, handle.info.breaker))

            await call(5)  # three failures open it; it is called no more
            await trio.sleep(16)
            await call(0)  # the timer lets it in on trial
            await call(2)  # it fails its trial, and stays out for twice as long
            await trio.sleep(16)
            await call(1)
            await trio.sleep(15)
            failing.broken = False
            await call(1)
            await call(1)  # two good calls close it
            await call(3)

    run(main, virtual=True)

    assert states == [
        (3, "open"),
        (3, "half_open"),
        (4, "open"),
        (4, "open"),
        (5, "half_open"),
        (6, "closed"),
        (9, "closed"),
    ]


def test_slow_calls_open_it_too_but_not_declared_waits_nor_the_delay_of_a_retry() -> None:
    async def slow(context: HookContext[Any]) -> None:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_sleep_a_moment)

    async def main() -> list[str]:
        async with opened(*Bench().plugins, settings={"hooks": {"breaker": "production"}}) as host:
            handles = [
                host.hooks.register(BEFORE, slow, name="slow"),
                host.hooks.register(BEFORE, slow, name="waits", waits=True),
                host.hooks.register(
                    BEFORE, lambda context: Retry(0.05, 9) if context.operation.attempt == 1 else None, name="retry"
                ),
            ]
            await host.call("tool:echo")
            return [handle.info.breaker for handle in handles]

    assert run(main) == ["open", "closed", "closed"]


def _sleep_a_moment() -> None:
    import time

    time.sleep(0.03)


def test_a_hook_that_waits_comes_back_like_any_other() -> None:
    failing = Failing()

    async def main() -> str:
        async with opened(*Bench().plugins) as host:
            handle = host.hooks.register(BEFORE, failing, waits=True)
            for _ in range(3):
                await host.call("tool:echo")
            assert handle.info.breaker == "open"
            await trio.sleep(16)
            failing.broken = False
            await host.call("tool:echo")
            await host.call("tool:echo")
            return handle.info.breaker

    assert run(main, virtual=True) == "closed"


def test_a_breaker_is_reset_by_hand_and_an_old_date_does_not_shorten_a_new_one() -> None:
    failing = Failing()

    async def fail(host: Host) -> None:
        for _ in range(3):
            await host.call("tool:echo")

    async def main() -> list[str]:
        async with opened(*Bench().plugins) as host:
            handle = host.hooks.register(BEFORE, failing)
            await fail(host)
            await trio.sleep(10)
            handle.reset_breaker()
            states = [handle.info.breaker]
            await fail(host)
            await trio.sleep(6)
            states.append(handle.info.breaker)
            await trio.sleep(10)
            return [*states, handle.info.breaker]

    assert run(main, virtual=True) == ["closed", "open", "half_open"]


def test_a_breaker_belongs_to_one_hook_at_one_point() -> None:
    failing = Failing()

    async def main() -> list[str]:
        async with opened(*Bench().plugins) as host:
            handles = [
                host.hooks.register(BEFORE, failing, name="one"),
                host.hooks.register("after_tool_execution", lambda context: None, name="one"),
                host.hooks.register(BEFORE, lambda context: None, name="two"),
                host.hooks.register(BEFORE, lambda context: None, name="guard", kind="guard"),
            ]
            for _ in range(3):
                await host.call("tool:echo")
            return [handle.info.breaker for handle in handles]

    assert run(main) == ["open", "closed", "closed", "none"]


def test_settings_may_turn_breakers_off() -> None:
    failing = Failing()

    async def main() -> str:
        async with opened(*Bench().plugins, settings={"hooks": {"breaker": "off"}}) as host:
            handle = host.hooks.register(BEFORE, failing)
            for _ in range(10):
                await host.call("tool:echo")
            return handle.info.breaker

    assert run(main) == "none"
    assert failing.calls == 10
