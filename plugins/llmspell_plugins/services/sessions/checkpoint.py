"""Checkpoints of a session: which values its scope has, kept by what they hold.

A value that did not change since the last checkpoint is neither read again nor written. Values are hashed and written a
slice at a time, so that nothing holds the loop.

Invariant: every value that a kept checkpoint names is there: the batch that makes a checkpoint expects its new values
as they were written, and whoever takes values out expects them as they were listed, with the session as it was.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

import msgspec
import trio
from blake3 import blake3
from msgspec import Struct, structs

from llmspell_hookspecs.errors import ComponentNotFoundError, StorageError
from llmspell_hookspecs.sessions import SessionCheckpoint
from llmspell_hookspecs.storage import Storage
from llmspell_plugins.services.state_address import prefix_of

from .records import PATIENCE_S, Head, place_of, read_head, write_with

__all__ = ["Manifest", "bring_back", "checkpoint", "keep_last", "read_checkpoints", "read_manifest", "scope_of"]

_SLICE: Final = 500
_LARGE: Final = 262_144
"""What is hashed in a thread."""


class Manifest(Struct, frozen=True, omit_defaults=True):
    """What a checkpoint holds.

    Attributes:
        made_s: When it was made.
        automatic: Whether nobody asked for it.
        size_bytes: How large its values are together.
        values: For each key of the scope the version of the value, and the hash of what it holds.
    """

    made_s: float = 0.0
    automatic: bool = False
    size_bytes: int = 0
    values: dict[str, tuple[int, str]] = {}

    def info(self, id: str, number: int) -> SessionCheckpoint:
        """Return it as others are told of it."""
        return SessionCheckpoint(id, number, self.made_s, len(self.values), self.size_bytes, self.automatic)


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Manifest).decode
_NONE: Final = Manifest()


def scope_of(id: str) -> str:
    """Return what the storage's keys of a session's scope begin with."""
    return prefix_of(f"session:{id}", "")


def _place(id: str, number: int) -> str:
    return place_of(id, f"checkpoint/{number:08d}")


async def read_manifest(storage: Storage, id: str, number: int) -> Manifest:
    """Return what a checkpoint holds.

    Raises:
        ComponentNotFoundError: There is none of this number.
        StorageError: It is none of ours.
    """
    entry = await storage.get(_place(id, number)) if 0 < number < 10**8 else None
    if entry is None:
        message = f"session {id}: there is no checkpoint {number}; 'llmspell session show {id}' names them"
        raise ComponentNotFoundError(message, address=f"session:{id}")
    return _manifest(id, number, entry.value)


def _manifest(id: str, number: int, encoded: bytes) -> Manifest:
    try:
        manifest = _decode(encoded)
        if not manifest.made_s:  # what has no field of ours is read as one without any
            raise msgspec.DecodeError
        return manifest
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"session {id}: checkpoint {number} was changed; take another one, or restore the storage"
        raise StorageError(message) from error


async def read_checkpoints(storage: Storage, id: str) -> list[tuple[int, Manifest]]:
    """Return the checkpoints that are kept, the oldest first."""
    found = []
    async for key, entry in storage.scan(place_of(id, "checkpoint/"), limit=sys.maxsize):
        number = int(key.rpartition("/")[2])
        found.append((number, _manifest(id, number, entry.value)))
    return found


async def checkpoint(storage: Storage, id: str, now_s: float, *, automatic: bool) -> tuple[int, Manifest, Head, bool]:
    """Save a session.

    Args:
        storage: Keeps it.
        id: The session's.
        now_s: When that is.
        automatic: Whether nobody asked for it; then none is made if nothing changed since the last one.

    Returns:
        The checkpoint's number, what it holds, the session, and whether it was made.

    Raises:
        StorageError: It cannot be written.
    """
    while True:
        head, version = await read_head(storage, id)
        last = _NONE
        if head.checkpoints:
            last = await read_manifest(storage, id, head.checkpoints)
        values, size_bytes, fresh = await _gather(storage, id, last)
        if automatic and head.checkpoints and values == last.values:
            return head.checkpoints, last, head, False
        number = head.checkpoints + 1
        manifest = Manifest(now_s, automatic, size_bytes, values)
        head = structs.replace(head, checkpoints=number, updated_s=now_s)
        if await write_with(storage, id, head, version, {_place(id, number): _encode(manifest)}, fresh):
            return number, manifest, head, True
        await trio.sleep(PATIENCE_S)


async def _gather(storage: Storage, id: str, last: Manifest) -> tuple[dict[str, tuple[int, str]], int, dict[str, int]]:
    """Keep the values that the last checkpoint has not, and return all that there are.

    Returns:
        For each key its version and hash; their size; the versions of those that were written now.
    """
    prefix = scope_of(id)
    values: dict[str, tuple[int, str]] = {}
    fresh: dict[str, int] = {}
    size_bytes, known = 0, {hash for _, hash in last.values.values()}
    after = ""
    while True:
        count = 0
        batch: dict[str, bytes | None] = {}
        async for key, entry in storage.scan(prefix, after=after, limit=_SLICE):
            count, after = count + 1, key
            size_bytes += len(entry.value)
            name = key[len(prefix) :]
            before = last.values.get(name)
            if before is not None and before[0] == entry.version:
                values[name] = before
                continue
            hash = await _hash(entry.value)
            values[name] = entry.version, hash
            if hash not in known:
                known.add(hash)
                batch[place_of(id, f"value/{hash}")] = entry.value
        if batch:
            with trio.CancelScope(shield=True):
                fresh.update(await storage.write(batch) or {})
        if count < _SLICE:
            return values, size_bytes, fresh


async def _hash(value: bytes) -> str:
    if len(value) < _LARGE:
        return blake3(value).hexdigest()
    return await trio.to_thread.run_sync(lambda: blake3(value).hexdigest())


async def keep_last(storage: Storage, id: str, most: int) -> None:
    """Take out the checkpoints but for the newest, and the values that none of those names."""
    head, version = await read_head(storage, id)
    found = await read_checkpoints(storage, id)
    if len(found) <= most:
        return
    kept = {hash for _, manifest in found[-most:] for _, hash in manifest.values.values()}
    start = len(place_of(id, "value/"))
    going = {
        key: entry.version
        async for key, entry in storage.scan(place_of(id, "value/"), limit=sys.maxsize)
        if key[start:] not in kept
    }
    gone: dict[str, bytes | None] = {_place(id, number): None for number, _ in found[:-most]}
    gone.update(dict.fromkeys(going))
    # The head is written as well, so that of two who take out and make a checkpoint one comes later.
    await write_with(storage, id, head, version, gone, going)


async def bring_back(storage: Storage, id: str, number: int, manifest: Manifest) -> tuple[str, int, int] | None:
    """Give a session's scope the values of a checkpoint.

    Returns:
        None if that is done; else a key whose version was not the one expected, with that version and the one found.

    Raises:
        StorageError: A value is missing, or is not what it was.
    """
    prefix = scope_of(id)
    there = {key[len(prefix) :]: entry.version async for key, entry in storage.scan(prefix, limit=sys.maxsize)}
    batch: dict[str, bytes | None] = {prefix + key: None for key in there if key not in manifest.values}
    for key, (version, hash) in manifest.values.items():
        if there.get(key) != version:
            batch[prefix + key] = await _value(storage, id, number, key, hash)
    expect = {place: there.get(place[len(prefix) :], 0) for place in batch}
    with trio.CancelScope(shield=True):
        if not batch or await storage.write(batch, expect=expect) is not None:
            return None
    return await _moved(storage, prefix, expect)


async def _value(storage: Storage, id: str, number: int, key: str, hash: str) -> bytes:
    entry = await storage.get(place_of(id, f"value/{hash}"))
    if entry is None or await _hash(entry.value) != hash:
        what = "is missing" if entry is None else "was changed"
        message = f"session {id}: the value of {key!r:.80} in checkpoint {number} {what}; take another checkpoint"
        raise StorageError(message)
    return entry.value


async def _moved(storage: Storage, prefix: str, expect: Mapping[str, int]) -> tuple[str, int, int]:
    for place, version in expect.items():
        entry = await storage.get(place)
        found = 0 if entry is None else entry.version
        if found != version:
            return place[len(prefix) :], version, found
    return "", 0, 0
