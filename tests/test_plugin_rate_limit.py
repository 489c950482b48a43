"""The plugin rate_limit: no limit is exceeded by anybody, in any interleaving, and the limiters by themselves."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kernel import make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import Message, ModelRequest, OperationCancelledError, Retry, ToolContext
from llmspell_hookspecs.errors import ProviderError
from llmspell_plugins.hooks.rate_limit import FixedWindow, Limiter, SlidingWindow, TokenBucket
from scripted_model import ScriptedModel, asks, says

S = 1_000_000_000


class Clocked:
    """A tool that notes when it ran."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.tool = make_tool("clocked", self.run)
        self.failures = 0

    async def run(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        self.at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.failures:
            self.failures -= 1
            raise ProviderError("busy", code="unavailable", retryable=True)
        return len(self.at)


def limited(*limits: dict[str, Any], **settings: Any) -> dict[str, Any]:
    rows = [{"match": "tool:clocked", **limit} for limit in limits]
    return {"plugins": {"rate_limit": {"enabled": True, "limits": rows, **settings}}}


def most_in(times: list[float], length: float) -> int:
    """Return the most that lie in any time of this length, which begins with one and leaves its end out."""
    return max(sum(start <= at < start + length - 1e-6 for at in times) for start in times)


async def call_many(host: Host, count: int) -> int:
    """Call so often at once; returns how many were refused."""
    refused = 0

    async def call() -> None:
        nonlocal refused
        try:
            await host.call("tool:clocked", {})
        except OperationCancelledError as error:
            assert error.code == "rate_limited"
            refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(call)
    return refused


@pytest.mark.parametrize("algorithm", ["token_bucket", "sliding", "fixed"])
def test_a_hundred_at_once_wait_their_turn_and_never_exceed_the_rate(algorithm: str) -> None:
    tool = Clocked()

    async def main() -> None:
        async with opened(tool.tool, settings=limited({"algorithm": algorithm, "rate": 10})) as host:
            assert await call_many(host, 100) == 0

    run(main, virtual=True)

    assert len(tool.at) == 100
    bound = {"token_bucket": 20, "sliding": 10, "fixed": 20}[algorithm]
    assert most_in(tool.at, 1.0) <= bound
    assert 8 <= max(tool.at) - min(tool.at) <= 10.5


def test_what_is_too_much_is_refused_and_told_when_to_come_back() -> None:
    tool = Clocked()

    async def main() -> None:
        async with opened(tool.tool, settings=limited({"rate": 5, "per_s": 60, "action": "refuse"})) as host:
            assert await call_many(host, 100) == 95
            with pytest.raises(OperationCancelledError, match=r"5 calls in 60 s are used up; try again in 12 s"):
                await host.call("tool:clocked", {})
            await trio.sleep(12)
            await host.call("tool:clocked", {})

    run(main, virtual=True)

    assert len(tool.at) == 6


def test_who_would_wait_longer_than_it_may_is_refused_and_takes_no_place() -> None:
    tool = Clocked()

    async def main() -> None:
        async with opened(tool.tool, settings=limited({"rate": 1, "max_wait_s": 3})) as host:
            assert await call_many(host, 10) == 6
            assert await call_many(host, 1) == 0

    run(main, virtual=True)

    assert [round(at - tool.at[0], 3) for at in tool.at] == [0, 1, 2, 3, 4]


def test_each_component_of_a_limit_has_places_of_its_own_unless_its_key_says_host() -> None:
    async def other(parameters: dict[str, Any], context: ToolContext) -> Any:
        return "went"

    async def main(key: list[str]) -> str:
        tool = Clocked()
        settings = limited({"match": "tool:*", "rate": 1, "action": "refuse", "key": key})
        async with opened(tool.tool, make_tool("other", other), settings=settings) as host:
            await host.call("tool:clocked", {})
            try:
                return str((await host.call("tool:other", {})).result)
            except OperationCancelledError as error:
                return error.code

    assert run(lambda: main(["component"]), virtual=True) == "went"
    assert run(lambda: main(["host"]), virtual=True) == "rate_limited"


def test_all_limits_count_at_once_or_none_is_touched() -> None:
    tool = Clocked()

    async def main() -> None:
        wide, narrow = {"rate": 10, "per_s": 100, "action": "refuse"}, {"rate": 2, "action": "refuse"}
        async with opened(tool.tool, settings=limited(wide, narrow)) as host:
            assert await call_many(host, 50) == 48
            for _ in range(4):
                await trio.sleep(1)
                assert await call_many(host, 50) == 48
            await trio.sleep(1)
            assert await call_many(host, 50) == 50

    run(main, virtual=True)

    assert len(tool.at) == 10


def test_a_caller_who_leaves_gives_back_the_last_place_only() -> None:
    tool = Clocked()

    async def main() -> None:
        async with opened(tool.tool, settings=limited({"rate": 1})) as host:
            await host.call("tool:clocked", {})
            for _ in range(5):
                with trio.move_on_after(0.1):
                    await host.call("tool:clocked", {})
            await host.call("tool:clocked", {})

    run(main, virtual=True)

    assert [round(at - tool.at[0], 3) for at in tool.at] == [0, 1]


def test_each_attempt_of_a_call_takes_a_place() -> None:
    tool = Clocked()
    tool.failures = 3

    async def main() -> None:
        settings = limited({"rate": 1})
        async with opened(tool.tool, settings=settings) as host:
            host.hooks.register("tool_error", lambda _: Retry(0, 10), name="again")
            await host.call("tool:clocked", {})

    run(main, virtual=True)

    assert [round(at - tool.at[0], 3) for at in tool.at] == [0, 1, 2, 3]


def test_a_model_of_an_agent_that_is_too_fast_is_redirected_or_waits() -> None:
    async def main() -> list[str]:
        model = ScriptedModel(asks(("clocked", {})), asks(("clocked", {})), says("done"))
        settings = limited({"match": "model:scripted/*", "rate": 1})
        async with opened(Clocked().tool, model, settings=settings) as host:
            agent = await host.agents.create(name="a", model="scripted/play", tools=["clocked"])
            began = trio.current_time()
            output = await agent.run("go")
            return [output.text, f"{trio.current_time() - began:.1f}"]

    assert run(main, virtual=True) == ["done", "2.0"]


def test_tokens_are_reserved_and_what_was_used_is_settled() -> None:
    async def main() -> float:
        model = ScriptedModel(says("hi"))
        settings = limited({"match": "model:*", "unit": "tokens", "rate": 1000, "per_s": 60, "action": "refuse"})
        async with opened(model, settings=settings) as host:
            request = ModelRequest("scripted/play", (Message("user", "x"),), max_tokens=900)
            for _ in range(3):
                await host.models.complete(request)
            with pytest.raises(OperationCancelledError):
                await host.models.complete(
                    ModelRequest("scripted/play", (Message("user", "x" * 2700),), max_tokens=900)
                )
            return len(model.requests)

    assert run(main, virtual=True) == 3


def test_a_provider_that_says_when_to_come_back_is_left_alone_until_then() -> None:
    model = ScriptedModel(ProviderError("busy", code="rate_limited", retry_after_s=7), says("hi"))

    async def main() -> float:
        async with opened(model, settings=limited({"match": "model:*", "rate": 100})) as host:
            request = ModelRequest("scripted/play", (Message("user", "x"),))
            with pytest.raises(ProviderError):
                await host.models.complete(request)
            began = trio.current_time()
            await host.models.complete(request)
            return trio.current_time() - began

    assert run(main, virtual=True) == pytest.approx(7)


def test_the_event_of_a_limit_that_is_nearly_used_up_comes_once() -> None:
    async def main() -> list[Any]:
        tool = Clocked()
        settings = limited({"rate": 10, "per_s": 1000, "action": "refuse", "name": "slow"})
        async with opened(tool.tool, settings=settings) as host, host.events.subscribe("rate_limit.*") as events:
            await call_many(host, 20)
            return [event.data for event in iter(events.receive_nowait, None)]

    told = run(main, virtual=True)

    assert [dict(each)["limit"] for each in told] == ["slow"]


def test_a_wall_clock_that_is_set_back_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = Clocked()

    async def main() -> None:
        async with opened(tool.tool, settings=limited({"algorithm": "fixed", "rate": 2, "action": "refuse"})) as host:
            await trio.sleep(1)
            assert await call_many(host, 5) == 3
            monkeypatch.setattr("time.time", lambda: 1.0)
            assert await call_many(host, 5) == 5
            await trio.sleep(1)
            assert await call_many(host, 5) == 3

    run(main, virtual=True)


@pytest.mark.parametrize(
    ("limit", "what"),
    [
        ({"rate": 0}, "rate"),
        ({"rate": 1, "action": "redirect"}, "give both or neither"),
        ({"rate": 99_999, "algorithm": "sliding"}, "take a token bucket"),
        ({"rate": 1, "key": ["planet"]}, "key"),
    ],
)
async def test_wrong_settings_leave_it_out_and_are_named(limit: dict[str, Any], what: str) -> None:
    async with opened(settings=limited(limit)) as host:
        (failed,) = [info for info in host.plugins.infos if info.error]

    assert failed.name == "rate_limit"
    assert what in failed.error


# The limiters by themselves, whatever is asked and given back when.

STEPS = st.lists(
    st.tuples(st.integers(0, 3 * S), st.integers(1, 3), st.sampled_from(["take", "take", "take", "give", "look"])),
    max_size=60,
)


def granted(limiter: Limiter, steps: list[tuple[int, int, str]]) -> list[tuple[int, int]]:
    """Take places one after the other, giving some back; returns when how many went."""
    now, taken = 5 * S, []
    for wait, count, what in steps:
        now += wait
        if what == "take":
            at = limiter.earliest(count, now)
            assert at >= now
            assert limiter.earliest(count, at) == at
            taken.append((at, count, limiter.take(count, at)))
        elif what == "give" and taken and taken[-1][0] > now and limiter.give_back(taken[-1][1], taken[-1][2]):
            taken.pop()
        elif limiter.is_idle(now):
            assert limiter.used(now) == 0
    return [(at, count) for at, count, _ in taken]


def heaviest(taken: list[tuple[int, int]], length: int) -> int:
    return max((sum(count for at, count in taken if start <= at < start + length) for start, _ in taken), default=0)


@given(STEPS, st.integers(3, 7), st.integers(3, 9), st.integers(1, 5 * S))
def test_a_token_bucket_grants_no_more_than_its_rate_and_burst(
    steps: list[tuple[int, int, str]], rate: int, burst: int, length: int
) -> None:
    taken = granted(TokenBucket(rate, S, burst), steps)

    assert heaviest(taken, length) <= rate * length / S + burst


@given(STEPS, st.integers(3, 7))
def test_a_sliding_window_grants_no_more_than_its_rate_in_any_window(
    steps: list[tuple[int, int, str]], rate: int
) -> None:
    taken = granted(SlidingWindow(rate, S), steps)

    assert heaviest(taken, S) <= rate


@given(STEPS, st.integers(3, 7), st.integers(-S, S))
def test_a_fixed_window_grants_no_more_than_its_rate_in_each_window(
    steps: list[tuple[int, int, str]], rate: int, origin: int
) -> None:
    taken = granted(FixedWindow(rate, S, origin), steps)

    windows: dict[int, int] = {}
    for at, count in taken:
        windows[(at - origin) // S] = windows.get((at - origin) // S, 0) + count
    assert all(count <= rate for count in windows.values())


@given(st.integers(1, 50), st.integers(1, 10), st.integers(0, 10 * S))
def test_a_full_bucket_gives_its_burst_at_once_and_then_one_after_the_other(rate: int, burst: int, now: int) -> None:
    bucket = TokenBucket(rate, S, burst)
    times = []
    for _ in range(burst + 3):
        at = bucket.earliest(1, now)
        bucket.take(1, at)
        times.append(at)

    assert times[:burst] == [now] * burst
    exact = [now + number * S / rate for number in (1, 2, 3)]
    assert all(0 <= at - wanted <= 3 for at, wanted in zip(times[burst:], exact, strict=True))
