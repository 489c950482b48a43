"""The plugin: notes when operations begin and end, and shows them later, beside the loop.

A transform that stands before all others and answers nothing notes what was asked for; a wrap would put every operation
on its full course, which costs ten times as much. An observer behind all others notes the end. Neither looks at a
value: a task of the plugin's redacts, cuts and compares them in a thread, a moment later.

Invariant: whatever becomes of an operation, its span has an end. What is beyond the buffer is dropped whole, the oldest
first, and counted. Whatever becomes of the file, operations go on.
"""

from __future__ import annotations

import os
import time
import tracemalloc
from collections import deque
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from time import perf_counter_ns
from typing import Any, ClassVar, Final, Literal, Self
from weakref import WeakKeyDictionary

import trio
from msgspec import Struct, structs
from pydantic import BaseModel, ConfigDict, Field
from trio.lowlevel import current_task

from llmspell_hookspecs import HookContext, Priority, Services
from llmspell_hookspecs.any_json import to_json
from llmspell_hookspecs.borrowing import Borrowing
from llmspell_hookspecs.errors import InvalidInputError, PluginError, StorageError, text_of_error
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.regular import replace_regular
from llmspell_hookspecs.services import ProjectFolder
from llmspell_hookspecs.spelling import spelled_path
from llmspell_hookspecs.stateful import plain_state, state_of
from llmspell_plugins.hooks.security.secrets import Redactor
from llmspell_plugins.hooks.standing import POINTS, stand

from .chrome import chrome_trace
from .span import Record, Span, show_span, widened
from .values import Shower

__all__ = ["Debugging", "DebuggingSettings"]

_RUNNING: Final = 100_000
_PAUSE_S: Final = 0.05
"""How long ended operations are gathered before they are shown."""
_AT_ONCE: Final = 64
_CLOSING_S: Final = 4.0


class DebuggingSettings(BaseModel):
    """``[plugins.debugging]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    buffer: int = Field(default=1000, ge=1, le=100_000, description="How many operations are kept, the newest ones.")
    min_ms: float = Field(default=0.0, ge=0, description="How long an operation must take to be kept.")
    values: Literal["cut", "full"] = Field(
        default="cut", description="How much is kept of what was asked and answered; secrets are taken out of either."
    )
    memory: bool = Field(
        default=False, description="Whether to tell how much more Python had allocated; makes everything slower."
    )
    export: str = Field(
        default="", description="A file that is written when the host closes; relative to the project; none if empty."
    )
    format: Literal["chrome", "json"] = Field(
        default="chrome", description="Of that file: the trace format of Chrome, which Perfetto shows, or the spans."
    )


class _State(Struct, frozen=True):
    """What outlives the plugin; a span's times are of a clock of this process that showed 0 at ``epoch_ns``."""

    process: int
    epoch_ns: int
    dropped: int
    short: int
    spans: list[Span]


class Debugging:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host.

    Raises:
        PluginError: ``google-re2`` is not installed.
    """

    name = "debugging"
    Settings: ClassVar[type[BaseModel]] = DebuggingSettings
    borrowing = Borrowing(frozenset({"min_ms", "values"}), {"export": "", "memory": False, "buffer": 1000})

    def __init__(self, settings: DebuggingSettings, services: Services) -> None:
        if find_spec("re2") is None:
            message = "plugin debugging: secrets are found by google-re2, which is missing"
            raise PluginError(f"{message}; pip install 'llmspell[debugging]'")
        self._settings = settings
        self._operations = services.get(Operations)
        self._file = services.get(ProjectFolder).place(settings.export) if settings.export else None
        self._show = Shower(Redactor(), full=settings.values == "full")
        self._least_ns = round(settings.min_ms * 1e6)
        self._running: dict[str, Record] = {}
        self._ended: deque[Record] = deque(maxlen=settings.buffer)
        self._taken: deque[Record] = deque(maxlen=settings.buffer)
        self._spans: deque[Span] = deque(maxlen=settings.buffer)
        self._noted = self._lost = self._short = 0
        self._tasks: WeakKeyDictionary[trio.lowlevel.Task, int] = WeakKeyDictionary()
        self._numbers = count(1)
        self._wake = trio.Event()
        self._showing = trio.Lock()
        self._epoch_ns = time.time_ns() - perf_counter_ns()
        self._traces = False
        for point in ("before_workflow_stage", *(begin for begin, *_ in POINTS.values())):
            stand(self, point, self._begin, kind="transform", priority=Priority.HIGHEST - 1)
        for point in ("after_workflow_stage", *(end for _, *ends in POINTS.values() for end in ends)):
            stand(self, point, self._end, kind="observe", priority=Priority.LOWEST + 1)

    async def __aenter__(self) -> Self:
        """Begin to measure, if settings want that, and look whether the file's folder is there."""
        if self._file is not None and not self._file.parent.is_dir():
            folder = spelled_path(str(self._file.parent))
            raise InvalidInputError(f"plugins.debugging.export: {folder} is no folder; make it, or name another file")
        if self._settings.memory and not tracemalloc.is_tracing():
            tracemalloc.start()
            self._traces = True
        return self

    async def run(self) -> None:
        """Show what has ended."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await trio.sleep(_PAUSE_S)
            await self._show_ended()

    async def __aexit__(self, *error: object) -> None:
        """Write the file."""
        if self._traces:
            tracemalloc.stop()
        if self._file is None:
            return
        try:
            with trio.fail_after(_CLOSING_S):
                await self._write(self._file)
        except trio.TooSlowError:
            self._tell(self._file, f"it takes more than {_CLOSING_S:g} s", "lower plugins.debugging.buffer")
        except OSError as problem:
            self._tell(self._file, text_of_error(problem), "name another file")

    def _tell(self, file: Path, why: str, remedy: str) -> None:
        message = f"plugins.debugging.export: {spelled_path(str(file))} cannot be written: {why}; {remedy}"
        self._operations.problem(StorageError(message))

    def stats(self) -> dict[str, int]:
        """Return how many operations are kept and run, and how many were dropped from the buffer or were too short."""
        kept = min(self._noted, self._settings.buffer)
        dropped = self._noted - kept + self._lost
        return {"kept": kept, "running": len(self._running), "dropped": dropped, "short": self._short}

    async def snapshot(self) -> dict[str, Any]:
        """Return the operations that are kept, as plain values in the order in which they began, and what runs now."""
        spans, facts = await self._so_far()
        now_ns = perf_counter_ns()
        facts["running"] = [_running(record, now_ns) for record in self._running.values()]
        return await trio.to_thread.run_sync(
            lambda: {**facts, "spans": [span.plain() for span in widened(spans)]}, abandon_on_cancel=True
        )

    async def dump_state(self) -> Any:
        """Return the operations that are kept; see the contract's `Stateful`. What runs still is not among them."""
        spans, facts = await self._so_far()
        state = _State(os.getpid(), self._epoch_ns, facts["dropped"], self._short, spans)
        return await trio.to_thread.run_sync(plain_state, state)

    async def load_state(self, state: Any, /) -> None:
        """Take them over, as many as there is room for."""
        given = await trio.to_thread.run_sync(state_of, state, _State, self.name)
        shift_ns = 0 if given.process == os.getpid() else given.epoch_ns - self._epoch_ns
        for span in given.spans:
            begin_ns, end_ns = span.begin_ns + shift_ns, span.end_ns + shift_ns
            self._spans.append(structs.replace(span, begin_ns=begin_ns, end_ns=end_ns))
        self._noted += given.dropped + len(given.spans)
        self._short += given.short
        self._numbers = count(1 + max((span.task for span in given.spans), default=0))

    async def chrome(self) -> dict[str, Any]:
        """Return the operations that are kept in the trace format of Chrome."""
        spans, facts = await self._so_far()
        return await trio.to_thread.run_sync(lambda: chrome_trace(widened(spans), **facts), abandon_on_cancel=True)

    # On the way of operations: not more than two microseconds at either end.

    def _begin(self, context: HookContext[Any]) -> None:
        running, name = self._running, context.operation.id
        if name in running:  # it is tried again
            return
        if len(running) >= _RUNNING:  # somebody has disabled the hooks at the end
            del running[next(iter(running))]
            self._lost += 1
        record = Record(context, context, current_task(), perf_counter_ns())
        if self._settings.memory:
            record.begin_bytes = tracemalloc.get_traced_memory()[0]
        running[name] = record

    def _end(self, context: HookContext[Any]) -> None:
        now_ns = perf_counter_ns()
        record = self._running.pop(context.operation.id, None)
        if record is None:  # a workflow that is resumed, or what began before the plugin did
            record = Record(None, context, current_task(), now_ns - context.elapsed_ns)
        if now_ns - record.begin_ns < self._least_ns:
            self._short += 1
            return
        record.last, record.end_ns = context, now_ns
        if self._settings.memory:
            record.end_bytes = tracemalloc.get_traced_memory()[0]
        if not self._ended:
            self._wake.set()
        self._ended.append(record)
        self._noted += 1

    # Beside it.

    async def _so_far(self) -> tuple[list[Span], dict[str, Any]]:
        """Return what has ended so far, and the counts that go with it, whatever has ended since."""
        noted = await self._show_ended()
        spans = list(self._spans)
        dropped = noted - len(spans) + self._lost
        return spans, {**self.stats(), "kept": len(spans), "dropped": dropped, "epoch_ns": self._epoch_ns}

    async def _show_ended(self) -> int:
        """Show what has ended up to now, and return how many have; what ends meanwhile is left for the next time."""
        async with self._showing:
            noted = self._noted
            self._taken.extend(self._ended)  # so that nothing in the middle is dropped meanwhile
            self._ended.clear()
            while self._taken:
                records = [self._taken.popleft() for _ in range(min(_AT_ONCE, len(self._taken)))]
                for record in records:
                    record.task = self._number(record.task)
                with trio.CancelScope(shield=True):  # what was taken is not lost
                    self._spans.extend(await trio.to_thread.run_sync(self._shown, records))
                await trio.lowlevel.checkpoint()
        return noted

    def _number(self, task: trio.lowlevel.Task) -> int:
        number = self._tasks.get(task)
        if number is None:
            number = self._tasks[task] = next(self._numbers)
        return number

    def _shown(self, records: Sequence[Record]) -> list[Span]:
        return [show_span(record, self._show) for record in records]

    async def _write(self, file: Path) -> None:
        told = await (self.chrome() if self._settings.format == "chrome" else self.snapshot())
        await trio.to_thread.run_sync(lambda: replace_regular(file, to_json(told).encode()))


def _running(record: Record, now_ns: int) -> dict[str, Any]:
    component, operation = record.last.component, record.last.operation
    since_ms = (now_ns - record.begin_ns) / 1e6
    return {"component": f"{component.kind}:{component.name}", "operation": operation.id, "since_ms": since_ms}
