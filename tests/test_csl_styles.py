"""The citation-formatter by files of the Citation Style Language, held against pandoc's citeproc with the same ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from oracles import called, oracle
from test_citation_formatter import CSL, ITEMS

ALIKE = (
    "acm-sig-proceedings",
    "american-chemical-society",
    "american-political-science-association",
    "american-sociological-association",
    "annual-reviews",
    "apa",
    "cell",
    "chicago-author-date",
    "elsevier-harvard",
    "harvard-cite-them-right",
    "ieee",
    "journal-of-clinical-oncology",
    "modern-language-association",
    "nature",
    "oxford-university-press-scimed-author-date",
    "plos",
    "sage-harvard",
    "science",
    "springer-vancouver-brackets",
    "taylor-and-francis-chicago-author-date",
    "the-lancet",
    "vancouver",
)
"""Styles by which each of our items is written to the letter as citeproc does it, in the list and in the text."""


async def told(folder: Path, style: str | Path, items: Any = ITEMS, **more: Any) -> Any:
    return (await called(folder, "citation-formatter", input=items, style=str(style), **more)).result


def written(folder: Path, text: str) -> Path:
    (folder / "own.csl").write_text(text)
    return folder / "own.csl"


def of_pandoc(style: Path, folder: Path) -> tuple[list[str], list[str]]:
    """The citations that citeproc makes, in our order, and its references."""
    (folder / "items.json").write_text(json.dumps(ITEMS))
    text = "\n\n".join(f"[@{item['id']}]" for item in ITEMS)
    options: list[str | Path] = [
        "--citeproc",
        "--csl",
        style,
        "--bibliography",
        folder / "items.json",
        "-t",
        "plain",
        "--wrap=none",
    ]
    lines = [plain(line) for line in oracle("pandoc", *options, given=text).splitlines() if line.strip()]
    return lines[: len(ITEMS)], lines[len(ITEMS) :]


def plain(text: str) -> str:
    return " ".join(text.replace("\xa0", " ").split())


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    """A folder of styles that the tool may read."""
    if not CSL.is_dir():
        pytest.skip("citation-style-language-styles is not installed; .ci/run installs it")
    (folder := tmp_path / "styles").mkdir()
    for name in ALIKE:
        (folder / f"{name}.csl").write_bytes((CSL / f"{name}.csl").read_bytes())
    return folder


@pytest.mark.parametrize("name", ALIKE)
async def test_references_and_citations_by_a_file_are_those_of_citeproc(styles: Path, name: str) -> None:
    result = await told(styles, styles / f"{name}.csl")

    citations, references = of_pandoc(styles / f"{name}.csl", styles)
    cited = {each["key"]: plain(each["citation"]) for each in result["entries"]}
    assert [cited[item["id"]] for item in ITEMS] == citations
    assert sorted(plain(each["reference"]) for each in result["entries"]) == sorted(references)
    assert result["entry_count"] == len(ITEMS)


async def test_italics_and_numbers_are_written_as_asked(styles: Path) -> None:
    made = {
        kind: await told(styles, styles / "nature.csl", ITEMS[:1], markup=kind) for kind in ("text", "markdown", "html")
    }

    assert made["text"]["entries"][0]["citation"] == "¹"
    assert made["html"]["entries"][0]["citation"] == "<sup>1</sup>"
    assert "*Mind* **59**" in made["markdown"]["bibliography"]
    assert "<i>Mind</i> <b>59</b>" in made["html"]["bibliography"]


OWN = (
    '<style xmlns="http://purl.org/net/xbiblio/csl" class="in-text" version="1.0" default-locale="en-US">'
    '<info><title>Own &amp; short</title></info>{more}<citation {options}><layout prefix="(" suffix=")">'
    '<group delimiter=" "><names variable="author"><name form="short" et-al-min="2" et-al-use-first="1"/></names>'
    '<date variable="issued"><date-part name="year"/></date></group></layout></citation>'
    '<bibliography><sort><key variable="title"/></sort><layout><text variable="title" quotes="true" suffix="."/>'
    "</layout></bibliography></style>"
)


def alike(given: str, other: str) -> list[dict[str, Any]]:
    authors = [{"family": "Roe", "given": given}, {"family": other, "given": "Ann"}]
    return [
        {"id": "b", "type": "book", "title": "Zebras...", "author": authors, "issued": "2001"},
        {"id": "a", "type": "book", "title": "Ants?", "author": [*authors[:1], {"family": "Poe"}], "issued": "2001"},
    ]


@pytest.mark.parametrize(
    ("option", "citations"),
    [
        ('disambiguate-add-year-suffix="true"', ["(Roe et al. 2001a)", "(Roe et al. 2001b)"]),
        ('disambiguate-add-names="true"', ["(Roe, Poe 2001)", "(Roe, Doe 2001)"]),
        ("", ["(Roe et al. 2001)", "(Roe et al. 2001)"]),
    ],
)
async def test_two_that_would_be_cited_alike_are_told_apart_as_the_style_says(
    tmp_path: Path, option: str, citations: list[str]
) -> None:
    style = written(tmp_path, OWN.format(more="", options=option))

    result = await told(tmp_path, style, alike("Jo", "Doe"))

    assert [each["citation"] for each in result["entries"]] == citations
    assert result["bibliography"] == "“Ants?”\n“Zebras...”"
    assert result["style"] == "Own & short"


PARENT = '<link rel="independent-parent" href="http://www.zotero.org/styles/nature"/>'
SPIRAL = '<macro name="a"><text macro="a"/></macro><macro name="b"><text macro="b"/></macro>'
CHAIN = "".join(f'<macro name="c{n}"><text macro="c{n - 1}"/></macro>' for n in range(1, 2000))
BUSH = "".join(f'<macro name="m{n}"><text macro="m{n - 1}"/><text macro="m{n - 1}"/></macro>' for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no style", "it is no XML"),
        ("<style/>", "no style with a layout"),
        ("<html><body/></html>", "no style with a layout"),
        (f"<style><info>{PARENT}</info></style>", "it only names another style, 'nature'"),
        ('<!DOCTYPE style [<!ENTITY a "b">]><style>&a;</style>', "it has a document type"),
        ("<g>" * 200 + "</g>" * 200, "larger or deeper"),
        (f"<style>{'<a/>' * 30_000}</style>", "larger or deeper"),
        (OWN.format(more=SPIRAL, options="").replace('variable="title" quotes', 'macro="a" quotes'), "without an end"),
        (
            OWN.format(more=f'<macro name="m0"><text value="x"/></macro>{BUSH}', options="").replace(
                'variable="title" quotes', 'macro="m39" quotes'
            ),
            "took longer than|memory",
        ),
        (
            OWN.format(more=f'<macro name="c0"><text value="x"/></macro>{CHAIN}', options="").replace(
                'variable="title" quotes', 'macro="c1999" quotes'
            ),
            "too deeply",
        ),
        ("<a" * 10_000, "it is no XML"),
        (
            OWN.format(more='<macro name="b"><text value="x"/></macro>', options="").replace(
                'variable="title" quotes', 'macro="bb" quotes'
            ),
            "it calls the macro 'bb', which is not there; write that, or correct it: did you mean b",
        ),
        (
            OWN.format(more="", options="").replace('key variable="title"', 'key macro="nothing"'),
            "it calls the macro 'nothing', which is not there; .* there are none",
        ),
    ],
)
async def test_a_file_that_is_no_style_or_has_no_end_is_one_error(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises((ToolError, ResourceLimitError), match=why) as caught:
        await told(tmp_path, written(tmp_path, text))

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('names variable="author"', 'names variable="title issued author"'),
        ('date-part name="year"', "date-part"),
        ('et-al-min="2"', 'et-al-min="two" initialize-with=""'),
        ('date variable="issued"', 'date variable="issued" form="nothing" date-parts=""'),
        ('text variable="title"', 'text variable="author" form="" text-case="odd" term=""'),
        ("<group delimiter", '<choose><if variable="" match="odd"/><nothing/></choose><group delimiter'),
    ],
)
async def test_what_a_style_says_that_means_nothing_is_left_out(tmp_path: Path, old: str, new: str) -> None:
    text = OWN.format(more="", options="")
    assert old in text

    result = await told(tmp_path, written(tmp_path, text.replace(old, new)), ITEMS[:2])

    assert result["entry_count"] == 2


async def test_a_style_that_may_not_be_read_is_not_read(tmp_path: Path) -> None:
    (outside := tmp_path / "outside").mkdir()
    (folder := tmp_path / "folder").mkdir()
    written(outside, OWN.format(more="", options=""))
    (folder / "link.csl").symlink_to(outside / "own.csl")
    (folder / "folder.csl").mkdir()
    (folder / "bytes.csl").write_bytes(b"\xff\xfe\x00")
    (folder / "large.csl").write_bytes(b" " * 1_000_001)

    for path in (outside / "own.csl", folder / "link.csl", folder / ".." / "outside" / "own.csl"):
        with pytest.raises(SecurityError):
            await told(folder, path)
    for name in ("missing", "folder", "bytes"):
        with pytest.raises(ToolError, match=r"citation-formatter: style: .*\.csl"):
            await told(folder, folder / f"{name}.csl")
    with pytest.raises(ResourceLimitError):
        await told(folder, folder / "large.csl")


async def test_a_name_that_is_neither_style_nor_file_is_refused(tmp_path: Path) -> None:
    for name in ("harvard", "", "~"):
        with pytest.raises(InvalidInputError, match=r"there is no style .*; take one of apa"):
            await told(tmp_path, name)


@pytest.mark.parametrize("form", ["ordinal", "long-ordinal", "roman"])
async def test_a_number_without_words_is_shown_as_it_is(tmp_path: Path, form: str) -> None:
    text = OWN.format(more="", options="").replace('text variable="title"', f'number variable="volume" form="{form}"')
    items = [{**ITEMS[0], "volume": "7" * 5000}]

    result = await told(tmp_path, written(tmp_path, text), items)

    assert "7" * 5000 in result["bibliography"]


async def test_a_style_that_is_too_large_is_told_with_what_can_be_done(tmp_path: Path) -> None:
    with pytest.raises(ResourceLimitError, match="give a smaller one"):
        await told(tmp_path, written(tmp_path, "x" * 2_000_000))
