"""``llmspell event``: watch events, those of all of the user's processes or those of one script.

Invariant: standard output has one line an event and nothing else, but for what the script prints for people.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .invocation import Invocation
from .outlet import claim_stdout, say_error, warn

if TYPE_CHECKING:
    from llmspell.host import Host

    from .tail import Screen

__all__ = ["event"]


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
    from .event_line import EventLines
    from .tail import Screen

    _check(patterns)
    claim_stdout()
    if colour is None:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    screen = Screen(EventLines(as_json=invocation.json, colour=colour), limit)
    if script is None:
        _tail_others(invocation, patterns, screen)
    else:
        _tail_script(invocation, script, arguments, patterns, screen)


def _check(patterns: tuple[str, ...]) -> None:
    from llmspell.events import Topics
    from llmspell_hookspecs import InvalidInputError

    try:
        Topics[None]().add(patterns, None)
    except InvalidInputError as error:
        raise click.UsageError(str(error), click.get_current_context()) from error


def _tail_others(invocation: Invocation, patterns: tuple[str, ...], screen: Screen) -> None:
    from llmspell.events.meeting import Request
    from llmspell.settings.place import runtime_dir

    from .session import run_cancellable
    from .tail import show_others

    if not invocation.load_settings().settings.events.tap:
        warn("events.tap is off; processes with these settings are not seen")
    if sys.stderr.isatty():
        say_error(f"waiting for events that match {' '.join(patterns)}; Ctrl-C ends this")
    request = Request(patterns, capacity=10_000)
    run_cancellable(lambda: show_others(request, runtime_dir(os.environ), screen), invocation.signals)


def _tail_script(
    invocation: Invocation, script: Path, arguments: tuple[str, ...], patterns: tuple[str, ...], screen: Screen
) -> None:
    from .tail import show_own

    async def use(host: Host) -> Any:
        async with show_own(host.events.subscribe(patterns, capacity=10_000, owner="tail"), screen):
            return await host.run_script(script, arguments=list(arguments))

    invocation.run(use)
