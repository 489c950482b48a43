"""file_converter: held against iconv, dos2unix, unix2dos, expand and file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_plugins.tools.filesystem.file_converter import FileConverter
from tool_host import ask, oracle

TEXT = "Grüße, «déjà vu»\nzweite Zeile … €\n"


async def told(folder: Path, **parameters: Any) -> Any:
    return (await ask(FileConverter, folder, **parameters)).result


@pytest.mark.parametrize(
    ("name", "program"),
    [("utf16le", "UTF-16LE"), ("utf16be", "UTF-16BE"), ("windows1252", "WINDOWS-1252"), ("iso885915", "ISO-8859-15")],
)
async def test_an_encoding_is_converted_as_iconv_does_and_back(tmp_path: Path, name: str, program: str) -> None:
    text = TEXT.replace("…", "-")
    (tmp_path / "a").write_text(text)

    there = await told(
        tmp_path, operation="encoding", path=f"{tmp_path}/a", target_path=f"{tmp_path}/b", to_encoding=name
    )
    data = (tmp_path / "b").read_bytes()
    await told(tmp_path, operation="encoding", path=f"{tmp_path}/b", from_encoding=name, to_encoding="utf8")

    assert data == oracle("iconv", "-f", "UTF-8", "-t", program, given=text)
    assert (tmp_path / "b").read_text() == text
    assert (there["input_path"], there["output_path"]) == (f"{tmp_path}/a", f"{tmp_path}/b")
    assert (there["operation"], there["size"]) == ("encoding", len(data))


@pytest.mark.parametrize(("ending", "program"), [("crlf", "unix2dos"), ("cr", "unix2mac"), ("lf", "dos2unix")])
async def test_line_ends_are_those_of_their_program(tmp_path: Path, ending: str, program: str) -> None:
    text = b"one\r\ntwo\r\n\r\nthree" if ending == "lf" else b"one\ntwo\n\nthree"
    (tmp_path / "a").write_bytes(text)

    await told(tmp_path, operation="line_endings", path=f"{tmp_path}/a", line_ending=ending)

    assert (tmp_path / "a").read_bytes() == oracle(program, given=text)


async def test_mixed_line_ends_become_one_kind(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\r\nb\rc\n\r\n")

    await told(tmp_path, operation="line_endings", path=f"{tmp_path}/a", line_ending="crlf")

    assert (tmp_path / "a").read_bytes() == b"a\r\nb\r\nc\r\n\r\n"


async def test_indentation_is_that_of_expand_and_unexpand(tmp_path: Path) -> None:
    text = "\tone\n  \ttwo\tinner\n   three\n\t\t four\n"
    (tmp_path / "a").write_text(text)

    file = {"operation": "indentation", "path": f"{tmp_path}/a", "tab_size": 4}
    await told(tmp_path, **file, target_path=f"{tmp_path}/spaces")
    await told(tmp_path, **file, target_path=f"{tmp_path}/tabs", convert_to_spaces=False)

    assert (tmp_path / "spaces").read_bytes() == oracle("expand", "-i", "-t4", given=text)
    spaced = oracle("expand", "-i", "-t4", given=text)
    assert (tmp_path / "tabs").read_bytes() == oracle("unexpand", "--first-only", "-t4", given=spaced)


@pytest.mark.parametrize(
    ("encoding", "program", "expected"),
    [
        ("utf-8", "utf-8", "utf-8"),
        ("ascii", "us-ascii", "ascii"),
        ("utf-16", "utf-16le", "utf-16"),
        ("utf-8-sig", "utf-8", "utf-8-sig"),
        ("cp1252", "iso-8859-1", "cp1252"),
    ],
)
async def test_an_encoding_is_detected(tmp_path: Path, encoding: str, program: str, expected: str) -> None:
    text = "plain words\r\n" if encoding == "ascii" else "Grüße aus Köln, schöne Straße, Übung hilft\r\n" * 9
    (tmp_path / "a").write_bytes(text.encode(encoding))

    result = await told(tmp_path, operation="detect", path=f"{tmp_path}/a")

    assert oracle("file", "-b", "--mime-encoding", f"{tmp_path}/a").decode().strip() == program
    assert (result["encoding"], result["line_ending"]) == (expected, "crlf")


async def test_bytes_are_told_to_be_no_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x7fELF\x00\x01\xff\xfe" * 10)

    assert (await told(tmp_path, operation="detect", path=f"{tmp_path}/a"))["encoding"] == "binary"


async def test_what_would_be_lost_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(TEXT)
    (tmp_path / "b").write_bytes(b"ok\xff")

    with pytest.raises(InvalidInputError, match=r"ascii has no '\\xfc' \(line 1\)"):
        await told(tmp_path, operation="encoding", path=f"{tmp_path}/a", to_encoding="ascii")
    with pytest.raises(InvalidInputError, match="not utf-8 at byte 2"):
        await told(tmp_path, operation="encoding", path=f"{tmp_path}/b", to_encoding="utf16le")
    with pytest.raises(InvalidInputError, match="not known"):
        await told(tmp_path, operation="encoding", path=f"{tmp_path}/a", to_encoding="rot13")

    assert (tmp_path / "a").read_text() == TEXT
    assert (tmp_path / "b").read_bytes() == b"ok\xff"


async def test_links_and_places_outside_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to("/etc/hosts")

    for wrong in (
        {"path": f"{tmp_path}/link"},
        {"path": f"{tmp_path}/a", "target_path": "/etc/x"},
        {"path": f"{tmp_path}/a", "target_path": f"{tmp_path}/.hidden"},
    ):
        with pytest.raises(SecurityError):
            await told(tmp_path, operation="line_endings", line_ending="lf", **wrong)
    with pytest.raises(ToolError, match="no such file"):
        await told(tmp_path, operation="detect", path=f"{tmp_path}/none")


async def test_a_file_above_the_limit_is_refused_before_and_after(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("\t\t\n")

    with pytest.raises(ResourceLimitError, match="above the limit of 100"):
        file = {"operation": "indentation", "path": f"{tmp_path}/a", "tab_size": 64}
        await ask(FileConverter, tmp_path, {"max_file_size_bytes": 100}, **file)
    assert (tmp_path / "a").read_text() == "\t\t\n"
