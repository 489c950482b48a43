"""How the points of the topic workflow are made to fire: a scenario for each, and what changes what comes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from llmspell import Host
from llmspell_hookspecs.errors import WorkflowError
from llmspell_hookspecs.workflows import Workflows

if TYPE_CHECKING:
    from kernel import Bench

__all__ = ["WORKFLOW_MODIFIED", "WORKFLOW_SCENARIOS"]

PLAIN = {"text": "plain"}
NEW = {"text": "new"}
Fire = Callable[[Host, "Bench"], Awaitable[Any]]


async def run_flow(host: Host, bench: Bench, **more: Any) -> Any:
    """Run a workflow and return what it yields."""

    async def echo(context: Any) -> Any:
        await bench.ran(context.input)
        return context.input or NEW

    workflows = host.get(Workflows)
    if workflows.get("echo") is None:
        given = {"stages": [{"name": "echo", "function": echo, "input": "{{input}}", "repeatable": True}], **more}
        await workflows.create({"name": "echo", **given})
    return (await host.call("workflow:echo", PLAIN)).output


async def plain_flow(host: Host, bench: Bench) -> Any:
    """Run one stage."""
    return (await run_flow(host, bench))["text"]


async def fail_flow(host: Host, bench: Bench) -> Any:
    """Run one stage, which fails once."""
    bench.failing = 1
    return await plain_flow(host, bench)


async def keep_flow(host: Host, bench: Bench) -> Any:
    """Run one stage, and keep what becomes of it."""
    return (await run_flow(host, bench, durable=True))["text"]


def saying(value: Any) -> dict[str, Any]:
    """Return a stage that yields a value."""
    return {"name": "say", "function": lambda context: value}


async def two_stages(host: Host, bench: Bench) -> Any:
    """Run two stages, one after the other, as long as the plan says so."""
    stages = [{**saying(NEW), "name": "first"}, saying(PLAIN)]
    return (await run_flow(host, bench, pattern="adaptive", stages=stages))["text"]


async def share(host: Host, bench: Bench) -> Any:
    """Read what is shared."""
    stage = {"name": "read", "function": lambda context: context.shared["said"]}
    return (await run_flow(host, bench, stages=[stage], shared={"said": PLAIN}))["text"]


async def choose(host: Host, bench: Bench) -> Any:
    """Choose one of two branches."""
    branches = [
        {"name": "a", "condition": "always", "stages": [saying(PLAIN)]},
        {"name": "b", "default": True, "stages": [saying(NEW)]},
    ]
    return (await run_flow(host, bench, pattern="conditional", stages=[], branches=branches))["text"]


async def repeat(host: Host, bench: Bench) -> Any:
    """Run the stage for one item; a second iteration has none."""
    stage = {"name": "say", "function": lambda context: context.input or NEW, "input": "{{loop:current_item}}"}
    more = {"items": [PLAIN], "aggregation": "last", "max_iterations": 2}
    return (await run_flow(host, bench, pattern="loop", stages=[stage], **more))["text"]


async def beside(host: Host, bench: Bench) -> Any:
    """Run one branch, as if there were others."""
    return (await run_flow(host, bench, pattern="parallel", stages=[saying(PLAIN)])).get("say", NEW)["text"]


async def undo(host: Host, bench: Bench) -> Any:
    """Fail behind a stage that can be undone."""
    undone: list[str] = []

    def fail(context: Any) -> None:
        raise ValueError("it broke")

    first = {**saying(1), "compensate": {"function": lambda context: undone.append("say")}}
    stages = [first, {"name": "fail", "function": fail}]
    try:
        await run_flow(host, bench, stages=stages, on_error="compensate")
    except WorkflowError:
        return "plain" if undone else "new"


WORKFLOW_SCENARIOS: dict[str, Fire] = {
    "before_workflow_start": plain_flow,
    "around_workflow": plain_flow,
    "after_workflow_complete": plain_flow,
    "workflow_error": fail_flow,
    "before_workflow_stage": plain_flow,
    "around_workflow_stage": plain_flow,
    "after_workflow_stage": plain_flow,
    "workflow_stage_transition": two_stages,
    "workflow_state_change": plain_flow,
    "workflow_checkpoint": keep_flow,
    "workflow_shared_data": share,
    "workflow_rollback": undo,
    "condition_evaluation": choose,
    "branch_selection": choose,
    "loop_iteration_start": repeat,
    "loop_iteration_complete": repeat,
    "loop_termination": repeat,
    "parallel_fork": beside,
    "parallel_join": beside,
    "parallel_synchronization": beside,
}
WORKFLOW_MODIFIED: dict[str, Any] = {
    "before_workflow_start": {"input": NEW},
    "before_workflow_stage": {"input": NEW},
    "workflow_shared_data": {"value": NEW},
    "workflow_rollback": {"paths": ()},
    "workflow_stage_transition": {"plan": ()},
    "condition_evaluation": {"verdict": False},
    "branch_selection": {"chosen": ("b",)},
    "loop_iteration_start": {"item": NEW},
    "loop_iteration_complete": {"output": NEW},
    "loop_termination": {"stop": False},
    "parallel_fork": {"branches": ()},
    "parallel_join": {"outcomes": ()},
}
"""What makes each scenario say ``new``."""
