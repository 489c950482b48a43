"""Run workflows from files, and look after runs that are kept.

Invariant: a run from here goes through the runner like any other, so every hook sees it. What a run does while it runs
goes to standard error, a line for each stage; its result goes to standard output.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from llmspell_hookspecs.approvals import Approval, Approvals
from llmspell_hookspecs.commands import CommandError
from llmspell_hookspecs.errors import ComponentNotFoundError, LlmspellError, line_of_error
from llmspell_hookspecs.regular import read_regular
from llmspell_hookspecs.runs import RunInfo, Verdict
from llmspell_hookspecs.spelling import one_line
from llmspell_hookspecs.workflows import Retries, Workflows
from llmspell_plugins.commands.diagram import diagram_of, stages_in
from llmspell_plugins.commands.meant import meant
from llmspell_plugins.commands.told import time_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmspell_hookspecs.commands import CommandHost, Invocation
    from llmspell_hookspecs.context import HookContext
    from llmspell_hookspecs.workflow import WorkflowOutput

__all__ = ["workflow"]

_RESUMABLE: Final = ("failed", "cancelled", "paused", "compensating")
_RUN: Final = ("run_id", "name", "status", "live", "stages", "began", "changed", "error")
_STAGE: Final = ("path", "status", "kind", "target", "attempts", "elapsed_ms", "error")


@click.group()
def workflow() -> None:
    """Run workflows from files, and look after runs that are kept."""


@workflow.command("list")
@click.option("--unfinished", is_flag=True, help="Only the runs that have not ended for good.")
@click.option("--patterns", is_flag=True, help="The patterns that order stages, in place of runs.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.pass_obj
def workflow_list(invocation: Invocation, unfinished: bool, patterns: bool, limit: int) -> None:
    """List the runs that are kept, those that began last first."""

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        workflows = host.get(Workflows)
        if patterns:
            return [{"name": name, "description": told} for name, told in workflows.patterns().items()]
        return [_row(info) for info in await workflows.runs(limit=limit, unfinished=unfinished)]

    columns = ("name", "description") if patterns else _RUN
    invocation.show_rows(invocation.run(use), columns, empty="no runs are kept")


@workflow.command("show")
@click.argument("run")
@click.option("--diagram", type=click.Choice(["text", "mermaid"]), help="Draw the stages.")
@click.pass_obj
def workflow_show(invocation: Invocation, run: str, diagram: str | None) -> None:
    """Show the run RUN with its stages; or, of a file, what the workflow in it is made of."""
    asked: list[Approval] = []

    async def use(host: CommandHost) -> Any:
        if _is_file(run):
            made = await host.get(Workflows).create(_definition(run))
            return made.to_dict()
        found = await host.get(Workflows).run_details(run)
        if found is None:
            raise ComponentNotFoundError(_missing(run), address=run)
        if found.info.waiting:
            asked.extend([each for each in await (await host.enter(Approvals)).list() if each.run_id == run])
        return found

    found = invocation.run(use)
    if diagram:
        text = diagram_of(found, diagram)
        invocation.show(text, *text.splitlines())
        return
    if isinstance(found, Mapping):
        invocation.show(found)
        return
    if invocation.json:
        stages = [_plain(stage) for stage in found.stages]
        invocation.show({**_row(found.info), "input": found.input, "output": found.output, "stages": stages})
        return
    info = found.info
    live = ", somebody runs it" if info.live else ""
    invocation.say(
        f"{info.name} {info.run_id}: {info.status}{live}, {info.stages} stages ended, taken up {info.fence}x"
    )
    if info.error:
        invocation.say(one_line(info.error))
    rows = [{**_plain(stage), "elapsed_ms": f"{stage.elapsed_ms:.0f}"} for stage in found.stages]
    invocation.show_rows(rows, _STAGE, empty="no stage has begun")
    for path in info.waiting:
        invocation.say(_remedy(info.run_id, path, [each for each in asked if each.path == path]))


@workflow.command("validate")
@click.argument("file")
@click.pass_obj
def workflow_validate(invocation: Invocation, file: str) -> None:
    """Check the definition in FILE (TOML or JSON), and warn of stages that a crash would interrupt."""

    async def use(host: CommandHost) -> tuple[dict[str, Any], list[str]]:
        made = await host.get(Workflows).create(_definition(file))
        return made.to_dict(), [*_warnings(host, made.definition)]

    plain, warnings = invocation.run(use)
    for warning in warnings:
        invocation.warn(warning)
    name, pattern = plain["name"], plain["pattern"]
    stages = sum(1 for _ in stages_in(plain))
    told = {"name": name, "pattern": pattern, "stages": stages, "warnings": warnings}
    invocation.show(told, f"{name} is in order: {pattern}, {stages} stages")


@workflow.command("run")
@click.argument("file")
@click.option("--input", "given", default="null", help="What it is given: JSON, @FILE or - for standard input.")
@click.option("--durable/--no-durable", default=None, help="Whether the run is kept; else as it is defined.")
@click.option("--id", "run_id", default="", help="The run's id; made up if left out.")
@click.option("--time", "time_s", type=click.FloatRange(0, min_open=True), help="Seconds that it may take.")
@click.option("--explain", is_flag=True, help="Show which hooks fired, and what each did.")
@click.pass_obj
def workflow_run(
    invocation: Invocation,
    file: str,
    given: str,
    durable: bool | None,
    run_id: str,
    time_s: float | None,
    explain: bool,
) -> None:
    """Run the workflow in FILE (TOML or JSON) and print what it yields."""
    input = meant(invocation.read(given), "--input")

    async def use(host: CommandHost) -> WorkflowOutput:
        made = await host.get(Workflows).create(_definition(file))
        kept = made.definition.durable if durable is None else durable
        id = run_id or secrets.token_hex(16)
        if kept and not invocation.json:  # before it begins: whatever ends it, its id has been told
            invocation.note(one_line(f"run {id}"))
        with _progress(invocation, host):
            try:
                return await made.run(input, deadline_s=time_s, run_id=id, durable=durable)
            except LlmspellError:
                await _tell_resumable(invocation, host, id if kept else "")
                raise

    invocation.run(use, show=lambda output: _show(invocation, output), explain=explain)


@workflow.command("resume")
@click.argument("run")
@click.option("--stage", "verdicts", multiple=True, metavar="PATH=again|skip|done", help="What became of a stage.")
@click.option("--output-of", "outputs", multiple=True, metavar="PATH=JSON", help="What a stage that is done yielded.")
@click.option("--take-over", is_flag=True, help="Take it from whoever seems to run it.")
@click.option("--accept-changed", is_flag=True, help="Go on with the workflow as it is now.")
@click.option("--time", "time_s", type=click.FloatRange(0, min_open=True), help="Seconds that it may take.")
@click.pass_obj
def workflow_resume(
    invocation: Invocation,
    run: str,
    verdicts: Sequence[str],
    outputs: Sequence[str],
    take_over: bool,
    accept_changed: bool,
    time_s: float | None,
) -> None:
    """Go on with the run RUN, and print what it yields."""
    said = _verdicts(verdicts, outputs)

    async def use(host: CommandHost) -> WorkflowOutput:
        with _progress(invocation, host):
            return await host.get(Workflows).resume(
                run, verdicts=said, take_over=take_over, accept_changed=accept_changed, deadline_s=time_s
            )

    invocation.run(use, show=lambda output: _show(invocation, output))


@workflow.command("cancel")
@click.argument("run")
@click.pass_obj
def workflow_cancel(invocation: Invocation, run: str) -> None:
    """Let the run RUN not go on, wherever it runs; ends with 1 if it has ended."""

    async def use(host: CommandHost) -> bool:
        return await host.get(Workflows).cancel_run(run)

    if not invocation.run(use):
        raise CommandError(f"workflow run {run}: there is none that goes on; 'llmspell workflow list' shows the runs")
    invocation.show({"run_id": run, "cancelled": True}, f"{run} is cancelled")


@workflow.command("delete")
@click.argument("run")
@click.pass_obj
def workflow_delete(invocation: Invocation, run: str) -> None:
    """Forget the run RUN; ends with 1 if there is none."""

    async def use(host: CommandHost) -> bool:
        return await host.get(Workflows).delete_run(run)

    if not invocation.run(use):
        raise CommandError(_missing(run))
    invocation.show({"run_id": run, "deleted": True}, f"{run} is deleted")


# What is read.


def _is_file(name: str) -> bool:
    return name.endswith((".toml", ".json"))


def _definition(file: str) -> dict[str, Any]:
    """Return the definition in a file as plain data."""
    import tomllib

    try:
        text = read_regular(file).decode()
        found = json.loads(text) if file.endswith(".json") else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{file}: it cannot be read: {line_of_error(error)}") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"{file}: it holds a {type(found).__name__}; write a table")
    return {"name": Path(file).stem, **found}


def _verdicts(verdicts: Sequence[str], outputs: Sequence[str]) -> dict[str, Verdict]:
    said: dict[str, Verdict] = {}
    for pair in verdicts:
        path, sign, action = pair.rpartition("=")
        if not sign or action not in ("again", "skip", "done"):
            raise click.UsageError(f"--stage {pair!r:.80}: write PATH=again, PATH=skip or PATH=done")
        if path in said:
            raise click.UsageError(f"--stage {path!r:.80} is given twice; decide about each stage once")
        said[path] = Verdict(action)  # type: ignore[arg-type]
    for pair in outputs:
        path, sign, text = pair.partition("=")
        if not sign or path not in said or said[path].action != "done":
            raise click.UsageError(f"--output-of {pair!r:.80}: write PATH=JSON, and --stage PATH=done beside it")
        if said[path].output is not None:
            raise click.UsageError(f"--output-of {path!r:.80} is given twice; give each output once")
        said[path] = Verdict("done", meant(text, f"--output-of {path}"))
    return said


def _warnings(host: CommandHost, definition: Any) -> Iterator[str]:
    """Yield what is to be known of stages before a run is kept."""
    from llmspell_hookspecs.services import Tools

    tools = host.get(Tools)
    stages = [*definition.stages, *(stage for branch in definition.branches for stage in branch.stages)]
    for stage in stages if definition.reduce is None else [*stages, definition.reduce]:
        kind, _, name = stage.address.partition(":")
        if stage.address == f"workflow:{definition.name}":
            yield f"stage {stage.name}: the workflow calls itself; it ends only if a condition leaves this out"
        if kind != "tool" or stage.repeatable is not None:
            continue
        described = tools.describe(name)
        if described["repeatable"] or described["effects"] in ("keyed", "transactional"):
            continue
        again = stage.retry or (Retries() if (stage.on_error or definition.on_error) == "retry" else None)
        if again is not None and again.attempts > 1:
            times = f"tried {again.attempts} times in all"
            yield f"stage {stage.name}: it is {times} if it fails, and {name} does not say that it may run twice"
        elif definition.durable:
            yield f"stage {stage.name}: a crash within it interrupts the run; {name} does not say that it may run twice"


# What is shown.


def _remedy(run: str, path: str, asked: Sequence[Approval]) -> str:
    """Say what a person does about a stage that waits: answer what is asked, or say what became of it."""
    open_ = [each.id for each in asked if each.status == "pending"]
    if open_:
        return f"{path} waits for an answer: llmspell approval show|allow|deny {open_[-1]}"
    if any(each.status == "allowed" for each in asked):
        return f"{path} is allowed: llmspell workflow resume {run}"
    return f"say what became of {path}: llmspell workflow resume {run} --stage {path}=again|skip|done"


def _row(info: RunInfo) -> dict[str, Any]:
    row = _plain(info)
    for name in ("began", "changed"):
        row[name] = time_of(row.pop(f"{name}_s"))
    return row


def _plain(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _show(invocation: Invocation, output: WorkflowOutput) -> None:
    """Print what a run yields; a run that waits, or that lacks something, says so beside it."""
    if output.status == "paused":
        invocation.note(output.error)
    elif output.status != "completed":
        invocation.note(output.summary)
    if output.output is not None:
        invocation.show(output.output)


async def _tell_resumable(invocation: Invocation, host: CommandHost, run: str) -> None:
    """Say how a run that failed goes on, if it is kept and may."""
    with suppress(LlmspellError):  # it is told why the run failed, and not why nobody can look at it
        found = await host.get(Workflows).run_details(run) if run else None
        if found is not None and found.info.status in _RESUMABLE:
            invocation.note(f"it is kept: llmspell workflow resume {run}")


@contextmanager
def _progress(invocation: Invocation, host: CommandHost) -> Iterator[None]:
    """Tell of each stage as it begins and ends, while the block runs."""
    from llmspell_hookspecs.services import Hooks

    if invocation.json:
        yield
        return
    began: dict[str, float] = {}

    def tell_start(context: HookContext[Any]) -> None:
        call = context.subject
        again = f" (attempt {context.operation.attempt})" if context.operation.attempt > 1 else ""
        began[context.operation.id] = time.monotonic()
        invocation.note(one_line(f"{call.path}: {call.kind} {call.target}{again}"))

    def tell_end(context: HookContext[Any]) -> None:
        status = "completed" if context.outcome is None else context.outcome.status
        elapsed_s = time.monotonic() - began.pop(context.operation.id, time.monotonic())
        path = getattr(context.request, "path", "") or context.component.name
        why = "" if context.outcome is None or context.outcome.error is None else f": {context.outcome.error.message}"
        invocation.note(one_line(f"{path}: {status} after {elapsed_s:.1f} s{why}"))

    def tell_failure(context: HookContext[Any]) -> None:
        if context.component.kind == "workflow_stage":
            tell_end(context)

    points = {"before_workflow_stage": tell_start, "after_workflow_stage": tell_end, "workflow_error": tell_failure}
    hooks = host.get(Hooks)
    handles = [
        hooks.register(point, function, kind="observe", plugin="command line", name=f"progress at {point}")
        for point, function in points.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.unregister()


def _missing(run: str) -> str:
    return f"workflow run {run}: there is none; 'llmspell workflow list' shows the runs"
