"""The durable runs of a host's storage: begun, taken up, listed, cancelled, deleted.

Invariant: the storage is opened when the first durable run is asked for, and not before.
"""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Mapping, Sequence
from heapq import heappush, heappushpop
from operator import itemgetter
from typing import Any, Final

import trio
from blake3 import blake3
from msgspec import msgpack

from llmspell_hookspecs.errors import ComponentNotFoundError, InvalidInputError, WorkflowError, line_of_error
from llmspell_hookspecs.fit import plain
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.plugin import Services
from llmspell_hookspecs.runs import RunDetails, RunInfo
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.storage import Storage, Storages
from llmspell_hookspecs.workflow import WorkflowOutput

from .reading import Loaded, check_id, claim, delete, head_to_forget, load, open_runs, read_head
from .records import DELETED, ENDED, PATIENCE_S, Head, Records

__all__ = ["LACKING", "UNDECIDED", "Archive", "no_run", "output_of", "print_of"]

UNDECIDED: Final = frozenset({"failed", "intent", "interrupted", "waiting"})
"""What a stage is of which somebody may have to decide."""
LACKING: Final = "lacking"
"""Under which name the details of a run have the parts that failed without a stage that did, and why."""
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86_400.0


class Archive:
    """The durable runs of a host.

    Args:
        services: The host's.
        lease_s: How long a run belongs to who wrote of it last.
    """

    def __init__(self, services: Services, lease_s: float) -> None:
        self._services, self._lease_s = services, lease_s
        self._opened: Storage | None = None
        self._tidied_s: float | None = None

    async def _storage(self) -> Storage:
        if self._opened is None:
            self._opened = await self._services.get(Storages).open()
        return self._opened

    def _told(self, error: Exception) -> None:
        """Name a run that cannot be read; it hides no other."""
        self._services.get(Operations).problem(error)

    @property
    def _clock(self) -> Clock:
        return self._services.get(Clock)

    async def has(self, run_id: str) -> bool:
        """Whether there is a run of this id."""
        found = await read_head(await self._storage(), run_id)
        return found is not None and found[0].status != DELETED

    async def begin(self, run_id: str, name: str, origin: str) -> Records:
        """Return the writer of a run that begins; that it is the only one of its id shows with its first write."""
        check_id(run_id)
        clock = self._clock
        head = Head(name, owner=secrets.token_hex(8), began_s=clock.now_s(), origin=origin)
        return Records(await self._storage(), run_id, head, 0, clock, self._lease_s)

    async def read(self, run_id: str) -> tuple[Head, Loaded]:
        """Return what is kept of a run.

        Raises:
            ComponentNotFoundError: There is none.
        """
        storage = await self._storage()
        check_id(run_id)
        found = await read_head(storage, run_id)
        if found is None or found[0].status == DELETED:
            raise no_run(run_id)
        return found[0], await load(storage, run_id)

    async def claim(self, run_id: str, *, take_over: bool) -> Records:
        """Take a run up.

        Raises:
            WorkflowError: Somebody runs it, or it has just ended.
        """
        writer = await claim(await self._storage(), run_id, self._clock, self._lease_s, take_over=take_over)
        if writer is None:
            raise WorkflowError(f"workflow run {run_id}: it has just ended, or is gone; look at it again")
        return writer

    async def list(self, limit: int, unfinished: bool) -> Sequence[RunInfo]:
        """Return what is known of runs, those that began last first, at most so many."""
        found: builtins.list[tuple[float, str, Head]] = []
        async for run_id, head in open_runs(await self._storage(), unfinished, self._told):
            if head.status == DELETED:
                continue
            if len(found) < limit:
                heappush(found, (head.began_s, run_id, head))
            else:
                heappushpop(found, (head.began_s, run_id, head))
        now_s = self._clock.now_s()
        return [head.info(run_id, now_s) for _, run_id, head in sorted(found, key=itemgetter(0, 1), reverse=True)]

    async def details(self, run_id: str) -> RunDetails | None:
        """Return a run with its stages, or None."""
        check_id(run_id)
        if not await self.has(run_id):
            return None
        head, loaded = await self.read(run_id)
        stages = sorted(loaded.stages.values(), key=lambda info: (info.sequence == 0, info.sequence, info.path))
        pattern, output = str(loaded.definition.get("pattern", "")), loaded.result.get("output")
        return RunDetails(head.info(run_id, self._clock.now_s()), pattern, loaded.input, output, tuple(stages))

    async def cancel(self, run_id: str) -> bool:
        """Take a run from whoever runs it, and let it be; False if it has ended, or there is none."""
        check_id(run_id)
        args = await self._storage(), run_id, self._clock, self._lease_s
        return await claim(*args, take_over=True, status="cancelled") is not None

    async def tidy(self, keep_days: float, keep_runs: int) -> None:
        """Forget runs that ended longer ago, or earlier than so many others; looks once an hour at most.

        Args:
            keep_days: For how long a run is kept that has ended.
            keep_runs: How many of those are kept.
        """
        now_s = self._clock.now_s()
        if self._tidied_s is not None and 0 <= now_s - self._tidied_s < _HOUR_S:
            return
        self._tidied_s = now_s
        storage = await self._storage()
        ended = [
            (head.changed_s, run_id)
            async for run_id, head in open_runs(storage, False, self._told)
            if head.status in ENDED
        ]
        ended.sort(reverse=True)
        for place, (changed_s, run_id) in enumerate(ended):
            found = await read_head(storage, run_id)
            if found is None or found[0].status not in ENDED:
                continue
            if place >= keep_runs or changed_s < now_s - keep_days * _DAY_S or found[0].status == DELETED:
                await delete(storage, run_id, *found)

    async def delete(self, run_id: str) -> bool:
        """Forget a run.

        Raises:
            WorkflowError: Somebody runs it.
        """
        check_id(run_id)
        storage = await self._storage()
        while (found := await head_to_forget(storage, run_id)) is not None:
            if found[0].info(run_id, self._clock.now_s()).live:
                raise WorkflowError(f"workflow run {run_id}: somebody runs it; cancel it first")
            if await delete(storage, run_id, *found):
                return True
            await trio.sleep(PATIENCE_S)
        return False


def no_run(run_id: str) -> ComponentNotFoundError:
    """Return the error of a run that there is not."""
    message = f"workflow run {run_id}: there is none; 'llmspell workflow list' names those that there are"
    return ComponentNotFoundError(message, address=run_id)


def print_of(definition: Mapping[str, Any]) -> str:
    """Return what tells one definition from another.

    Raises:
        InvalidInputError: It holds what cannot be kept.
    """
    try:
        return blake3(msgpack.encode(plain(definition), order="deterministic")).hexdigest(16)
    except (OverflowError, TypeError, ValueError) as error:
        message = f"workflow {definition.get('name')}: it cannot be kept: {line_of_error(error)}; leave that out"
        raise InvalidInputError(f"{message}, or do not run it durably", field="durable") from error


def output_of(run_id: str, head: Head, loaded: Loaded) -> WorkflowOutput:
    """Return what a run that has ended yielded."""
    by_status: dict[str, builtins.list[str]] = {"done": [], "failed": [], "skipped": []}
    for path, info in loaded.stages.items():
        by_status.setdefault(info.status, []).append(path)
    outputs = {path: loaded.stages[path].output for path in by_status["done"]}
    pattern = str(loaded.definition.get("pattern", ""))
    count = head.ended
    summary = f"workflow {head.name}: {head.status}, {count} {'stage' if count == 1 else 'stages'}"
    output, details = loaded.result.get("output"), loaded.result.get("details", {})
    lists = (*by_status["failed"], *details.get(LACKING, ())), tuple(by_status["skipped"])
    told = summary, *lists, count, head.error
    return WorkflowOutput(head.name, run_id, pattern, head.status, output, outputs, *told, details=details)
