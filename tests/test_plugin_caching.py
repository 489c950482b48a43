"""The plugin caching: what is answered again, for whom, and what never is."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from kernel import make_plugin, make_tool, opened, run
from llmspell_hookspecs import Cancel, Message, ModelRequest, OperationCancelledError, Services, ToolContext, ToolError
from llmspell_plugins.hooks.caching import Caching, CachingSettings
from scripted_model import ScriptedModel, asks, says

USE = ("counted", {"n": 1})


class Counted:
    """A tool that counts its calls, and may fail."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails = False
        self.tool = make_tool("counted", self.run)

    async def run(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        self.calls += 1
        await trio.sleep(0.01)
        if self.fails:
            raise ToolError("it broke", code="broken")
        return [self.calls, parameters.get("n")]


def cached(**rule: Any) -> dict[str, Any]:
    return {"plugins": {"caching": {"enabled": True, "rules": [{"match": "tool:counted", **rule}]}}}


def results(tool: Counted, calls: list[tuple[float, dict[str, Any]]], **rule: Any) -> list[Any]:
    """Call after these waits and return what came."""

    async def main() -> list[Any]:
        found = []
        async with opened(tool.tool, settings=cached(**rule)) as host:
            for wait_s, parameters in calls:
                await trio.sleep(wait_s)
                try:
                    found.append((await host.call("tool:counted", parameters)).result[0])
                except ToolError:
                    found.append("failed")
        return found

    return run(main, virtual=True)


def test_the_same_call_is_answered_once_until_it_is_old() -> None:
    calls = [(0.0, {"n": 1}), (1.0, {"n": 1}), (0.0, {"n": 2}), (10.0, {"n": 1})]

    assert results(Counted(), calls, ttl_s=5) == [1, 1, 2, 3]


def test_the_order_of_parameters_does_not_matter() -> None:
    assert results(Counted(), [(0.0, {"n": 1, "m": 2}), (0.0, {"m": 2, "n": 1})]) == [1, 1]


def test_a_call_that_no_rule_is_about_is_made() -> None:
    assert results(Counted(), [(0.0, {}), (0.0, {})], match="tool:others") == [1, 2]


def test_an_error_is_never_kept_and_an_old_answer_is_served_only_if_the_rule_says_so() -> None:
    tool, strict = Counted(), Counted()

    async def main(counted: Counted, stale: bool) -> list[Any]:
        found: list[Any] = []
        async with opened(counted.tool, settings=cached(ttl_s=5, stale_on_error=stale)) as host:
            for fails, wait_s in ((False, 0.0), (True, 10.0), (False, 0.0)):
                counted.fails = fails
                await trio.sleep(wait_s)
                try:
                    found.append((await host.call("tool:counted", {})).result[0])
                except ToolError:
                    found.append("failed")
        return found

    assert run(lambda: main(tool, True), virtual=True) == [1, 1, 3]
    assert run(lambda: main(strict, False), virtual=True) == [1, "failed", 3]


def test_a_hundred_who_ask_at_once_make_one_call() -> None:
    tool = Counted()

    async def main() -> set[int]:
        found: set[int] = set()

        async def call() -> None:
            found.add((await host.call("tool:counted", {"n": 1})).result[0])

        async with opened(tool.tool, settings=cached()) as host, trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(call)
        return found

    assert run(main, virtual=True) == {1}
    assert tool.calls == 1


def test_what_a_guard_withholds_is_not_kept_and_what_is_served_is_judged() -> None:
    tool, verdicts = Counted(), iter([Cancel("not this one"), None, Cancel("nor this")])
    guard = make_plugin("policy", ("after_tool_execution", lambda _: next(verdicts), {"kind": "guard"}))

    async def main() -> list[Any]:
        found: list[Any] = []
        async with opened(tool.tool, guard, settings=cached()) as host:
            for _ in range(3):
                try:
                    found.append((await host.call("tool:counted", {})).result[0])
                except OperationCancelledError:
                    found.append("denied")
        return found

    assert run(main, virtual=True) == ["denied", 2, "denied"]


@pytest.mark.parametrize(
    ("temperature", "any_temperature", "asked"), [(0.0, False, 1), (0.7, False, 2), (None, True, 1)]
)
def test_a_model_is_asked_again_if_dice_had_a_part(
    temperature: float | None, any_temperature: bool, asked: int
) -> None:
    model = ScriptedModel(says("hi"))

    async def main() -> None:
        rules = cached(match="model:scripted/*", any_temperature=any_temperature)
        async with opened(model, settings=rules) as host:
            for _ in range(2):
                request = ModelRequest("scripted/play", (Message("user", "x"),), temperature=temperature)
                assert (await host.models.complete(request)).text == "hi"

    run(main, virtual=True)
    assert len(model.requests) == asked


def test_in_an_agents_turn_a_tool_runs_once_for_the_same_parameters() -> None:
    tool = Counted()

    async def main() -> str:
        model = ScriptedModel(
            asks(("counted", {"n": 1}), ("counted", {"n": 1})), asks(("counted", {"n": 1})), says("done")
        )
        async with opened(tool.tool, model, settings=cached()) as host:
            agent = await host.agents.create(name="a", model="scripted/play", tools=["counted"])
            return (await agent.run("go")).text

    assert run(main, virtual=True) == "done"
    assert tool.calls == 1


def test_hits_misses_and_what_they_saved_are_counted() -> None:
    tool, made = Counted(), []

    class Watched(Caching):
        name = "watched"

        def __init__(self, settings: CachingSettings, services: Services) -> None:
            super().__init__(settings, services)
            made.append(self)

        Settings = CachingSettings

    async def main() -> dict[str, float]:
        table = {"plugins": {"watched": {"rules": [{"match": "tool:counted"}]}}}
        async with opened(tool.tool, Watched, settings=table) as host:
            for _ in range(3):
                await host.call("tool:counted", {})
        return made[0].stats()

    stats = run(main, virtual=True)

    assert (stats["hits"], stats["misses"]) == (2, 1)
    assert stats["saved_ms"] > 0


async def test_wrong_settings_leave_it_out_and_are_named() -> None:
    async with opened(settings=cached(ttl_s=0)) as host:
        (failed,) = [info for info in host.plugins.infos if info.error]

    assert "plugins.caching.rules.0.ttl_s" in failed.error


class CacheModel(RuleBasedStateMachine):
    """Steps of calls, waits and failures, beside a dictionary that says what must come."""

    compared = 0

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, int]] = []

    @rule(number=st.integers(0, 3))
    def call(self, number: int) -> None:
        self.steps.append(("call", number))

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        self.steps.append(("wait", seconds))

    @rule(fails=st.integers(0, 1))
    def fail(self, fails: int) -> None:
        self.steps.append(("fail", fails))

    @invariant()
    def lengths(self) -> None:
        assert len(self.steps) <= 60

    def teardown(self) -> None:
        tool = Counted()
        kept: dict[int, tuple[float, Any]] = {}

        async def main() -> None:
            async with opened(tool.tool, settings=cached(ttl_s=5)) as host:
                for what, number in self.steps:
                    if what == "wait":
                        await trio.sleep(number)
                    elif what == "fail":
                        tool.fails = bool(number)
                    else:
                        await self.compare(host, tool, kept, number)

        run(main, virtual=True)

    async def compare(self, host: Any, tool: Counted, kept: dict[int, tuple[float, Any]], number: int) -> None:
        CacheModel.compared += 1
        before = tool.calls
        fresh = number in kept and kept[number][0] > trio.current_time()
        try:
            result = list((await host.call("tool:counted", {"n": number})).result)
        except ToolError:
            assert tool.fails and not fresh
            return
        assert (tool.calls == before) == fresh
        if fresh:
            assert result == kept[number][1]
        else:
            assert result == [tool.calls, number]
            kept[number] = (trio.current_time() + 5, result)


def test_whatever_is_called_when_the_cache_answers_as_a_dictionary_with_times_would() -> None:
    run_state_machine_as_test(
        CacheModel, settings=hypothesis_settings(max_examples=30, stateful_step_count=40, deadline=None)
    )

    assert CacheModel.compared > 0
