"""A storage whose values are encrypted, around any other one.

Keys, versions and sizes stay readable: they have to, to be scanned. What lies below ``encryption/``, ``backup/`` and
``restore/`` belongs to the upkeep and is not shown.

Invariant: a write expects the keys to be those that it was encrypted with, so none uses a key that another process took
out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import msgspec
import trio

from llmspell_hookspecs import InvalidInputError, Storage
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Entry, StorageSnapshot, check_batch
from llmspell_hookspecs.vault import Vault

from .cipher import MOST_WRITES, Algorithm, DataKey, Keys, Ring

__all__ = ["HIDDEN", "Sealed"]

HIDDEN: Final = ("backup/", "encryption/", "restore/")
_KEYS: Final = "encryption/keys"
_COUNT: Final = "encryption/count/"
_RESERVE: Final = 1 << 16
_LARGE_BYTES: Final = 256 * 1024
"""What takes longer than a part of a millisecond is done in a thread."""
_TRIES: Final = 100
_STALE_S: Final = 0.002
"""Longer than a storage may miss what another process wrote."""
_ROW: Final = 100


class Sealed:
    """Implements `Storage` over another one, which is open.

    Args:
        inner: Where it lies; None until it is set, before it is opened.
        vault: Locks the keys.
        algorithm: Of new keys.
        name: For messages.

    Attributes:
        sealed: Where it lies, for who makes backups.
    """

    def __init__(self, inner: Storage | None, vault: Vault, algorithm: Algorithm, name: str) -> None:
        self.sealed: Any = inner
        self._vault = vault
        self._algorithm: Algorithm = algorithm
        self._name = name
        self._ring: Ring | None = None
        self._version = 0
        self._left = 0
        self._refusal = ""
        self._closing = False
        self._writing = 0
        self._rest = trio.Event()

    async def open(self) -> None:
        """Open the keys, making the first one if nothing is stored yet."""
        self._closing = False
        for _ in range(_TRIES):
            if await self._load():
                return
            if await self._is_plain():
                self._refusal = (
                    "it holds values that are not encrypted; encrypt them with 'llmspell storage encrypt', "
                    "or set storage.backend to the one below"
                )
                return
            await self._add_key(Keys(()), 0)
        raise self._restless()

    async def get(self, key: str, /) -> Entry | None:
        """Return the entry, or None; see the contract's `Storage`."""
        ring = self._ring or self._refuse()
        entry = await self.sealed.get(key)
        if entry is None or key.startswith(HIDDEN):
            return None
        return await self._opened(ring, key, entry)

    async def write(
        self, batch: Mapping[str, bytes | None], /, *, expect: Mapping[str, int] | None = None
    ) -> Mapping[str, int] | None:
        """Write all of it or nothing; see the contract's `Storage`."""
        check_batch(batch, expect)
        batch = dict(batch)
        for key in batch:
            if key.startswith(HIDDEN):
                message = f"storage key {key[:40]!r}: it is the host's own; take another one"
                raise InvalidInputError(message, field="key")
        if self._ring is None or self._closing:
            self._refuse()
        self._writing += 1
        try:
            return await self._write(batch, dict(expect or {}))
        finally:
            self._writing -= 1
            if not self._writing:
                self._rest.set()

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Return an iterator over entries in order of keys; see the contract's `Storage`."""
        if self._ring is None:
            self._refuse()
        return _Rows(self, self.sealed.scan(prefix, after=after, limit=_with_hidden(prefix, limit)), limit)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[StorageSnapshot]:
        """Return a block in which it is read as it is when the block begins."""
        if self._ring is None:
            self._refuse()
        inner: Any = self.sealed
        async with inner.snapshot() as snapshot:
            yield _Snapshot(self, snapshot)

    async def close(self) -> None:
        """Forget the keys after the writes under way; who opened the storage below closes it."""
        self._closing = True
        with trio.CancelScope(shield=True):
            while self._writing:
                self._rest = trio.Event()
                await self._rest.wait()
        self._ring = None
        await trio.lowlevel.checkpoint()

    async def rekey(self) -> tuple[int, int]:
        """Encrypt everything with a new key; goes on with one that was broken off.

        Returns:
            How many values were encrypted anew, and the number of the key.
        """
        keys, version = await self._kept()
        if self._ring is None and not keys.keys and await self._is_plain():
            await self._add_key(Keys((), plain=True), version)
            self._refusal = ""
        elif len(keys.keys) < 2 and not keys.plain:  # more than one: it goes on
            await self._add_key(keys, version)
        await self._load()
        count = 0
        while changed := await self._all_current():
            count += changed
        keys, version = await self._kept()
        last = keys.keys[-1]
        done = Keys((last,))
        counts = [f"{_COUNT}{key.number}" for key in keys.keys[:-1]]
        batch: dict[str, bytes | None] = {_KEYS: msgspec.msgpack.encode(done), **dict.fromkeys(counts)}
        if await self.sealed.write(batch, expect={_KEYS: version}) is None:
            raise self._restless()
        await self._load()
        return count, last.number

    async def facts(self) -> dict[str, Any]:
        """Return what may be told of the keys."""
        keys, _ = await self._kept()
        numbers = [key.number for key in keys.keys]
        return {
            "keys": numbers,
            "current": numbers[-1] if numbers else None,
            "algorithm": keys.keys[-1].algorithm if keys.keys else self._algorithm,
            "all_encrypted": bool(numbers) and not keys.plain,
        }

    # What rows and snapshots need.

    async def opened(self, key: str, entry: Entry) -> Entry:
        """Return an entry of the storage below, decrypted."""
        return await self._opened(self._ring or self._refuse(), key, entry)

    # The rest.

    async def _opened(self, ring: Ring, key: str, entry: Entry) -> Entry:
        try:
            if len(entry.value) < _LARGE_BYTES:
                return Entry(ring.decrypt(key, entry.value), entry.version)
            value = await trio.to_thread.run_sync(ring.decrypt, key, entry.value)
        except StorageError:
            # Another process may have added a key meanwhile.
            if not await self._keys_changed(self._version):
                raise
            await self._load()
            ring = self._ring or self._refuse()
            again = await self.sealed.get(key)
            entry = entry if again is None else again
            value = await trio.to_thread.run_sync(ring.decrypt, key, entry.value)
        return Entry(value, entry.version)

    async def _write(self, batch: Mapping[str, bytes | None], expect: Mapping[str, int]) -> Mapping[str, int] | None:
        for _ in range(_TRIES):
            await self._reserve(sum(value is not None for value in batch.values()))
            # Both at once: what is encrypted with a key expects that this is the key.
            ring, version = self._ring or self._refuse(), self._version
            sealed = await self._encrypted(ring, batch)
            written: Mapping[str, int] | None = await self.sealed.write(sealed, expect={_KEYS: version, **expect})
            if written is not None:
                return written
            await trio.sleep(_STALE_S)
            if await self._keys_changed(version):
                await self._load()
            elif expect:
                return None
        raise self._restless()

    async def _encrypted(self, ring: Ring, batch: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
        def work() -> dict[str, bytes | None]:
            return {key: None if value is None else ring.encrypt(key, value) for key, value in batch.items()}

        size_bytes = sum(len(value or b"") + 512 for value in batch.values())
        return work() if size_bytes < _LARGE_BYTES else await trio.to_thread.run_sync(work)

    async def _kept(self) -> tuple[Keys, int]:
        entry = await self.sealed.get(_KEYS)
        if entry is None:
            return Keys(()), 0
        try:
            return msgspec.msgpack.decode(entry.value, type=Keys), entry.version
        except (msgspec.DecodeError, msgspec.ValidationError):
            message = f"storage {self._name}: its keys are damaged; restore a backup"
            raise StorageError(message, code="damaged") from None

    async def _load(self) -> bool:
        """Open the keys as they are now; False if there are none."""
        keys, version = await self._kept()
        if not keys.keys:
            return False
        ciphers: dict[int, Any] = {}
        for key in keys.keys:
            plain = await self._vault.unlock(key.locked, f"{self._name} key {key.number}")
            ciphers[key.number] = _cipher(key.algorithm, plain)
        self._ring, self._left = Ring(ciphers, keys.keys[-1].number, plain=keys.plain), 0
        self._version = version
        return True

    async def _add_key(self, keys: Keys, version: int) -> None:
        number = 1 + max((key.number for key in keys.keys), default=0)
        locked = await self._vault.lock(os.urandom(32), f"{self._name} key {number}")
        more = Keys((*keys.keys, DataKey(number, self._algorithm, locked)), keys.plain)
        await self.sealed.write({_KEYS: msgspec.msgpack.encode(more)}, expect={_KEYS: version})

    async def _keys_changed(self, version: int) -> bool:
        return (await self._kept())[1] != version

    async def _is_plain(self) -> bool:
        """Return whether something lies below that was not written through this."""
        async for key, _ in self.sealed.scan("", limit=sys.maxsize):
            if not key.startswith(HIDDEN):
                return True
        return False

    async def _reserve(self, count: int) -> None:
        """Count what the key encrypts, ahead and in large steps, so that its limit holds for all processes together."""
        while self._left < count:
            ring = self._ring or self._refuse()
            place = f"{_COUNT}{ring.current}"
            entry = await self.sealed.get(place)
            used, version = (0, 0) if entry is None else (int(entry.value), entry.version)
            step = max(_RESERVE, count)
            if used + step > MOST_WRITES:
                message = f"storage {self._name}: its key encrypted {used} values, as many as one may; "
                raise StorageError(message + "run 'llmspell storage rekey'", code="key_used_up")
            if await self.sealed.write({place: b"%d" % (used + step)}, expect={place: version}) is not None:
                self._left += step
        self._left -= count

    async def _all_current(self) -> int:
        """Encrypt with the current key what is not; returns how many values that were."""
        count, cursor = 0, ""
        while rows := [row async for row in self.sealed.scan("", after=cursor, limit=_ROW)]:
            cursor = rows[-1][0]
            ring = self._ring or self._refuse()
            own = [(key, entry) for key, entry in rows if not key.startswith(HIDDEN)]
            old = [(key, entry) for key, entry in own if not ring.is_current(key, entry.value)]
            if old:
                count += len(old)
                await self._anew(ring, old)
            await trio.lowlevel.checkpoint()
        return count

    async def _anew(self, ring: Ring, old: list[tuple[str, Entry]]) -> None:
        await self._reserve(len(old))
        batch = {key: ring.decrypt(key, entry.value) for key, entry in old}
        sealed = await self._encrypted(ring, batch)
        expect = {key: entry.version for key, entry in old}
        # If somebody wrote one of them meanwhile nothing is written, and the next round finds what is left.
        written = await self.sealed.write(sealed, expect={_KEYS: self._version, **expect})
        if written is None and await self._keys_changed(self._version):
            await self._load()

    def _refuse(self) -> Any:
        code = "plain" if self._refusal and not self._closing else "closed"
        reason = self._refusal if code == "plain" else "it is closed; use it while it is open"
        raise StorageError(f"storage {self._name}: {reason}", code=code)

    def _restless(self) -> StorageError:
        return StorageError(f"storage {self._name}: others keep changing its keys; try again")


class _Rows:
    """The entries of a scan, decrypted as they come."""

    def __init__(self, storage: Sealed, below: AsyncIterator[tuple[str, Entry]], limit: int) -> None:
        self._storage, self._below, self._left = storage, below, limit

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, Entry]:
        while self._left > 0:
            key, entry = await anext(self._below)
            if not key.startswith(HIDDEN):
                self._left -= 1
                return key, await self._storage.opened(key, entry)
        raise StopAsyncIteration


class _Snapshot:
    """Implements the contract's `StorageSnapshot` over the one of the storage below."""

    def __init__(self, storage: Sealed, below: StorageSnapshot) -> None:
        self._storage, self._below = storage, below

    async def get(self, key: str, /) -> Entry | None:
        """Return the entry, or None."""
        entry = await self._below.get(key)
        return None if entry is None or key.startswith(HIDDEN) else await self._storage.opened(key, entry)

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Return an iterator over entries in order of keys."""
        return _Rows(self._storage, self._below.scan(prefix, after=after, limit=_with_hidden(prefix, limit)), limit)


def _with_hidden(prefix: str, limit: int) -> int:
    """Return how many to ask for below, so that what is hidden takes no place."""
    if any(hidden.startswith(prefix) or prefix.startswith(hidden) for hidden in HIDDEN) and limit > 0:
        return min(limit + 64, sys.maxsize)
    return limit


def _cipher(algorithm: str, key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

    if algorithm == "aes-256-gcm":
        return AESGCM(key)
    if algorithm == "chacha20-poly1305":
        return ChaCha20Poly1305(key)
    raise StorageError(f"storage: the algorithm {algorithm[:40]!r} of a key is unknown; use a newer version")
