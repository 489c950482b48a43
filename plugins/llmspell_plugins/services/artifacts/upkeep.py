"""Verifies all contents, and takes out those that no artifact has.

Invariant: what is known of the contents is read before it is looked who refers to them, and a content is taken out only
as it was then; so whoever stores it meanwhile keeps it. What cannot be read counts as referred to.
"""

from __future__ import annotations

from math import inf
from typing import Final

import trio

from llmspell_hookspecs.artifacts import ArtifactReport, ArtifactSweep
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Storage

from .content import GOING_S, Contents
from .records import Row, row_of

__all__ = ["sweep", "verify"]

_PAGE: Final = 200


async def _rows(storage: Storage) -> list[tuple[str, Row | None]]:
    """Return every artifact, as ``session/sequence``; None for one that cannot be read."""
    found: list[tuple[str, Row | None]] = []
    after = ""
    while True:
        count = 0
        async for key, entry in storage.scan("artifact/", after=after, limit=_PAGE):
            count, after = count + 1, key
            where = key.removeprefix("artifact/")
            try:
                row: Row | None = row_of(where, entry.value)
            except StorageError:
                row = None
            session, _, sequence = where.partition("/")
            found.append((f"{session}/{int(sequence)}", row))
        if count < _PAGE:
            return found
        await trio.lowlevel.checkpoint()


async def verify(storage: Storage, contents: Contents, audit: str) -> ArtifactReport:
    """Return what is wrong.

    Args:
        storage: Keeps the artifacts.
        contents: Their contents.
        audit: What is wrong with the record of accesses.
    """
    there = await contents.all()
    rows = await _rows(storage)
    problems: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for hash, (known, _) in there.items():
        if known is not None and known.going_s:
            continue
        try:
            sizes[hash] = len(await contents.read(hash, "content"))
        except StorageError as error:
            problems[hash] = "missing" if "is missing" in str(error) else "corrupt"
    missing: list[str] = []
    corrupt: list[str] = []
    wrong_size: list[str] = []
    for where, row in rows:
        if row is None:
            corrupt.append(where)
            continue
        hash = row.info.id.content_hash
        if hash in problems:
            (missing if problems[hash] == "missing" else corrupt).append(where)
        elif hash not in sizes:
            missing.append(where)
        elif sizes[hash] != row.info.size_bytes:
            wrong_size.append(where)
    referred = {row.info.id.content_hash for _, row in rows if row is not None}
    orphans = [hash for hash in there if hash not in referred]
    orphans += await contents.strays(there, inf)
    lists = tuple(missing), tuple(corrupt), tuple(wrong_size), tuple(orphans)
    return ArtifactReport(len(rows), len(sizes), *lists, audit=audit)


async def sweep(storage: Storage, contents: Contents, now_s: float, grace_s: float) -> ArtifactSweep:
    """Take out the contents that no artifact has, and that were not stored for so long."""
    there = await contents.all()
    rows = await _rows(storage)
    if any(row is None for _, row in rows):
        message = "artifacts: one that cannot be read may have any content, so none is taken out; see 'artifact verify'"
        raise StorageError(message, code="corrupt")
    referred = {row.info.id.content_hash for _, row in rows if row is not None}
    removed = freed = 0
    for hash, (known, version) in there.items():
        await trio.lowlevel.checkpoint()
        if hash in referred or known is None:
            continue
        due_s = known.going_s + GOING_S if known.going_s else known.touched_s + grace_s
        if due_s <= now_s and await contents.take_out(hash, version, now_s):
            removed, freed = removed + 1, freed + known.stored_bytes
    for hash in await contents.strays(there, now_s - grace_s):
        if await contents.take_out(hash, 0, now_s):
            removed += 1
    await contents.tidy()
    return ArtifactSweep(len(there) - removed if removed < len(there) else len(referred), removed, freed)
