"""The pattern adaptive: who changes the plan, how far, and that a resumed run goes the same way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import opened, run
from llmspell_hookspecs import Cancel, HookContext
from llmspell_hookspecs.errors import InvalidInputError, OperationCancelledError, WorkflowError
from llmspell_hookspecs.workflows import Workflows

POINT = "workflow_stage_transition"


class Bench:
    """Notes which stages ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def stage(self, name: str, output: Any = None) -> dict[str, Any]:
        """Return a stage that notes that it ran."""

        def note(context: Any) -> Any:
            self.ran.append(name)
            return name if output is None else output

        return {"name": name, "function": note, "repeatable": True}

    def flow(self, names: str, **more: Any) -> dict[str, Any]:
        """Return a workflow of stages of one letter each."""
        return {"name": "w", "pattern": "adaptive", "stages": [self.stage(name) for name in names], **more}


async def flow(definition: dict[str, Any], hook: Any = None, kind: str = "transform", **settings: Any) -> Any:
    async with opened(settings=settings) as host:
        if hook is not None:
            host.hooks.register(POINT, hook, kind=kind)
        return await (await host.get(Workflows).create(definition)).run()


def behind(name: str, **change: Any) -> Any:
    """Return a hook that changes what follows the first time that a stage ran."""

    def hook(context: HookContext[Any]) -> Any:
        return context.modify(**change) if context.subject.previous == name else None

    return hook


async def test_without_anybody_who_changes_it_the_plan_is_all_stages_in_order() -> None:
    bench = Bench()

    output = await flow(bench.flow("abc"))

    assert (bench.ran, output.output) == (["a", "b", "c"], "c")


@pytest.mark.parametrize(
    ("change", "ran"),
    [
        ({"plan": ("c",)}, "ac"),
        ({"plan": ()}, "a"),
        ({"plan": ("a", "b", "c")}, "aabc"),
        ({"plan": ("c", "b", "c")}, "acbc"),
        ({"following": "c"}, "acbc"),
        ({"following": ""}, "a"),
    ],
)
async def test_a_hook_skips_inserts_and_repeats(change: dict[str, Any], ran: str) -> None:
    bench = Bench()

    output = await flow(bench.flow("abc"), behind("a", **change))

    assert "".join(bench.ran) == ran
    assert output.details["plan_changes"] == 1
    assert [*output.skipped] == [name for name in "abc" if name not in ran]


@pytest.mark.parametrize("said", [["c"], {"plan": ["c"]}, 'I would run ["c"].', {"text": '["c"]'}])
async def test_a_planning_stage_says_what_runs_next(said: Any) -> None:
    bench = Bench()
    definition = bench.flow("abc", planners=["a"])
    definition["stages"][0] = bench.stage("a", said)

    await flow(definition)

    assert bench.ran == ["a", "c"]


async def test_each_run_of_a_stage_has_a_path_of_its_own_and_sees_the_newest_outputs() -> None:
    seen: list[Any] = []

    def count(context: Any) -> int:
        seen.append((context.path, dict(context.locals["results"])))
        return len(seen)

    stages = [{"name": "a", "function": count, "repeatable": True}]
    output = await flow({"name": "w", "pattern": "adaptive", "stages": stages, "plan": ["a", "a", "a"]})

    assert seen == [("a", {}), ("again.2/a", {"a": 1}), ("again.3/a", {"a": 2})]
    assert output.output == 3


@pytest.mark.parametrize(
    ("options", "change", "told"),
    [
        ({"max_changes": 5}, {"plan": ("a", "a")}, "more than 5 changes of its plan"),
        ({"max_stages": 7}, {"plan": ("a",)}, "more than 7 stages ran"),
        ({}, {"plan": ("x",)}, "a hook plans 'x', which is no stage"),
        ({"planners": ["a"]}, {}, "the stage a plans, and answers 'a'; give names"),
    ],
)
async def test_what_changes_it_without_end_or_wrongly_is_told(
    options: dict[str, Any], change: dict[str, Any], told: str
) -> None:
    with pytest.raises(WorkflowError, match=told):
        await flow(Bench().flow("ab", **options), lambda context: context.modify(**change) if change else None)


@pytest.mark.parametrize("options", [{"plan": ["x"]}, {"planners": ["x"]}])
async def test_a_name_that_is_no_stage_is_told_when_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="it names a stage 'x'; there are a, b"):
        await flow(Bench().flow("ab", **options))


async def test_a_guard_at_the_transition_ends_it() -> None:
    bench = Bench()

    with pytest.raises(OperationCancelledError, match="enough"):
        await flow(bench.flow("ab"), lambda context: Cancel("enough"), "guard")

    assert bench.ran == ["a"]


@pytest.mark.parametrize("pattern", ["sequential", "pipeline"])
async def test_no_other_pattern_goes_by_a_plan_and_says_so(pattern: str) -> None:
    more = {"items": [1]} if pattern == "pipeline" else {}

    with pytest.raises(WorkflowError, match="only adaptive goes by a plan"):
        await flow({**Bench().flow("ab"), "pattern": pattern, **more}, lambda context: context.modify(plan=()))


@given(changes=st.lists(st.lists(st.sampled_from("abc"), max_size=4), max_size=6))
def test_it_runs_what_plain_python_would(changes: list[list[str]]) -> None:
    bench, left = Bench(), [tuple(change) for change in changes]

    def change(context: HookContext[Any]) -> Any:
        return context.modify(plan=left.pop(0)) if left else None

    run(lambda: flow(bench.flow("abc"), change))

    plan, expected, rest = [*"abc"], [], list(changes)
    while plan:
        expected.append(plan.pop(0))
        if rest:
            plan = rest.pop(0)
    assert bench.ran == expected


async def test_a_resumed_run_goes_by_the_plan_that_was_recorded() -> None:
    bench = Bench()
    asked: list[str] = []

    def change(context: HookContext[Any]) -> Any:
        asked.append(context.subject.previous)
        return context.modify(plan=("c", "b")) if context.subject.previous == "a" else None

    async with opened(settings={"storage": {"backend": "memory"}}) as host:
        host.hooks.register(POINT, change)
        wait = Cancel("a person is to see it", "approval_required")
        guard = host.hooks.register("before_workflow_stage", lambda context: wait, kind="guard", match="w.c")
        made = await host.get(Workflows).create(bench.flow("abc", durable=True))
        paused = await made.run(run_id="r1")
        guard.unregister()
        output = await host.get(Workflows).resume("r1")

    assert (paused.status, output.status, output.output) == ("paused", "completed", "b")
    assert bench.ran == ["a", "c", "b"]
    assert asked.count("a") == 1
