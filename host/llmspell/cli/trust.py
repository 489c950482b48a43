"""``llmspell trust`` and ``untrust``: whether a project's settings file may loosen policy."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .invocation import Invocation

__all__ = ["trust", "untrust"]

_DIRECTORY = click.argument("directory", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.command()
@_DIRECTORY
@click.pass_obj
def trust(invocation: Invocation, directory: Path) -> None:
    """Let the settings file of DIRECTORY loosen policy, as it is now.

    Once it changes, or a folder that it names leads elsewhere, trust it again.
    """
    from llmspell.settings.layers import trust_project
    from llmspell.settings.place import current_dir

    directory = current_dir() / directory
    file = _project_file(directory)
    loosened = trust_project(file, cwd=directory, environment=os.environ, models=invocation.own_model)
    lines = (f"{file} is trusted until it changes", *(f"  it sets {line}" for line in loosened))
    invocation.show({"file": str(file), "loosens": loosened}, *lines)


@click.command()
@_DIRECTORY
@click.pass_obj
def untrust(invocation: Invocation, directory: Path) -> None:
    """Let the settings file of DIRECTORY only tighten policy again."""
    from llmspell.settings.place import current_dir
    from llmspell.settings.trust import untrust as forget

    file = _project_file(current_dir() / directory)
    known = forget(file, os.environ)
    line = f"{file} is trusted no longer" if known else f"{file} was not trusted"
    invocation.show({"file": str(file), "was_trusted": known}, line)


def _project_file(directory: Path) -> Path:
    from llmspell.settings.place import PROJECT_FILES, find_project

    file = find_project(directory.resolve())
    if file is None:
        raise click.UsageError(f"{directory}: there is no settings file; write one of {', '.join(PROJECT_FILES)}")
    return file
