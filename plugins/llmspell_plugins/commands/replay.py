"""Run again what a journal has on record, and name the first thing that differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation
    from llmspell_hookspecs.replay import Divergence, ReplayReport

__all__ = ["replay"]

_DIVERGED = 3
_SHOWN = 10


@click.group()
def replay() -> None:
    """Run again what is on record: 'journal list' tells of what."""


@replay.command("run")
@click.argument("id", required=False)
@click.option("--all", "every", is_flag=True, help="Run every journal again, the oldest first.")
@click.option(
    "--mode",
    type=click.Choice(["exact", "modified"]),
    default="exact",
    help="exact compares what hooks answer and what leaves; modified matches requests alone.",
)
@click.option("--until", default="", metavar="PATH", help="Up to the operation with this path.")
@click.option(
    "--set-result",
    "changes",
    multiple=True,
    metavar="PATH/result/FIELD=VALUE",
    help="Serve another value, JSON or a text; may be repeated.",
)
@click.option("--without", multiple=True, metavar="HOOK", help="Do not ask this hook, as plugin.hook; may be repeated.")
@click.option("--live", default="", metavar="WHAT", help="What runs although it is on record: model,tool:calculator.")
@click.option(
    "--on-miss",
    type=click.Choice(["stop", "live", "stub"]),
    default="stop",
    help="What becomes of a request that is not on record: the end, it runs, or an empty answer.",
)
@click.option("--ignore", multiple=True, metavar="POINTER", help="What may differ in requests: /parameters/date.")
@click.pass_obj
def replay_run(invocation: Invocation, /, id: str | None, every: bool, **chosen: Any) -> int:
    """Run a session or a run again, served from its journal; ends with 3 if anything differs.

    Models, tools and state are served, hooks and scripts run. What it writes to storages is kept in memory and gone
    afterwards, unless something is --live.
    """
    if bool(id) == every:
        raise click.UsageError("name one journal, or give --all")
    reports = invocation.run(lambda host: _run(invocation, host, id or "", chosen))
    if invocation.json:
        invocation.show([{**msgspec.to_builtins(each, enc_hook=str), "identical": each.identical} for each in reports])
    else:
        for each in reports:
            _tell(invocation, each)
    return 0 if all(each.identical for each in reports) else _DIVERGED


async def _run(invocation: Invocation, host: CommandHost, id: str, chosen: dict[str, Any]) -> list[ReplayReport]:
    from llmspell_hookspecs.journal import Journal
    from llmspell_hookspecs.replay import Replay, ReplayOptions
    from llmspell_hookspecs.services import SettingsAccess

    options = ReplayOptions(
        mode=chosen["mode"],
        until=chosen["until"],
        changes=dict(map(_change, chosen["changes"])),
        without=chosen["without"],
        live=tuple(filter(None, map(str.strip, chosen["live"].split(",")))),
        on_miss=chosen["on_miss"],
        ignore=chosen["ignore"],
    )
    settings = host.get(SettingsAccess)
    journal = await host.enter(Journal)
    ids = [id] if id else [run.id for run in reversed(await journal.runs())]
    if not options.live and options.on_miss != "live":
        await settings.change("storage.backend", "memory")
    service = await host.enter(Replay)
    return [await service.run(each, options) for each in ids]


def _change(text: str) -> tuple[str, Any]:
    key, equals, value = text.rpartition("=")
    if not equals or not key:
        raise click.UsageError(f"--set-result {text!r} has no value; write PATH/result/FIELD=VALUE")
    try:
        return key, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return key, value


def _tell(invocation: Invocation, report: ReplayReport) -> None:
    counts = f"{report.operations} operations, {report.served} served"
    counts += f", {report.live} live" if report.live else ""
    counts += f", {report.missed} missed" if report.missed else ""
    for skipped in report.skipped:
        invocation.warn(f"not run again: {skipped}")
    if report.identical:
        invocation.say(f"{report.id}: as on record ({counts})")
        return
    first = report.first
    if first is None:
        invocation.say(f"{report.id}: {report.leftovers} records were not asked for ({counts})")
    else:
        more = len(report.divergences) - 1
        invocation.say(f"{report.id}: differs from the record ({counts}{f'; {more} more differences' if more else ''})")
        _tell_divergence(invocation, first)
    if report.leftovers:
        shown = report.unused[:_SHOWN]
        invocation.say(f"not asked for: {report.leftovers}")
        for path in shown:
            invocation.say(f"  {path}")


def _tell_divergence(invocation: Invocation, first: Divergence) -> None:
    invocation.say(f"  first at {first.path or '(outermost)'}")
    told = first.message.startswith(first.component)
    invocation.say(f"  {first.message}" if told else f"  {first.component}: {first.message}")
    for each in first.differences:
        expected, actual = invocation.to_json(each.expected), invocation.to_json(each.actual)
        invocation.say(f"    {each.pointer or '/'}: {_cut(expected)} -> {_cut(actual)}")


def _cut(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:120]}..."
