"""Edits settings files and leaves a person's comments and layout as they are.

Invariant: a file is replaced as a whole or not at all, and what is written can be read again.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array

from llmspell.regular import read_regular
from llmspell_hookspecs import SettingsError
from llmspell_hookspecs.errors import line_of_error

__all__ = ["set_plugin_enabled"]


def set_plugin_enabled(file: Path, plugin: str, enabled: bool) -> bool:
    """Put a plugin on, or take it off, the list ``plugins.disabled``; False if nothing had to be changed.

    ``plugins.NAME.enabled`` wins over the list, so it is turned where it is there.

    Raises:
        SettingsError: The file cannot be read or written.
    """
    document = _read(file)
    before = document.as_string()
    plugins = document.setdefault("plugins", tomlkit.table())
    listed = plugins.get("disabled", [])
    if enabled and plugin in listed:
        while plugin in listed:
            listed.remove(plugin)
    elif not enabled and plugin not in listed:
        if not isinstance(listed, Array):
            listed = plugins["disabled"] = tomlkit.array()
        listed.append(plugin)
    table = plugins.get(plugin, {})
    if "enabled" in table:
        table["enabled"] = enabled
    after = document.as_string()
    if after == before or (enabled and not plugins):
        return False
    _write(file, after)
    return True


def _read(file: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(read_regular(file).decode())
    except FileNotFoundError:
        return tomlkit.document()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise SettingsError(
            f"{file}: cannot be edited: {line_of_error(error)}; fix it first", origin=str(file)
        ) from error


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        target = file.resolve()  # A linked file stays a link.
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
    except OSError as error:
        raise SettingsError(
            f"{file}: cannot be written: {error.strerror}; allow it, or edit it by hand", origin=str(file)
        ) from error
