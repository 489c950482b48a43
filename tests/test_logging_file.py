"""The file of the plugin logging: whole lines only, none lost but by rotation, whatever becomes of disk and process."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listening_log import child, held, lines_in
from llmspell_plugins.hooks.logging import file as file_module
from llmspell_plugins.hooks.logging.file import PAGE_BYTES, RotatingFile
from waiting import PATIENCE_S, until

LENGTHS = st.lists(st.integers(2, 5000) | st.integers(4000, 4200) | st.integers(2, 40), min_size=1, max_size=60)


def numbered(lengths: list[int]) -> list[bytes]:
    return [b"%d" % (number % 10) * (length - 1) + b"\n" for number, length in enumerate(lengths)]


@given(st.lists(LENGTHS, min_size=1, max_size=6), st.sampled_from([0, 100, 4096, 10_000]), st.integers(1, 4))
def test_what_is_kept_is_the_end_of_what_was_written(batches: list[list[int]], rotate_bytes: int, keep: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "it.log")
        file = RotatingFile(path, rotate_bytes, keep)
        written: list[bytes] = []
        for number, lengths in enumerate(batches):
            file.write(numbered(lengths))
            written += numbered(lengths)
            if number % 2:  # as if another host went on
                file.close()
        file.close()
        kept = held(path)
        full = sorted(path.parent.glob("it.log.*"))
        sizes = [each.stat().st_size for each in (*full, path)]

        assert kept == written[len(written) - len(kept) :]
        assert file.lines == len(written)
        assert len(full) == min(keep, file.rotations)
        if file.rotations < keep:
            assert len(kept) == len(written)
        for each, size in zip((*full, path), sizes, strict=True):
            assert not rotate_bytes or size <= rotate_bytes or len(lines_in(each)) == 1


@given(LENGTHS)
def test_no_line_that_fits_on_a_page_lies_on_two(lengths: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "it.log")
        file = RotatingFile(path, 0, 1)
        for line in numbered(lengths):
            file.write([line])
        file.close()
        start = 0
        for line in path.read_bytes().splitlines(keepends=True):
            text = line.rstrip(b" \n")
            if len(text) < PAGE_BYTES:
                assert start // PAGE_BYTES == (start + max(len(text), 1) - 1) // PAGE_BYTES
            start += len(line)


@given(LENGTHS, LENGTHS, st.integers(0, 40_000))
def test_of_what_a_full_disk_cuts_off_nothing_is_left(before: list[int], lengths: list[int], room: int) -> None:
    pwrite = os.pwrite
    left = room

    def cut_off(descriptor: int, data: bytes, offset: int) -> int:
        nonlocal left
        done = pwrite(descriptor, data[:left], offset)
        left -= done
        return done

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder, "it.log")
        file = RotatingFile(path, 0, 1)
        file.write(numbered(before))
        patch.setattr(os, "pwrite", cut_off)
        try:
            file.write(numbered(lengths))
            fits = True
        except OSError:
            fits = False
        patch.undo()
        count = file.lines
        file.write([b"and on\n"])
        file.close()

        assert held(path) == [*[*numbered(before), *numbered(lengths)][:count], b"and on\n"]
        assert (count == len(before) + len(lengths)) is fits


@pytest.mark.parametrize("size", [0, 300])
def test_half_a_line_of_somebody_else_stays_on_a_line_of_its_own(tmp_path: Path, size: int) -> None:
    path = tmp_path / "it.log"
    path.write_bytes(b"x" * size + b"half")
    file = RotatingFile(path, 0, 1)

    file.write([b"whole\n"])
    file.close()

    assert held(path) == [b"x" * size + b"half\n", b"whole\n"]


@pytest.mark.parametrize("how", ["moved", "removed", "emptied"])
def test_a_file_that_others_move_remove_or_empty_is_gone_on_with(tmp_path: Path, how: str) -> None:
    path = tmp_path / "it.log"
    file = RotatingFile(path, 0, 1)
    file.write([b"one\n"])
    match how:
        case "moved":
            path.rename(tmp_path / "it.log.1")
        case "removed":
            path.unlink()
        case _:
            os.truncate(path, 0)

    file.write([b"two\n"])
    file.close()

    assert held(path) == ([b"one\n", b"two\n"] if how == "moved" else [b"two\n"])


def test_a_gap_among_the_full_files_is_closed_and_those_beyond_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "it.log"
    for number in (1, 3, 4, 5, 6):
        Path(f"{path}.{number}").write_text(f"{number}\n")
    file = RotatingFile(path, 5, 4)

    file.write([b"old\n", b"new\n"])
    file.close()

    assert held(path) == [b"4\n", b"3\n", b"1\n", b"old\n", b"new\n"]


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "it.log", 0, 1)
    file.write([b"x\n"])
    file.close()

    assert (tmp_path / "it.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "told"),
    [("link", "it is a link"), ("fifo", "neither a file nor"), (".", "directory"), ("a\0", "cannot be")],
)
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "other")
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(OSError, match=told):
        RotatingFile(tmp_path / name, 0, 1).write([b"x\n"])

    assert not (tmp_path / "other").exists()


def test_a_file_that_another_process_holds_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "_TRIES", 3)
    file = RotatingFile(tmp_path / "it.log", 0, 1)
    with open(tmp_path / "it.log", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another process holds it"):
            file.write([b"one\n"])
    file.write([b"two\n"])
    file.close()

    assert held(tmp_path / "it.log") == [b"two\n"]


@pytest.mark.long
def test_a_writer_that_is_killed_leaves_whole_lines(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / str(number)
        with child("lines", path, number, 0, 10_000_000):
            until(lambda path=path: path.exists() and path.stat().st_size)  # type: ignore[misc]
            time.sleep(number * 0.001)
        rows = [json.loads(line) for line in held(path)]
        assert [row[:2] for row in rows] == [[str(number), each] for each in range(len(rows))]
        assert rows


@pytest.mark.long
def test_hosts_that_write_to_one_path_lose_and_mix_up_nothing(tmp_path: Path) -> None:
    path = tmp_path / "it.log"
    count = 3000
    with child("lines", path, "a", count, 50_000) as one, child("lines", path, "b", count, 50_000) as other:
        assert (one.wait(PATIENCE_S), other.wait(PATIENCE_S)) == (0, 0)

    found: dict[str, list[Any]] = {"a": [], "b": []}
    for name, number, _ in map(json.loads, held(path)):
        found[name].append(number)
    assert found == {"a": list(range(count)), "b": list(range(count))}
    assert len(list(tmp_path.glob("it.log.*"))) > 10
