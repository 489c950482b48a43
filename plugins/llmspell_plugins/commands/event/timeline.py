"""Show which event came of which, as a tree with the times: of a script, of a file, or of all running processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmspell_plugins.commands.meant import finite, moment

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation
    from llmspell_hookspecs.timeline import TimelineQuery

    from .gather import Gathering

__all__ = ["timeline"]

_SECONDS = click.FloatRange(min=0)
_WAITING = 10_000
_SETTLE_S = 0.25
"""How long what was sent already may take to be read."""


@click.command()
@click.argument("script", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--file", metavar="FILE", help="Events that were exported, one on each line; - for standard input.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    callback=finite,
    metavar="N",
    help="Gather for so long, not until Ctrl-C.",
)
@click.option("--correlation", "correlation_ids", multiple=True, metavar="ID", help="Only what one cause set off.")
@click.option("--pattern", "patterns", multiple=True, help="Only these topics; may be repeated.")
@click.option("--component", "components", multiple=True, metavar="GLOB", help="Only of or for these: 'tool:*'.")
@click.option("--language", "languages", multiple=True, help="Only what comes from this language.")
@click.option("--tag", "tags", multiple=True, help="Only what has this tag.")
@click.option("--since", "since_s", callback=moment, metavar="TIME", help="Only from this time on.")
@click.option("--until", "until_s", callback=moment, metavar="TIME", help="Only up to this time.")
@click.option(
    "--last", "last_s", type=click.FloatRange(min=0), callback=finite, metavar="N", help="Only the last N seconds."
)
@click.option("--roots", "only", flag_value="roots", help="Only what nothing set off.")
@click.option("--leaves", "only", flag_value="leaves", help="Only what set off nothing.")
@click.option("--depth", type=click.IntRange(min=0), metavar="N", help="Only with N causes above it at most.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="N events at most.")
@click.option(
    "--sort",
    type=click.Choice(["sequence", "time", "depth", "correlation"]),
    help="As a table in this order, not as a tree.",
)
@click.option("--reverse", "descending", is_flag=True, help="As a table, the other way round.")
@click.option("--longest", is_flag=True, help="The longest chain of causes.")
@click.pass_obj
def timeline(
    invocation: Invocation,
    /,
    script: Path | None,
    arguments: tuple[str, ...],
    file: str | None,
    seconds: float | None,
    longest: bool,
    last_s: float | None,
    **query: Any,
) -> None:
    """Show which event came of which, and when.

    Of a SCRIPT, which is run to its end; of a --file; or else of all llmspell processes of the same user, from now on
    until Ctrl-C. What stands behind -- are the script's arguments. With --output json: one value with the entries and
    counts.
    """
    from .gather import Gathering, read_events

    if sum((script is not None, file is not None, seconds is not None)) > 1:
        raise click.UsageError("SCRIPT, --file and --seconds exclude each other; give one of them, or none")
    gathering = Gathering(invocation.warn)
    failure: Exception | None = None
    if file is not None:
        gathering.add(read_events(invocation.read("-" if file == "-" else f"@{file}"), file))
    elif script is not None:
        invocation.write("")  # what is shown stays one value: a failure is told on standard error
        try:
            _run_script(invocation, gathering, script, arguments)
        except Exception as error:  # what it did before it failed is shown, and then the failure
            failure = error
    else:
        _watch(invocation, gathering, seconds)
    gathering.tell_lost()
    _show(invocation, gathering, _query(gathering, last_s, query), longest=longest)
    if failure is not None:
        raise failure


def _query(gathering: Gathering, last_s: float | None, given: dict[str, Any]) -> TimelineQuery:
    from llmspell_hookspecs.timeline import TimelineQuery

    if last_s is not None:
        end_s = max((event.timestamp for event in gathering.record.events()), default=0.0)
        given["since_s"] = max(end_s - last_s, given["since_s"] or 0.0)
    wanted = {name: value for name, value in given.items() if value not in (None, ())}
    return TimelineQuery(**wanted)


def _run_script(invocation: Invocation, gathering: Gathering, script: Path, arguments: tuple[str, ...]) -> None:
    from llmspell_hookspecs import Events
    from llmspell_hookspecs.script import Scripts

    async def use(host: CommandHost) -> None:
        events = host.get(Events).subscribe("**", capacity=_WAITING, as_published=True, owner="timeline")
        async with gathering.follow(events):
            await host.get(Scripts).run_file(script, arguments)

    invocation.run(use)


def _watch(invocation: Invocation, gathering: Gathering, seconds: float | None) -> None:
    """Gather what other processes do, for a time or until a Ctrl-C."""
    import trio

    from llmspell_hookspecs.services import ProjectFolder, SettingsAccess
    from llmspell_plugins.services.event_tail import Request

    from .tail import show_others

    async def use(host: CommandHost) -> None:
        if not host.get(SettingsAccess).plain("events.tap"):
            invocation.warn("events.tap is off; processes with these settings are not seen")
        if sys.stderr.isatty():
            invocation.note("gathering events; " + ("Ctrl-C shows them" if seconds is None else f"for {seconds:g} s"))
        request = Request(("**",), capacity=_WAITING, beside=os.getpid())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            await show_others(request, host.get(ProjectFolder).runtime(), gathering)

    async def end() -> None:
        with trio.move_on_after(float("inf") if seconds is None else seconds):
            await interrupted.wait()
        for _ in range(2):  # where a busy machine wakes this and the readers at once, they come in between
            await trio.sleep(_SETTLE_S / 2)
        gathering.full.set()

    def stop() -> bool:
        if interrupted.is_set():
            return False
        interrupted.set()
        return True

    interrupted = trio.Event()
    invocation.run(use, on_interrupt=stop)


def _show(invocation: Invocation, gathering: Gathering, query: TimelineQuery, *, longest: bool) -> None:
    from llmspell_hookspecs import InvalidInputError
    from llmspell_plugins.services.timeline import Selection

    from .tree import chain_lines, summary, tree_lines

    record = gathering.record
    try:
        selection = Selection(record.events(), query)
    except InvalidInputError as error:
        raise click.UsageError(str(error)) from error
    entries = selection.longest_chain if longest else selection.entries
    stats = selection.stats(recorded=record.recorded, evicted=record.evicted, without_data=record.without_data)
    if invocation.json:
        invocation.show({"entries": entries, "stats": stats})
    elif not entries:
        invocation.say("there are no such events")
    elif longest:
        invocation.say("\n".join(chain_lines(entries, invocation.to_json)))
    elif click.get_current_context().params["sort"] is not None or query.descending:
        rows = [{**_row(entry.event), "depth": entry.depth, "elapsed_ms": entry.elapsed_ms} for entry in entries]
        invocation.show_rows(rows, ("sequence", "elapsed_ms", "depth", "type", "source", "correlation", "data"))
    else:
        invocation.say("\n".join((*tree_lines(selection, invocation.to_json), "", summary(stats))))


def _row(event: Any) -> dict[str, Any]:
    return {
        "sequence": event.sequence,
        "type": event.type,
        "source": event.source,
        "correlation": event.correlation_id,
        "data": event.data,
    }
