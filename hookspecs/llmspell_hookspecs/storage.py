"""What a storage backend is: versioned entries under keys; an entry point in ``llmspell.storage``.

A backend is a class, constructed with ``(settings, services)`` where ``settings`` is an instance of its pydantic model
``Settings``, and used within ``async with``, which opens and closes it. One that needs tasks of its own holds their
nursery there, so the block is left in the task that entered it; any task may use it meanwhile.

Invariant: `Storage.write` is atomic and durable when it returns; the versions of a key only grow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

from msgspec import Struct

from .errors import InvalidInputError

__all__ = ["MAX_KEY_BYTES", "Entry", "Snapshots", "Storage", "StorageSnapshot", "Storages", "check_batch", "check_key"]

MAX_KEY_BYTES: Final = 511
"""The longest key, in UTF-8: what LMDB takes."""


class Entry(Struct, frozen=True):
    """A stored value.

    Attributes:
        value: The bytes.
        version: Grows with each write of the key, from 1; also when the key was deleted in between.
    """

    value: bytes
    version: int


@runtime_checkable
class Storage(Protocol):
    """A backend; one conformance suite holds all of them (``llmspell_testing.StorageConformance``).

    Keys are 1 to `MAX_KEY_BYTES` bytes in UTF-8, and are ordered by their code points.
    """

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            StorageError: It cannot be opened, or is open already.
        """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close it."""

    async def get(self, key: str, /) -> Entry | None:
        """Return the entry, or None.

        It sees every write that returned in this process. What another process wrote may be missed for a moment, at
        most 1 ms; `write` with ``expect`` never misses it.
        """

    async def write(
        self, batch: Mapping[str, bytes | None], /, *, expect: Mapping[str, int] | None = None
    ) -> Mapping[str, int] | None:
        """Write all of it or nothing; None deletes. Cancelled, it has written all or nothing too.

        Args:
            batch: The new values; they are read before anything is awaited.
            expect: The versions that the keys must have (0: absent) for the write to happen.

        Returns:
            The new version of each key of the batch, 0 for one that is deleted; None if a version differs from the
            expected one, and nothing was written.
        """

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Return an iterator over entries in order of keys, from behind ``after``, at most ``limit``.

        What is written while it runs may be seen or not; each key comes at most once. A write of up to 20 entries is
        seen whole or not at all by a scan that asks for no more. An iterator may be left before its end and is not
        closed then, so it is no async generator.

        Raises:
            InvalidInputError: The limit is negative, or the prefix or ``after`` is no Unicode text.
        """

    async def close(self) -> None:
        """Close it after the writes under way; what was written stays. Closing again does nothing.

        The host leaves it as it leaves everything: by ``__aexit__``, which does this. It is for who opened it by hand.
        """


class StorageSnapshot(Protocol):
    """A storage as it is at one moment, whatever is written meanwhile."""

    async def get(self, key: str, /) -> Entry | None:
        """Return the entry, or None."""

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Return an iterator over entries in order of keys; see `Storage`."""


@runtime_checkable
class Snapshots(Protocol):
    """What a storage may offer beside `Storage`: to be read as it is at one moment. Ours do."""

    def snapshot(self) -> AbstractAsyncContextManager[StorageSnapshot]:
        """Return a block in which it is read as it is when the block begins; others write on meanwhile.

        Leave it soon: what is written meanwhile takes room of its own until then.

        Raises:
            StorageError: It is closed, or cannot be read.
        """


@runtime_checkable
class Storages(Protocol):
    """Opens storages by name, as settings have them.

    Each is opened once, when it is first asked for, and closed after everything that the host started has ended.
    """

    async def open(self, name: str = "", /) -> Storage:
        """Return an open storage; everybody who asks shares it.

        Args:
            name: A backend's, such as ``sqlite``; empty for the one that ``storage.backend`` names.

        Raises:
            ComponentNotFoundError: There is no such backend.
            PluginError: It cannot be loaded, or its settings are wrong.
            StorageError: It cannot be opened, or the host closes.
        """


def check_key(key: str, /) -> bytes:
    """Return the key in UTF-8.

    Raises:
        InvalidInputError: It is empty, too long, or no Unicode text.
    """
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"storage key {key!r}: it has a lone surrogate; take it out", field="key") from None
    if 0 < len(encoded) <= MAX_KEY_BYTES:
        return encoded
    message = f"storage key {key[:40]!r}: it has {len(encoded)} bytes in UTF-8; give 1 to {MAX_KEY_BYTES}"
    raise InvalidInputError(message, field="key")


def check_batch(batch: Mapping[str, bytes | None], expect: Mapping[str, int] | None = None, /) -> None:
    """Check what is to be written.

    Raises:
        InvalidInputError: A key is wrong (see `check_key`), or a value is not bytes.
    """
    for key, value in batch.items():
        check_key(key)
        if value is not None and not isinstance(value, bytes):
            message = f"storage key {key[:40]!r}: its value is {type(value).__name__}; give bytes"
            raise InvalidInputError(message, field="value")
    for key in expect or ():
        check_key(key)
