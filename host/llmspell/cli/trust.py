"""``llmspell trust`` and ``untrust``: whether a project's settings file may loosen policy."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .invocation import Invocation, global_options
from .outlet import say

__all__ = ["trust", "untrust"]

_DIRECTORY = click.argument("directory", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.command()
@_DIRECTORY
@global_options
@click.pass_obj
def trust(invocation: Invocation, directory: Path) -> None:
    """Let the settings file of DIRECTORY loosen policy, as it is now.

    Once it changes, or a folder that it names leads elsewhere, trust it again.
    """
    from llmspell.settings.layers import trust_project

    from .output import print_json

    file = _project_file(directory)
    loosened = trust_project(file, cwd=directory, environment=os.environ)
    if invocation.json:
        print_json({"file": str(file), "loosens": loosened})
        return
    say(f"{file} is trusted until it changes")
    for line in loosened:
        say(f"  it sets {line}")


@click.command()
@_DIRECTORY
@global_options
@click.pass_obj
def untrust(invocation: Invocation, directory: Path) -> None:
    """Let the settings file of DIRECTORY only tighten policy again."""
    from llmspell.settings.trust import untrust as forget

    from .output import print_json

    file = _project_file(directory)
    known = forget(file, os.environ)
    if invocation.json:
        print_json({"file": str(file), "was_trusted": known})
    else:
        say(f"{file} is trusted no longer" if known else f"{file} was not trusted")


def _project_file(directory: Path) -> Path:
    from llmspell.settings.place import PROJECT_FILES, find_project

    file = find_project(directory.resolve())
    if file is None:
        raise click.UsageError(f"{directory}: there is no settings file; write one of {', '.join(PROJECT_FILES)}")
    return file
