"""The index of tools: what each told of itself when it was last loaded, in a file, so that a listing loads none.

An entry's key is a digest of all that the telling depends on: the entry point, its package's version, the interpreter,
what is installed beside it, the settings of plugins and of the tool, and the state of every file of the tool's package.
So nothing in the file can be stale: what no longer holds is no longer found.

Invariant: what is told from the index is what loading the tool would tell. What cannot be read, checked or written is
done without.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from llmspell_hookspecs import HOOK_API_VERSION, SecurityLevel, Tool
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.regular import read_regular, replace_regular

__all__ = ["ToolIndex", "ToolSummary", "fits"]

_LOADED_NS: Final = time.time_ns()
"""Since when this process has been importing tools: a file that changed later may not be the one that was imported."""
_COARSE_NS: Final = 20_000_000
"""How far the times of a file system may lag behind the clock."""
_FILE: Final = "tools.json"
_MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_ENTRIES: Final = 1000
_MOST_FILES: Final = 2000
"""The largest package whose files are looked at; 10 ms. Tools of larger ones are loaded."""
_FIXED: Final = (str, tuple, list, SecurityLevel)
"""What a class tells is told by every object of it if it is one of these: no property, nothing that is made anew."""


class ToolSummary(Struct, frozen=True):
    """What a tool tells of itself in a listing."""

    name: str
    description: str
    category: str
    version: str
    level: str
    aliases: tuple[str, ...]

    @classmethod
    def of(cls, tool: Tool[Any]) -> ToolSummary:
        """Return that of a tool."""
        texts = (tool.name, tool.description, tool.category, tool.version)
        return cls(*texts, tool.level.name.lower(), tuple(tool.aliases))

    def told(self) -> dict[str, Any]:
        """Return it as `Tools.discover` tells it."""
        return {**{name: getattr(self, name) for name in self.__struct_fields__}, "aliases": list(self.aliases)}


class _Entry(Struct, frozen=True):
    """One tool in the file.

    Attributes:
        summary: What it told.
        bases: The packages of its base classes, each with the state of its files.
    """

    summary: ToolSummary
    bases: dict[str, str]


class _Package(Struct, frozen=True):
    """The files of a package as they are now.

    Attributes:
        state: A digest of the name, size and times of each.
        changed_ns: When the last of them changed.
    """

    state: str
    changed_ns: int


class ToolIndex:
    """What tools told, read from a file when it is first asked for.

    Args:
        folder: Where the user's files lie that can be made again.
        settings: All settings, plain: on those of plugins the loading of any tool may depend, on its own that of each.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._file = folder / _FILE
        self._surroundings = _digest([HOOK_API_VERSION, sys.version, sys.prefix, _installed(), settings["plugins"]])
        self._tools: Mapping[str, Any] = settings["tools"]
        self._packages: dict[str, _Package | None] = {}
        self._read = _entries(self._file)
        self._found: dict[str, _Entry] = {}
        self._is_new = False

    def find(self, info: PluginInfo) -> ToolSummary | None:
        """Return what a tool told, if it would tell that again."""
        key = self._key(info)
        entry = None if key is None else self._read.get(key)
        if key is None or entry is None or entry.bases != self._states(entry.bases):
            return None
        self._found[key] = entry
        return entry.summary

    def keep(self, info: PluginInfo, tool: Tool[Any], summary: ToolSummary) -> None:
        """Keep what a tool has told, if it is certain to tell that again; `save` writes it."""
        key = self._key(info)
        if key is None or not _is_fixed(tool):
            return
        bases = {_top(kind.__module__) for kind in type(tool).__mro__} - sys.stdlib_module_names - {_top(info.module)}
        packages = [self._package(name) for name in (_top(info.module), *bases)]
        if all(each is not None and each.changed_ns < _LOADED_NS - _COARSE_NS for each in packages):
            self._found[key] = _Entry(summary, self._states(bases))
            self._is_new = True

    def save(self) -> None:
        """Write what is new; of what was there as much stays as there is room for, for other versions and settings."""
        if not self._is_new:
            return
        self._is_new = False
        others = [(key, entry) for key, entry in self._read.items() if key not in self._found]
        kept = dict([*others, *self._found.items()][-_MOST_ENTRIES:])
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_regular(self._file, msgspec.json.encode(kept))
        except OSError:  # the next listing loads them again
            return

    def _key(self, info: PluginInfo) -> str | None:
        """Return the key of a tool; None if it was handed over, is refused, or its files cannot be looked at."""
        package = self._package(_top(info.module)) if info.distribution and not info.error else None
        if package is None:
            return None
        about = [info.name, info.module, info.distribution, info.version, self._tools.get(info.name)]
        return _digest([self._surroundings, package.state, *about])

    def _states(self, names: Sequence[str] | Mapping[str, str] | set[str]) -> dict[str, str]:
        return {name: package.state if (package := self._package(name)) else "" for name in sorted(names)}

    def _package(self, name: str) -> _Package | None:
        if name not in self._packages:
            self._packages[name] = _package(name)
        return self._packages[name]


def fits(told: Mapping[str, Any], category: str, tag: str) -> bool:
    """Return whether a tool that tells this of itself is of a category, and mentions a text; either may be empty."""
    text = " ".join([told["name"], told["description"], *told["aliases"]])
    return category in ("", told["category"]) and tag.lower() in text.lower()


def _entries(file: Path) -> Mapping[str, _Entry]:
    """Return what a file of the user's own or of the administrator's holds; nothing if it is none, or is cut."""
    try:
        if hasattr(os, "geteuid") and file.stat().st_uid not in (0, os.geteuid()):
            return {}
        return msgspec.json.decode(read_regular(file, _MOST_BYTES), type=dict[str, _Entry])
    except (OSError, ValueError):
        return {}


def _package(name: str) -> _Package | None:
    """Return the state of a package's files; None if there are too many, or none that can be looked at."""
    try:
        spec = find_spec(name)
        if spec is None:
            return None
        folders = spec.submodule_search_locations
        files = sorted(_files(*folders) if folders else _file(spec.origin or ""))
    except Exception:  # a finder of others
        return None
    return _Package(_digest(files), max(times for *_, times in files)) if 0 < len(files) <= _MOST_FILES else None


def _files(*folders: str) -> Iterator[tuple[str, int, int, int]]:
    """Yield path, size and times of each file below some folders, but of no more than count."""
    waiting, seen = list(folders), 0
    while waiting and seen <= _MOST_FILES:
        with os.scandir(waiting.pop()) as found:
            for each in found:
                if each.name == "__pycache__" or each.name.startswith("."):
                    continue
                seen += 1
                if each.is_dir():
                    waiting.append(each.path)
                else:
                    yield from _file(each.path)


def _file(path: str) -> Iterator[tuple[str, int, int, int]]:
    try:
        about = os.stat(path)
    except OSError:  # a link that leads nowhere
        about = os.lstat(path)
    yield path, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _installed() -> list[tuple[str, int]]:
    """Return when each folder of installed packages last gained or lost one."""
    found = []
    for folder in map(str, sys.path):  # some put a path object there
        with suppress(OSError):
            if folder.endswith("-packages"):
                found.append((folder, os.stat(folder).st_mtime_ns))
    return found


def _is_fixed(tool: Tool[Any]) -> bool:
    """Whether all that a tool tells stands in its classes, as it was written."""
    own = getattr(tool, "__dict__", {})
    return all(
        name not in own and isinstance(inspect.getattr_static(type(tool), name, None), _FIXED)
        for name in ToolSummary.__struct_fields__
    )


def _top(module: str) -> str:
    return module.partition(":")[0].partition(".")[0].strip()


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode("utf-8", "surrogatepass")).hexdigest()
