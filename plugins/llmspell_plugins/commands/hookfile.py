"""Look at hook files in the form of Claude Code before they are used; runs nothing of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmspell_hookspecs.commands import CommandError

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import Invocation

__all__ = ["hookfile"]


@click.group("hookfile")
def hookfile() -> None:
    """Look at hook files in the form of Claude Code."""


@hookfile.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def check(invocation: Invocation, file: Path) -> None:
    """Say what the commands of FILE are asked about here, what of it has no effect, and how settings name it.

    None of its commands is run.
    """
    from llmspell_hookspecs.errors import PluginError
    from llmspell_plugins.hooks.hook_files.file import EVENTS, read_hook_file

    try:
        found = read_hook_file(file.absolute())
    except PluginError as error:
        raise CommandError(str(error)) from error
    rows: list[dict[str, Any]] = [
        {
            "event": command.event,
            "point": EVENTS[command.event],
            "matcher": command.matcher or "*",
            "timeout_s": command.timeout_s,
            "command": " ".join([command.command, *(command.arguments or ())]),
        }
        for command in found.commands
    ]
    entry = {"path": found.path, "sha256": found.sha256}
    if invocation.json:
        invocation.show({**entry, "commands": rows, "told": list(found.told)})
        return
    invocation.show_rows(
        rows, ("event", "point", "matcher", "timeout_s", "command"), empty="it has no command that runs"
    )
    for line in found.told:
        invocation.note(line)
    invocation.say(
        f'\n[plugins.hook_files]\nenabled = true\nfiles = [{{path = "{found.path}", sha256 = "{found.sha256}"}}]'
    )
