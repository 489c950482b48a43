"""Workflows under strain: cut off at every step, ten thousand iterations, two hundred at once, any interleaving."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from chat_server import ChatServer
from kernel import make_tool, opened
from llmspell_hookspecs import Cancel
from llmspell_hookspecs.errors import LlmspellError, WorkflowError
from llmspell_hookspecs.operation import EndedOperation, Operations
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.services.monitor import memory_bytes

ITEM = "{{loop:current_item}}"
MEMORY = {"storage": {"backend": "memory"}}


class CutOff(trio.abc.Instrument):
    """Cancels a scope as the n-th step of a task begins."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.scope = trio.CancelScope()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count it."""
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


def branching(effects: list[str]) -> dict[str, Any]:
    """Return a workflow with branches, a retry and compensation; the last stage fails."""

    def note(what: str) -> Callable[[Any], Any]:
        async def act(context: Any) -> str:
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            effects.append(f"{what} {context.path}")
            return what

        return act

    attempts: Counter[str] = Counter()

    async def fail_once(context: Any) -> str:
        await trio.lowlevel.checkpoint()
        attempts[context.run_id] += 1
        if attempts[context.run_id] == 1:
            raise ValueError("not yet")
        effects.append(f"do {context.path}")
        return "again"

    def stage(name: str) -> dict[str, Any]:
        return {"name": name, "function": note("do"), "compensate": {"function": note("undo")}}

    branches = [
        {"name": "a", "stages": [stage("one"), stage("two")]},
        {"name": "b", "stages": [{**stage("three"), "function": fail_once, "retry": {"attempts": 3, "delay_s": 0}}]},
        {"name": "c", "stages": [{"name": "call", "tool": "echo", "input": {"text": "x"}}, stage("four")]},
    ]
    return {"name": "w", "pattern": "parallel", "branches": branches, "on_error": "compensate"}


@pytest.mark.long
@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("on_cancel", ["", "compensate"])
async def test_cut_off_at_any_step_it_leaves_in_order(durable: bool, on_cancel: str) -> None:
    async def echo(parameters: Any, context: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return dict(parameters)

    async with opened(make_tool("echo", echo), settings=MEMORY) as host:
        begun: Counter[str] = Counter()
        ended: Counter[str] = Counter()

        def begin(context: Any) -> None:
            begun[context.operation.id] += 1

        def end(operation: EndedOperation) -> None:
            ended[operation.operation.id] += 1

        for point in ("before_workflow_start", "before_workflow_stage", "before_tool_execution"):
            host.hooks.register(point, begin, kind="observe")
        host.get(Operations).tap(end)
        first = await host.get(Workflows).create(branching([]))
        await first.run(durable=durable, run_id="first")  # what is opened when it is first needed stays
        first.remove()
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        number, taken_back, finished = 0, 0, False
        while not finished:
            number += 1
            effects: list[str] = []
            made = await host.get(Workflows).create({**branching(effects), "on_cancel": on_cancel})
            cut = CutOff(number)
            with cut.scope:
                trio.lowlevel.add_instrument(cut)
                try:
                    output = await made.run(durable=durable, run_id=f"r{number}" if durable else "")
                    finished = not cut.scope.cancel_called
                    assert output.status == "completed"
                finally:
                    trio.lowlevel.remove_instrument(cut)
            made.remove()
            kept = await host.get(Workflows).run_details(f"r{number}") if durable else None
            assert kept is None or not kept.info.live, f"cut off at step {number}"
            done = [effect.partition(" ")[2] for effect in effects if effect.startswith("do")]
            undone = [effect.partition("rollback/")[2] for effect in effects if effect.startswith("undo")]
            assert len(done) == len(set(done))
            taken_back += len(undone)
            assert set(undone) <= set(done)
            for branch in "abc":  # between branches, what ends at nearly the same time has either order
                prefix = f"branch.{branch}/"
                assert [path for path in undone if path.startswith(prefix)] == [
                    path for path in reversed(done) if path.startswith(prefix) and path in undone
                ]
            assert max(ended.values(), default=1) == 1
            assert set(begun) <= set(ended), f"cut off at step {number}"
            await trio.testing.wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living == tasks

    assert number > 20
    assert bool(taken_back) is bool(on_cancel), "what completed is undone, wherever it is cut off"


@pytest.mark.long
async def test_a_durable_run_that_was_cut_off_at_any_step_is_resumed_to_the_same_end() -> None:
    async with opened(settings=MEMORY) as host:
        workflows, number, finished = host.get(Workflows), 0, False
        while not finished:
            number += 1
            effects: Counter[str] = Counter()

            async def act(context: Any, effects: Counter[str] = effects) -> str:
                effects[context.path] += 1
                await trio.lowlevel.checkpoint()
                return str(context.path)

            stages = [{"name": name, "function": act, "repeatable": name == "b"} for name in "abc"]
            made = await workflows.create({"name": "w", "pattern": "graph", "stages": stages, "durable": True})
            cut = CutOff(number)
            with cut.scope:
                trio.lowlevel.add_instrument(cut)
                try:
                    await made.run(run_id=f"r{number}")
                    finished = not cut.scope.cancel_called
                finally:
                    trio.lowlevel.remove_instrument(cut)
            details = await workflows.run_details(f"r{number}")
            if not finished and details is not None and details.info.status not in ("completed", "cancelled"):
                output = await workflows.resume(f"r{number}", take_over=True)
                assert output.status in ("completed", "paused")
            assert max(effects.values(), default=1) <= 2
            assert all(count == 1 for path, count in effects.items() if path != "b"), f"cut off at step {number}"
            made.remove()

    assert number > 20


@pytest.mark.long
async def test_ten_thousand_iterations_leave_memory_flat() -> None:
    async def step(context: Any) -> int:
        return int(context.locals["current_index"])

    async with opened(settings=MEMORY) as host:
        given = {"pattern": "loop", "aggregation": "last", "stages": [{"name": "s", "function": step}]}
        sizes = []
        for count in (1_000, 10_000):
            more = {"name": f"w{count}", "range": {"end": count}, "max_iterations": count, "timeout_s": 300}
            made = await host.get(Workflows).create({**given, **more})
            before = memory_bytes()
            output = await made.run()
            gc.collect()
            sizes.append(memory_bytes() - before)
            assert output.output == count - 1
            assert len(output.outputs) <= 2

    assert sizes[1] < max(sizes[0], 0) + 8_000_000


@pytest.mark.long
async def test_ten_thousand_durable_iterations_let_storage_grow_by_their_number(tmp_path: Path) -> None:
    async def step(context: Any) -> int:
        return int(context.locals["current_index"])

    rows: dict[int, int] = {}
    sizes: dict[int, int] = {}
    file = str(tmp_path / "kept.db")
    storage = {"backend": "sqlite", "sqlite": {"path": file, "durability": "normal"}}
    async with opened(settings={"storage": storage}) as host:
        for count in (1_000, 10_000):
            stage = {"name": "s", "function": step, "repeatable": True}
            given = {"name": f"w{count}", "pattern": "loop", "aggregation": "last", "stages": [stage], "durable": True}
            given |= {"range": {"end": count}, "max_iterations": count, "timeout_s": 600}
            await (await host.get(Workflows).create(given)).run(run_id=f"r{count}")
            opened_storage = await host.get(Storages).open()
            found = [entry async for entry in opened_storage.scan(f"workflow/r{count}/", limit=1_000_000)]
            rows[count] = len(found)
            sizes[count] = sum(len(key) + len(entry.value) for key, entry in found)

    assert 9.5 < rows[10_000] / rows[1_000] < 10.5
    assert 9.5 < sizes[10_000] / sizes[1_000] < 11, "a number of four digits is longer than one of three"


@pytest.mark.long
async def test_two_hundred_workflows_at_once_each_get_their_own_answers() -> None:
    wrong: list[str] = []
    with ChatServer() as server:
        settings = {"providers": {"local": {"type": "openai_compatible", "base_url": server.url}}, **MEMORY}
        async with opened(settings=settings) as host:
            await host.agents.create(name="clerk", model="local/echo", max_conversation=0)
            stages = [
                {"name": "ask", "model": "local/echo", "input": "number {{input.n}}"},
                {"name": "say", "function": lambda context: f"{context.input}!", "input": "{{step:ask}}"},
            ]
            made = await host.get(Workflows).create({"name": "w", "stages": stages})

            async def one(number: int) -> None:
                output = await made.run({"n": number})
                if output.output != f"number {number}!":
                    wrong.append(f"{number}: {output.output}")

            async with trio.open_nursery() as nursery:
                for number in range(200):
                    nursery.start_soon(one, number)

            assert made.info.runs == 200
    assert wrong == []


@pytest.mark.long
async def test_fifty_durable_workflows_at_once_each_get_and_keep_their_own_answers(tmp_path: Path) -> None:
    storage = {"backend": "sqlite", "sqlite": {"path": str(tmp_path / "kept.db"), "durability": "normal"}}
    wrong: list[str] = []
    with ChatServer() as server:
        providers = {"local": {"type": "openai_compatible", "base_url": server.url}}
        async with opened(settings={"providers": providers, "storage": storage}) as host:
            workflows = host.get(Workflows)
            stages = [
                {"name": "ask", "model": "local/echo", "input": "number {{input.n}}"},
                {"name": "say", "function": lambda context: f"{context.input}!", "input": "{{step:ask}}"},
            ]
            made = await workflows.create({"name": "w", "stages": stages, "durable": True})

            async def one(number: int) -> None:
                output = await made.run({"n": number}, run_id=f"r{number}")
                kept = await workflows.run_details(f"r{number}")
                again = await made.resume(f"r{number}")
                wanted = f"number {number}!"
                stored = None if kept is None else (kept.info.status, kept.output, len(kept.stages))
                if (output.output, again.output, stored) != (wanted, wanted, ("completed", wanted, 2)):
                    wrong.append(f"{number}: {output.output} {again.output} {stored}")

            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(one, number)

            assert len(await workflows.runs()) == 50
            assert await workflows.runs(unfinished=True) == []
    assert (wrong, len(server.requests)) == ([], 50)


def waiting(delays: list[int]) -> Any:
    """Return a function that yields what it is given, later or sooner as the delays say."""
    left = list(delays)

    async def function(context: Any) -> Any:
        for _ in range(left.pop() if left else 0):
            await trio.lowlevel.checkpoint()
        return context.input

    return function


def shapes(function: Any) -> dict[str, tuple[dict[str, Any], Any]]:
    """Return a workflow of each older pattern, and what it yields."""

    def stage(name: str, value: Any = None) -> dict[str, Any]:
        return {"name": name, "function": function, "input": name if value is None else value}

    branches = [
        {"name": "l", "stages": [stage("a"), stage("b", ["{{step:a}}"])]},
        {"name": "r", "stages": [stage("c"), stage("d", ["{{step:c}}", "{{shared:k}}"])]},
    ]
    chosen = [
        {"name": "no", "condition": {"type": "step_failed", "step": "a"}, "stages": [stage("n")]},
        {"name": "yes", "condition": "step:a:a", "stages": [stage("y", "{{step:a}}")]},
    ]
    loop = [stage("i", [ITEM, "{{loop:previous}}"])]
    return {
        "sequential": ({"stages": [stage("a"), stage("b", ["{{step:a}}", "b"])]}, ["a", "b"]),
        "parallel": ({"branches": branches, "shared": {"k": 1}}, {"l": ["a"], "r": ["c", 1]}),
        "conditional": ({"stages": [stage("a")], "branches": chosen}, "a"),
        "loop": ({"stages": loop, "items": [1, 2], "aggregation": "last"}, [2, [1, None]]),
        "adaptive": ({"stages": [stage("a"), stage("b")], "plan": ["b", "a", "b"]}, "b"),
    }


@pytest.mark.parametrize("pattern", ["sequential", "parallel", "conditional", "loop", "adaptive"])
@given(delays=st.lists(st.integers(0, 5), max_size=9))
def test_any_interleaving_gives_the_same_result(pattern: str, delays: list[int]) -> None:
    async def main() -> Any:
        definition, expected = shapes(waiting(delays))[pattern]
        async with opened() as host:
            made = await host.get(Workflows).create({"name": "w", "pattern": pattern, **definition})
            output = await made.run()
        assert (output.status, output.output) == ("completed", expected)
        return output

    trio.run(main)


async def test_a_guard_denies_inside_a_compensation_and_the_others_go_on() -> None:
    undone: list[str] = []

    def fail(context: Any) -> None:
        raise ValueError("it broke")

    def stage(name: str) -> dict[str, Any]:
        return {"name": name, "function": lambda c: 1, "compensate": {"function": lambda c: undone.append(name)}}

    stages = [stage("a"), stage("b"), {"name": "c", "function": fail}]
    async with opened() as host:
        host.hooks.register(
            "before_workflow_stage", lambda context: Cancel("no undoing"), kind="guard", match="w.undo b"
        )
        made = await host.get(Workflows).create({"name": "w", "stages": stages, "on_error": "compensate"})
        with pytest.raises(WorkflowError, match="compensation failed") as caught:
            await made.run()

    output: Any = caught.value.output
    assert undone == ["a"]
    assert (output.status, [*output.failed]) == ("compensation_failed", ["c", "rollback/b"])


@pytest.mark.parametrize("pattern", ["sequential", "parallel", "loop", "graph", "map_reduce", "pipeline", "adaptive"])
async def test_the_deadline_of_a_run_ends_every_pattern(pattern: str, autojump_clock: trio.testing.MockClock) -> None:
    ended: list[str] = []

    async def wait(context: Any) -> None:
        try:
            await trio.sleep(1000)
        finally:
            ended.append(context.path)

    items = {"items": [1, 2]} if pattern in ("loop", "map_reduce", "pipeline") else {}
    given = {"name": "w", "pattern": pattern, "stages": [{"name": "s", "function": wait}], "timeout_s": 5, **items}
    async with opened() as host:
        made = await host.get(Workflows).create(given)
        began = trio.current_time()
        with pytest.raises(LlmspellError, match="5 s"):
            await made.run()

        assert trio.current_time() - began < 6
    assert ended


async def test_a_hook_of_a_script_is_asked_about_the_stages_of_its_workflow() -> None:
    source = """
    local seen = {}
    Hook.register("BeforeWorkflowStage", function(context) seen[#seen + 1] = context.data.name end)
    Workflow.sequential{steps = {{name = "a", execute = function() return 1 end}}}:execute()
    return seen
    """
    async with opened() as host:
        assert await host.run_source(source) == ["a"]
