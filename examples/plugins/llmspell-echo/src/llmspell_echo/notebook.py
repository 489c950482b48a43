"""The notebook storage: one file to which each batch adds one line of JSON, read whole when it is opened.

Invariant: the first line is a mark, and a file that has none or that of a later version is left as it is. Each further
line is a batch, on the disk before `Notebook.write` returns; one that was cut off is no batch and is taken away at the
next opening. Only one process has the file open.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

import trio
from pydantic import BaseModel, Field

from llmspell_hookspecs import InvalidInputError, Services
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.services import ProjectFolder
from llmspell_hookspecs.storage import Entry, check_batch, check_key

__all__ = ["Notebook", "NotebookSettings"]

_MARK: Final = b'{"llmspell notebook": 1}\n'


class NotebookSettings(BaseModel):
    """``[storage.notebook]``."""

    path: Path | None = Field(None, description="The file; .llmspell/notebook.jsonl if it is left out.")


class Notebook:
    """Keeps entries in one readable file."""

    name = "notebook"
    Settings: ClassVar[type[BaseModel]] = NotebookSettings

    def __init__(self, settings: NotebookSettings, services: Services | None = None) -> None:
        self._path = settings.path
        if services is not None:
            folder = services.get(ProjectFolder)
            self._path = folder.data("notebook.jsonl") if settings.path is None else folder.place(settings.path)
        self._file = -1
        self._lock = trio.Lock()
        self._entries: dict[str, Entry] = {}
        self._versions: dict[str, int] = {}  # of deleted keys, too: versions never begin anew

    async def __aenter__(self) -> Self:
        """Open the file and read it."""
        if self._file >= 0:
            raise StorageError("storage notebook: it is open already; open another one")
        if self._path is None:
            raise StorageError("storage notebook: it has no path; set storage.notebook.path")
        try:
            await trio.to_thread.run_sync(self._open, self._path)
        except OSError as error:
            reason = f"{error.strerror or error}; give another path, or close who has it open"
            raise StorageError(f"storage {self._path}: {reason}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close it."""
        await self.close()

    async def get(self, key: str, /) -> Entry | None:
        """Return the entry, or None."""
        check_key(key)
        await trio.lowlevel.checkpoint()
        self._check_open()
        return self._entries.get(key)

    async def write(
        self, batch: Mapping[str, bytes | None], /, *, expect: Mapping[str, int] | None = None
    ) -> Mapping[str, int] | None:
        """Write all of it or nothing, and return the new versions."""
        check_batch(batch, expect)
        values, expected = dict(batch), dict(expect or {})
        async with self._lock:
            self._check_open()
            if any(self._version(key) != version for key, version in expected.items()):
                return None
            line = {key: self._row(key, value) for key, value in values.items()}
            try:
                await trio.to_thread.run_sync(self._append, json.dumps(line))
            except OSError as error:
                raise StorageError(f"storage {self._path}: {error}; nothing was written") from error
            self._take(line)
            return {key: self._version(key) for key in values}

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Return an iterator over entries in order of keys, as they are when it is first asked."""

        def read() -> Iterator[tuple[str, Entry]]:
            self._check_open()
            keys = sorted(key for key in self._entries if key.startswith(prefix) and key > after)
            return iter([(key, self._entries[key]) for key in keys[:limit]])

        if limit < 0:
            raise InvalidInputError(f"storage notebook: the limit is {limit}; give 0 or more", field="limit")
        if any("\ud800" <= letter <= "\udfff" for letter in prefix + after):
            raise InvalidInputError("storage notebook: half a letter in prefix or after; take it out", field="prefix")
        return _Scan(read)

    async def close(self) -> None:
        """Close it after the write under way."""
        with trio.CancelScope(shield=True):
            async with self._lock:
                if self._file >= 0:
                    os.close(self._file)
                    self._file = -1

    def _open(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe would be waited for
        file = os.open(path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise StorageError(f"storage {path}: it is no regular file; give another path")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = path.read_bytes()
            if not text:
                os.write(file, _MARK)
            self._read(path, text or _MARK)
            os.ftruncate(file, text.rfind(b"\n") + 1 or len(_MARK))
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def _read(self, path: Path, text: bytes) -> None:
        mark, *lines = text[: text.rfind(b"\n") + 1].splitlines(keepends=True) or [b""]
        if mark != _MARK:
            known = mark.startswith(_MARK[:-3])
            reason = (
                "a later version made it; upgrade llmspell-echo" if known else "it is no notebook; give another path"
            )
            raise StorageError(f"storage {path}: {reason}")
        self._entries, self._versions = {}, {}
        for number, line in enumerate(lines, 2):
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, AttributeError) as error:
                raise StorageError(
                    f"storage {path}: line {number} is no batch; mend it, or put a copy in its place"
                ) from error

    def _append(self, line: str) -> None:
        size = os.fstat(self._file).st_size
        data = line.encode() + b"\n"
        try:
            if os.write(self._file, data) < len(data):
                raise OSError("the disk is full")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, size)
            raise

    def _row(self, key: str, value: bytes | None) -> tuple[int, str | None]:
        version = self._versions.get(key, 0) + (value is not None)
        return version, None if value is None else base64.b64encode(value).decode()

    def _take(self, line: Mapping[str, tuple[int, str | None]]) -> None:
        for key, (version, value) in line.items():
            self._versions[key] = version
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = Entry(base64.b64decode(value), version)

    def _version(self, key: str) -> int:
        entry = self._entries.get(key)
        return entry.version if entry is not None else 0

    def _check_open(self) -> None:
        if self._file < 0:
            raise StorageError("storage notebook: it is closed; open it first", code="closed")


class _Scan:
    """An iterator and no async generator, so that it may be left early without being closed."""

    def __init__(self, read: Callable[[], Iterator[tuple[str, Entry]]]) -> None:
        self._read = read
        self._rows: Iterator[tuple[str, Entry]] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, Entry]:
        await trio.lowlevel.checkpoint()
        if self._rows is None:
            self._rows = self._read()
        try:
            return next(self._rows)
        except StopIteration:
            raise StopAsyncIteration from None
