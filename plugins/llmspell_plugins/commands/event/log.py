"""Verify the event log, publish what is on record again, write it out for programs, and see who follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from llmspell_hookspecs.commands import CommandError
from llmspell_plugins.commands.meant import moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from llmspell_hookspecs.commands import CommandHost, Invocation
    from llmspell_hookspecs.event_log import (
        EventLog,
        EventLogReport,
        EventSelection,
        FollowerInfo,
        RecordedEvent,
        Replayed,
    )

__all__ = ["export", "followers", "forget", "replay", "verify"]

_PAGE = 1000


def _selecting(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which events."""
    for option in (
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="N events at most."),
        click.option("--until", "until_s", callback=moment, metavar="TIME", help="Only recorded up to this time."),
        click.option("--since", "since_s", callback=moment, metavar="TIME", help="Only recorded from this time on."),
        click.option("--source", default="", metavar="GLOB", help="Only what comes from these: 'script:*'."),
        click.option("--correlation", "correlation_id", default="", metavar="ID", help="Only what one cause set off."),
        click.option(
            "--pattern", "patterns", multiple=True, default=["**"], help="Only these topics; may be repeated."
        ),
        click.option("--to", "until", type=click.IntRange(min=1), metavar="NUMBER", help="Up to this number."),
        click.option("--from", "first", type=click.IntRange(min=1), default=1, metavar="NUMBER", help="From this on."),
    ):
        command = option(command)
    return command


@click.command()
@click.pass_obj
def verify(invocation: Invocation) -> None:
    """Check that no event on record was changed or taken out.

    Ends with 1 and names the first that is wrong or missing.
    """

    async def use(host: CommandHost) -> EventLogReport:
        return await (await _log_of(host)).verify()

    found = invocation.run(use)
    facts = {"first": found.first, "entries": found.entries, "number": found.number, "problem": found.problem or None}
    if found.problem:
        if invocation.json:
            invocation.show(facts)
        raise CommandError(f"event log: entry {found.number}: {found.problem}; {found.entries} before it are in order")
    told = f"{found.entries} events are in order"
    invocation.show(facts, told if found.first == 1 else f"{told}, from number {found.first} on")


@click.command()
@_selecting
@click.pass_obj
def replay(invocation: Invocation, /, **chosen: Any) -> None:
    """Publish events on record again, in their order, to the plugins of this process and to whoever tails it.

    Each is as it was, with "replayed" set; none is recorded again.
    """
    selection = _selection(chosen)

    async def use(host: CommandHost) -> Replayed:
        return await (await _log_of(host)).replay(selection)

    done = invocation.run(use)
    facts = {"published": done.published, "refused": done.refused, "last": done.last}
    lines = [f"{done.published} events were published again"]
    if done.refused:
        lines.append(f"{done.refused} were refused: a hook withheld them, or a subscriber had no room")
    invocation.show(facts, *lines)


@click.command()
@_selecting
@click.pass_obj
def export(invocation: Invocation, /, **chosen: Any) -> None:
    """Write events on record to standard output, one on each line as JSON.

    The lines are those of 'llmspell event tail --output json'.
    """
    from .line import EventLines

    selection = _selection(chosen)
    lines = EventLines(invocation.to_json, as_json=True)
    invocation.write("")  # standard output is a row of lines from now on, and an error is none of them

    async def use(host: CommandHost) -> None:
        import trio

        async for page in _pages(await _log_of(host), selection):
            text = "".join(lines.line(each.event, each.process, each.pid) for each in page)
            await trio.to_thread.run_sync(invocation.write, text)

    invocation.run(use)


@click.command()
@click.pass_obj
def followers(invocation: Invocation) -> None:
    """Show who follows the event log under a name, and how far they are."""
    import msgspec

    async def use(host: CommandHost) -> Sequence[FollowerInfo]:
        return await (await _log_of(host)).followers()

    found = invocation.run(use)
    columns = ("name", "patterns", "acknowledged", "behind", "missed")
    invocation.show_rows(msgspec.to_builtins(found), columns, empty="nobody follows the log under a name")


@click.command()
@click.argument("name")
@click.pass_obj
def forget(invocation: Invocation, name: str) -> None:
    """Remove a follower of the event log; opened again it begins anew."""

    async def use(host: CommandHost) -> bool:
        return await (await _log_of(host)).forget(name)

    if not invocation.run(use):
        raise CommandError(f"event log: there is no follower {name!r:.60}; 'llmspell event followers' lists them")
    invocation.show({"name": name, "forgotten": True}, f"{name} is forgotten")


async def _log_of(host: CommandHost) -> EventLog:
    from llmspell_hookspecs.event_log import EventLog

    return await host.enter(EventLog)


def _selection(chosen: dict[str, Any]) -> EventSelection:
    """Return what the options ask for."""
    from llmspell_hookspecs import InvalidInputError
    from llmspell_hookspecs.event_log import EventSelection
    from llmspell_hookspecs.trie import Topics

    try:
        Topics[None]().add(chosen["patterns"], None)
    except InvalidInputError as error:
        raise click.UsageError(str(error), click.get_current_context()) from error
    after = chosen.pop("first") - 1
    return EventSelection(**chosen, after=after)


async def _pages(log: EventLog, selection: EventSelection) -> AsyncIterator[Sequence[RecordedEvent]]:
    from msgspec import structs

    left = selection.limit
    while left is None or left > 0:
        page = await log.read(structs.replace(selection, limit=_PAGE if left is None else min(left, _PAGE)))
        if not page:
            return
        yield page
        selection = structs.replace(selection, after=page[-1].number)
        left = None if left is None else left - len(page)
