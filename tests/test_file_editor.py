"""The file-editor, against sed and against a model of lines; what is not unique, not text, changed since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel import opened
from llmspell import Host
from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import SecurityError
from oracles import called, oracle

NAME = "file-editor"
TEXT = "one\ntwo\nthree\ntwo and a half\n"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text(TEXT)
    return path


async def edited(path: Path, operation: str, **given: Any) -> Any:
    return (await called(path.parent, NAME, path=str(path), operation=operation, **given)).result


@pytest.mark.parametrize(("first", "last"), [(1, None), (2, 3), (4, 99)])
async def test_view_shows_lines_with_their_numbers(notes: Path, first: int, last: int | None) -> None:
    result = await edited(notes, "view", start_line=first, end_line=last)

    assert result["content"] == oracle("sh", "-c", f"cat -n {notes} | sed -n '{first},{last or '$'}p'")
    assert result["line_count"] == 4


async def test_parameters_may_be_spelled_as_models_are_trained_to(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"

    async def edit(command: str, **given: Any) -> Any:
        return (await called(tmp_path, NAME, command=command, path=str(path), **given)).result

    await edit("create", file_text=TEXT)
    await edit("str_replace", old_str="three", new_str="3")
    await edit("insert", insert_line=0, insert_text="zero")
    assert path.read_text() == "zero\n" + TEXT.replace("three", "3")
    assert (await edit("view", view_range=[2, 3]))["content"] == "     2\tone\n     3\ttwo\n"
    assert (await edit("view", view_range=[4, -1]))["content"] == "     4\t3\n     5\ttwo and a half\n"
    for wrong in (
        {"view_range": [3, 2]},
        {"view_range": [0, 2]},
        {"view_range": [1]},
        {"view_range": [1, 2], "end_line": 2},
    ):
        with pytest.raises(InvalidInputError):
            await edit("view", **wrong)


async def test_str_replace_changes_the_one_place(notes: Path) -> None:
    expected = oracle("sed", "s/three/3/", notes)

    result = await edited(notes, "str_replace", old_text="three", new_text="3")

    assert notes.read_text() == expected
    assert (result["line"], "     3\t3\n" in result["snippet"]) == (3, True)


async def test_a_text_that_is_not_there_once_is_refused_with_its_lines(notes: Path) -> None:
    with pytest.raises(ToolError, match="2 times, on lines 2, 4") as caught:
        await edited(notes, "str_replace", old_text="two", new_text="2")
    with pytest.raises(ToolError, match="it stands in the file not"):
        await edited(notes, "str_replace", old_text="four", new_text="4")

    assert caught.value.code == "not_unique"
    assert notes.read_text() == TEXT


@pytest.mark.parametrize("line", [0, 2, 4])
async def test_insert_puts_lines_after_a_line(notes: Path, line: int) -> None:
    program = f"{line}a\\\nnew\\\nlines" if line else "1i\\\nnew\\\nlines"
    expected = oracle("sed", program, notes)

    await edited(notes, "insert", insert_line=line, new_text="new\nlines")

    assert notes.read_text() == expected


async def test_windows_line_ends_stay(tmp_path: Path) -> None:
    path = tmp_path / "dos.txt"
    path.write_bytes(b"a\r\nb\r\nc")

    await edited(path, "str_replace", old_text="a\nb", new_text="x\ny\nz")
    await edited(path, "insert", insert_line=4, new_text="end")

    assert path.read_bytes() == b"x\r\ny\r\nz\r\nc\r\nend"


async def test_create_makes_a_file_and_replaces_none(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    await edited(path, "create", new_text="hello\n")

    with pytest.raises(ToolError, match="there already"):
        await edited(path, "create", new_text="again")

    assert path.read_text() == "hello\n"


def _opened(folder: Path, **own: int) -> Any:
    rules = {"paths": {"read": [str(folder)], "write": [str(folder)]}}
    return opened(settings={"security": rules, "tools": {NAME: own}})


async def _edit(host: Host, path: Path, operation: str, **given: Any) -> Any:
    return (await host.call(f"tool:{NAME}", {"path": str(path), "operation": operation, **given})).result


async def test_edits_are_undone_one_by_one_and_only_as_many_as_are_kept(notes: Path) -> None:
    async with _opened(notes.parent, undo_steps=2) as host:
        for number in range(3):
            await _edit(host, notes, "insert", insert_line=0, new_text=str(number))
        for further in (1, 0):
            assert (await _edit(host, notes, "undo"))["further"] == further
        with pytest.raises(ToolError, match="no edit of this file is remembered"):
            await _edit(host, notes, "undo")

    assert notes.read_text() == f"0\n{TEXT}"


async def test_what_somebody_else_wrote_since_is_not_undone(notes: Path) -> None:
    async with _opened(notes.parent) as host:
        await _edit(host, notes, "insert", insert_line=0, new_text="x")
        notes.write_text("mine")
        with pytest.raises(ToolError, match="has changed since"):
            await _edit(host, notes, "undo")

    assert notes.read_text() == "mine"


async def test_what_is_no_text_or_too_large_or_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary"
    path.write_bytes(b"ab\xff")
    (tmp_path / "link").symlink_to("/etc/hostname")

    with pytest.raises(ToolError, match="no UTF-8 at byte 2"):
        await edited(path, "view")
    with pytest.raises(SecurityError):
        await edited(tmp_path / "link", "view")
    with pytest.raises(ToolError, match="above 10"):
        async with _opened(tmp_path, max_file_size_bytes=10) as host:
            await _edit(host, tmp_path / "new", "create", new_text="x" * 11)
    with pytest.raises(InvalidInputError, match="str_replace needs old_text and new_text"):
        await edited(path, "str_replace")
    with pytest.raises(InvalidInputError, match="new_text is no Unicode text"):
        await edited(path, "create", new_text="\udcff")
    with pytest.raises(ToolError, match="insert_line: the file has 0 lines"):
        (tmp_path / "empty").touch()
        await edited(tmp_path / "empty", "insert", insert_line=1, new_text="x")
