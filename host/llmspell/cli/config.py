"""``llmspell config``, ``trust`` and ``untrust``: what counts, where it came from, whether it is right or trusted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from .invocation import Invocation
from .outlet import tell

__all__ = ["config", "trust", "untrust"]

_DIRECTORY = click.argument("directory", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.group()
def config() -> None:
    """Show and check the settings."""


@config.command("show")
@click.argument("section", default="")
@click.option("--origin", is_flag=True, help="Say where each value came from.")
@click.pass_obj
def config_show(invocation: Invocation, section: str, origin: bool) -> None:
    """Show the settings that count, all or those of SECTION; secrets are masked."""
    from msgspec.structs import asdict

    from llmspell.settings import plain, rows
    from llmspell.settings.schema import SCHEMA
    from llmspell_hookspecs.keys import split

    loaded = invocation.load_settings()
    value = plain(loaded, section)
    if value is None and SCHEMA.field(split(section)) is None:
        raise click.UsageError(f"there is no section {section!r}; 'llmspell config show' lists all")
    above = split(section) if section else ()
    found = [row for row in rows(loaded) if split(row.key)[: len(above)] == above]
    if not origin:
        invocation.show(value, *([f"{row.key} = {_toml(row.value)}" for row in found] or ["nothing is set"]))
    elif invocation.json:
        invocation.show([{"key": row.key, "value": row.value, "origin": asdict(row.origin)} for row in found])
    else:
        lines = [{"key": row.key, "value": _toml(row.value), "origin": str(row.origin)} for row in found]
        invocation.show_rows(lines, ("key", "value", "origin"), empty="nothing is set")


@config.command("path")
@click.pass_obj
def config_path(invocation: Invocation) -> None:
    """Show which settings files are read."""
    from llmspell.settings.place import MACHINE_FILE, user_file

    files = [("machine", MACHINE_FILE), ("user", user_file(os.environ)), ("project", invocation.project_file())]
    found = [{"layer": layer, "path": str(path), "exists": os.path.isfile(path)} for layer, path in files]
    invocation.show_rows(found, ("layer", "path", "exists"))


@config.command("validate")
@click.pass_obj
def config_validate(invocation: Invocation) -> None:
    """Check the settings, those of plugins, tools, providers and storages too.

    What is wrong is named with file, line and the nearest right key. The exit code is 1 if the settings name a plugin,
    package or hook that nobody has, or require a plugin that is missing. Hooks that nobody will ask are named, too.
    """
    from llmspell.plugins.doctor import examine
    from llmspell.plugins.tables import origin_of, table_problems

    from .failure import Exit

    loaded, installed = invocation.load_settings(), invocation.installed
    if wrong := table_problems(loaded, installed):
        raise wrong[0]
    findings = examine(loaded.settings, installed)
    lines = []
    for finding in (each for each in findings if each.status == "failed"):
        name, told = finding.plugin.name, finding.message
        if finding.plugin.group == "settings":
            lines.append(f"{origin_of(loaded, name)}: {told}")
        elif not finding.plugin.distribution:
            lines.append(f"{origin_of(loaded, 'plugins.required')}: plugins.required: {told}")
        else:
            lines.append(told if told.startswith(f"plugin {name}") else f"plugin {name}: {told}")
    if lines:
        if invocation.json:
            invocation.show({"valid": False, "problems": lines})
        for line in lines:
            tell(line)
        raise Exit(1)
    files = [str(path) for path in loaded.files.values()]
    doubtful = [finding.message for finding in findings if finding.status == "ok" and finding.message]
    for message in doubtful:
        tell(message)
    line = f"the settings are valid ({', '.join(files) or 'no file, defaults only'})"
    invocation.show({"valid": True, "files": files, "warnings": [*loaded.warnings, *doubtful]}, line)


def _toml(value: Any) -> str:
    """A value as one would write it."""
    import json

    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)


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
