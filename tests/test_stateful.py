"""What plugins of hooks have counted outlives them: what one dumps another one loads, here or in a later process."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kernel import make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import Message, ModelRequest, Services, ToolContext
from llmspell_hookspecs.errors import InvalidInputError, OperationCancelledError, ProviderError
from llmspell_hookspecs.model import ModelUsage
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.stateful import Stateful
from llmspell_plugins.hooks.caching import Caching
from llmspell_plugins.hooks.cost import Cost
from llmspell_plugins.hooks.debugging import Debugging
from llmspell_plugins.hooks.logging import Logging
from llmspell_plugins.hooks.metrics import Metrics
from llmspell_plugins.hooks.rate_limit import FixedWindow, Limiter, RateLimit, SlidingWindow, TokenBucket
from llmspell_plugins.hooks.retry import RetryHook
from llmspell_plugins.hooks.security import Security
from scripted_model import ScriptedModel, says

S = 1_000_000_000
PRICES = {"scripted/*": {"input_usd": 1.0, "output_usd": 10.0}}
SETTINGS: dict[Any, dict[str, Any]] = {
    Caching: {"rules": [{"match": "tool:*", "ttl_s": 60, "scope": "host"}]},
    Cost: {"budgets": [{"usd": 0.002, "alerts": [0.5]}], "prices": PRICES, "price_list": "none", "ledger": "memory"},
    Debugging: {"buffer": 100},
    Metrics: {},
    RateLimit: {
        "limits": [
            {"match": "tool:*", "rate": 5, "per_s": 3600, "action": "refuse"},
            {"match": "tool:*", "rate": 5, "per_s": 600, "action": "refuse", "algorithm": "sliding"},
            {"match": "tool:*", "rate": 9, "per_s": 86_400, "action": "refuse", "algorithm": "fixed", "key": ["host"]},
        ]
    },
    Logging: {"level": "info"},
    Security: {"rules": [], "audit": "off"},
    RetryHook: {"budget": 0, "budget_least": 3, "jitter": "none", "base_s": 0.1, "max_s": 10},
}


@pytest.fixture(autouse=True)
def _logs_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS[Logging], "path", str(tmp_path / "seen.log"))


def kept(plugin: Any) -> Any:
    """Return the plugin under a name of its own, which remembers the newest one."""

    class Kept(plugin):  # type: ignore[misc]
        name = "kept"
        newest: ClassVar[Any]

        def __init__(self, settings: Any, services: Services) -> None:
            super().__init__(settings, services)
            Kept.newest = self

    return Kept


async def use(host: Host) -> list[str]:
    """Call a tool four times, one that fails, and a model; return how each ended."""
    request = ModelRequest("scripted/play", (Message("user", "hello"),), max_tokens=100)
    calls: list[Callable[[], Any]] = [partial(host.call, "tool:echo", {})] * 4
    calls += [partial(host.call, "tool:broken", {}), partial(host.models.complete, request)]
    return [await _ending(call) for call in calls]


async def _ending(call: Callable[[], Any]) -> str:
    try:
        await call()
    except OperationCancelledError as error:
        return error.code
    except ProviderError:
        return "failed"
    return "fine"


class _Tools:
    """What is called, and how often the broken one was."""

    def __init__(self) -> None:
        self.tries = 0

    async def echo(self, parameters: dict[str, Any], context: ToolContext) -> str:
        return "echo"

    async def broken(self, parameters: dict[str, Any], context: ToolContext) -> str:
        self.tries += 1
        raise ProviderError("it is down", code="unavailable", retryable=True)


def lives(plugin: Any, count: int, *, load: bool = True, between_s: float = 0.0) -> list[Any]:
    """Use so many hosts one after the other, each with what the plugin of the one before has dumped."""
    found, state = [], None

    async def main() -> None:
        nonlocal state
        for _ in range(count):
            tools, watched = _Tools(), kept(plugin)
            answer = msgspec.structs.replace(says("hello"), usage=ModelUsage(5, 100, 0.001))
            plugins = [watched, make_tool("echo", tools.echo), make_tool("broken", tools.broken, repeatable=True)]
            settings = {"plugins": {"kept": SETTINGS[plugin]}}
            async with opened(*plugins, ScriptedModel(answer), settings=settings) as host:
                one = watched.newest
                one._clock = SameClock()
                assert_stateful(one)
                if state is not None and load:
                    await one.load_state(json.loads(json.dumps(state)))
                ended = await use(host)
                await trio.sleep(0.2)
                state = await one.dump_state()
                stats = one.stats()
            found.append((ended, tools.tries, stats))
            SameClock.at_s += between_s

    run(main, virtual=plugin is not Logging)  # which writes in a thread, and no clock of tests waits for that
    return found


def assert_stateful(plugin: object) -> None:
    assert isinstance(plugin, Stateful)


class SameClock:
    """A clock on the wall that stands while a host runs; each host's other clock begins where it likes."""

    at_s: ClassVar[float] = 1_764_500_000.0

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return trio.current_time()


def test_a_bucket_is_not_full_again_because_its_plugin_was_away() -> None:
    first, second, third = lives(RateLimit, 3)
    fresh = lives(RateLimit, 2, load=False)[1]
    later = lives(RateLimit, 2, between_s=90_000)[1]

    assert first[0] == ["fine"] * 4 + ["failed", "fine"]
    assert second[0] == ["fine", "rate_limited", "rate_limited", "rate_limited", "failed", "fine"]
    assert third[0] == ["rate_limited"] * 4 + ["failed", "fine"]
    assert fresh[0] == later[0] == first[0]


def test_a_budget_is_spent_though_its_plugin_was_away() -> None:
    ended = [life[0][-1] for life in lives(Cost, 3)]

    assert ended == ["fine", "fine", "budget_exceeded"]
    assert [life[0][-1] for life in lives(Cost, 3, load=False)] == ["fine"] * 3


def test_a_budget_of_retries_is_used_up_though_its_plugin_was_away() -> None:
    assert [life[1] for life in lives(RetryHook, 3)] == [3, 2, 1]
    assert [life[1] for life in lives(RetryHook, 2, load=False)] == [3, 3]
    assert [life[1] for life in lives(RetryHook, 2, between_s=61)] == [3, 3]


@pytest.mark.parametrize("plugin", SETTINGS)
def test_counts_go_on(plugin: Any) -> None:
    once, twice = lives(plugin, 2)

    def counts(life: Any) -> dict[str, float]:
        flat = {}
        for name, value in life[2].items():
            for key, count in value.items() if isinstance(value, dict) else [("", value)]:
                if not str(key).startswith("p") and name not in ("keys", "waited_s", "taken_usd", "size_bytes"):
                    flat[f"{name} {key}"] = count
        return flat

    before, after = counts(once), counts(twice)
    assert any(before.values())
    assert all(after[name] >= value for name, value in before.items())
    assert sum(after.values()) > sum(before.values())


def test_the_spans_of_the_one_before_are_in_the_trace_of_the_next() -> None:
    async def main() -> tuple[dict[str, Any], dict[str, Any]]:
        watched = kept(Debugging)
        snapshots = []
        state = None
        for _ in range(2):
            tools = _Tools()
            plugins = [watched, make_tool("echo", tools.echo)]
            async with opened(*plugins, settings={"plugins": {"kept": SETTINGS[Debugging]}}) as host:
                if state is not None:
                    await watched.newest.load_state(state)
                await host.call("tool:echo", {})
                state = await watched.newest.dump_state()
                snapshots.append(await watched.newest.snapshot())
        return snapshots[0], snapshots[1]

    one, two = run(main)

    assert two["spans"][0] == one["spans"][0]
    assert (one["kept"], two["kept"]) == (1, 2)
    assert two["spans"][0]["begin_ns"] <= two["spans"][1]["begin_ns"]
    assert {span["task"] for span in two["spans"]} == {1, 2}


@pytest.mark.parametrize("plugin", SETTINGS)
@pytest.mark.parametrize("state", [None, 1, [], {"at_s": "soon"}, {"counts": {"a": "b"}}])
async def test_what_is_no_state_is_refused_and_nothing_is_taken_over(plugin: Any, state: Any) -> None:
    watched = kept(plugin)
    async with opened(watched, settings={"plugins": {"kept": SETTINGS[plugin]}}):
        before = await watched.newest.dump_state()
        with pytest.raises(InvalidInputError, match="plugin kept: this is none of its states"):
            await watched.newest.load_state(state)
        after = await watched.newest.dump_state()

    assert {**before, "at_s": 0} == {**after, "at_s": 0}


TAKEN = st.lists(st.tuples(st.integers(0, 2 * S), st.integers(1, 4)), max_size=30)


@given(TAKEN, st.sampled_from([0, 1, 2]), st.integers(1, 6), st.integers(0, 5 * S), st.integers(1, 6))
def test_a_limiter_made_of_what_was_taken_of_another_gives_no_place_earlier_than_that(
    taken: list[tuple[int, int]], which: int, rate: int, later_ns: int, count: int
) -> None:
    def make() -> Limiter:
        limiters: list[Limiter] = [TokenBucket(rate, S, 2 * rate), SlidingWindow(rate, S), FixedWindow(rate, S, 7)]
        return limiters[which]

    old, now_ns = make(), 5 * S
    for wait_ns, many in taken:
        now_ns += wait_ns
        old.take(many, old.earliest(many, now_ns))
    new = make()
    for at_ns, many in old.taken(now_ns):
        new.take(many, at_ns)

    asked_ns = now_ns + later_ns
    assert old.earliest(count, asked_ns) <= new.earliest(count, asked_ns) <= old.earliest(count, asked_ns) + S + 1


def test_the_clock_of_the_tests_is_one() -> None:
    assert isinstance(SameClock(), Clock)
