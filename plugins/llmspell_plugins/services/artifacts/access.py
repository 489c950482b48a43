"""Who asks, what they may do, and what is on record of that.

Invariant: what is refused is on record before whoever asked is told; of what is on record nobody changes anything
unseen (see `hash_chain`).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import trio

from llmspell_hookspecs.artifacts import ArtifactAudit, ArtifactGrant
from llmspell_hookspecs.errors import InvalidInputError, StorageError
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.services import ProjectFolder
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.storage import Storage
from llmspell_plugins.services.hash_chain import ChainLog, ChainPlaces, read_entries, read_head, verify

__all__ = ["AuditTrail", "check_grant", "may", "principals_of"]

_RANKS: Final = {"read": 1, "write": 2, "admin": 3}
_PRINCIPAL: Final = re.compile(r"\*|(session|user|agent):[^\s:][^\n]{0,199}")
_PAGE: Final = 1000
_SOON_S: Final = 0.25


def principals_of(operations: Operations) -> tuple[str, ...]:
    """Return as whom the running operation asks; nothing for the host itself."""
    try:
        baggage = operations.current().baggage
    except LookupError:
        return ()
    if not baggage.get("session"):
        return ()
    return tuple(f"{name}:{baggage[name]}" for name in ("session", "user", "agent") if baggage.get(name))


def may(principals: tuple[str, ...], session: str, grants: Iterable[ArtifactGrant], right: str, now_s: float) -> bool:
    """Return whether somebody may do something with an artifact of a session."""
    if not principals or f"session:{session}" in principals:
        return True
    return any(
        (grant.principal == "*" or grant.principal in principals)
        and _RANKS[grant.right] >= _RANKS[right]
        and (grant.expires_s is None or grant.expires_s > now_s)
        for grant in grants
    )


def check_grant(principal: Any, right: Any, expires_s: Any) -> None:
    """Refuse what is no grant.

    Raises:
        InvalidInputError: A part of it is wrong.
    """
    if not isinstance(principal, str) or not _PRINCIPAL.fullmatch(principal):
        message = f"artifact principal {told(principal)}: it is none; give session:ID, user:NAME, agent:NAME or *"
        raise InvalidInputError(message, field="principal")
    if right not in _RANKS:
        message = f"artifact right {told(right)}: it is none; give {', '.join(_RANKS)}"
        raise InvalidInputError(message, field="right")
    if expires_s is not None and (isinstance(expires_s, bool) or not isinstance(expires_s, int | float)):
        message = f"artifact expiry {told(expires_s)}: it is no time; give seconds since the epoch"
        raise InvalidInputError(message, field="expires_s")


class AuditTrail:
    """Writes what was done and refused to a chained log, and reads it.

    Args:
        storage: Keeps it.
        folder: Where its key and head lie.
        wanted: What is on record.
        lasts: Whether the storage outlives the host; else neither do key and head.
    """

    def __init__(
        self, storage: Storage, folder: ProjectFolder, wanted: Literal["all", "changes", "off"], *, lasts: bool
    ) -> None:
        self._storage, self._wanted = storage, wanted
        self._passing = None if lasts else tempfile.TemporaryDirectory(prefix="llmspell-")
        place = folder.data if self._passing is None else Path(self._passing.name).joinpath
        self._places = ChainPlaces(
            place("artifacts.key"),
            place("artifacts.head"),
            "artifact audit",
            "artifact-audit/",
            "llmspell artifact verify",
        )
        self._log: ChainLog | None = None
        self._opening = trio.Lock()
        self._waiting = trio.Event()

    async def note(
        self,
        action: str,
        artifact: str,
        principals: tuple[str, ...],
        at_s: float,
        *,
        allowed: bool = True,
        details: str = "",
    ) -> None:
        """Put something on record; what refuses, deletes or grants is there when this returns, the rest soon.

        Raises:
            StorageError: It cannot be.
        """
        reads = allowed and action in ("read", "list")
        if self._wanted == "off" or (reads and self._wanted == "changes"):
            return
        log = await self._opened()
        record = ArtifactAudit(0, at_s, action, artifact, principals or ("host",), allowed, details)
        ticket = log.append(msgspec.json.encode(record).decode())
        if not allowed or action in ("delete", "grant", "revoke"):
            await log.flush(ticket)
        else:
            self._waiting.set()

    async def read(self, session: str, limit: int) -> list[ArtifactAudit]:
        """Return the newest records, the oldest of them first."""
        if self._log is not None:
            await self._log.flush()
        found: list[ArtifactAudit] = []
        after = 0
        while entries := await read_entries(self._storage, self._places, after=after, limit=_PAGE):
            after = entries[-1].number
            for entry in entries:
                try:
                    record = msgspec.json.decode(entry.record, type=ArtifactAudit)
                except msgspec.DecodeError:
                    continue
                if not session or record.artifact.partition("/")[0] == session:
                    found.append(msgspec.structs.replace(record, number=entry.number))
            found = found[-limit:]
            await trio.lowlevel.checkpoint()
        return found

    async def problem(self) -> str:
        """Return what is wrong with it; empty if nothing is."""
        if self._log is not None:
            await self._log.flush()
        elif (await trio.to_thread.run_sync(read_head, self._places.head)).number == 0 and self._wanted == "off":
            return ""
        try:
            found = await verify(self._storage, self._places)
        except StorageError as error:
            return str(error)
        return "" if found.problem is None else f"entry {found.problem.number}: {found.problem.problem}"

    async def run(self, problem: Callable[[Exception], None]) -> None:
        """Write what waits, until cancelled."""
        while True:
            await self._waiting.wait()
            await trio.sleep(_SOON_S)  # so that what comes together is synced together
            self._waiting = trio.Event()
            try:
                await self.flush()
            except StorageError as error:
                problem(error)

    async def flush(self) -> None:
        """Wait until all is on record."""
        if self._log is not None:
            await self._log.flush()

    def close(self) -> None:
        """Let go what does not last."""
        if self._passing is not None:
            self._passing.cleanup()

    async def _opened(self) -> ChainLog:
        async with self._opening:
            if self._log is None:
                log = ChainLog(self._storage, self._places)
                await log.load()
                self._log = log
        return self._log
