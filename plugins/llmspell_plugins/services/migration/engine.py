"""A migration's work: batch by batch forward, and batch by batch back.

Each batch is one write: the new items, what they were, and how far the migration is. It expects all of these to be as
they were read, so two processes that work at the same migration do each item once, and a process that dies leaves a
migration that goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio
from msgspec import Struct, structs

from llmspell_hookspecs import LlmspellError, Storage
from llmspell_hookspecs.difference import difference
from llmspell_hookspecs.errors import StorageError, line_of_error
from llmspell_hookspecs.storage import Entry
from llmspell_plugins.services.state_value import decode, encode

from .catalog import Known
from .compile import ItemError, Transform
from .records import (
    Before,
    Run,
    Standing,
    before_key,
    before_prefix,
    mark_of,
    pack,
    run_key,
    unpack,
)

__all__ = [
    "Moved",
    "Page",
    "begun",
    "name_of",
    "put_back",
    "read_page",
    "told",
    "undo_problem",
    "upgraded",
    "work_out",
    "write_of",
]

_MOST_ERRORS: Final = 20
_MOST_SAMPLES: Final = 3
_LARGEST: Final = (1 << 31) - 1


class Page(Struct, frozen=True):
    """A row of items that come next.

    Attributes:
        items: Those that are not reached yet: place and entry.
        skipped: How many of the row were written by others meanwhile.
        cursor: The last place that was looked at; empty if there is nothing more.
    """

    items: Sequence[tuple[str, Entry]]
    skipped: int
    cursor: str


class Moved(Struct, frozen=True):
    """A row of items as they will be.

    Attributes:
        values: The new ones, in order of the page's; None for one that failed.
        errors: What is wrong, one line each.
        samples: What differs, in the first ones.
    """

    values: Sequence[bytes | None]
    errors: tuple[str, ...]
    samples: tuple[str, ...]


def name_of(place: str) -> str:
    """Return a storage's key as people know it."""
    scope, _, key = place.removeprefix("state:").partition("\n")
    return f"state {scope} {key!r}"


def upgraded(known: Known, path: Sequence[str], place: str, value: bytes) -> bytes:
    """Return an item's bytes along a path.

    Raises:
        StorageError: It cannot be brought over.
    """
    try:
        return encode(name_of(place), known.transform(path, "none")(decode(place, value)), _LARGEST)
    except ItemError as error:
        reason = f"it cannot be read as {path[-1]}: {line_of_error(error)}"
        message = f"{name_of(place)}: {reason}; correct it, or undo the migration"
        raise StorageError(message, code="migration") from error


async def read_page(storage: Storage, known: Known, run: str, cursor: str, limit: int) -> Page:
    """Return the items that come after a place."""
    items: list[tuple[str, Entry]] = []
    skipped = count = 0
    async for place, entry in storage.scan(known.prefix, after=cursor, limit=limit):
        count, cursor = count + 1, place
        if not known.binds_place(place):
            continue
        if run and await storage.get(before_key(run, place)) is not None:
            skipped += 1
        else:
            items.append((place, entry))
    return Page(items, skipped, cursor if count else "")


def work_out(transform: Transform, page: Page, max_bytes: int, samples: int = 0) -> Moved:
    """Return the items of a page as they will be; blocks.

    Args:
        transform: Brings an item over.
        page: Which items.
        max_bytes: How large one may be.
        samples: Of how many to tell what differs.
    """
    values: list[bytes | None] = []
    errors: list[str] = []
    shown: list[str] = []
    for place, entry in page.items:
        try:
            old = decode(place, entry.value)
            new = transform(old)
            value = encode(name_of(place), new, max_bytes)
        except ItemError as error:
            errors.append(f"{name_of(place)}: {line_of_error(error)}")
            values.append(None)
            continue
        except LlmspellError as error:
            errors.append(line_of_error(error))
            values.append(None)
            continue
        if len(shown) < samples and value != entry.value:
            gone = sorted(old.keys() - new.keys()) if isinstance(old, dict) and isinstance(new, dict) else []
            left = f"; without {', '.join(gone)}" if gone else ""
            shown.append(f"{name_of(place)}: {difference(old, new)}{left}")
        values.append(value)
    return Moved(values, tuple(errors[:_MOST_ERRORS]), tuple(shown))


def write_of(page: Page, moved: Moved, run: str) -> tuple[dict[str, bytes | None], dict[str, int], int]:
    """Return the batch of a page, what it expects, and how many items change."""
    batch: dict[str, bytes | None] = {}
    expect: dict[str, int] = {}
    changed = 0
    for (place, entry), value in zip(page.items, moved.values, strict=True):
        if value is None:
            continue
        mark = before_key(run, place)
        if value != entry.value:
            batch[place] = value
            changed += 1
        batch[mark] = pack(Before(place, entry.value, mark_of(value)))
        expect[place], expect[mark] = entry.version, 0
    return batch, expect, changed


async def undo_problem(storage: Storage, run: Run, id: str, known: Known | None, batch: int) -> str:
    """Return what was written since a migration, in words; empty if nothing was."""
    written, places, cursor = 0, set(), ""
    prefix = before_prefix(id)
    while True:
        rows = [row async for row in storage.scan(prefix, after=cursor, limit=batch)]
        for mark, entry in rows:
            before = unpack(mark, entry, Before)
            places.add(mark)
            there = await storage.get(before.place)
            if not before.after or there is None or mark_of(there.value) != before.after:
                written += 1
        await trio.lowlevel.checkpoint()
        if len(rows) < batch:
            break
        cursor = rows[-1][0]
    if known is not None and run.told.status == "completed":
        cursor = ""
        while True:
            page = await read_page(storage, known, id, cursor, batch)
            written += len(page.items)
            if not page.cursor:
                break
            cursor = page.cursor
    return f"{written} {'item was' if written == 1 else 'items were'} written since" if written else ""


async def put_back(storage: Storage, id: str, standing: tuple[str, int], batch: int) -> int | None:
    """Put a row of items back as they were; returns how many, None if others were at it."""
    rows = [row async for row in storage.scan(before_prefix(id), limit=batch)]
    writes: dict[str, bytes | None] = {}
    expect = {standing[0]: standing[1]}
    for mark, entry in rows:
        before = unpack(mark, entry, Before)
        writes[before.place], writes[mark] = before.value, None
        expect[mark] = entry.version
    if rows and await storage.write(writes, expect=expect) is None:
        return None
    return len(rows)


def begun(run: Run, id: str, standing: Standing, version: int, at: str) -> tuple[dict[str, bytes], dict[str, int]]:
    """Return the write that begins a migration, and what it expects."""
    target = run.told.to_version
    now = Standing(standing.version, "running", id, target)
    return {at: pack(now), run_key(id): pack(run)}, {at: version, run_key(id): 0}


def told(run: Run, **changes: Any) -> Run:
    """Return a run of which something else is told."""
    return structs.replace(run, told=structs.replace(run.told, **changes))
