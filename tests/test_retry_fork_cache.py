"""Retry, Fork and Cache: how often, how long, how deep, and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import trio

from kernel import Bench, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import (
    Cache,
    Calls,
    Cancel,
    Fork,
    HookContext,
    InvalidInputError,
    Modified,
    OperationCancelledError,
    Replace,
    Retry,
    ToolContext,
    ToolError,
)
from llmspell_hookspecs.errors import OperationError, OperationTimeoutError
from llmspell_hookspecs.results import Call

BEFORE, AFTER, ERROR = "before_tool_execution", "after_tool_execution", "tool_error"


class Flaky:
    """A tool that fails the first few times, and what it saw."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.runs: list[dict[str, Any]] = []
        self.attempts: list[int] = []
        self.wait_s = 0.0

    async def __call__(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        self.runs.append(parameters)
        self.attempts.append(context.operation.attempt)
        if self.wait_s:
            await trio.sleep(self.wait_s)
        if len(self.runs) <= self.failures:
            raise ToolError(f"failure {len(self.runs)}")
        return {"run": len(self.runs)}


def calling(flaky: Flaky, prepare: Callable[[Host], Any], *, repeatable: bool = True, **options: Any) -> Any:
    """Call the tool on a virtual clock; returns the result and how long it took."""

    async def main() -> Any:
        async with opened(make_tool("flaky", flaky, repeatable=repeatable)) as host:
            prepare(host)
            began = trio.current_time()
            result = (await host.call("tool:flaky", {"text": "plain"}, **options)).result
            return result, trio.current_time() - began

    return run(main, virtual=True)


# Retry.


def test_a_failed_attempt_is_waited_for_and_run_again() -> None:
    flaky = Flaky(2)

    result, elapsed_s = calling(flaky, lambda host: host.hooks.register(ERROR, lambda context: Retry(1.5, 5)))

    assert result == {"run": 3}
    assert flaky.attempts == [1, 2, 3]
    assert elapsed_s == pytest.approx(3.0)


AGAIN = Retry(0, 3, value={"parameters": {"text": "shorter"}})


@pytest.mark.parametrize(("point", "failures", "runs"), [(BEFORE, 0, 1), (AFTER, 0, 2), (ERROR, 1, 2)])
def test_what_a_retry_brings_runs_next_and_every_guard_judges_it(point: str, failures: int, runs: int) -> None:
    flaky = Flaky(failures)
    judged: list[str] = []
    asked: list[str] = []

    def prepare(host: Host) -> None:
        once = lambda context: AGAIN if context.operation.attempt == 1 else None  # noqa: E731
        host.hooks.register(point, once)
        host.hooks.register(
            BEFORE, lambda context: judged.append(context.subject.parameters["text"]), kind="guard", name="first"
        )
        host.hooks.register(
            AFTER, lambda context: asked.append(context.request.parameters["text"]), kind="observe", name="last"
        )

    result, _ = calling(flaky, prepare)

    assert result == {"run": runs}
    assert [run["text"] for run in flaky.runs] == ["plain", "shorter"][-runs:]
    assert judged == ["plain", "shorter"][-max(runs, len(judged)) :]
    assert asked == ["shorter"]


@pytest.mark.parametrize("point", [BEFORE, AFTER, ERROR])
def test_a_guard_denies_what_a_retry_brings_for_good(point: str) -> None:
    flaky = Flaky(1 if point == ERROR else 0)

    def prepare(host: Host) -> None:
        host.hooks.register(point, lambda context: AGAIN if context.operation.attempt == 1 else None)
        deny = lambda context: Cancel("short") if context.subject.parameters["text"] == "shorter" else None  # noqa: E731
        host.hooks.register(BEFORE, deny, kind="guard", name="deny")
        host.hooks.register(ERROR, lambda context: Replace("revived"), name="revive")

    with pytest.raises(OperationCancelledError, match="short"):
        calling(flaky, prepare)

    assert {"text": "shorter"} not in flaky.runs


@pytest.mark.parametrize("point", [BEFORE, AFTER, ERROR])
@pytest.mark.parametrize("value", [{"parameterz": {}}, "shorter", {"parameters": 3}])
def test_what_a_retry_brings_must_be_a_call_of_the_same_kind(point: str, value: Any) -> None:
    flaky = Flaky(1 if point == ERROR else 0)

    with pytest.raises(InvalidInputError, match="ToolCall"):
        calling(flaky, lambda host: host.hooks.register(point, lambda context: Retry(0, 3, value=value)))


def test_what_is_tried_anew_is_stored_for_what_was_not_asked() -> None:
    flaky = Flaky(0)

    async def main() -> list[Any]:
        async with opened(make_tool("flaky", flaky, repeatable=True)) as host:
            host.hooks.register(BEFORE, lambda context: Cache("kept"), name="cache")
            host.hooks.register(AFTER, lambda context: AGAIN if context.operation.attempt == 1 else None, name="again")
            return [(await host.call("tool:flaky", {"text": "plain"})).result for _ in range(2)]

    run(main, virtual=True)

    assert [each["text"] for each in flaky.runs] == ["plain", "shorter"] * 2


def test_the_smallest_number_of_attempts_that_was_asked_for_counts() -> None:
    flaky = Flaky(9)

    def prepare(host: Host) -> None:
        host.hooks.register(ERROR, lambda context: Retry(0, 5 if context.operation.attempt == 1 else 3))

    with pytest.raises(ToolError, match="failure 3"):
        calling(flaky, prepare)

    assert len(flaky.runs) == 3


def test_one_counter_counts_the_attempts_of_all_phases() -> None:
    flaky = Flaky(1)
    attempts: list[tuple[str, int]] = []

    def ask(context: HookContext[Any]) -> Any:
        attempts.append((context.point, context.operation.attempt))
        return Retry(0, 4)

    def prepare(host: Host) -> None:
        host.hooks.register(BEFORE, lambda context: ask(context) if context.operation.attempt == 1 else None)
        host.hooks.register(ERROR, ask)
        host.hooks.register(AFTER, ask)

    result, _ = calling(flaky, prepare)

    assert attempts == [(BEFORE, 1), (ERROR, 2), (AFTER, 3), (AFTER, 4)]
    assert result == {"run": 3}


def test_a_retry_before_starts_from_the_original_subject_and_one_after_from_the_approved_one() -> None:
    flaky = Flaky(1)
    seen: list[str] = []

    def change(context: HookContext[Any]) -> Modified:
        seen.append(context.subject.parameters["text"])
        return context.modify(parameters={"text": f"changed {len(seen)}"})

    def prepare(host: Host) -> None:
        host.hooks.register(BEFORE, change, priority="high")
        host.hooks.register(BEFORE, lambda context: Retry(0, 9) if context.operation.attempt == 1 else None)
        host.hooks.register(ERROR, lambda context: Retry(0, 9))

    calling(flaky, prepare)

    assert seen == ["plain", "plain"]
    assert [given["text"] for given in flaky.runs] == ["changed 2", "changed 2"]


def test_a_retry_before_that_may_not_go_on_is_an_error() -> None:
    with pytest.raises(OperationError, match="asked for a retry after attempt 2, the last one"):
        calling(Flaky(), lambda host: host.hooks.register(BEFORE, lambda context: Retry(0, 2)))


@pytest.mark.parametrize("failures", [0, 1])
def test_what_does_not_declare_itself_repeatable_runs_once(failures: int) -> None:
    flaky = Flaky(failures)

    def prepare(host: Host) -> None:
        host.hooks.register(ERROR, lambda context: Retry(0, 5))
        host.hooks.register(AFTER, lambda context: Retry(0, 5))

    try:
        calling(flaky, prepare, repeatable=False)
    except ToolError:
        assert failures

    assert len(flaky.runs) == 1


def test_what_does_not_declare_itself_repeatable_may_wait_before_it_runs() -> None:
    flaky = Flaky()

    def prepare(host: Host) -> None:
        host.hooks.register(BEFORE, lambda context: Retry(2, 5) if context.operation.attempt < 3 else None)

    _, elapsed_s = calling(flaky, prepare, repeatable=False)

    assert elapsed_s == pytest.approx(4)
    assert flaky.attempts == [3]


def test_a_wait_that_the_deadline_would_cut_ends_the_operation_at_once() -> None:
    flaky = Flaky(9)
    timeouts: list[Any] = []

    def prepare(host: Host) -> None:
        host.hooks.register(ERROR, lambda context: Retry(4, 9))
        host.hooks.register("tool_timeout", timeouts.append)

    with pytest.raises(OperationTimeoutError) as caught:
        calling(flaky, prepare, deadline_s=10)

    assert len(flaky.runs) == 3
    assert isinstance(caught.value.__cause__, ToolError)
    assert len(timeouts) == 1


def test_the_deadline_covers_all_attempts_together() -> None:
    flaky = Flaky(9)
    flaky.wait_s = 3

    with pytest.raises(OperationTimeoutError):
        calling(flaky, lambda host: host.hooks.register(ERROR, lambda context: Retry(1, 9)), deadline_s=10)

    assert len(flaky.runs) == 3


def test_a_retry_without_a_wait_still_lets_others_run() -> None:
    async def main() -> None:
        async with opened(make_tool("flaky", Flaky())) as host:
            host.hooks.register(BEFORE, lambda context: Retry(0, 1 << 30))
            with trio.move_on_after(0.05) as scope:
                await host.call("tool:flaky")
            assert scope.cancelled_caught

    run(main)


# Fork.


def forking(
    forks: list[Fork], *, deny: bool = False, body_s: float = 0.0, side_s: float = 0.0, fails: bool = False
) -> tuple[Any, list[Any], float]:
    """Call ``flaky`` beside these forks; answer the outcome, the forks' outcomes, and the time it took."""
    outcomes: list[Any] = []
    flaky = Flaky()
    flaky.wait_s = body_s

    async def aside(parameters: dict[str, Any], context: ToolContext) -> Any:
        await trio.sleep(side_s)
        if fails:
            raise ToolError("the fork broke")
        return parameters

    async def main() -> Any:
        async with opened(make_tool("flaky", flaky), make_tool("aside", aside)) as host:
            for fork in forks:
                host.hooks.register(BEFORE, lambda context, fork=fork: fork, match="flaky", name=f"f{id(fork)}")
            if deny:
                host.hooks.register(BEFORE, lambda context: Cancel("no"), kind="guard", match="flaky")
            for point in (AFTER, ERROR):
                host.hooks.register(
                    point, lambda context: outcomes.extend(context.forks), kind="observe", match="flaky"
                )
            began = trio.current_time()
            try:
                outcome: Any = (await host.call("tool:flaky")).result
            except OperationCancelledError as error:
                outcome = error
            return outcome, outcomes, trio.current_time() - began

    answer: tuple[Any, list[Any], float] = run(main, virtual=True)
    return answer


def test_a_joined_fork_runs_beside_the_body_and_its_outcome_is_told() -> None:
    call = Call("tool:aside", {"n": 1})

    outcome, forks, elapsed_s = forking([Fork((call,), join=True)], body_s=2, side_s=3)

    assert outcome == {"run": 1}
    assert elapsed_s == pytest.approx(3)
    assert [(fork.call, fork.status, fork.value.result) for fork in forks] == [(call, "completed", {"n": 1})]


def test_a_fork_that_is_not_joined_is_cancelled_when_the_operation_ends() -> None:
    _, forks, elapsed_s = forking([Fork((Call("tool:aside"),))], body_s=1, side_s=100)

    assert elapsed_s == pytest.approx(1)
    assert [fork.status for fork in forks] == ["cancelled"]


def test_a_fork_that_ends_in_time_is_told_without_being_joined() -> None:
    _, forks, _ = forking([Fork((Call("tool:aside"),))], body_s=2, side_s=1)

    assert [fork.status for fork in forks] == ["completed"]


def test_a_failed_fork_is_an_outcome_and_fails_nothing() -> None:
    outcome, forks, _ = forking([Fork((Call("tool:aside"), Call("tool:nowhere")), join=True)], fails=True)

    assert outcome == {"run": 1}
    assert [fork.status for fork in forks] == ["failed", "failed"]
    assert next(fork.error.message for fork in forks) == "the fork broke"
    assert forks[1].error.code == "not_found"


def test_no_fork_is_started_when_the_operation_is_denied() -> None:
    outcome, forks, _ = forking([Fork((Call("tool:aside"),), join=True)], deny=True)

    assert isinstance(outcome, OperationCancelledError)
    assert forks == []


def test_a_hook_that_matches_its_own_fork_ends_at_the_depth_limit() -> None:
    depths: list[int] = []

    def again(context: HookContext[Any]) -> Fork:
        depths.append(context.operation.depth)
        return Fork((Call("tool:flaky"),), join=True)

    async def main() -> Any:
        async with opened(make_tool("flaky", Flaky()), settings={"limits": {"depth": 5}}) as host:
            host.hooks.register(BEFORE, again)
            return (await host.call("tool:flaky")).result

    assert run(main)
    assert depths == [0, 1, 2, 3, 4, 5]


def test_forks_are_asked_for_at_each_point_and_are_all_in_the_trace() -> None:
    bench = Bench()
    points = (BEFORE, AFTER, "tool_resource_released")

    async def main() -> list[str]:
        async with opened(*bench.plugins, trace=True) as host:
            for point in points:
                host.hooks.register(point, lambda context: Fork((Call("tool:side"),), join=True), match="echo")
            await host.call("tool:echo")
            return [row.detail for row in host.trace if row.kind == "runner" and row.result == "Fork"]

    assert run(main) == ["tool:side completed"] * 3
    assert bench.side == 3


# Cache.


class Cached:
    """A host with ``flaky`` behind a cache, on a virtual clock."""

    def __init__(self, cache: Callable[[HookContext[Any]], Any], *, failures: int = 0) -> None:
        self.cache = cache
        self.flaky = Flaky(failures)

    def go(self, main: Callable[[Host], Any], **options: Any) -> Any:
        async def whole() -> Any:
            async with opened(make_tool("flaky", self.flaky), make_tool("other", Flaky()), **options) as host:
                host.hooks.register(BEFORE, self.cache, name="cache")
                return await main(host)

        return run(whole, virtual=True)


async def ask(host: Host, text: str = "plain", tool: str = "flaky") -> Any:
    return (await host.call(f"tool:{tool}", {"text": text})).result


def test_the_subject_the_component_and_the_hooks_own_key_are_parts_of_the_key() -> None:
    keys = iter(["a", "a", "a", "b", "a"])
    cached = Cached(lambda context: Cache(next(keys)))

    async def main(host: Host) -> list[Any]:
        return [
            await ask(host, "one"),
            await ask(host, "two"),
            await ask(host, "one"),
            await ask(host, "one"),
            await ask(host, "one", "other"),
        ]

    assert cached.go(main) == [{"run": 1}, {"run": 2}, {"run": 1}, {"run": 3}, {"run": 1}]


def test_the_plugin_is_a_part_of_the_key() -> None:
    cached = Cached(lambda context: None)

    async def main(host: Host) -> list[Any]:
        first = host.hooks.register(BEFORE, lambda context: Cache("k"), plugin="one")
        one = [await ask(host), await ask(host)]
        first.unregister()
        host.hooks.register(BEFORE, lambda context: Cache("k"), plugin="two")
        return [*one, await ask(host)]

    assert cached.go(main) == [{"run": 1}, {"run": 1}, {"run": 2}]


def test_the_subject_of_the_key_is_the_one_that_the_hook_was_shown() -> None:
    tenants = iter(["x", "y", "x"])
    cached = Cached(lambda context: Cache("k"))

    async def main(host: Host) -> list[Any]:
        host.hooks.register(
            BEFORE,
            lambda context: context.modify(parameters={**context.subject.parameters, "tenant": next(tenants)}),
            priority="high",
        )
        return [await ask(host), await ask(host), await ask(host)]

    assert cached.go(main) == [{"run": 1}, {"run": 2}, {"run": 1}]


def test_a_value_is_served_as_long_as_it_is_fresh() -> None:
    cached = Cached(lambda context: Cache("k", ttl_s=10))

    async def main(host: Host) -> list[Any]:
        values = [await ask(host)]
        await trio.sleep(9)
        values.append(await ask(host))
        await trio.sleep(2)
        values.append(await ask(host))
        return values

    assert cached.go(main) == [{"run": 1}, {"run": 1}, {"run": 2}]


def test_what_is_served_cannot_be_changed_by_who_got_it_before() -> None:
    cached = Cached(lambda context: Cache("k"))

    async def main(host: Host) -> Any:
        first = await ask(host)
        first["run"] = "mine"
        return await ask(host)

    assert cached.go(main) == {"run": 1}


def test_one_flight_at_a_time_and_the_others_wait_for_it() -> None:
    cached = Cached(lambda context: Cache("k"))
    cached.flaky.wait_s = 5
    values: list[Any] = []

    async def one(host: Host) -> None:
        values.append(await ask(host))

    async def main(host: Host) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one, host)

    cached.go(main)

    assert values == [{"run": 1}] * 10
    assert len(cached.flaky.runs) == 1


def test_when_the_leader_fails_one_waiter_leads() -> None:
    cached = Cached(lambda context: Cache("k"), failures=1)
    cached.flaky.wait_s = 5
    values: list[Any] = []

    async def one(host: Host) -> None:
        try:
            values.append(await ask(host))
        except ToolError as error:
            values.append(str(error))

    async def main(host: Host) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(one, host)

    cached.go(main)

    assert sorted(map(str, values)) == ["failure 1", *["{'run': 2}"] * 4]
    assert len(cached.flaky.runs) == 2


def test_when_the_leader_is_cancelled_one_waiter_leads() -> None:
    cached = Cached(lambda context: Cache("k"))
    cached.flaky.wait_s = 5
    values: list[Any] = []

    async def main(host: Host) -> None:
        async def leader() -> None:
            with trio.move_on_after(2):
                await ask(host)

        async def waiter() -> None:
            await trio.sleep(1)
            values.append(await ask(host))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leader)
            nursery.start_soon(waiter)
            nursery.start_soon(waiter)

    cached.go(main)

    assert values == [{"run": 2}] * 2


def test_a_nested_call_with_the_same_key_does_not_wait_for_the_one_around_it() -> None:
    depths: list[int] = []

    async def nested(parameters: dict[str, Any], context: ToolContext) -> Any:
        depths.append(context.operation.depth)
        if context.operation.depth == 0:
            await context.services.get(Calls).call("tool:nested", {"text": "plain"})
        return {"depth": context.operation.depth}

    async def main() -> Any:
        async with opened(make_tool("nested", nested)) as host:
            host.hooks.register(BEFORE, lambda context: Cache("k"))
            return await ask(host, tool="nested")

    assert run(main, virtual=True) == {"depth": 0}
    assert depths == [0, 1]


def test_a_stale_value_is_served_when_the_body_fails() -> None:
    cached = Cached(lambda context: Cache("k", ttl_s=1))

    async def main(host: Host) -> list[Any]:
        host.hooks.register(ERROR, lambda context: Cache("k"))
        values = [await ask(host)]
        await trio.sleep(60)
        cached.flaky.failures = 99
        values.append(await ask(host))
        with pytest.raises(ToolError):
            await ask(host, "another question")
        return values

    assert cached.go(main) == [{"run": 1}, {"run": 1}]


@pytest.mark.parametrize("point", [BEFORE, AFTER])
@pytest.mark.parametrize("kind", ["transform", "guard"])
def test_what_was_denied_is_not_stored(point: str, kind: str) -> None:
    denying = [True]
    cached = Cached(lambda context: Cache("k"))

    async def main(host: Host) -> Any:
        deny = lambda context: Cancel("no") if denying else None  # noqa: E731
        host.hooks.register(point, deny, kind=kind, priority="low")
        with pytest.raises(OperationCancelledError):
            await ask(host)
        denying.clear()
        return await ask(host)

    assert cached.go(main) == {"run": 1 if point == BEFORE else 2}


def test_an_error_that_was_recovered_is_not_stored() -> None:
    cached = Cached(lambda context: Cache("k"), failures=1)

    async def main(host: Host) -> list[Any]:
        host.hooks.register(ERROR, lambda context: Replace({"result": "fixed"}))
        return [await ask(host), await ask(host)]

    assert cached.go(main) == ["fixed", {"run": 2}]


def test_a_value_that_was_thrown_away_for_another_attempt_is_not_stored() -> None:
    cached = Cached(lambda context: Cache("k"))

    async def main(host: Host) -> list[Any]:
        def again(context: HookContext[Any]) -> Any:
            cached.flaky.failures = 9
            return Retry(0, 2)

        handles = [
            host.hooks.register(AFTER, again),
            host.hooks.register(ERROR, lambda context: Replace({"result": "fixed"})),
        ]
        values = [await ask(host)]
        cached.flaky.failures = 0
        assert all(handle.unregister() for handle in handles)
        return [*values, await ask(host)]

    assert cached.go(main) == ["fixed", {"run": 3}]


def test_a_value_is_stored_as_it_stands_where_the_hook_after_stands() -> None:
    cached = Cached(lambda context: None)

    async def main(host: Host) -> list[Any]:
        host.hooks.register(AFTER, lambda context: Modified({"result": "early"}), priority="high", name="early")
        host.hooks.register(AFTER, lambda context: Cache("k"), name="keep")
        host.hooks.register(AFTER, lambda context: Modified({"result": "late"}), priority="low", name="late")
        first = await ask(host)
        for hook in ("early", "late"):
            assert hook in [info.name for info in host.hooks.list(AFTER)]
        host.hooks.register(BEFORE, lambda context: Cache("k"))
        seen: list[Any] = []
        host.hooks.register(AFTER, lambda context: seen.append(context.subject.result), priority="highest")
        return [first, await ask(host), *seen]

    assert cached.go(main) == ["late", "late", "early"]


def test_scope_host_and_scope_session_are_different_keys() -> None:
    scopes: Iterator[Literal["host", "session"]] = iter(["host", "session", "host", "session"])
    cached = Cached(lambda context: Cache("k", scope=next(scopes)))

    async def main(host: Host) -> list[Any]:
        return [await ask(host) for _ in range(4)]

    assert cached.go(main) == [{"run": 1}, {"run": 2}, {"run": 1}, {"run": 2}]


def test_a_miss_goes_on_with_the_next_hook() -> None:
    cached = Cached(lambda context: Cache("k"))

    async def main(host: Host) -> list[Any]:
        asked: list[str] = []
        host.hooks.register(BEFORE, lambda context: asked.append("next"), priority="low")
        await ask(host)
        await ask(host)
        return asked

    assert cached.go(main) == ["next"]


def test_what_an_attempt_asked_to_keep_is_forgotten_when_it_starts_again() -> None:
    def first(context: HookContext[Any]) -> Cache | None:
        return Cache("k") if context.operation.attempt == 1 else None

    cached = Cached(first)

    async def main(host: Host) -> list[Any]:
        again = lambda context: Retry(0, 2) if context.operation.attempt == 1 else None  # noqa: E731
        host.hooks.register(BEFORE, again, priority="low")
        return [await ask(host), await ask(host)]

    assert cached.go(main) == [{"run": 1}, {"run": 2}]


async def test_cached_results_are_bounded_by_what_they_hold_together_and_the_oldest_go_first() -> None:
    runs: list[int] = []

    async def body(parameters: Any, context: ToolContext) -> Any:
        runs.append(parameters["n"])
        return "x" * 300_000

    async with opened(make_tool("long", body), settings={"limits": {"cache_bytes": 1_000_000}}) as host:
        host.hooks.register("before_tool_execution", lambda context: Cache("key", 60.0))
        for n in (1, 2, 3, 1, 4, 1, 3, 2):
            await host.call("tool:long", {"n": n})
        assert runs == [1, 2, 3, 4, 2]
        await host.settings.change("limits.cache_bytes", 100_000)
        for n in (5, 5):
            await host.call("tool:long", {"n": n})

    assert runs[5:] == [5, 5]  # larger than all may be together
