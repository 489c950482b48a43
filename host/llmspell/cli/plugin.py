"""``llmspell plugin``: what is installed, what of it is switched on, and what is wrong with it.

Invariant: all but ``info`` and ``doctor`` read metadata and settings only and import no plugin; those two load each by
itself, inside a guard. So they work however broken one is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .invocation import Invocation

if TYPE_CHECKING:
    from llmspell.plugins import Installed
    from llmspell.settings import LoadedSettings, Settings
    from llmspell_hookspecs.plugin import PluginInfo

__all__ = ["plugin", "plugin_disable", "plugin_enable"]

_FILE = click.option(
    "--user/--local",
    "user",
    default=True,
    help="Whose settings file to edit: the user's if left out, or the project's.",
)


@click.group()
def plugin() -> None:
    """List, switch and examine plugins."""


@plugin.command("list")
@click.option("--group", default="", help="Only this group: plugins, tools, commands, services ...")
@click.pass_obj
def plugin_list(invocation: Invocation, group: str) -> None:
    """List the installed plugins; none is imported."""
    from llmspell.plugins.discovery import scan_all

    installed = invocation.installed
    rows = _described(scan_all(installed), invocation.load_settings().settings, installed)
    wanted = [row for row in rows if group.removeprefix("llmspell.") in ("", row["group"].removeprefix("llmspell."))]
    if rows and not wanted:
        groups = ", ".join(dict.fromkeys(row["group"].removeprefix("llmspell.") for row in rows))
        raise click.UsageError(f"no plugin is in a group {group!r}; there are {groups}")
    columns = ("name", "group", "distribution", "version", "status", "required", "error")
    invocation.show_rows(wanted, columns, empty="no plugin is installed")


@plugin.command("info")
@click.argument("name")
@click.pass_obj
def plugin_info(invocation: Invocation, name: str) -> None:
    """Say what the plugin NAME is, brings and is set to, and why it fails; it is imported unless it is disabled."""
    from llmspell.plugins.discovery import scan_all
    from llmspell.plugins.doctor import explain

    loaded = invocation.load_settings()
    every = scan_all(installed := invocation.installed)
    found = [info for info in every if name in info.spellings]
    if not found:
        raise _unknown(name, every)
    explained = {_identity(row): row for row in explain(loaded, name, installed)}
    rows = [row | explained.get(_identity(row), {}) for row in _described(found, loaded.settings, installed)]
    if invocation.json:
        invocation.show(rows if len(rows) > 1 else rows[0])
        return
    for row in rows:
        for key, value in row.items():
            if key == "settings" and value:
                columns = ("setting", "value", "default", "origin", "description")
                invocation.show_rows([{"setting": setting, **each} for setting, each in value.items()], columns)
            elif value not in ("", None, {}, []):
                invocation.say(f"{key + ':':14}{', '.join(value) if isinstance(value, list) else value}")


@plugin.command("enable")
@click.argument("name")
@_FILE
@click.pass_obj
def plugin_enable(invocation: Invocation, name: str, user: bool) -> None:
    """Load the plugin NAME, with its hooks, from now on."""
    _switch(invocation, name, enabled=True, user=user)


@plugin.command("disable")
@click.argument("name")
@_FILE
@click.pass_obj
def plugin_disable(invocation: Invocation, name: str, user: bool) -> None:
    """Do not even import the plugin NAME, with its hooks, from now on.

    The file stays as it is but for that, and a project's file stays trusted if it was.
    """
    _switch(invocation, name, enabled=False, user=user)


@plugin.command("doctor")
@click.pass_obj
def plugin_doctor(invocation: Invocation) -> None:
    """Import each plugin that is switched on, by itself, and say what is wrong.

    Ends with 1 if one cannot be loaded, or if the settings name what is not there.
    """
    from msgspec.structs import asdict

    from llmspell.plugins.doctor import examine

    from .failure import Exit

    findings = examine(invocation.load_settings().settings, invocation.installed)
    if invocation.json:
        invocation.show([asdict(finding) for finding in findings])
    else:
        rows = [
            asdict(each.plugin)
            | {"status": each.status, "hooks": each.hooks or None, "message": each.message}
            | {"time": f"{each.elapsed_ms:.0f} ms"}
            for each in findings
        ]
        columns = ("name", "group", "distribution", "status", "hooks", "time", "message")
        invocation.show_rows(rows, columns, empty="no plugin is installed")
    failed = [finding.plugin for finding in findings if finding.status == "failed"]
    named = list(dict.fromkeys(each.name for each in failed if each.group == "settings"))
    broken = [each.name for each in failed if each.group != "settings"]
    told = [f"settings name what is not there: {', '.join(named)}"] if named else []
    if broken:
        count = sum(finding.plugin.group != "settings" for finding in findings)
        told.insert(0, f"{len(broken)} of {count} plugins cannot be loaded: {', '.join(broken)}")
    if told:
        raise Exit(1, "; ".join(told))


def _described(infos: Sequence[PluginInfo], settings: Settings, installed: Installed) -> list[dict[str, Any]]:
    """Plugins as rows, with what the settings make of them."""
    from msgspec.structs import asdict

    from llmspell.plugins.discovery import choose

    groups = {info.group for info in infos}.intersection(installed.groups)
    chosen = [each.info for group in groups for each in choose(group, settings, installed)]
    objections = {_identity(asdict(info)): info.error for info in chosen}
    rows = []
    for info in infos:
        row = asdict(info)
        status, error = "enabled", info.error or objections.get(_identity(row))
        if not settings.plugin(info.name, info.group, optional=info.optional).enabled:
            status = "disabled"
        elif error is None:
            status, error = "refused", "settings prefer another package that brings it"
        elif error:
            status = "refused"
        required = settings.plugin(info.name, info.group).required
        rows.append(row | {"status": status, "required": required, "error": error or ""})
    return rows


def _identity(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (row["group"], row["name"], row["distribution"], row["module"])


def _switch(invocation: Invocation, name: str, *, enabled: bool, user: bool) -> None:
    """Switch a plugin on or off in a settings file, and say so."""
    from llmspell.plugins.discovery import scan_all
    from llmspell.settings.document import put_back, set_plugin_enabled
    from llmspell.settings.layers import is_trusted, trust_project
    from llmspell.settings.place import current_dir, user_file
    from llmspell_hookspecs.errors import SettingsError
    from llmspell_hookspecs.toml import read_settings

    file = user_file(os.environ) if user else invocation.project_file()
    place: dict[str, Any] = {"environment": os.environ}
    if not user:  # from where a project's file is trusted
        place["cwd"] = (invocation.project or current_dir()).resolve()
    every = scan_all(invocation.installed)
    meant = [info for info in every if name in info.spellings]
    if not enabled and not meant:
        raise _unknown(name, every)
    spellings = {each for info in meant for each in info.spellings if ":" in each or each == name}
    content = read_settings(file) if os.path.lexists(file) else None
    was_wrong = False
    try:
        invocation.load_settings()
    except SettingsError:
        was_wrong = True
    trusted = content is not None and not user and is_trusted(file, **place)
    optional = any(info.optional for info in meant)
    changed = set_plugin_enabled(file, name, enabled, spellings=spellings, optional=optional)
    if not changed and enabled and not meant:
        raise _unknown(name, every)
    try:
        if changed and trusted:  # a person who may trust it has made this change
            trust_project(file, **place)
        loaded, problem = invocation.load_settings(), None
    except SettingsError as error:
        loaded, problem = None, error
    here = problem is not None and problem.origin.startswith(str(file))
    if problem is not None and (not was_wrong or (here and not enabled)):  # where no command runs it helps nobody
        if changed:
            put_back(file, content)
        if changed and trusted:  # as it was
            trust_project(file, **place)
        raise click.UsageError(f"{file.name} is left as it was: {str(problem).rstrip('.')}")
    word = "enabled" if enabled else "disabled"
    line = f"{name} is {word} in {file}" if changed else f"{name} was {word} already in {file}"
    invocation.show({"plugin": name, "enabled": enabled, "file": str(file), "changed": changed}, line)
    if problem is not None:
        invocation.warn(str(problem))
    elif loaded is not None:
        _warn_if_overruled(invocation, loaded, name, meant, enabled=enabled)


def _warn_if_overruled(
    invocation: Invocation, loaded: LoadedSettings, name: str, meant: Sequence[PluginInfo], *, enabled: bool
) -> None:
    """Say so if another layer of settings has the last word."""
    for info in meant:
        if loaded.settings.plugin(info.name, info.group, optional=info.optional).enabled is not enabled:
            switches = [f'plugins."{each}".enabled' for each in info.spellings]
            set_ = [origin for origin in map(loaded.origin, switches) if origin.layer != "default"]
            origin = set_[0] if set_ else loaded.origin("plugins.disabled")
            invocation.warn(f"{name} is still {'disabled' if enabled else 'enabled'}, for {origin} says so")
            return


def _unknown(name: str, infos: Sequence[PluginInfo]) -> click.UsageError:
    from llmspell_hookspecs.spelling import meant

    hint = meant(name, {each for info in infos for each in info.spellings}, "'llmspell plugin list' shows what is")
    return click.UsageError(f"plugin {name!r} is not installed; {hint}")
