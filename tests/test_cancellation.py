"""A caller's cancellation, injected at each step of a tool call: the operation ends once and leaves nothing behind."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio

from kernel import make_plugin, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import Cache, Fork, HookContext, LlmspellError, Replace, Retry, ToolContext, ToolError
from llmspell_hookspecs.agent import AgentChunk
from llmspell_hookspecs.errors import OperationError, OperationTimeoutError, ProviderError
from llmspell_hookspecs.results import Call
from llmspell_hookspecs.tool import PathAccess
from scripted_model import ScriptedModel, asks, says
from waiting import PATIENCE_S


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when its task waits for the n-th time."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope = scope
        self._left = step
        self._task = trio.lowlevel.current_task()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count the task's waits."""
        if task is self._task:
            if self._left == 0:
                self._scope.cancel()
            self._left -= 1

    @property
    def reached(self) -> bool:
        """Whether the step came."""
        return self._left < 0


class Journal:
    """What the hooks and the tool saw."""

    def __init__(self, *, failing: bool) -> None:
        self.failing = failing
        self.counts: Counter[str] = Counter()
        self.endings: list[str] = []
        self.open_wraps: list[str] = []
        self.unwound: list[str] = []
        self.allocated: set[str] = set()
        self.released: list[str] = []

    def held(self, context: HookContext[Any]) -> None:
        """Remember whose limits were allocated."""
        self.allocated.add(context.operation.id)

    def freed(self, context: HookContext[Any]) -> None:
        """Remember whose limits were released."""
        self.released.append(context.operation.id)

    async def pause(self, what: str) -> None:
        """Count, and wait a little."""
        self.counts[what] += 1
        await trio.sleep(0.001)

    async def work(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        """The tool."""
        await self.pause("body")
        if self.failing and self.counts["body"] == 1:
            raise ToolError("it broke")
        return {"done": True}

    async def aside(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        """What the forks run."""
        self.counts["forks begun"] += 1
        try:
            await trio.sleep(0.004)
        finally:
            self.counts["forks ended"] += 1

    def waiting(self, what: str, answer: Any = None) -> Any:
        """Return an async hook."""

        async def hook(context: HookContext[Any]) -> Any:
            await self.pause(what)
            return answer

        return hook

    def observer(self, context: HookContext[Any]) -> None:
        """Remember how the operation ended."""
        assert context.outcome is not None
        self.endings.append(context.outcome.status)

    def wrap(self, name: str) -> Any:
        """Return a wrap whose entry and clean-up wait."""

        async def hook(context: HookContext[Any]) -> Any:
            self.open_wraps.append(name)
            try:
                await trio.sleep(0.001)
                yield
            finally:
                assert self.open_wraps.pop() == name
                await trio.sleep(0.001)
                self.unwound.append(name)

        return hook

    @property
    def hooks(self) -> Any:
        """A plugin with hooks of every kind, most of which wait."""
        own = {"match": "work"}
        retry = Retry(delay_s=0.002, max_attempts=2)
        return make_plugin(
            "everywhere",
            ("before_tool_execution", self.waiting("before"), own),
            ("before_tool_execution", lambda context: Cache("k"), {**own, "priority": "low"}),
            ("before_tool_execution", lambda context: Fork((Call("tool:aside"),)), own),
            ("before_tool_execution", lambda context: Fork((Call("tool:aside"),), join=True), own),
            ("before_tool_execution", self.waiting("before guard"), {**own, "kind": "guard", "timeout_s": 1}),
            ("before_tool_execution", self.waiting("before observer"), {**own, "kind": "observe"}),
            ("tool_parameter_validation", self.waiting("validation"), own),
            ("tool_parameter_validation", self.waiting("validation again"), own),
            ("tool_security_check", self.waiting("security"), own),
            ("tool_security_check", self.waiting("security again"), own),
            ("tool_resource_allocated", self.waiting("allocated again"), own),
            ("tool_resource_allocated", self.held, {**own, "priority": "high"}),
            ("tool_resource_allocated", self.waiting("allocated"), own),
            ("around_tool_execution", self.wrap("outer"), {**own, "kind": "wrap"}),
            ("around_tool_execution", self.wrap("inner"), {**own, "kind": "wrap"}),
            ("after_tool_execution", self.waiting("after"), own),
            ("after_tool_execution", self.waiting("after guard"), {**own, "kind": "guard"}),
            ("after_tool_execution", self.waiting("first"), {**own, "kind": "observe"}),
            ("after_tool_execution", self.observer, {**own, "kind": "observe"}),
            ("after_tool_execution", self.waiting("last"), {**own, "kind": "observe"}),
            ("tool_error", self.waiting("error", retry), own),
            ("tool_error", self.waiting("first"), {**own, "kind": "observe"}),
            ("tool_error", self.observer, {**own, "kind": "observe"}),
            ("tool_error", self.waiting("last"), {**own, "kind": "observe"}),
            ("tool_resource_released", self.waiting("released"), {**own, "kind": "observe"}),
            ("tool_resource_released", self.freed, {**own, "kind": "observe"}),
        )


def cancelled_at(step: int, journal: Journal) -> bool:
    """Run the call, cancelled at this step; returns whether the step came."""
    access = {"access": lambda self, parameters: [PathAccess("path")]}
    tools = [make_tool("work", journal.work, **access), make_tool("aside", journal.aside)]

    async def main() -> bool:
        async with opened(*tools, journal.hooks) as host:
            reached = await _interrupted(host, step)
            ended = journal.counts["forks ended"]
            assert journal.counts["forks begun"] == ended
            with trio.fail_after(PATIENCE_S):  # nobody leads the cache key any more
                assert (await host.call("tool:work", {"path": __file__})).result == {"done": True}
            return reached

    return run(main, virtual=True)


async def _interrupted(host: Host, step: int) -> bool:
    with trio.CancelScope() as scope:
        instrument = CancelAtStep(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await host.call("tool:work", {"path": __file__})
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return instrument.reached


@pytest.mark.parametrize("failing", [False, True], ids=["a call that succeeds", "a call that fails and is retried"])
def test_a_call_cancelled_at_any_step_ends_exactly_once_and_releases_everything(failing: bool) -> None:
    steps = 0
    while True:
        if not _ends_well(steps, Journal(failing=failing)):
            break
        steps += 1

    assert steps > 20


def _ends_well(step: int, journal: Journal) -> bool:
    reached = cancelled_at(step, journal)

    # the cancelled call, and the one after it, which must succeed or be served from the cache
    assert len(journal.endings) == 2, (step, journal.endings)
    assert journal.endings[1] == "completed"
    assert journal.endings[0] in ("completed", "cancelled")
    assert journal.counts["first"] == journal.counts["last"] == 2, (step, journal.counts)
    assert journal.open_wraps == []
    assert sorted(journal.released) == sorted(journal.allocated), step
    return reached


FAILURES: dict[str, Any] = {
    "told": None,
    "retried": Retry(0.01, 3),
    "recovered": Replace("fallback"),
    "forked": Fork((Call("tool:look"),)),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_run_that_only_error_hooks_watch_ends_once_wherever_it_is_cancelled(failure: str, streamed: bool) -> None:
    endings: Counter[tuple[str, str]] = Counter()
    running = 0

    async def look(parameters: dict[str, Any], context: ToolContext) -> None:
        nonlocal running
        running += 1
        try:
            await trio.sleep(0.01)
        finally:
            running -= 1

    async def told(context: HookContext[Any]) -> None:
        endings[context.point, context.operation.id] += 1
        await trio.sleep(0.001)

    async def take(chunk: AgentChunk) -> None:
        await trio.sleep(0.001)

    async def cancelled(step: int) -> bool:
        endings.clear()
        down = ProviderError("scripted: it is down", retryable=True)
        model = ScriptedModel(asks(("look", {}), ("look", {})), down, says("well done"))
        async with opened(model, make_tool("look", look)) as host:
            for point in ("model_error", "tool_error", "agent_error"):
                host.hooks.register(point, told, kind="observe")
            if FAILURES[failure] is not None:
                host.hooks.register("model_error", lambda context: FAILURES[failure])
            agent = await host.agents.create(name="one", model="scripted/play", tools=["look"])
            answered = False
            with trio.CancelScope() as scope:
                instrument = CancelAtStep(scope, step)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await agent.run("hello", sink=take if streamed else None)
                    answered = True
                except ProviderError:
                    pass
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            await trio.sleep(1)
            assert (agent.info.running, running, list(host.problems)) == (0, 0, [])
            assert bool(agent.conversation) == answered, step
            assert answered or any(point == "agent_error" for point, _ in endings), step
            assert set(endings.values()) <= {1}, (step, endings)
        return instrument.reached

    async def main() -> int:
        step = 0
        while await cancelled(step):
            step += 1
        return step

    assert run(main, virtual=True) > 0


def test_clean_up_that_never_ends_holds_a_cancelled_call_for_a_tenth_of_a_second() -> None:
    seen: list[str] = []

    async def hang(context: HookContext[Any]) -> None:
        seen.append("hung")
        await trio.sleep_forever()

    def note(context: HookContext[Any]) -> None:
        assert context.outcome is None or context.outcome.status in ("running", "cancelled")
        seen.append(context.point)

    async def stubborn(context: HookContext[Any]) -> Any:
        try:
            yield
        finally:
            seen.append("wrap")
            await trio.sleep_forever()

    async def sleeper(parameters: dict[str, Any], context: ToolContext) -> Any:
        await trio.sleep_forever()

    hooks = make_plugin(
        "stubborn",
        ("around_tool_execution", stubborn, {"kind": "wrap"}),
        ("around_tool_execution", _other_wrap(seen), {"kind": "wrap", "priority": "high"}),
        ("tool_error", hang, {"kind": "observe", "priority": "high"}),
        ("tool_error", note, {"kind": "observe"}),
        ("tool_resource_released", note, {"kind": "observe"}),
    )

    async def main() -> float:
        async with opened(make_tool("sleeper", sleeper), hooks) as host:
            began = trio.current_time()
            with trio.move_on_after(1):
                await host.call("tool:sleeper")
            return trio.current_time() - began

    assert 1.1 <= run(main, virtual=True) <= 1.31
    assert seen == ["wrap", "other wrap", "hung", "tool_error", "tool_resource_released"]


def _other_wrap(seen: list[str]) -> Any:
    async def wrap(context: HookContext[Any]) -> Any:
        try:
            yield
        finally:
            seen.append("other wrap")

    return wrap


def test_what_is_neither_an_error_nor_a_cancellation_fails_the_operation() -> None:
    journal = Journal(failing=False)

    async def leave(parameters: dict[str, Any], context: ToolContext) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.cancel_scope.cancel()
            raise SystemExit(3)

    async def main() -> None:
        async with opened(make_tool("work", leave), journal.hooks) as host:
            await host.call("tool:work", {"path": __file__})

    with pytest.raises(LlmspellError, match="it raised"):
        run(main, virtual=True)

    assert journal.endings == ["failed"]
    assert journal.unwound == ["inner", "outer"] * 2  # it is tried again, as after any failure
    assert len(journal.released) == 1


def test_a_deadline_is_an_error_and_unwinds_the_same_way() -> None:
    journal = Journal(failing=False)

    async def sleeper(parameters: dict[str, Any], context: ToolContext) -> Any:
        await trio.sleep_forever()

    async def main() -> None:
        async with opened(make_tool("work", sleeper), make_tool("aside", journal.aside), journal.hooks) as host:
            await host.call("tool:work", {}, deadline_s=0.5)

    with pytest.raises(OperationTimeoutError):
        run(main, virtual=True)

    assert journal.endings == ["failed"]
    assert journal.unwound == ["inner", "outer"]
    assert journal.counts["forks begun"] == journal.counts["forks ended"] == 2


def test_a_closed_host_runs_nothing_and_says_so() -> None:
    async def main() -> Host:
        async with opened() as host:
            await host.call("tool:calculator", {"input": "1"})
        for use in (
            host.call("tool:calculator", {"input": "1"}),
            host.run_source("return 1"),
            host.agents.create(name="late", kind="basic"),
        ):
            with pytest.raises(OperationError, match=r"the host is closed; use it within its block"):
                await use
        return host

    run(main)
