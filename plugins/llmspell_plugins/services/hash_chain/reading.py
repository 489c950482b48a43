"""Reads a chained log, and finds the first entry of it that is wrong or missing."""

from __future__ import annotations

import secrets
from typing import Final

import msgspec
import trio

from llmspell_hookspecs import Storage

from .entry import (
    ChainEntry,
    ChainPlaces,
    ChainProblem,
    Head,
    Verified,
    hash_of,
    is_sealed,
    read_head,
    read_key,
)

__all__ = ["read_entries", "verify"]

_PAGE: Final = 1000
_AT_ONCE: Final = 64
"""How many entries are looked at before others have their turn."""


async def read_entries(
    storage: Storage, places: ChainPlaces, *, after: int = 0, limit: int = _PAGE
) -> list[ChainEntry]:
    """Return entries as they are kept, which may be wrong; those that cannot be read are left out."""
    found = []
    async for _, entry in storage.scan(places.prefix, after=places.key_of(after) if after else "", limit=limit):
        try:
            found.append(msgspec.json.decode(entry.value, type=ChainEntry))
        except msgspec.DecodeError:
            continue
    return found


async def verify(storage: Storage, places: ChainPlaces) -> Verified:
    """Return how many entries of a log are in order, and what is wrong with the first that is not.

    Raises:
        StorageError: The key cannot be read.
    """
    head = await trio.to_thread.run_sync(read_head, places.head)
    if head.number == 0 and not [name async for name, _ in storage.scan(places.prefix, limit=1)]:
        return Verified(1, 0)
    key = await trio.to_thread.run_sync(read_key, places, False)
    first = head.base + 1
    if not is_sealed(key, head):
        problem = f"the head says that the {head.base} before it were taken out, without the seal of who has the key"
        return Verified(first, 0, ChainProblem(first, problem))
    return await _walk(storage, places, key, head)


async def _walk(storage: Storage, places: ChainPlaces, key: bytes, head: Head) -> Verified:
    first, number, previous = head.base + 1, head.base, head.base_hash
    after, hash_at_head = places.key_of(number) if number else "", ""
    while True:
        count = 0
        async for name, entry in storage.scan(places.prefix, after=after, limit=_PAGE):
            count, after = count + 1, name
            found = _problem(key, number + 1, previous, places, name, entry.value)
            if isinstance(found, str):
                return Verified(first, number - head.base, ChainProblem(number + 1, found))
            number, previous = number + 1, found.hash
            hash_at_head = previous if number == head.number else hash_at_head
            if count % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        if count < _PAGE:
            break
    return _ended(head, number, hash_at_head)


def _ended(head: Head, number: int, hash_at_head: str) -> Verified:
    """Return what is to be said of a log whose entries are in order up to a number."""
    first, count = head.base + 1, number - head.base
    if number < head.number:
        problem = f"it is missing; the head tells of {head.number} entries"
        return Verified(first, count, ChainProblem(number + 1, problem))
    if head.number == 0:
        problem = "the head is missing or cannot be read, so what came after is not known"
        return Verified(first, count, ChainProblem(number, problem))
    if hash_at_head != head.hash:
        problem = "it is not the one that the head tells of"
        return Verified(first, head.number - 1 - head.base, ChainProblem(head.number, problem))
    return Verified(first, count)


def _problem(key: bytes, number: int, previous: str, places: ChainPlaces, name: str, value: bytes) -> ChainEntry | str:
    """Return the entry of this number, or what is wrong with it."""
    if name != places.key_of(number):
        return "it is missing"
    try:
        entry = msgspec.json.decode(value, type=ChainEntry)
    except msgspec.DecodeError:
        return "it cannot be read"
    if msgspec.json.encode(entry) != value or entry.number != number:
        return "it was changed"
    if entry.previous != previous:
        return "it does not follow the one before it"
    wanted = hash_of(key, number, previous, entry.record)
    return entry if secrets.compare_digest(entry.hash.encode(), wanted.encode()) else "it was changed"
