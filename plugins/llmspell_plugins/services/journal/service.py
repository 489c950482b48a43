"""The service Journal: records the operations of a host if settings say so, and reads what is on record.

Invariant: while nothing is recorded nobody is asked or told of an operation, so that it costs nothing. No failure of
the storage reaches an operation. Durations in seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar, Final, Self

import trio
from msgspec import Struct

from llmspell_hookspecs import LlmspellError, Services, Storage
from llmspell_hookspecs.entropy import Entropy
from llmspell_hookspecs.errors import ComponentNotFoundError, StorageError
from llmspell_hookspecs.journal import (
    Journal,
    JournalAnswer,
    JournalRecord,
    JournalReport,
    JournalRun,
    JournalStats,
)
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.secret import hide
from llmspell_hookspecs.services import Clock, SettingsAccess
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.values import freeze
from llmspell_plugins.settings.journal import JournalSettings

from .cassette import write_cassette
from .chunk import head_key, read_head
from .content import Encoder, plain_of
from .reading import Volume, erase, heads, load, paths_of, run_of, verify
from .record import Written
from .recorder import Recorder
from .retention import to_forget
from .secrets import Secrets
from .writer import Writer

__all__ = ["JournalService"]

_RETAIN_EVERY_S: Final = 60.0


class JournalService:
    """Implements the contract's `Journal`."""

    name: ClassVar[str] = "journal"
    provides: ClassVar[type[Any]] = Journal

    def __init__(self, settings: None, services: Services) -> None:
        self._settings: JournalSettings = services.get(SettingsAccess).section("journal")
        self._services = services
        backend = services.get(SettingsAccess).plain("storage.backend")
        self._storage: str = self._settings.storage or backend  # a replay has another one for all else
        self._clock = services.get(Clock)
        self._stack = ExitStack()
        self._go_on: Callable[[], None] | None = None
        self.correlations: dict[str, str] = {}
        """Of operations that belong to a replay."""
        self.secrets = Secrets(services)
        self._writer: Writer | None = None
        self._recorder: Recorder | None = None
        if self._settings.record != "off":
            problem, most = services.get(Operations).problem, self._settings.pending
            about = f"llmspell {version('llmspell')}"
            content = self._settings.content
            self._writer = Writer(
                self.storage, self._new_encoder(), self.secrets, most, about, content, problem, self._hold_up
            )
            only = self._settings.record == "sessions"
            running = services.get(Operations).running
            self._recorder = Recorder(self._writer, running, sessions=only, replayed=self.correlations.__contains__)

    def _new_encoder(self) -> Callable[[], Encoder]:
        content = self._settings.content
        if content == "redacted":
            from llmspell_plugins.hooks.security.secrets import Redactor

            return partial(Encoder, self.secrets, partial(_clean, Redactor()))
        return partial(Encoder, self.secrets, shape=content == "shape")

    async def __aenter__(self) -> Self:
        """Record from now on, if anything is to be."""
        await trio.lowlevel.checkpoint()
        if self._recorder is not None:
            operations = self._services.get(Operations)
            self._stack.callback(operations.tap(self._recorder.tap))
            self._stack.callback(operations.watch(self._recorder.watch))
            self._stack.callback(self._services.get(Entropy).let(self._recorder.draw))
        return self

    def _hold_up(self, full: bool) -> None:
        """Let bodies wait before they run, or no more."""
        if self._go_on is not None:
            self._go_on()
            self._go_on = None
        if full and self._recorder is not None:
            self._go_on = self._services.get(Operations).stand_in(self._recorder.wait)

    async def __aexit__(self, *error: object) -> None:
        """Record no more; what waited was written when `run` ended."""
        self._stack.close()
        self._hold_up(False)

    async def run(self) -> None:
        """Record, and let go what has to go, until cancelled."""
        if self._writer is not None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._retain)
                await self._writer.run()

    async def storage(self) -> Storage:
        """Return where journals are."""
        return await self._services.get(Storages).open(self._storage)

    async def flush(self) -> None:
        """Wait until all that ended before is on record; see the contract's `Journal`."""
        await trio.lowlevel.checkpoint()
        if self._writer is not None:
            await self._writer.flush()

    async def runs(self, limit: int = 1000, /) -> Sequence[JournalRun]:
        """Return the journals, the newest first; see the contract's `Journal`."""
        await self._settle()
        return [run_of(id, head) for id, head in (await heads(await self.storage()))[:limit]]

    async def records(self, id: str, /) -> Sequence[JournalRecord]:
        """Return the records of a journal; see the contract's `Journal`."""
        volume = await self.volume(id)
        return await trio.to_thread.run_sync(_shown, volume)

    async def volume(self, id: str) -> Volume:
        """Return a journal as it was written, whole or not; raises as `records` does."""
        await self._settle()
        return await load(await self.storage(), id)

    async def verify(self, id: str = "", /) -> Sequence[JournalReport]:
        """Return whether a journal is whole, or each of them; see the contract's `Journal`."""
        await self._settle()
        storage = await self.storage()
        ids = [id] if id else [each for each, _ in await heads(storage)]
        return [await verify(storage, each) for each in ids]

    async def export(self, *ids: str) -> str:
        """Return journals as a cassette; see the contract's `Journal`."""
        volumes = [await self.whole(id) for id in ids or [run.id for run in await self.runs(sys.maxsize)]]
        return await trio.to_thread.run_sync(write_cassette, volumes)

    async def whole(self, id: str) -> Volume:
        """Return a journal that can be served; raises `StorageError` if it was changed, or does not hold enough."""
        volume = await self.volume(id)
        if volume.report.problem:
            at = f", at {volume.report.path}" if volume.report.path else ""
            raise StorageError(f"journal {id}: {volume.report.problem}{at}; record it anew, or restore it")
        if volume.head.content not in ("", "full"):
            message = f"journal {id}: it is {volume.head.content}, so what came of it cannot be served"
            raise StorageError(f'{message}; record with journal.content = "full"')
        return volume

    async def forget(self, id: str, /) -> int:
        """Delete a journal; see the contract's `Journal`."""
        await self._settle()
        storage = await self.storage()
        entry = await storage.get(head_key(id))
        if entry is None:
            raise ComponentNotFoundError(f"journal {id}: there is none; see 'llmspell journal list'", address=id)
        try:
            records = read_head(entry.value, id).records
        except LlmspellError:
            records = 0
        await erase(storage, id)
        return records

    async def stats(self) -> JournalStats:
        """Return what became of the operations of this host; see the contract's `Journal`."""
        await trio.lowlevel.checkpoint()
        writer, recorder = self._writer, self._recorder
        if writer is None or recorder is None:
            return JournalStats()
        return JournalStats(
            self._settings.record, writer.written, writer.waiting, writer.lost, recorder.held_up, writer.error
        )

    async def _settle(self) -> None:
        if self._writer is not None:
            await self._writer.settle()

    async def _retain(self) -> None:
        """Let go what has to go, now and then."""
        told = ""
        while True:
            try:
                storage = await self.storage()
                for id in to_forget(await heads(storage), self._settings, self._clock.now_s()):
                    await erase(storage, id)
                told = ""
            except LlmspellError as error:
                if not told:
                    self._services.get(Operations).problem(error)
                told = str(error)
            await trio.sleep(_RETAIN_EVERY_S)


def _shown(volume: Volume) -> list[JournalRecord]:
    rows = zip(volume.records, paths_of(volume.records), volume.numbers, strict=True)
    return [_record(volume, record, path, number) for record, path, number in rows]


def _record(volume: Volume, record: Written, path: str, number: int) -> JournalRecord:
    blobs = volume.blobs.get
    return JournalRecord(
        path=path,
        number=number,
        id=record.id,
        kind=record.kind,
        component=record.component,
        language=record.language,
        status=record.status,  # type: ignore[arg-type]
        code=record.code,
        attempt=record.attempt,
        hops=record.hops,
        at_s=record.at_s,
        elapsed_ns=record.elapsed_ns,
        request=plain_of(record.request, blobs),
        result=plain_of(record.outcome, blobs),
        ran=bool(record.bodies),
        answers=tuple(
            JournalAnswer(answer.point, answer.hook, answer.result, plain_of(answer.content, blobs))
            for answer in record.answers
        ),
    )


def _clean(redactor: Any, value: Any) -> Any:
    """Return a value plain and without secrets: those that a name tells of, and those that a text looks like."""
    types: dict[str, int] = {}
    return redactor.clean(hide(freeze(_without_structs(value)), "any"), types)


def _without_structs(value: Any) -> Any:
    if isinstance(value, Struct):
        return {name: _without_structs(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {key: _without_structs(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_structs(item) for item in value]
    return value
