"""Edits settings files and leaves a person's comments and layout as they are.

Invariant: a file is replaced as a whole or not at all, and what is written reads as what was there with the one change.
"""

from __future__ import annotations

import copy
import json
import os
import tomllib
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from llmspell_hookspecs.errors import SettingsError
from llmspell_hookspecs.regular import replace_regular
from llmspell_hookspecs.toml import parse_settings, read_settings

__all__ = ["put_back", "set_plugin_enabled"]

_MARK: Final = "\ufeff"


def set_plugin_enabled(
    file: Path, plugin: str, enabled: bool, *, spellings: Collection[str] = (), optional: bool = False
) -> bool:
    """Put a plugin on, or take it off, the list ``plugins.disabled``; False if nothing had to be changed.

    ``plugins.NAME.enabled`` wins over the list, so it is turned where it is there; an optional plugin is given it.

    Args:
        file: The settings file; it is made if there is none.
        plugin: The name that is put on the list.
        enabled: Whether it is to be loaded.
        spellings: Other names that the file may have it under.
        optional: Whether it is off unless its table says ``enabled = true``.

    Raises:
        SettingsError: The file cannot be read or written, or this cannot be changed in it by itself.
    """
    content = read_settings(file) if os.path.lexists(file) else b""
    table, lines = parse_settings(file, content)
    _check_shape(file, table, names := {plugin, *spellings})
    turn = partial(_turned, plugin=plugin, names=names, enabled=enabled, optional=optional)
    meant = turn(copy.deepcopy(table))
    if meant == table:
        return False
    text = content.decode()
    mark, text = (_MARK, text.removeprefix(_MARK)) if text.startswith(_MARK) else ("", text)
    returns = "\r\n" in text and "\n" not in text.replace("\r\n", "")
    for edit in (turn, partial(turn, first=True), None):
        if edit is not None:
            after = _edited(text, edit)
        elif optional:
            after = f"{text.rstrip()}\n\n[plugins.{json.dumps(plugin)}]\nenabled = true\n".lstrip()
        else:
            after = _with_list(text, plugin, lines.get(("plugins",)))
        if _is_meant(after, meant if edit is None else edit(copy.deepcopy(table))):
            after = after.replace("\r\n", "\n").replace("\n", "\r\n") if returns else after
            put_back(file, (mark + after).encode())
            return True
    raise SettingsError(
        f"{file}: plugins.disabled cannot be changed as it is written; edit it by hand", origin=str(file)
    )


def put_back(file: Path, content: bytes | None) -> None:
    """Make a settings file hold this, or let there be none.

    Raises:
        SettingsError: It cannot be written.
    """
    try:
        if content is None:
            file.unlink(missing_ok=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_regular(file, content)
    except OSError as error:
        raise SettingsError(
            f"{file}: it cannot be written: {error.strerror}; allow it, or edit it by hand", origin=str(file)
        ) from error


def _check_shape(file: Path, table: Any, names: Collection[str]) -> None:
    """Refuse what is no table or list where one is to be edited."""
    plugins = table.get("plugins", {})
    shapes: dict[str, tuple[Any, type]] = {"plugins": (plugins, dict)}
    if isinstance(plugins, dict):
        shapes |= {"plugins.disabled": (plugins.get("disabled", []), list)}
        shapes |= {f"plugins.{name}": (plugins.get(name, {}), dict) for name in names}
    for key, (value, kind) in shapes.items():
        if not isinstance(value, kind):
            wanted = "a list" if kind is list else "a table"
            raise SettingsError(f"{file}: {key} is not {wanted}; make it one", origin=str(file), key=key)


def _turned(
    table: Any, *, plugin: str, names: Collection[str], enabled: bool, optional: bool, first: bool = False
) -> Any:
    """Return the table, plain or a document, with the plugin switched; ``first`` says at which end it is listed."""
    plugins = table.get("plugins", {})
    switches = [name for name in names if "enabled" in plugins.get(name, {})]
    for name in switches:
        if plugins[name]["enabled"] is not enabled:
            plugins[name]["enabled"] = enabled
    listed = plugins.get("disabled", [])
    if enabled:
        for name in names:
            while name in listed:
                listed.remove(name)
        if optional and not switches:
            table.setdefault("plugins", {}).setdefault(plugin, {})["enabled"] = True
    elif not optional and plugin not in listed and plugin not in switches:
        listed = table.setdefault("plugins", {}).setdefault("disabled", [])
        listed.insert(0 if first else len(listed), plugin)
    return table


def _edited(text: str, edit: Callable[[Any], Any]) -> str:
    """Return the text after an edit; as it was if its layout is too much for the library."""
    try:
        after: str = edit(tomlkit.parse(text)).as_string()
    except (TOMLKitError, TypeError, ValueError):
        return text
    return after


def _with_list(text: str, plugin: str, header: int | None) -> str:
    """Return the text with a list below the table's header: to a table in several parts the library can add none."""
    listed = f"disabled = [{json.dumps(plugin)}]"
    if header is None:
        return f"{text.rstrip()}\n\n[plugins]\n{listed}\n"
    lines = text.split("\n")
    return "\n".join([*lines[:header], listed, *lines[header:]])


def _is_meant(text: str, meant: Any) -> bool:
    try:
        return bool(tomllib.loads(text) == meant)
    except tomllib.TOMLDecodeError:
        return False
