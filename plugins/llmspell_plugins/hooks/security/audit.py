"""The audit log: what was decided, one entry after the other, in a chained log (see `hash_chain`).

An entry is kept in the storage under ``audit/<number>``; its record is what was decided, as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from llmspell_hookspecs import Storage
from llmspell_plugins.services import hash_chain
from llmspell_plugins.services.hash_chain import ChainEntry as AuditEntry
from llmspell_plugins.services.hash_chain import ChainLog, ChainPlaces
from llmspell_plugins.services.hash_chain import ChainProblem as AuditProblem

__all__ = ["AuditEntry", "AuditLog", "AuditPlaces", "AuditProblem", "read_entries", "verify"]


class AuditPlaces(ChainPlaces, frozen=True):
    """Where the audit log's key and head are kept."""

    name: str = "audit log"
    prefix: str = "audit/"
    verb: str = "llmspell audit verify"


class AuditLog(ChainLog):
    """Writes the audit log."""

    def add(self, record: Mapping[str, Any]) -> int:
        """Take a record in, to be written soon; returns a ticket for `flush`."""
        return self.append(msgspec.json.encode(record, enc_hook=str, order="sorted").decode())


async def read_entries(storage: Storage, *, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
    """Return entries as they are kept, which may be wrong; those that cannot be read are left out."""
    return await hash_chain.read_entries(storage, AuditPlaces(Path(), Path()), after=after, limit=limit)


async def verify(storage: Storage, places: AuditPlaces) -> tuple[int, AuditProblem | None]:
    """Return how many entries of the log are in order, and what is wrong with the first that is not.

    Raises:
        StorageError: The key cannot be read.
    """
    found = await hash_chain.verify(storage, places)
    return found.entries, found.problem
