"""``llmspell config``: what counts, where it came from, and whether it is right."""

from __future__ import annotations

import os
from typing import Any

import click

from .invocation import Invocation
from .outlet import tell

__all__ = ["config"]


@click.group()
def config() -> None:
    """Show and check the settings."""


@config.command("show")
@click.argument("section", default="")
@click.option("--origin", is_flag=True, help="Say where each value came from.")
@click.pass_obj
def config_show(invocation: Invocation, section: str, origin: bool) -> None:
    """Show the settings that count, all or those of SECTION; secrets are masked."""
    from llmspell.settings import plain, rows
    from llmspell_hookspecs.keys import split

    loaded = invocation.load_settings()
    value = plain(loaded, section)
    if value is None and not _is_key(section):
        raise click.UsageError(f"there is no section {section!r}; 'llmspell config show' lists all")
    above = split(section) if section else ()
    found = [row for row in rows(loaded) if split(row.key)[: len(above)] == above]
    if not origin:
        invocation.show(value, *([f"{row.key} = {_toml(row.value)}" for row in found] or ["nothing is set"]))
    elif invocation.json:
        invocation.show([{"key": row.key, "value": row.value, "origin": _described(row.origin)} for row in found])
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
    from llmspell.plugins.tables import table_problems

    from .failure import Exit

    loaded = invocation.load_settings()
    installed = invocation.installed
    problems = table_problems(loaded, installed)
    findings = examine(loaded.settings, installed)
    unknown = {finding.message for finding in findings if finding.plugin.group == "settings"}
    wrong = [problem for problem in problems if not str(problem).endswith(tuple(unknown))]
    if wrong:
        raise wrong[0]
    lines = [str(problem) for problem in problems]
    lines += [f"{_where(loaded, told)}: {told}" for told in sorted(unknown) if not any(told in line for line in lines)]
    required = f"{_where(loaded, 'plugins.required: ')}: plugins.required"
    for finding in findings:
        if finding.status == "failed" and finding.plugin.group != "settings":
            mine = f"plugin {finding.plugin.name}"
            told = finding.message if finding.message.startswith(mine) else f"{mine}: {finding.message}"
            lines.append(told if finding.plugin.distribution else f"{required}: {finding.message}")
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


def _where(loaded: Any, told: str) -> str:
    """Where the key stands with which a message begins."""
    return str(loaded.origin(told.partition(": ")[0]))


def _is_key(section: str) -> bool:
    from llmspell.settings.schema import field_of
    from llmspell_hookspecs.keys import split

    return field_of(split(section)) is not None


def _described(origin: Any) -> dict[str, Any]:
    return {"layer": origin.layer, "source": origin.source, "line": origin.line}


def _toml(value: Any) -> str:
    """A value as one would write it."""
    import json

    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)
