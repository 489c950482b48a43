"""The command ``llmspell event``: watch events, those of all of the user's processes or those of one script."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmspell_hookspecs import Events, InvalidInputError
from llmspell_hookspecs.event import Subscription
from llmspell_hookspecs.script import Scripts
from llmspell_hookspecs.services import ProjectFolder, SettingsAccess

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

    from .tail import Screen

__all__ = ["event"]

_CAPACITY = 10_000


@click.group()
def event() -> None:
    """Watch events."""


@event.command("tail")
@click.argument("script", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--pattern", "patterns", multiple=True, default=["**"], help="Only these topics; may be repeated.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show N events, then end.")
@click.option("--color/--no-color", "colour", default=None, help="In colour or not; on a terminal if left out.")
@click.pass_obj
def tail(
    invocation: Invocation,
    script: Path | None,
    arguments: tuple[str, ...],
    patterns: tuple[str, ...],
    limit: int | None,
    colour: bool | None,
) -> None:
    """Show events as they come.

    Those of all llmspell processes of the same user, running ones and later ones, until Ctrl-C; or, if a SCRIPT is
    given, those that it causes. It runs to its end, also if the limit is reached before. What stands behind -- are its
    arguments. With --output json its own output goes to standard error.
    """
    from .line import EventLines
    from .tail import Screen

    invocation.write("")  # standard output is a row of lines from now on, and an error is none of them
    if colour is None:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    screen = Screen(EventLines(invocation.to_json, as_json=invocation.json, colour=colour), invocation, limit)
    context = click.get_current_context()

    async def use(host: CommandHost) -> Any:
        try:
            events = host.get(Events).subscribe(patterns, capacity=_CAPACITY, owner="tail", as_published=True)
        except InvalidInputError as error:
            raise click.UsageError(str(error), context) from error
        if script is None:
            await _tail_others(host, invocation, patterns, screen)
        else:
            await _tail_script(host, events, screen, script, arguments)

    invocation.run(use)


async def _tail_others(host: CommandHost, invocation: Invocation, patterns: tuple[str, ...], screen: Screen) -> None:
    from llmspell_plugins.services.event_tail import Request

    from .tail import show_others

    if not host.get(SettingsAccess).plain("events.tap"):
        invocation.warn("events.tap is off; processes with these settings are not seen")
    if sys.stderr.isatty():
        invocation.note(f"waiting for events that match {' '.join(patterns)}; Ctrl-C ends this")
    request = Request(patterns, capacity=_CAPACITY, beside=os.getpid())
    await show_others(request, host.get(ProjectFolder).runtime(), screen)


async def _tail_script(
    host: CommandHost, events: Subscription, screen: Screen, script: Path, arguments: tuple[str, ...]
) -> None:
    from .tail import show_own

    async with show_own(events, screen):
        await host.get(Scripts).run_file(script, arguments)
