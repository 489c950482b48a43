"""Finds artifacts: by session or tag where the storage has an index, else by looking at each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import trio

from llmspell_hookspecs.artifacts import ArtifactInfo, ArtifactQuery
from llmspell_hookspecs.errors import InvalidInputError, LlmspellError, StorageError
from llmspell_hookspecs.globs import Globs
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.storage import Storage

from .records import Row, check_place, row_of, tagged

__all__ = ["check_query", "find"]

_PAGE: Final = 200
_SORTED: Final[Mapping[str, Callable[[ArtifactInfo], Any]]] = {
    "created": lambda info: (info.created_s, info.id.session_id, info.id.sequence),
    "name": lambda info: (info.name, info.id.session_id, info.id.sequence),
    "size": lambda info: (info.size_bytes, info.id.session_id, info.id.sequence),
    "type": lambda info: (info.type, info.id.session_id, info.id.sequence),
}


def check_query(query: ArtifactQuery) -> None:
    """Refuse a query that asks for nothing that there is.

    Raises:
        InvalidInputError: Something of it is wrong.
    """
    if query.session:
        check_place(query.session)
    if query.sort not in _SORTED:
        message = f"artifacts: they cannot be sorted by {told(query.sort)}; take {', '.join(_SORTED)}"
        raise InvalidInputError(message, field="sort")
    if query.limit is not None and (isinstance(query.limit, bool) or query.limit < 0):
        raise InvalidInputError(f"artifacts: limit is {query.limit}; give 0 or more", field="limit")


async def find(
    storage: Storage,
    query: ArtifactQuery,
    readable: Callable[[Row], bool],
    problem: Callable[[LlmspellError], None],
) -> list[ArtifactInfo]:
    """Return the artifacts that fit; what of them cannot be read is told, and hides no other."""
    fits = _fitting(query)
    found: list[ArtifactInfo] = []
    looked = 0
    async with aclosing(_entries(storage, query)) as entries:
        async for key, value in entries:
            looked += 1
            if looked % 64 == 0:
                await trio.lowlevel.checkpoint()
            try:
                row = row_of(key.removeprefix("artifact/"), value)
            except StorageError as error:
                problem(error)
                continue
            if fits(row.info) and readable(row):
                found.append(row.info)
    if query.latest:
        newest: dict[tuple[str, str], ArtifactInfo] = {}
        for info in found:
            place = info.id.session_id, info.name
            if place not in newest or newest[place].version < info.version:
                newest[place] = info
        found = list(newest.values())
    found.sort(key=_SORTED[query.sort], reverse=query.descending)
    return found if query.limit is None else found[: query.limit]


async def _entries(storage: Storage, query: ArtifactQuery) -> AsyncGenerator[tuple[str, bytes], None]:
    if query.tags and not query.session:
        for key in await tagged(storage, query.tags[0]):
            entry = await storage.get(key)
            if entry is not None:
                yield key, entry.value
        return
    prefix, after = f"artifact/{query.session}/" if query.session else "artifact/", ""
    while True:
        page = [(key, entry.value) async for key, entry in storage.scan(prefix, after=after, limit=_PAGE)]
        for each in page:
            yield each
        if len(page) < _PAGE:
            return
        after = page[-1][0]


def _fitting(query: ArtifactQuery) -> Callable[[ArtifactInfo], bool]:
    name = Globs((query.name,)) if query.name else None
    kind = Globs((query.mime_type,)) if query.mime_type else None

    def fits(info: ArtifactInfo) -> bool:
        return (
            query.type in ("", info.type)
            and query.created_by in ("", info.created_by)
            and (name is None or name.match(info.name))
            and (kind is None or kind.match(info.mime_type))
            and all(tag in info.tags for tag in query.tags)
            and (query.since_s is None or info.created_s >= query.since_s)
            and (query.until_s is None or info.created_s <= query.until_s)
            and (query.min_bytes is None or info.size_bytes >= query.min_bytes)
            and (query.max_bytes is None or info.size_bytes <= query.max_bytes)
        )

    return fits
