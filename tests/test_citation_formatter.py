"""citation-formatter: held against pandoc's citeproc with the styles of the CSL project, and against bibutils."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernel import opened
from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_plugins.tools.utility.citation_formatter import CitationFormatter
from tool_host import ask, oracle

CSL = Path("/usr/share/citation-style-language/styles")
CSL_STYLES = {
    "apa": "apa",
    "mla": "modern-language-association",
    "chicago": "chicago-author-date",
    "ieee": "ieee",
}


def named(*names: str) -> list[dict[str, Any]]:
    return [dict(zip(("family", "given"), name.split(", "), strict=False)) for name in names]


def dated(*parts: int) -> dict[str, Any]:
    return {"date-parts": [list(parts)]}


ITEMS: list[dict[str, Any]] = [
    {
        "id": "turing",
        "type": "article-journal",
        "author": named("Turing, Alan M."),
        "title": "Computing machinery and intelligence",
        "container-title": "Mind",
        "volume": "59",
        "issue": "236",
        "page": "433-460",
        "issued": dated(1950),
        "DOI": "10.1093/mind/LIX.236.433",
    },
    {
        "id": "knuth",
        "type": "book",
        "author": named("Knuth, Donald E."),
        "title": "The art of computer programming",
        "publisher": "Addison-Wesley",
        "publisher-place": "Reading, MA",
        "edition": "3",
        "issued": dated(1997),
    },
    {
        "id": "chapter",
        "type": "chapter",
        "author": [{"family": "Cruz", "given": "Ana"}, {"family": "Smith", "given": "John", "suffix": "Jr."}],
        "editor": named("Jones, Bob", "Brown, Jean-Luc"),
        "title": 'The <span class="nocase">DNA</span> of things',
        "container-title": "Handbook of everything",
        "publisher": "MIT Press",
        "publisher-place": "Cambridge",
        "page": "310-320",
        "issued": dated(2001),
    },
    {
        "id": "thesis",
        "type": "thesis",
        "genre": "PhD thesis",
        "author": named("Shannon, Claude E."),
        "title": "An algebra for theoretical genetics",
        "publisher": "Massachusetts Institute of Technology",
        "issued": dated(1940),
    },
    {
        "id": "report",
        "type": "report",
        "genre": "Technical report",
        "number": "12",
        "author": named("Berners-Lee, Tim"),
        "title": "Information management: A proposal",
        "publisher": "CERN",
        "issued": dated(1989, 3),
    },
    {
        "id": "web",
        "type": "webpage",
        "author": [{"literal": "World Health Organization"}],
        "title": "Mental health",
        "container-title": "WHO News",
        "URL": "https://who.int/x",
        "issued": dated(2022, 4, 17),
    },
    {
        "id": "untold",
        "type": "webpage",
        "title": "How things work",
        "URL": "https://example.org/y",
        "issued": dated(2020),
    },
    {
        "id": "edited",
        "type": "book",
        "editor": named("Roe, Ann", "Poe, Ed"),
        "title": "Collected essays",
        "publisher": "Acme",
        "publisher-place": "Oslo",
        "issued": dated(2010),
    },
    {
        "id": "news",
        "type": "article-newspaper",
        "author": named("Guarino, Ben"),
        "title": "How will humanity react to alien life?",
        "container-title": "The Washington Post",
        "page": "A3",
        "issued": dated(2017, 12, 14),
    },
    {
        "id": "kim1",
        "type": "article-journal",
        "author": named("Kim, A."),
        "title": "First",
        "container-title": "Nature",
        "volume": "1",
        "page": "5-9",
        "issued": dated(2020),
    },
    {
        "id": "kim2",
        "type": "article-journal",
        "author": named("Kim, A."),
        "title": "Second",
        "container-title": "Nature",
        "volume": "2",
        "page": "101-108",
        "issued": dated(2020),
    },
    {
        "id": "several",
        "type": "article-journal",
        "author": named("Ames, Ida", "Bell, Jon", "Cole, Kay", "Dunn, Lee", "Eads, Max", "Ford, Ned", "Gray, Oz"),
        "title": "Many hands",
        "container-title": "Science",
        "volume": "3",
        "page": "1",
        "issued": dated(2021),
    },
]
OTHERWISE = {
    # by the manuals: MLA has number and degree so, Chicago has reports as books, IEEE has [Online]
    "mla": {"thesis", "report"},
    "chicago": {"report"},
    "ieee": {"web", "untold"},
    "apa": set[str](),
}
BIBTEX = r"""
@string{mind = "Mind"}
@comment{not this}
@article{turing1950, author = {Turing, Alan M.}, title = {Computing Machinery and {Intelligence}}, journal = mind,
  year = 1950, volume = {LIX}, number = 236, pages = {433--460}, doi = {10.1093/mind/LIX.236.433}}
@book{knuth1997, author = "Donald E. Knuth", title = {The Art of Computer Programming: Fundamental Algorithms},
  publisher = {Addison-Wesley}, address = {Reading, MA}, year = {1997}, edition = {3}}
@incollection{jones, author = {M{\"u}ller, J{\'e}r{\^o}me and Smith, Jr., John and {{World Bank}} and others},
  editor = {Bob Jones}, title = {The {DNA} of \emph{Things} \& more}, booktitle = {Handbook of Everything},
  publisher = {MIT Press}, year = 2001, pages = {10-20}, month = mar}
@phdthesis{shannon1940, author = {Shannon, Claude E.}, title = {An Algebra for Theoretical Genetics},
  school = {Massachusetts Institute of Technology}, year = 1940}
@inproceedings{paper, author = {Roe, Ann}, title = {On {XML}}, crossref = {proc}, pages = {1--2}}
@proceedings{proc, title = {Proceedings of Things}, year = 2003, editor = {Poe, Ed}, publisher = {ACM}}
"""


async def told(folder: Path, **parameters: Any) -> Any:
    return (await ask(CitationFormatter, folder, **parameters)).result


def of_pandoc(style: str, folder: Path) -> dict[str, str]:
    """The references that citeproc makes, in their order, italics between asterisks."""
    if not CSL.is_dir():
        pytest.skip("citation-style-language-styles is not installed; .ci/run installs it")
    (folder / "items.json").write_text(json.dumps(ITEMS))
    csl = CSL / f"{CSL_STYLES[style]}.csl"
    command = ["pandoc", "--citeproc", "--csl", str(csl), "--bibliography", str(folder / "items.json"), "-t", "json"]
    made: Any = json.loads(oracle(*command, given="---\nnocite: '@*'\n---\n"))
    return {block["c"][0][0][4:]: text_of(block).replace("\xa0", " ") for block in made["blocks"][0]["c"][1]}


def text_of(node: Any) -> str:
    if isinstance(node, list):
        return "".join(map(text_of, node))
    if not isinstance(node, dict):
        return ""
    kind: str = node["t"]
    content: Any = node.get("c")
    if kind in ("Str", "Space", "SoftBreak"):
        return str(content) if content else " "
    if kind == "Emph":
        return f"*{text_of(content)}*"
    if kind == "Quoted":
        return f"“{text_of(content[1])}”"
    if kind in ("Span", "Div", "Link"):
        return text_of(content[1])
    return text_of(content)


@pytest.mark.parametrize("style", sorted(CSL_STYLES))
async def test_references_are_those_of_citeproc(tmp_path: Path, style: str) -> None:
    expected = of_pandoc(style, tmp_path)

    result = await told(tmp_path, input=ITEMS, style=style, markup="markdown")

    made = {entry["key"]: entry["reference"].replace("\\", "") for entry in result["entries"]}
    assert list(made) == list(expected)
    differing = {key for key in made if " ".join(made[key].split()) != " ".join(expected[key].split())}
    assert differing == OTHERWISE[style], [(made[key], expected[key]) for key in differing - OTHERWISE[style]]
    assert result["entry_count"] == len(ITEMS)


@pytest.mark.parametrize(
    ("style", "kind", "reference"),
    [
        ("mla", "thesis", "1940. Massachusetts Institute of Technology, PhD thesis."),
        ("mla", "report", "Technical report no. 12, CERN, Mar. 1989."),
        ("chicago", "report", "1989. *Information Management: A Proposal*. Technical report 12. CERN."),
        ("ieee", "untold", "“How things work.” 2020. [Online]. Available: https://example.org/y"),
    ],
)
async def test_where_the_manuals_differ_they_are_followed(
    tmp_path: Path, style: str, kind: str, reference: str
) -> None:
    result = await told(tmp_path, input=ITEMS, style=style, cite_keys=kind, markup="markdown")

    assert result["bibliography"].replace("\\", "").endswith(reference)


@pytest.mark.parametrize(
    ("style", "marks"),
    [
        ("apa", ["(Cruz & Smith, 2001)", "(Kim, 2020a)", "(Kim, 2020b)", "(Ames et al., 2021)"]),
        ("mla", ["(Cruz and Smith)", "(Kim)", "(Kim)", "(Ames et al.)"]),
        ("chicago", ["(Cruz and Smith 2001)", "(Kim 2020a)", "(Kim 2020b)", "(Ames et al. 2021)"]),
        ("ieee", ["[1]", "[2]", "[3]", "[4]"]),
    ],
)
async def test_the_text_refers_to_them_as_the_style_does(tmp_path: Path, style: str, marks: list[str]) -> None:
    result = await told(tmp_path, input=ITEMS, style=style, cite_keys=["chapter", "kim1", "kim2", "several"])

    assert sorted(entry["citation"] for entry in result["entries"]) == sorted(marks)


async def test_bibtex_is_read_as_pandoc_reads_it(tmp_path: Path) -> None:
    expected = {
        item["id"]: item for item in json.loads(oracle("pandoc", "-f", "bibtex", "-t", "csljson", given=BIBTEX))
    }

    result = await told(tmp_path, operation="convert", input=BIBTEX, target_format="csl-json")

    made = {item["id"]: item for item in json.loads(result["output"])}
    assert set(made) == set(expected)
    assert made["paper"].pop("container-title") == "Proceedings of things"  # pandoc leaves it out
    for key, item in made.items():
        fields = {name: item[name] for name in item if name not in ("author", "editor", "title")}
        known = {name: expected[key][name] for name in fields}
        assert fields == known
        assert plain(item["title"]) == plain(expected[key]["title"])
        names = [name for name in expected[key].get("author", []) if name != {"literal": "others"}]
        assert item.get("author", []) == names


def plain(title: str) -> str:
    for tag in ('<span class="nocase">', "</span>", "<i>", "</i>"):
        title = title.replace(tag, "")
    return title.casefold()


async def test_bibtex_that_is_written_is_read_by_pandoc_as_it_was(tmp_path: Path) -> None:
    items = [item for item in ITEMS if item["type"] in ("article-journal", "book", "chapter", "thesis")]

    written = (await told(tmp_path, operation="convert", input=items, target_format="bibtex"))["output"]

    read = {item["id"]: item for item in json.loads(oracle("pandoc", "-f", "bibtex", "-t", "csljson", given=written))}
    for item in items:
        for name in set(item) - {"title"}:
            assert read[item["id"]][name] == item[name]
        assert read[item["id"]]["title"] in (item["title"], plain_title(item["title"]))


def plain_title(title: str) -> str:
    return title.replace('<span class="nocase">', "").replace("</span>", "")


async def test_ris_is_written_and_read_as_bibutils_does(tmp_path: Path) -> None:
    ris = (await told(tmp_path, operation="convert", input=ITEMS, cite_keys="turing", target_format="ris"))["output"]
    bib = oracle("xml2bib", given=oracle("ris2xml", given=ris))
    of_bibutils = oracle("xml2ris", given=oracle("bib2xml", given=bib)).decode()

    first = json.loads(
        (await told(tmp_path, operation="convert", input=bib.decode("utf-8-sig"), target_format="csl-json"))["output"]
    )[0]
    second = json.loads(
        (await told(tmp_path, operation="convert", input=of_bibutils, target_format="csl-json"))["output"]
    )[0]

    for name in ("type", "title", "author", "container-title", "volume", "issue", "page", "issued", "DOI"):
        assert second[name] == ITEMS[0][name]
        assert str(first[name]).casefold() == str(ITEMS[0][name]).casefold()


async def test_the_yaml_of_hayagriva_is_read(tmp_path: Path) -> None:
    text = """
kinetics:
    type: Article
    title: Kinetics and luminescence
    author: ["Haug, Felix", {name: Ruhr, given-name: Ida}]
    date: 2017-03
    page-range: 156-159
    serial-number: {doi: "10.22032/dbt.51591"}
    parent: {type: Periodical, title: Materials, volume: 37, issue: 5}
"""
    result = await told(tmp_path, input=text, format="yaml")

    assert result["bibliography"] == (
        "Haug, F., & Ruhr, I. (2017). Kinetics and luminescence. Materials, 37(5), 156\u2013159. "
        "https://doi.org/10.22032/dbt.51591"
    )


async def test_references_in_yaml_are_those_that_pandoc_writes(tmp_path: Path) -> None:
    written = oracle("pandoc", "-f", "csljson", "-t", "markdown", "-s", given=json.dumps(ITEMS)).decode()

    text = written.strip().strip("-")
    ours = await told(tmp_path, input=text, format="yaml", style="mla", cite_keys=["turing", "edited", "news"])
    same = await told(tmp_path, input=ITEMS, style="mla", cite_keys=["turing", "edited", "news"])

    assert ours["bibliography"] == same["bibliography"]


async def test_italics_are_written_as_asked_and_letters_escaped(tmp_path: Path) -> None:
    item = {"id": "a", "type": "book", "title": "A <b & *c*", "author": [{"literal": "X"}], "issued": "2001"}

    made = {
        markup: (await told(tmp_path, input=[item], markup=markup))["bibliography"]
        for markup in ("text", "markdown", "html")
    }

    assert made == {
        "text": "X. (2001). A <b & *c*.",
        "markdown": r"X. (2001). *A \<b & \*c\**.",
        "html": "<p>X. (2001). <i>A &lt;b &amp; *c*</i>.</p>",
    }


async def test_what_is_wrong_with_a_bibliography_is_told_by_entry_and_field(tmp_path: Path) -> None:
    text = """
@book{a, title = {T}, author = {Roe, A.}, publisher = {P}, year = {soon}, isbn = {978-3-16-148410-1}}
@article{b, title = {T}, author = {Roe, A.}, journal = {J}, year = 2001,
  doi = {x}, issn = {0317-8471}, pages = {20--10}}
@book{a, title = {again}}
@book{c, title = {cut off}
"""
    result = await told(tmp_path, operation="validate_bibliography", input=text)

    fields = {(each["key"], each["field"]) for each in result["errors"]}
    assert {("a", "ISBN"), ("b", "DOI"), ("b", "page")} <= fields
    assert ("b", "ISSN") not in fields
    assert any("repeated" in each["message"] for each in result["errors"])
    assert any("syntax error" in each["message"] for each in result["errors"])
    assert [(each["key"], each["field"]) for each in result["warnings"]] == [("a", "issued")]
    assert result["valid"] is False


async def test_a_good_bibliography_is_valid(tmp_path: Path) -> None:
    result = await told(tmp_path, operation="validate_bibliography", input=ITEMS)

    assert result == {"valid": True, "entry_count": len(ITEMS), "errors": [], "warnings": []}


async def test_the_styles_are_listed_and_known_by_their_other_names(tmp_path: Path) -> None:
    listed = await told(tmp_path, operation="list_styles")
    other = await told(tmp_path, input=ITEMS, style="modern-language-association")

    assert [style["name"] for style in listed["styles"]] == ["apa", "chicago", "ieee", "mla"]
    assert other["style"] == "mla"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"input": "@book{a, title = {T}", "format": "bibtex"}, "invalid_input"),
        ({"input": "[{]", "format": "csl-json"}, "invalid_input"),
        ({"input": [1]}, "invalid_input"),
        ({"input": "a: b", "format": "yaml"}, "invalid_input"),
        ({"input": "nothing\n", "format": "ris"}, "invalid_input"),
        ({"input": ITEMS, "cite_keys": "nobody"}, "not_found"),
        ({"input": [{"id": "a"}] * 5001}, "limit_exceeded"),
    ],
)
async def test_what_cannot_be_formatted_is_one_line_that_says_why(
    tmp_path: Path, parameters: dict[str, Any], code: str
) -> None:
    with pytest.raises(ToolError) as caught:
        await told(tmp_path, **parameters)

    assert caught.value.code == code
    assert str(caught.value).startswith("citation-formatter: ")
    assert "\n" not in str(caught.value)


async def test_a_style_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="style"):
        await told(tmp_path, input=ITEMS, style="vogon")


@pytest.mark.parametrize(
    "bomb",
    [
        '@string{a0 = "xxxxxxxxxxxxxxxx"}\n'
        + "".join(f"@string{{a{n + 1} = a{n} # a{n} # a{n} # a{n}}}\n" for n in range(20))
        + "@book{b, title = a20}",
        "@book{b, title = " + "{" * 100_000 + "}" * 100_000 + "}",
        "@book{b, author = {" + "a and " * 200_000 + "b}, title = {T}}",
    ],
    ids=["strings that double", "braces", "names"],
)
async def test_a_bomb_ends_in_an_answer_or_one_error(tmp_path: Path, bomb: str) -> None:
    async with opened(CitationFormatter) as host:
        try:
            result = await host.call("tool:citation-formatter", {"input": bomb, "format": "bibtex"})
            assert result.result["entry_count"] == 1
        except (ToolError, ResourceLimitError) as error:
            assert error.code in ("invalid_input", "limit_exceeded", "timeout", "resource_limit"), error


@pytest.mark.parametrize("entry", [{"id": ""}, {"id": None, "type": ""}, {"id": "k", "type": None}])
async def test_an_entry_without_key_or_type_is_kept(tmp_path: Path, entry: dict[str, Any]) -> None:
    given = [{"title": "T", "ISBN": "1", **entry}]

    checked = await told(tmp_path, operation="validate_bibliography", input=given)
    written = await told(tmp_path, input=given)

    assert not checked["valid"]
    assert written["entry_count"] == 1


async def test_a_number_of_more_digits_than_are_printed_is_no_bibliography(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="digits"):
        await told(tmp_path, input=[{"id": "k", "title": 10**5000}])
