"""The conformance suite of storage backends that live in a file or a folder: what they make of what lies there.

::

    class TestNotebookFile(StorageFileConformance):
        def make_at(self, path: Path) -> Storage:
            return Notebook(NotebookSettings(path=path))

Invariant: it knows a backend by its protocol and its path. What is wrong with a place is one `StorageError` of one line
that names it, and what lies there is left as it is.
"""
# ruff: noqa: D102 - a test's name is a sentence

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import ClassVar, Final

import pytest
import trio

from llmspell_hookspecs import Storage
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Entry

__all__ = ["StorageFileConformance"]

_TIMEOUT_S: Final = 60
_NOBODY: Final = 65534
_CUTS: Final = 12


class StorageFileConformance:
    """The tests; subclass it beside `StorageConformance`, and say how to make a storage at a path.

    Attributes:
        data: Where in the path the data lie, if it is a folder, such as ``data.mdb``; empty if it is a file.
        reads_only: Whether it can be opened where nothing can be written, to read.
    """

    data: ClassVar[str] = ""
    reads_only: ClassVar[bool] = True

    def make_at(self, path: Path) -> Storage:
        """Return a storage, not yet open, that keeps its data at this path; there may be nothing yet."""
        raise AssertionError(f"{type(self).__name__} has no method make_at(path); write one")

    def make_later(self, path: Path) -> None:
        """Turn the storage that lies there, closed, into one of a later version than this one knows."""
        pytest.skip("it has no versions; write make_later(path) if it has")

    def test_its_files_hold_all_once_it_is_closed(self, place: Path) -> None:
        self._fill(place)
        copy = place.with_name("copy")
        (shutil.copytree if self.data else shutil.copy)(place, copy)

        for path in (place, copy):
            _run(self._read(path))

    @pytest.mark.parametrize("kind", ["the other kind", "a pipe", "a socket", "a device", "a link to itself"])
    def test_what_lies_there_and_is_neither_file_nor_folder_of_ours_is_one_error(self, place: Path, kind: str) -> None:
        build = _THINGS.get(kind) or (_text if self.data else Path.mkdir)
        build(place)

        self._refused(place)

    @pytest.mark.parametrize("kind", ["the other kind", "a pipe", "a socket", "a device", "a link to itself"])
    def test_what_lies_in_its_folder_and_is_no_file_is_one_error(self, place: Path, kind: str) -> None:
        if not self.data:
            pytest.skip("it has no folder")
        place.mkdir()
        build = _THINGS.get(kind, Path.mkdir)
        build(place / self.data)

        self._refused(place)

    @pytest.mark.parametrize("kind", ["a text", "a short text", "a line", "JSON", "zeros", "bytes", "a database"])
    def test_somebody_elses_file_is_one_error_and_stays(self, place: Path, kind: str) -> None:
        file = self._file(place)
        file.parent.mkdir(exist_ok=True)
        _FOREIGN[kind](file)
        before = file.read_bytes()

        self._refused(place)

        assert file.read_bytes() == before

    def test_a_file_of_no_bytes_becomes_a_storage(self, place: Path) -> None:
        file = self._file(place)
        file.parent.mkdir(exist_ok=True)
        file.touch()

        async def test() -> None:
            for expected in ({}, {"a": Entry(b"1", 1)}):
                async with self.make_at(place) as storage:
                    assert await _all(storage) == expected
                    await storage.write({"a": b"1"}, expect={"a": 0})

        _run(test)

    def test_a_storage_of_a_later_version_is_one_error_and_stays(self, place: Path) -> None:
        self._fill(place)
        self.make_later(place)
        before = self._file(place).read_bytes()

        self._refused(place)

        assert self._file(place).read_bytes() == before

    @pytest.mark.parametrize("part", range(1, _CUTS))
    def test_of_a_file_that_was_cut_there_are_whole_batches_or_one_error(self, place: Path, part: int) -> None:
        self._fill(place)
        file = self._file(place)
        os.truncate(file, file.stat().st_size * part // _CUTS)

        async def test() -> None:
            async with self.make_at(place) as storage:
                found = await _all(storage)
            count = len(found) // 2
            assert {key: entry.value for key, entry in found.items()} == _batches(count)

        try:
            _run(test)
        except StorageError as error:
            _check(error, place)

    def test_where_nothing_can_be_written_it_is_read_or_refused(self, place: Path) -> None:
        self._fill(place)

        async def test() -> None:
            async with self.make_at(place) as storage:
                before = await _all(storage)
                with pytest.raises(StorageError) as caught:
                    await storage.write({"0": b"new"})
                assert before == await _all(storage)
                assert {key: entry.value for key, entry in before.items()} == _batches(20)
                _check(caught.value)

        _run(self._read(place))  # what is imported on the way is there
        with _only_readable(place.parent):
            if self.reads_only:
                _run(test)
            else:
                self._refused(place)
        _run(self._read(place))

    @pytest.fixture
    def place(self) -> Iterator[Path]:
        """A path at which nothing lies, in a folder that every user may enter."""
        folder = Path(tempfile.mkdtemp())
        folder.chmod(0o755)
        yield folder / "store"
        shutil.rmtree(folder)

    def _file(self, place: Path) -> Path:
        return place / self.data if self.data else place

    def _fill(self, place: Path) -> None:
        async def fill() -> None:
            async with self.make_at(place) as storage:
                for number in range(20):
                    await storage.write({f"{number}": b"%d" % number * 500, f"{number}/twin": b"%d" % number * 500})

        _run(fill)

    def _read(self, place: Path) -> Callable[[], Awaitable[None]]:
        async def read() -> None:
            async with self.make_at(place) as storage:
                assert {key: entry.value for key, entry in (await _all(storage)).items()} == _batches(20)

        return read

    def _refused(self, place: Path) -> None:
        """Use it in all ways, and see it refused in one line."""

        async def use() -> None:
            async with self.make_at(place) as storage:
                await storage.get("a")
                await _all(storage)
                await storage.write({"a": b"new"}, expect={"a": 0})

        with pytest.raises(StorageError) as caught:
            _run(use)
        _check(caught.value, place)


def _text(path: Path) -> object:
    return path.write_text("nothing of yours\n" * 100)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _database(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE theirs (x)")


_THINGS: Final[dict[str, Callable[[Path], object]]] = {
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a device": lambda path: path.symlink_to("/dev/null"),
    "a link to itself": lambda path: path.symlink_to(path),
}
_FOREIGN: Final[dict[str, Callable[[Path], object]]] = {
    "a text": _text,
    "a short text": lambda path: path.write_text("no"),
    "a line": lambda path: path.write_text("no\n"),
    "JSON": lambda path: path.write_text('{"a": [1, "2"]}\n' * 100),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "bytes": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "a database": _database,
}


@contextmanager
def _only_readable(folder: Path) -> Iterator[None]:
    """Take the right to write from everything below, and from root, who needs none, its power."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    root = os.geteuid() == 0
    if root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


def _batches(count: int) -> dict[str, bytes]:
    return {f"{number}{twin}": b"%d" % number * 500 for number in range(count) for twin in ("", "/twin")}


def _run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(_TIMEOUT_S):
            await main()

    trio.run(bounded)


def _check(error: BaseException, place: Path | None = None) -> None:
    text = str(error)
    assert text.isprintable(), text
    assert len(text) <= 500
    assert place is None or place.name in text, f"it does not name {place}: {text}"


async def _all(storage: Storage) -> dict[str, Entry]:
    return {key: entry async for key, entry in storage.scan("", limit=10_000)}
