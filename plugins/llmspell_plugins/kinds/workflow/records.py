"""What is kept of a durable run: entries of a storage, written a batch at a time.

::

    workflow/RUN/head            what it is now: status, owner, fence, lease
    workflow/RUN/definition      what it runs, and what it was given
    workflow/RUN/stage/PATH      what became of a stage
    workflow/RUN/choice/NAME     what was decided
    workflow/RUN/shared/KEY      what its stages share
    workflow/RUN/result          what it yielded
    workflow-open/RUN            there while it has not ended for good

Invariant: every batch expects the head as this writer left it. Whoever takes a run over writes the head, so the one it
was taken from writes nothing any more, however late it wakes up. What has to wait is written first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import trio
from blake3 import blake3
from msgspec import Struct, structs

from llmspell_hookspecs.bounds import ATOMS
from llmspell_hookspecs.errors import StorageError, WorkflowError
from llmspell_hookspecs.fit import plain
from llmspell_hookspecs.runs import RunInfo, StageInfo
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.storage import Storage
from llmspell_hookspecs.transaction import Transaction
from llmspell_hookspecs.workflow import Checkpoint
from llmspell_plugins.services.state_value import decode, encode

from .shared import MAX_BYTES

__all__ = [
    "DELETED",
    "ENDED",
    "FORMAT",
    "PATIENCE_S",
    "Head",
    "Records",
    "place_of",
]

_LONGEST: Final = 300
"""Of a key, in bytes; what is longer ends in its hash."""
DELETED: Final = "deleted"
"""What a run is while it is being deleted, so that nobody takes it up; if that was cut off, it is deleted again."""
ENDED: Final = frozenset({"completed", "partial", "compensated", "compensation_failed", DELETED})
"""What a run is when it has ended for good."""
FORMAT: Final = 1
"""Of what is kept of a run; what a later version keeps is left as it is."""
_SOON_S: Final = 0.01
"""Within what time that is written which nobody waits for."""
PATIENCE_S: Final = 0.002
"""Longer than a storage may miss what another process wrote."""


class Head(Struct, frozen=True):
    """What a run is now.

    Attributes:
        name: The workflow's.
        status: As in `RunInfo`.
        owner: Who runs it.
        fence: How often it was taken up.
        lease_s: Until when its owner is taken for alive, in seconds since the epoch; 0 if nobody runs it.
        ended: How many stages ended.
        began_s: When it began.
        changed_s: When something of it was written last.
        error: Why it did not complete.
        waiting: The stages that wait for a person.
        format: Of what is kept.
        origin: The script that made the workflow; empty if none did.
    """

    name: str
    status: str = "running"
    owner: str = ""
    fence: int = 1
    lease_s: float = 0.0
    ended: int = 0
    began_s: float = 0.0
    changed_s: float = 0.0
    error: str = ""
    waiting: tuple[str, ...] = ()
    format: int = FORMAT
    origin: str = ""

    def info(self, run_id: str, now_s: float) -> RunInfo:
        """Return it as others are told of it."""
        live = self.status not in ENDED and self.lease_s > now_s
        counts = live, self.fence, self.ended
        return RunInfo(
            run_id, self.name, self.status, *counts, self.began_s, self.changed_s, self.error, tuple(self.waiting)
        )


class Records:
    """What is kept of one run, and its writer.

    Args:
        storage: Where.
        run_id: The run's.
        head: What it is.
        version: Of the head, as it is stored; 0 if it is not.
        clock: Tells until when the lease lasts.
        lease_s: How long the owner is taken for alive after a write.

    Attributes:
        storage: Where.
        head: What it is.
        lost: Whether it was taken over, or cannot be written any more.
        error: Why.
        told: Called after each write, if it is watched.
        is_watched: Returns whether anybody wants to be told.
    """

    def __init__(self, storage: Storage, run_id: str, head: Head, version: int, clock: Clock, lease_s: float) -> None:
        self.head = head
        self.lost = False
        self.error: Exception | None = None
        self.told: Callable[[Checkpoint], Awaitable[None]] | None = None
        self.is_watched: Callable[[], bool] = lambda: False
        self.storage = storage
        self._run_id, self._version, self._clock = run_id, version, clock
        self._prefix = f"workflow/{run_id}/"
        self._lease_s = lease_s
        self._where = f"workflow run {run_id}"
        self._pending: dict[str, bytes | None] = {}
        self._paths: list[str] = []
        self._noted = self._written = self._writes = 0
        self._lock = trio.Lock()
        self._renew_s = 0.0
        """When the lease is renewed if nothing is written until then, on trio's clock."""
        self._patience: trio.CancelScope | None = None
        """In which the one who writes what nobody waits for sleeps; None if it is to look anyway before it sleeps."""

    # Noting, which never waits.

    def begin(self, encoded: bytes) -> None:
        """Note what it runs, as `encoded_definition` gives it."""
        self._put("definition", encoded)
        self._pending[f"workflow-open/{self._run_id}"] = b""

    def stage(self, info: StageInfo, shared: Mapping[str, Any] | None = None) -> Any:
        """Note what became of a stage, with what it shared; returns its output as a value of its own.

        Raises:
            InvalidInputError: Its output is none that can be kept.
        """
        entries, output = self.encoded(info, shared)
        self.put(info, entries)
        return output

    def put(self, info: StageInfo, entries: Mapping[str, bytes]) -> None:
        """Note what became of a stage as it is written; see `encoded`."""
        for key, value in entries.items():
            self._put(key, value)
        self._paths.append(info.path)
        if info.status in ("done", "failed"):
            self.head = structs.replace(self.head, ended=self.head.ended + 1)

    def choice(self, name: str, encoded: bytes) -> None:
        """Note what was decided, as `encoded_choice` gives it."""
        self._put(place_of("choice", name), encoded)

    def forget_choice(self, name: str) -> None:
        """Note that something is to be decided anew."""
        self._pending[f"{self._prefix}{place_of('choice', name)}"] = None
        self._put("", b"")

    def become(self, status: str, **changes: Any) -> None:
        """Note what it is now."""
        before, self.head = self.head.status, structs.replace(self.head, status=status, **changes)
        self._put("", b"")
        if (status in ENDED) != (before in ENDED):
            self._pending[f"workflow-open/{self._run_id}"] = None if status in ENDED else b""

    def result(self, encoded: bytes) -> None:
        """Note what it yielded, as `encoded_result` gives it."""
        self._put("result", encoded)

    # Encoding, of large values in a thread.

    def encoded_definition(self, definition: Mapping[str, Any], input: Any, print_: str) -> bytes:
        """Return what is written of what it runs."""
        return self._encode("definition", {"definition": definition, "input": input, "hash": print_})

    def encoded_result(self, output: Any, details: Any) -> bytes:
        """Return what is written of what it yielded."""
        return self._encode("result", {"output": plain(output), "details": plain(details)})

    def encoded_choice(self, name: str, value: Any) -> bytes:
        """Return what is written of a decision."""
        return self._encode(f"choice {name}", {"name": name, "value": plain(value)})

    def encoded(self, info: StageInfo, shared: Mapping[str, Any] | None) -> tuple[dict[str, bytes], Any]:
        """Return what is written of a stage, and its output as a value of its own.

        Raises:
            InvalidInputError: Its output, or what it shared, is none that can be kept.
        """
        fields = {name: value for name, value in structs.asdict(info).items() if value or name == "output"}
        if "input" in fields:
            fields["input"] = plain(fields["input"])
        encoded = self._encode(f"stage {info.path}", fields)
        entries = {}
        for key, value in (shared or {}).items():
            entries[place_of("shared", key)] = self._encode(f"shared {key}", {"key": key, **value})
        entries[place_of("stage", info.path)] = encoded
        if type(info.output) in ATOMS:
            return entries, info.output
        return entries, decode(self._where, encoded)["output"]

    def _encode(self, what: str, value: Any) -> bytes:
        return encode(f"{self._where}: {what}", value, MAX_BYTES)

    def _put(self, key: str, encoded: bytes) -> None:
        if key:
            self._pending[f"{self._prefix}{key}"] = encoded
        self._noted += 1
        if self._patience is not None:
            self._patience.deadline = trio.current_time() + _SOON_S
            self._patience = None

    # Writing.

    async def flush(self) -> None:
        """Write what is noted, together with what others noted meanwhile; returns when it lasts.

        Raises:
            WorkflowError: The run was taken over.
            StorageError: It cannot be written.
        """
        wanted = self._noted
        if self.lost:
            raise self.reason()
        if self._written >= wanted:
            return
        if self._lock.locked():
            await self._lock.acquire()
        else:
            self._lock.acquire_nowait()  # it need not wait, and a step of the loop takes 10 us
        try:
            if self.lost:
                raise self.reason()
            if self._written < wanted:
                await self._write()
        finally:
            self._lock.release()

    async def commit(self, info: StageInfo, entries: Mapping[str, bytes], transaction: Transaction) -> None:
        """Write that a stage is done, as `encoded` gives it, together with what its transaction keeps back.

        Raises:
            StorageError: Somebody else has written what it wrote, or it cannot be written; nothing of both is.
            WorkflowError: The run was taken over.
        """
        batch, expected = transaction.commitment()
        batch |= {f"{self._prefix}{key}": value for key, value in entries.items()}
        async with self._lock:
            if self.lost:
                raise self.reason()
            self._noted += 1
            self._paths.append(info.path)
            self.head = structs.replace(self.head, ended=self.head.ended + 1)
            if not await self._write(batch, expected):
                self._paths.remove(info.path)
                self.head = structs.replace(self.head, ended=self.head.ended - 1)
                told = "somebody else wrote meanwhile what it expected as it was, so nothing of it is written"
                raise StorageError(f"{self._where}: stage {info.path}: {told}; run it again", code="conflict")

    async def _write(
        self, effects: Mapping[str, bytes | None] | None = None, expected: Mapping[str, int] | None = None
    ) -> bool:
        """Write what is noted.

        Args:
            effects: What is written with it.
            expected: The versions that this expects.

        Returns:
            Whether it is written; if not, something is otherwise than ``expected``, and the rest stays noted.
        """
        batch, self._pending = self._pending, {}
        paths, self._paths = tuple(self._paths), []
        upto, now_s = self._noted, self._clock.now_s()
        idle = self.head.status != "running" and self.head.status != "compensating"
        head = structs.replace(self.head, changed_s=now_s, lease_s=0.0 if idle else now_s + self._lease_s)
        place = f"{self._prefix}head"
        batch[place] = msgspec.msgpack.encode(head)
        # Cut off in the middle, nobody would know the head's version; a write is bounded by its storage.
        with trio.CancelScope(shield=True):
            try:
                versions = await self.storage.write(
                    {**batch, **(effects or {})}, expect={**(expected or {}), place: self._version}
                )
                if versions is None and expected and await self._is_mine(place):
                    del batch[place]
                    self._pending = {**batch, **self._pending}
                    self._paths[:0] = paths
                    return False
            except Exception as error:
                self.lost, self.error = True, error
                raise
        if versions is None:
            self.lost = True
            raise self.reason()
        self._version, self._written = versions[place], upto
        self._renew_s = trio.current_time() + self._lease_s / 3
        self._writes += 1
        if self.told is not None and self.is_watched():
            size = sum(len(value) for value in batch.values() if value)
            await self.told(Checkpoint(self._run_id, self._writes, size, paths))
        return True

    async def _is_mine(self, place: str) -> bool:
        """Return whether the head is as it was left."""
        await trio.sleep(PATIENCE_S)
        entry = await self.storage.get(place)
        return entry is not None and entry.version == self._version

    def reason(self) -> Exception:
        """Return why it is not written any more."""
        if self.error is None:
            taken = "somebody else has taken it over" if self._version else "there is a run of this id"
            told = f"{self._where}: {taken}, so nothing more is written here; resume it, or choose another id"
            self.error = WorkflowError(told)
        return self.error

    async def beat(self, scope: trio.CancelScope) -> None:
        """Write what nobody waits for, and renew the lease, as long as it is not cancelled.

        Args:
            scope: What is cancelled when the run is taken over.
        """
        self._renew_s = trio.current_time() + self._lease_s / 3
        while True:
            soon_s = trio.current_time() + _SOON_S if self._written < self._noted else self._renew_s
            with trio.CancelScope(deadline=soon_s) as patience:
                self._patience = patience if soon_s == self._renew_s else None
                await trio.sleep_forever()
            self._patience = None
            if trio.current_time() >= self._renew_s:
                self._put("", b"")
            try:
                await self.flush()
            except Exception:
                scope.cancel()
                return


def place_of(what: str, name: str) -> str:
    """Return the key of a stage, a choice or something shared, within its run."""
    encoded = name.encode(errors="surrogatepass")
    if len(encoded) <= _LONGEST:
        return f"{what}/{name}"
    return f"{what}/{encoded[:200].decode(errors='ignore')}~{blake3(encoded).hexdigest(16)}"
