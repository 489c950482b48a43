"""What goes wrong in runs of workflows: cut off while they undo, retried, deleted under a resume, told odd names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import structs

from kernel import opened
from llmspell_hookspecs.errors import ComponentNotFoundError, WorkflowError
from llmspell_hookspecs.results import Modified, Retry
from llmspell_hookspecs.runs import Verdict
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.workflows import Workflows
from test_durable_runs import Effects, acting, crash, resume

MEMORY = {"storage": {"backend": "memory"}}
PATTERNS = ("sequential", "loop", "conditional", "adaptive", "parallel", "graph", "pipeline", "map_reduce")
both = pytest.mark.parametrize("durable", [False, True])


async def test_what_a_person_left_out_stays_left_out_when_the_run_is_cut_off_again(tmp_path: Path) -> None:
    effects = Effects(tmp_path)
    await crash(effects, {"name": "w", "stages": [acting("once", "charge"), acting("once", "later")]}, "charge")
    await resume(effects)
    effects.dies_at, effects.scope = "later", trio.CancelScope()
    with effects.scope:
        await resume(effects, verdicts={"charge": Verdict("skip")})
    effects.dies_at = ""

    output = await resume(effects, verdicts={"later": Verdict("done", 1)})

    assert effects.done == ["charge", "later"]
    assert (output.status, output.skipped, output.outputs) == ("completed", ("charge",), {"later": 1})


def undoing(pattern: str, log: list[str], last: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a workflow of any pattern whose first stage can be undone and whose second is ``last``."""
    first = {
        "name": "a",
        "function": lambda c: log.append("book"),
        "compensate": {"function": lambda c: log.append("unbook")},
    }
    stages = [first, {"name": "b", "function": last}]
    if pattern == "parallel":
        return {"branches": [{"name": stage["name"], "stages": [stage]} for stage in stages]}
    if pattern == "conditional":
        return {"branches": [{"name": "x", "condition": "always", "stages": stages}]}
    more: dict[str, Any] = {"items": [1]} if pattern in ("pipeline", "map_reduce") else {}
    return {"stages": stages, **more, **({"range": {"end": 1}} if pattern == "loop" else {})}


@both
@pytest.mark.parametrize("pattern", PATTERNS)
async def test_what_completed_is_undone_when_a_run_of_any_pattern_is_cancelled(pattern: str, durable: bool) -> None:
    log: list[str] = []
    scope = trio.CancelScope()

    async def wait(context: Any) -> None:
        while not log:
            await trio.lowlevel.checkpoint()
        scope.cancel()
        await trio.sleep_forever()

    async with opened(settings=MEMORY) as host:
        workflows = host.get(Workflows)
        asked = {"name": "w", "pattern": pattern, "on_cancel": "compensate", **undoing(pattern, log, wait)}
        handle = await workflows.create(asked)
        with scope:
            await handle.run(durable=durable, run_id="r")

        assert log == ["book", "unbook"]
        assert [(run.status, run.live) for run in await workflows.runs()] == [("compensated", False)] * durable


@both
async def test_a_stage_that_waits_in_a_nursery_of_its_own_is_cancelled_like_any(durable: bool) -> None:
    log: list[str] = []
    scope = trio.CancelScope()

    async def wait(context: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()

    async with opened(settings=MEMORY) as host:
        asked = {"name": "w", "on_cancel": "compensate", **undoing("sequential", log, wait)}
        handle = await host.get(Workflows).create(asked)
        with scope:
            await handle.run(durable=durable, run_id="r")

        assert log == ["book", "unbook"]


@both
async def test_a_run_that_was_undone_runs_what_was_undone_when_it_is_tried_again(durable: bool) -> None:
    log: list[str] = []

    def pay(context: Any) -> str:
        log.append("pay")
        if log.count("pay") == 1:
            raise ValueError("declined")
        return "paid"

    async with opened(settings=MEMORY) as host:
        host.hooks.register("WorkflowError", lambda c: Retry(0, 2) if c.component.kind == "workflow" else None)
        asked = {"name": "w", "on_error": "compensate", **undoing("sequential", log, pay)}
        handle = await host.get(Workflows).create(asked)
        output = await handle.run(durable=durable, run_id="r")

        assert log == ["book", "pay", "unbook", "book", "pay"]
        assert (output.status, output.outputs) == ("completed", {"a": None, "b": "paid"})
        assert [run.status for run in await host.get(Workflows).runs()] == ["completed"] * durable


@both
async def test_what_is_undone_is_decided_anew_when_a_run_is_tried_again(durable: bool) -> None:
    log: list[str] = []
    asked: list[tuple[str, ...]] = []

    def act(context: Any) -> None:
        name = context.path
        log.append(name)
        if (name == "b" and log.count("b") == 1) or name == "c":
            raise ValueError("declined")

    def stage(name: str) -> dict[str, Any]:
        return {"name": name, "function": act, "compensate": {"function": lambda c: log.append(f"un{name}")}}

    async with opened(settings=MEMORY) as host:
        host.hooks.register("WorkflowRollback", lambda c: asked.append(tuple(c.subject.paths)))
        host.hooks.register("WorkflowError", lambda c: Retry(0, 2) if c.component.kind == "workflow" else None)
        definition = {"name": "w", "on_error": "compensate", "stages": [stage(name) for name in "abc"]}
        handle = await host.get(Workflows).create(definition)
        with pytest.raises(WorkflowError, match="declined"):
            await handle.run(durable=durable, run_id="r")

    assert asked == [("a",), ("b", "a")]
    assert log == ["a", "b", "una", "a", "b", "c", "unb", "una"]


async def test_a_run_that_is_tried_again_and_cut_off_goes_on_from_there() -> None:
    log: list[str] = []
    scope = trio.CancelScope()

    async def pay(context: Any) -> str:
        log.append("pay")
        if log.count("pay") == 1:
            raise ValueError("declined")
        if log.count("pay") == 2:
            scope.cancel()
            await trio.sleep_forever()
        return "paid"

    async with opened(settings=MEMORY) as host:
        host.hooks.register("WorkflowError", lambda c: Retry(0, 2) if c.component.kind == "workflow" else None)
        asked = {"name": "w", "on_error": "compensate", **undoing("sequential", log, pay)}
        handle = await host.get(Workflows).create(asked)
        with scope:
            await handle.run(durable=True, run_id="r")
        [unfinished] = await host.get(Workflows).runs(unfinished=True)
        paused = await host.get(Workflows).resume("r")
        output = await host.get(Workflows).resume("r", verdicts={"b": Verdict("again")})

        assert (unfinished.status, paused.status, output.status) == ("cancelled", "paused", "completed")
        assert log == ["book", "pay", "unbook", "book", "pay", "pay"]


async def test_a_run_that_is_being_deleted_is_not_taken_up(tmp_path: Path) -> None:
    ran: list[str] = []

    def act(context: Any) -> str:
        ran.append(context.path)
        if len(ran) == 3:
            raise ValueError("not yet")
        return context.path  # type: ignore[no-any-return]

    async with opened(settings=MEMORY) as host:
        workflows = host.get(Workflows)
        handle = await workflows.create({"name": "w", "stages": [{"name": name, "function": act} for name in "abc"]})
        with pytest.raises(WorkflowError, match="not yet"):
            await handle.run(durable=True, run_id="r")
        storage: Any = await host.get(Storages).open()
        write = storage.write
        told: list[str] = []

        async def overtaken(batch: Any, /, *, expect: Any = None) -> Any:
            written = await write(batch, expect=expect)
            if not told:
                told.append("")
                with pytest.raises((WorkflowError, ComponentNotFoundError)) as caught:
                    await workflows.resume("r")
                told.append(str(caught.value))
            return written

        storage.write = overtaken
        assert await workflows.delete_run("r")

        assert len(ran) == 3
        assert "workflow run r: there is none" in told[1]
        assert [key async for key, _ in storage.scan("workflow")] == []


@pytest.mark.parametrize("write", [1, 2, 3])
async def test_a_deletion_that_was_cut_off_leaves_nothing_that_can_be_resumed(write: int) -> None:
    async with opened(settings=MEMORY) as host:
        workflows = host.get(Workflows)
        handle = await workflows.create({"name": "w", "stages": [{"name": "a", "function": lambda c: 1}]})
        await handle.run(durable=True, run_id="r")
        storage: Any = await host.get(Storages).open()
        whole, left = storage.write, [write]

        async def cut(batch: Any, /, *, expect: Any = None) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise OSError("the power went")
            return await whole(batch, expect=expect)

        storage.write = cut
        with pytest.raises(OSError, match="power"):
            await workflows.delete_run("r")
        storage.write = whole

        assert len(await workflows.runs()) == (1 if write == 1 else 0)
        assert (await workflows.run_details("r") is None) is (write > 1)
        await workflows.delete_run("r")
        assert [key async for key, _ in storage.scan("workflow")] == []


@pytest.mark.parametrize(("key", "value"), [(5, 1), ("k", object()), ("k", 2**70), ("k", "\ud800")])
async def test_what_cannot_be_shared_fails_its_stage(key: Any, value: Any) -> None:
    def share(context: Any) -> int:
        context.shared[key] = value
        return 1

    stages = [{"name": "a", "function": share, "on_error": "continue"}, {"name": "b", "function": lambda c: 2}]
    async with opened(settings=MEMORY) as host:
        handle = await host.get(Workflows).create({"name": "w", "stages": stages})
        output = await handle.run(durable=True, run_id="r")
        details = await host.get(Workflows).run_details("r")

        assert (output.status, output.failed, output.output) == ("partial", ("a",), 2)
        assert details is not None
        assert [(stage.path, stage.status) for stage in details.stages] == [("a", "failed"), ("b", "done")]
        assert "what its stages share" in details.stages[0].error


@both
@pytest.mark.parametrize("names", [("x", "x"), ("x", "nobody")])
@pytest.mark.parametrize(
    ("pattern", "point", "field"),
    [("parallel", "parallel_fork", "branches"), ("conditional", "branch_selection", "chosen")],
)
async def test_a_hook_that_names_a_branch_twice_or_one_that_there_is_not_is_told(
    pattern: str, point: str, field: str, names: tuple[str, ...], durable: bool
) -> None:
    ran: list[str] = []
    branch = {"name": "x", "stages": [{"name": "pay", "function": lambda c: ran.append(c.path)}]}
    if pattern == "conditional":
        branch["condition"] = "always"
    async with opened(settings=MEMORY) as host:
        host.hooks.register(point, lambda c: Modified(structs.replace(c.subject, **{field: names})))
        handle = await host.get(Workflows).create({"name": "w", "pattern": pattern, "branches": [branch]})

        with pytest.raises(WorkflowError, match=f"a hook of {point} names '{names[1]}'"):
            await handle.run(durable=durable)

    assert ran == []
