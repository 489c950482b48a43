"""The plugin: observers keep what they are told, a task makes lines of it and writes them in a thread.

A hook does no more than look whether its record is wanted and put it on a list; redacting, rendering and writing come
256 records or a tenth of a second later, and when the host closes. What cannot be written is counted, told once, and
named in the log itself when that can be written again.

Invariant: nothing that the log does, or fails to do, changes or holds up what it tells of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, ClassVar, Final, Self, TypeAlias

import trio
from msgspec import Struct
from pydantic import BaseModel

from llmspell_hookspecs import Events, HookContext, Priority, Services, hookimpl
from llmspell_hookspecs.borrowing import Borrowing
from llmspell_hookspecs.errors import InvalidInputError, LlmspellError, PluginError, StorageError, line_of_error
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.points import HookPoint
from llmspell_hookspecs.services import Clock, Hooks, ProjectFolder
from llmspell_hookspecs.spelling import spelled_path, told
from llmspell_hookspecs.stateful import plain_state, state_of
from llmspell_hookspecs.system import HostState
from llmspell_plugins.hooks.security.secrets import Redactor

from .file import RotatingFile
from .line import LineMaker
from .record import Record, Rows
from .selection import Selection, level_of, level_of_refusal
from .settings import LoggingSettings

__all__ = ["Logging", "LoggingSettings"]

_BATCH: Final = 256
_EVERY_S: Final = 0.1
_MOST: Final = 10_000
_FILE: Final = "operations.log"
_OPTIONS: Final[Mapping[str, Any]] = {"kind": "observe", "priority": Priority.LOWEST, "name": "log"}
_Hook: TypeAlias = Callable[[HookContext[Any]], None]


class Logging:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host.

    Attributes:
        path: Where the log lies; empty until the plugin is open.

    Raises:
        PluginError: Secrets are to be taken out, and the library RE2 is missing.
    """

    name = "logging"
    Settings: ClassVar[type[BaseModel]] = LoggingSettings
    borrowing = Borrowing(refused="it writes a file that scripts cannot reach, with what they were given")

    def __init__(self, settings: LoggingSettings, services: Services) -> None:
        self.path = ""
        self._settings = settings
        self._services = services
        self._selection = Selection(settings)
        self._lines = LineMaker(Rows(settings, _redactor(settings)), settings.format, settings.line_bytes)
        self._file: RotatingFile | None = None
        self._pending: list[Record] = []
        self._counts: Counter[str] = Counter()
        self._missing = 0
        self._some, self._many = trio.Event(), trio.Event()
        self._standing: set[str] = set()
        for point, hook in self._new_hooks():
            setattr(self, f"hook_{point.name}", hookimpl(specname=point.name, **_OPTIONS)(hook))

    async def __aenter__(self) -> Self:
        """Find out where the log lies; it is opened when there is something to write."""
        folder, settings = self._services.get(ProjectFolder), self._settings
        path = folder.place(settings.path) if settings.path else folder.data(_FILE)
        self._file = RotatingFile(path, settings.rotate_bytes, settings.keep)
        self.path = str(path)
        return self

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            await self._some.wait()
            with trio.move_on_after(_EVERY_S):
                await self._many.wait()
            await self._flush()

    async def __aexit__(self, *error: object) -> None:
        """Write what is not written yet."""
        while self._pending:
            await self._flush()
        if self._file is not None:
            self._file.close()

    def stats(self) -> dict[str, int]:
        """Return how many records were written, could not be, and were left out of the sample, and what they became."""
        file = self._file
        return {
            "written": self._counts["written"],
            "lost": self._counts["lost"],
            "left_out": self._selection.left_out,
            "pending": len(self._pending),
            "size_bytes": 0 if file is None else file.size_bytes,
            "rotations": 0 if file is None else file.rotations,
        }

    async def dump_state(self) -> Any:
        """Return the counts, with what is not written yet as lost; see the contract's `Stateful`."""
        while self._pending and self._file is not None:
            await self._flush()
        return plain_state(_State(dict(self._counts), self._selection.left_out, self._missing))

    async def load_state(self, state: Any, /) -> None:
        """Take that over; what is missing from the log is told in it as it would have been."""
        given = state_of(state, _State, self.name)
        self._counts.update(given.counts)
        self._selection.left_out += given.left_out
        self._missing += given.missing

    @hookimpl(kind="observe", specname="system_startup")
    def look_again(self, context: HookContext[HostState]) -> None:
        """Stand at points that other plugins brought meanwhile, and tell of names that are those of none."""
        hooks = self._services.get(Hooks)
        for point, hook in self._new_hooks():
            hooks.register(point.name, hook, plugin=self.name, **_OPTIONS)
        for name in self._selection.unknown(hooks.points()):
            message = f"plugins.{self.name}: there is no hook point {told(name)} to include or exclude; correct it"
            self._services.get(Operations).problem(InvalidInputError(message))

    def _new_hooks(self) -> list[tuple[HookPoint, _Hook]]:
        """Return a hook for each point where something is logged and none stands yet."""
        new = [
            point
            for point in self._services.get(Hooks).points()
            if point.name not in self._standing and self._selection.takes_point(point)
        ]
        self._standing.update(point.name for point in new)
        return [(point, self._hook_at(point)) for point in new]

    def _hook_at(self, point: HookPoint) -> _Hook:
        level, phase, takes, keep = level_of(point), point.phase, self._selection.takes, self._keep
        now_s = self._services.get(Clock).now_s

        def log(context: HookContext[Any]) -> None:
            outcome = context.outcome
            weighs = level if outcome is None or outcome.status != "cancelled" else level_of_refusal(outcome)
            if takes(weighs, context):
                keep(Record(now_s(), weighs, phase, context))

        return log

    def _keep(self, record: Record) -> None:
        pending = self._pending
        if len(pending) >= _MOST:
            self._lose(1)
            return
        pending.append(record)
        if len(pending) == 1:
            self._some.set()
        elif len(pending) == _BATCH:
            self._many.set()

    def _lose(self, count: int) -> None:
        self._counts["lost"] += count
        self._missing += count

    async def _flush(self) -> None:
        records, self._pending = self._pending, []
        self._some, self._many = trio.Event(), trio.Event()
        missing = self._missing
        with trio.CancelScope(shield=True):  # else what was taken off the list would be nowhere
            written = await trio.to_thread.run_sync(self._write, records, missing)
        self._counts["written"] += written.records
        self._missing -= missing if written.told else 0
        self._lose(len(records) - written.records)
        if written.error is not None:
            self._tell(written.error)

    def _write(self, records: Sequence[Record], missing: int) -> _Written:
        """Write records; what cannot be written is not tried again, so that a full disk takes no memory as well."""
        file = self._file
        if file is None:
            return _Written()
        written = _Written()
        for start in range(0, len(records), _BATCH):
            batch = [self._lines.line(record) for record in records[start : start + _BATCH]]
            tells = bool(missing) and not written.told
            lines = [self._lines.line_of_loss(self._services.get(Clock).now_s(), missing), *batch] if tells else batch
            before = file.lines
            try:
                file.write(lines)
            except OSError as error:
                written.error = error
            count = file.lines - before
            written.told = written.told or (tells and count > 0)
            written.records += count - (tells and count > 0)
        return written

    def _tell(self, error: OSError) -> None:
        """Tell that the log cannot be written, the first time."""
        self._counts["failures"] += 1
        if self._counts["failures"] > 1:
            return
        problem = line_of_error(error) if error.strerror is None else error.strerror
        path = spelled_path(self.path)
        message = f"log {path}: it cannot be written: {problem}; what happens meanwhile is not logged"
        self._services.get(Operations).problem(StorageError(message))
        with suppress(LlmspellError):  # a hook may refuse it, or a mailbox; the host's problems tell of it all the same
            self._services.get(Events).publish_nowait("logging.unwritten", {"path": path, "error": problem})


class _State(Struct, frozen=True):
    """What outlives the plugin."""

    counts: dict[str, int]
    left_out: int
    missing: int


class _Written(Struct):
    """What became of records.

    Attributes:
        records: How many are written.
        told: Whether the log tells how many are missing before them.
        error: Why not all are.
    """

    records: int = 0
    told: bool = False
    error: OSError | None = None


def _redactor(settings: LoggingSettings) -> Redactor | None:
    if settings.content != "redacted":
        return None
    if find_spec("re2") is None:
        message = "secrets are found by google-re2, which is missing"
        raise PluginError(f"{message}; pip install 'llmspell[logging]', or set content = \"none\"")
    return Redactor()
