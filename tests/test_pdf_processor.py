"""The pdf-processor, each operation against poppler's programs; locked, damaged and hostile files, and limits."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from llmspell_hookspecs import InvalidInputError, LlmspellError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError
from oracles import called, oracle

NAME = "pdf-processor"
PAGES = ("First page about whales", "Second page, (brackets) and a Whale", "Third page: nothing")


def pdf_of(objects: dict[int, bytes]) -> bytes:
    """A PDF file of objects by number; 1 is its catalog."""
    data, places = b"%PDF-1.7\n", {}
    for number, body in objects.items():
        places[number] = len(data)
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (max(objects) + 1)
    for number in range(1, max(objects) + 1):
        data += b"%010d 00000 n \n" % places[number]
    return data + b"trailer\n<</Root 1 0 R /Size %d /Info 3 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (max(objects) + 1, start)


def stream(content: bytes, more: bytes = b"") -> bytes:
    return b"<</Length %d %s>>\nstream\n%s\nendstream" % (len(content), more, content)


def book(pages: tuple[str, ...] = PAGES) -> bytes:
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R/Outlines 5 0 R/AcroForm<</Fields[8 0 R]>>>>",
        2: b"",
        3: b"<</Title(On whales)/Author(H. Melville)/CreationDate(D:20191018120000Z)/Producer(by hand)>>",
        4: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        5: b"<</Type/Outlines/First 6 0 R/Last 7 0 R/Count 2>>",
        6: b"<</Title(Start)/Parent 5 0 R/Next 7 0 R/Dest[10 0 R/Fit]>>",
        7: b"<</Title(End)/Parent 5 0 R/Prev 6 0 R/Dest[14 0 R/Fit]>>",
        8: b"<</FT/Tx/T(name)/V(Ishmael)/Type/Annot/Subtype/Widget/Rect[0 0 9 9]>>",
        9: b"<<>>",
    }
    for index, text in enumerate(pages):
        number = 10 + 2 * index
        escaped = text.replace("(", r"\(").replace(")", r"\)").encode()
        objects[number] = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents %d 0 R/Resources<</Font<</F 4 0 R>>>>>>"
            % (number + 1)
        )
        objects[number + 1] = stream(b"BT /F 12 Tf 20 100 Td (" + escaped + b") Tj ET 1 0 0 rg 20 20 60 40 re f")
    kids = b" ".join(b"%d 0 R" % (10 + 2 * index) for index in range(len(pages)))
    objects[2] = b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(pages), kids)
    return pdf_of(objects)


@pytest.fixture
def whales(tmp_path: Path) -> Path:
    path = tmp_path / "whales.pdf"
    path.write_bytes(book())
    return path


async def result(path: Path, operation: str = "extract_text", settings: Any = None, **given: Any) -> Any:
    settings = {"tools": {NAME: settings}} if settings else None
    return (await called(path.parent, NAME, settings, operation=operation, input=str(path), **given)).result


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


async def test_the_text_is_what_pdftotext_finds(whales: Path) -> None:
    told = await result(whales)

    assert words(told["text"]) == words(oracle("pdftotext", "-layout", whales, "-"))
    assert (told["length"], told["page_count"]) == (len(told["text"]), 3)


async def test_pages_are_told_one_by_one_and_only_those_asked_for(whales: Path) -> None:
    told = await result(whales, "extract_pages", start_page=2, end_page=3)

    assert [page["page"] for page in told["pages"]] == [2, 3]
    for page in told["pages"]:
        number = str(page["page"])
        assert words(page["text"]) == words(oracle("pdftotext", "-f", number, "-l", number, whales, "-"))


async def test_metadata_is_what_pdfinfo_tells(whales: Path) -> None:
    told = await result(whales, "extract_metadata")

    lines = oracle("pdfinfo", "-isodates", whales).splitlines()
    info = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
    assert (told["title"], told["author"], told["producer"]) == (info["Title"], info["Author"], info["Producer"])
    assert (str(told["page_count"]), told["pdf_version"]) == (info["Pages"], info["PDF version"])
    assert told["created"][:10] == info["CreationDate"][:10] == "2019-10-18"
    assert info["Page size"].startswith(f"{told['page_size']['width']:g} x {told['page_size']['height']:g}")
    assert (told["file_size"], told["encrypted"]) == (whales.stat().st_size, False)


async def test_the_outline_has_its_pages_and_the_form_its_values(whales: Path) -> None:
    outline = (await result(whales, "outline"))["outline"]
    forms = await result(whales, "forms")

    assert outline == [{"title": "Start", "level": 1, "page": 1}, {"title": "End", "level": 1, "page": 3}]
    told = oracle("qpdf", "--json", "--json-key=outlines", whales)
    assert [row["page"] for row in outline] == [int(n) for n in re.findall(r'"destpageposfrom1": (\d+)', told)]
    assert forms["fields"] == [{"name": "name", "type": "text", "value": "Ishmael"}]


async def test_search_finds_every_place_with_what_is_around_it(whales: Path) -> None:
    told = await result(whales, "search", query="whale")
    exact = await result(whales, "search", query="Whale", case_sensitive=True)

    assert [match["page"] for match in told["matches"]] == [1, 2]
    assert oracle("pdftotext", whales, "-").lower().count("whale") == told["count"]
    assert [(match["page"], match["context"]) for match in exact["matches"]] == [(2, PAGES[1])]


async def test_render_draws_what_pdftoppm_draws(whales: Path) -> None:
    target, expected = whales.with_name("page.png"), whales.with_name("expected")
    told = await result(whales, "render", start_page=2, target_path=str(target), dpi=72)

    oracle("pdftoppm", "-f", "2", "-l", "2", "-r", "72", "-png", "-singlefile", whales, expected)
    differs = oracle("compare", "-metric", "RMSE", target, f"{expected}.png", "null:", codes=(0, 1))
    assert told["dimensions"] == {"width": 300, "height": 200}
    assert float(differs.partition("(")[2].partition(")")[0]) < 0.05


async def test_a_locked_file_needs_its_password(whales: Path) -> None:
    locked = whales.with_name("locked.pdf")
    oracle("qpdf", "--encrypt", "tell me", "owner", "256", "--", whales, locked)

    for operation in ("extract_text", "extract_metadata"):
        for given in ({}, {"password": "wrong"}):
            with pytest.raises(ToolError, match="password") as caught:
                await result(locked, operation, **given)
            assert caught.value.code == "password"
        assert await result(locked, operation, password="tell me")


def _bomb() -> bytes:
    """A page whose few bytes grow to 2 GB in three steps."""
    data = b"0 0 m " * (1 << 20)
    for _ in range(3):
        data = zlib.compress(data * (12 if len(data) < 1 << 16 else 1), 9)
    return pdf_of(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Count 1/Kids[4 0 R]>>",
            3: b"<<>>",
            4: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 5 0 R>>",
            5: stream(data, b"/Filter[/FlateDecode/FlateDecode/FlateDecode]"),
        }
    )


HOSTILE = {
    "nothing": b"",
    "no PDF": b"<html>",
    "cut off": book()[:700],
    "a lying count": book().replace(b"/Count 3", b"/Count 9"),
    "a ring of pages": pdf_of(
        {1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Count 1/Kids[2 0 R]>>", 3: b"<<>>"}
    ),
    "a ring of outlines": book().replace(b"/Prev 6 0 R/Dest", b"/Next 6 0 R/Dest"),
    "deep": pdf_of({1: b"<</Type/Catalog/Pages " + b"[" * 20_000 + b"]" * 20_000 + b">>", 2: b"<<>>", 3: b"<<>>"}),
    "a bomb": _bomb(),
    "huge": book().replace(b"[0 0 300 200]", b"[0 0 3e9 2e9]"),
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_hostile_file_ends_in_an_answer_or_one_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "evil.pdf"
    path.write_bytes(HOSTILE[kind])

    for operation, given in (
        ("extract_text", {}),
        ("extract_metadata", {}),
        ("outline", {}),
        ("render", {"target_path": str(tmp_path / "out.png")}),
    ):
        try:
            await result(path, operation, **given)
        except LlmspellError as error:
            assert error.code not in ("internal", "timeout"), error
            assert "\n" not in str(error)


async def test_what_is_above_the_limits_is_refused(whales: Path) -> None:
    with pytest.raises(ResourceLimitError, match="100"):
        await result(whales, settings={"max_file_size_bytes": 100})
    with pytest.raises(ToolError, match="more than 2 pages at once"):
        await result(whales, settings={"max_pages": 2})
    with pytest.raises(ToolError, match="more than 30 characters up to page 2"):
        await result(whales, settings={"max_text_bytes": 30})
    with pytest.raises(ToolError, match="2500 x 1667 is more than 1000 pixels"):
        await result(whales, "render", {"max_pixels": 1000}, dpi=600, target_path=str(whales.with_name("x.png")))
    with pytest.raises(ToolError, match="start_page is 4 of 3"):
        await result(whales, start_page=4)
    with pytest.raises(InvalidInputError, match="search needs query"):
        await result(whales, "search")
