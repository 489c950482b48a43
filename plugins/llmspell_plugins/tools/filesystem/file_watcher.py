"""The file_watcher tool: what happens in folders, for so long or until so much has happened.

Invariant: every change is judged by the host's rules before it is told, and one of a file that may not be read is as if
it had not been; a file that is renamed to where it may not be read is deleted for whoever asks. Durations in seconds.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

import trio
from msgspec import Struct, structs
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import FileAccess, SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.spelling import spelled_path, true_path
from llmspell_hookspecs.tool import Access, PathAccess, ToolLimits
from llmspell_plugins.tools.library import require

from .anchor import anchored
from .changes import Change, Changes
from .failure import explaining
from .watching import Inbox, Watch, folders_in

__all__ = ["FileWatcher", "FileWatcherParameters", "FileWatcherSettings"]

Kind = Literal["created", "modified", "deleted", "renamed"]


class FileWatcherParameters(BaseModel):
    """What file_watcher takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["watch", "config"] = Field(
        default="watch", description="What happens from now on, or the limits of this tool."
    )
    path: str | None = Field(default=None, description="The file or folder to watch.")
    input: list[str] = Field(default=[], max_length=100, description="Further files and folders; a list.")
    recursive: bool = Field(default=True, description="Watch folders in the folders, too.")
    pattern: str | None = Field(
        default=None,
        max_length=1000,
        description="Only files of such names: *.py, or with a / of such paths: src/*.py.",
    )
    events: list[Kind] = Field(default=[], max_length=4, description="Only such changes; all if left out.")
    debounce_ms: int = Field(
        default=100,
        ge=0,
        le=60_000,
        description="So long a file is quiet before its changes are told as one; 0 for all.",
    )
    timeout_seconds: float = Field(default=300.0, gt=0, le=86_400, description="When it ends.")
    timeout_ms: int | None = Field(default=None, ge=1, le=86_400_000, description="The same in ms, before the other.")
    max_events: int = Field(default=1000, ge=1, le=100_000, description="After how many changes it ends.")

    @model_validator(mode="before")
    @classmethod
    def _first_of_input(cls, given: Any) -> Any:
        """The first of ``input`` is the path, if there is no other: the original has only ``input``."""
        if not isinstance(given, Mapping) or given.get("path") is not None:
            return given
        paths = given.get("input")
        listed = [paths] if isinstance(paths, str) else paths
        if not isinstance(listed, list) or not listed:
            return given
        return {**given, "path": listed[0], "input": listed[1:]}

    @model_validator(mode="after")
    def _complete(self) -> FileWatcherParameters:
        if self.operation == "watch" and self.path is None:
            raise ValueError("watch needs path, or input with one")
        return self


class FileWatcherSettings(BaseModel):
    """``[tools.file_watcher]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_timeout_s: float = Field(default=300.0, gt=0, description="The longest timeout.")
    max_events: int = Field(default=10_000, ge=1, description="How many changes are told.")
    max_folders: int = Field(default=10_000, ge=1, description="How many folders are watched.")
    max_waiting: int = Field(default=10_000, ge=1, description="How many changes wait to be told; more are left out.")


class FileWatcher(Tool[FileWatcherParameters]):
    """Tell what is created, modified, deleted and renamed in folders from now on, for a time or so many changes."""

    name = "file_watcher"
    aliases = ("file-watcher",)
    category = "filesystem"
    level = SecurityLevel.RESTRICTED
    limits = ToolLimits(time_s=330)
    repeatable = True
    examples = (
        ToolExample("the limits", {"operation": "config"}, {"max_timeout_seconds": 300.0, "max_events": 10_000}),
        ToolExample(
            "the first Python file that changes",
            {"operation": "watch", "path": "src", "pattern": "*.py", "timeout_seconds": 60, "max_events": 1},
            needs="a folder src",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = FileWatcherSettings
    settings: FileWatcherSettings

    def access(self, parameters: FileWatcherParameters) -> Sequence[Access]:
        """Return the path; those of input are judged when it runs."""
        return (PathAccess("path"),) if parameters.operation == "watch" else ()

    async def run(self, parameters: FileWatcherParameters, context: ToolContext) -> ToolResult:
        """Return ``{events, event_count, timed_out, left_out, paths}``, or the limits.

        Raises:
            SecurityError: One of the paths may not be read.
            ResourceLimitError: There are too many folders.
            ToolError: ``not_found``, ``permission`` and others of the system, or ``missing_library``.
        """
        if parameters.operation == "config":
            return ToolResult(operation="config", result=self._limits())
        require(self.name, "watch", "watchdog")
        files = context.services.get(FileAccess)
        assert parameters.path is not None  # its model says so
        others = [files.resolve(true_path(each), "read") for each in parameters.input]
        places = [await context.run_thread(self._place, path, parameters) for path in [parameters.path, *others]]
        telling = _Telling(files, places, parameters.pattern or "", frozenset(parameters.events))
        events: list[Change] = []
        most = min(parameters.max_events, self.settings.max_events)
        inbox = Inbox(self.settings.max_waiting)
        watch = Watch(inbox.put)
        asked_s = parameters.timeout_ms / 1000 if parameters.timeout_ms else parameters.timeout_seconds
        # within the call's own time, so that what happened is told and not lost to its deadline
        timeout_s = min(asked_s, self.settings.max_timeout_s, context.limits.time_s * 0.9)
        try:
            with explaining(self.name, parameters.path):
                await context.run_thread(watch.start, _folders(places))
            with trio.move_on_after(timeout_s) as scope:
                await self._gather(events, most, inbox, telling, parameters.debounce_ms / 1000)
        finally:
            with trio.CancelScope(shield=True):  # its threads end in moments, and nobody else would end them
                await trio.to_thread.run_sync(watch.stop)
        result = {
            "events": [_told(event) for event in events],
            "event_count": len(events),
            "timed_out": scope.cancelled_caught,
            "left_out": inbox.left_out,
            "paths": [spelled_path(place.path) for place in places],
        }
        return ToolResult(operation="watch", result=result, message=f"{len(events)} changes")

    async def _gather(self, events: list[Change], most: int, inbox: Inbox, telling: _Telling, quiet_s: float) -> None:
        """Gather changes until there are so many; what waits for its file to be quiet when time ends is told too."""
        changes = Changes(quiet_s)
        try:
            while len(events) < most:
                with trio.move_on_at(changes.due_s()):
                    for change in await inbox.wait():
                        told = telling.judged(change)
                        if told is not None and len(changes) < self.settings.max_waiting:
                            changes.add(told, trio.current_time())
                        elif told is not None:
                            inbox.left_out += 1
                events += telling.wanted(changes.take(trio.current_time()))
        finally:
            events += telling.wanted(changes.take(float("inf")))
            del events[most:]

    def _place(self, path: str, parameters: FileWatcherParameters) -> _Place:
        with explaining(self.name, path), anchored(path) as anchor:
            is_folder = stat.S_ISDIR(anchor.status().st_mode)
        if is_folder and parameters.recursive:
            folders_in(path, self.settings.max_folders)
        return _Place(path, is_folder, parameters.recursive and is_folder)

    def _limits(self) -> dict[str, Any]:
        return {
            "max_timeout_seconds": self.settings.max_timeout_s,
            "max_events": self.settings.max_events,
            "max_folders": self.settings.max_folders,
            "max_paths": 101,
            "default_debounce_ms": 100,
            "event_types": ["created", "modified", "deleted", "renamed"],
        }


class _Place(Struct, frozen=True):
    """One that is watched: a folder, or a file by the folder it is in, since a file may be replaced by another."""

    path: str
    is_folder: bool
    recursive: bool

    def holds(self, path: str) -> bool:
        """Return whether a change of this path is one of its."""
        if not self.is_folder or path == self.path:
            return path == self.path
        below = path.removeprefix(self.path.rstrip("/") + "/")
        return below != path and (self.recursive or "/" not in below)


def _folders(places: Sequence[_Place]) -> dict[str, bool]:
    """The folders to watch, each once."""
    folders: dict[str, bool] = {}
    for place in places:
        folder = place.path if place.is_folder else os.path.dirname(place.path)
        folders[folder] = folders.get(folder, False) or place.recursive
    return folders


class _Telling(Struct):
    """Says which changes may be told, and which are wanted."""

    files: FileAccess
    places: Sequence[_Place]
    pattern: str
    kinds: frozenset[str]

    def judged(self, change: Change) -> Change | None:
        """Return the change as whoever asks may know it; None for nothing."""
        if change.kind != "renamed":
            return change if self._may_be_told(change.path) else None
        now, before = self._may_be_told(change.path), self._may_be_told(change.old_path)
        if now and before:
            return change
        if now:
            return structs.replace(change, kind="created", old_path="")
        return structs.replace(change, kind="deleted", path=change.old_path, old_path="") if before else None

    def _may_be_told(self, path: str) -> bool:
        if not any(place.holds(path) for place in self.places):
            return False
        try:
            return self.files.resolve(path, "read") == path  # what is a link, or behind one, is not told
        except SecurityError:
            return False

    def wanted(self, changes: Sequence[Change]) -> list[Change]:
        """Return those of the names and kinds that are asked for."""
        return [
            change
            for change in changes
            if (not self.kinds or change.kind in self.kinds)
            and any(self._matches(path) for path in (change.path, change.old_path) if path)
        ]

    def _matches(self, path: str) -> bool:
        if "/" not in self.pattern:
            return not self.pattern or fnmatchcase(os.path.basename(path), self.pattern)
        below: Callable[[_Place], str] = lambda place: path.removeprefix(place.path.rstrip("/") + "/")  # noqa: E731
        return any(fnmatchcase(below(place), self.pattern) for place in self.places)


def _told(change: Change) -> dict[str, Any]:
    told = {
        "event_type": change.kind,
        "path": spelled_path(change.path),
        "is_directory": change.is_folder,
        "timestamp": datetime.fromtimestamp(change.time_s, UTC).isoformat(),
    }
    return {**told, "old_path": spelled_path(change.old_path)} if change.old_path else told
