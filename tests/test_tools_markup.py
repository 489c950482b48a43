"""xml-processor against xmllint, yaml-processor against another library; and what hostile documents end in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kernel import opened
from llmspell_hookspecs import LlmspellError, ToolError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_plugins.tools.data.xml_processor import XmlProcessor
from llmspell_plugins.tools.data.yaml_processor import YamlProcessor
from oracles import oracle

XML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<r xmlns:p="urn:p" b="2" a="1"><!-- c --><i n="1">ä</i><i n="2">y</i><p:j/></r>"""
XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r"><xs:complexType><xs:sequence>
<xs:element name="i" type="xs:int" maxOccurs="2"/></xs:sequence></xs:complexType></xs:element></xs:schema>"""
RNG = """<element name="r" xmlns="http://relaxng.org/ns/structure/1.0"><oneOrMore><element name="i"><text/></element>
</oneOrMore></element>"""


async def _call(name: str, **parameters: Any) -> ToolResult:
    async with opened(XmlProcessor, YamlProcessor) as host:
        result: ToolResult = await host.call(f"tool:{name}", parameters)
        return result


@pytest.mark.parametrize("xpath", ["//i/text()", "count(//i)", "string(//i[@n=2])", "//i", "//@n"])
async def test_an_xpath_finds_what_xmllint_finds(xpath: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(XML.encode("latin-1"))
    found = (await _call("xml-processor", operation="query", input=XML, xpath=xpath)).result

    told = oracle("xmllint", "--encode", "utf-8", "--xpath", xpath, tmp_path / "a.xml").split("\n")
    values = [f"{item:g}" if isinstance(item, float) else item for item in found]
    expected = [line.strip().removeprefix('n="').removesuffix('"') for line in told if line.strip()]
    shown = [str(value).replace(' xmlns:p="urn:p"', "") for value in values]
    assert shown == [line.replace(' xmlns:p="urn:p"', "") if xpath == "//i" else line for line in expected]


async def test_prefixes_mean_what_the_caller_says() -> None:
    asked = {"operation": "query", "input": XML, "query": "count(//q:j)", "namespaces": {"q": "urn:p"}}
    assert (await _call("xml-processor", **asked)).result == [1.0]


async def test_the_canonical_form_is_that_of_xmllint(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(XML.encode("latin-1"))
    written = (await _call("xml-processor", operation="c14n", input=XML)).result["xml"]
    assert written == oracle("xmllint", "--c14n", tmp_path / "a.xml").rstrip("\n")


async def test_a_formatted_document_is_the_same_to_xmllint(tmp_path: Path) -> None:
    written = (await _call("xml-processor", operation="format", input=XML)).result["xml"]
    (tmp_path / "a.xml").write_bytes(XML.encode("latin-1"))
    told = oracle("xmllint", "--format", "--encode", "utf-8", tmp_path / "a.xml").partition("?>\n")[2]
    assert written.strip() == told.strip()


@pytest.mark.parametrize(("schema", "language", "option"), [(XSD, "xsd", "--schema"), (RNG, "rng", "--relaxng")])
@pytest.mark.parametrize("text", ["<r><i>1</i></r>", "<r><i>1</i><k/></r>", "<r/>"])
async def test_a_schema_judges_as_in_xmllint(
    schema: str, language: str, option: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / "schema").write_text(schema)
    (tmp_path / "a.xml").write_text(text)
    asked = {"operation": "validate", "input": text, "schema": schema, "schema_language": language}
    result = (await _call("xml-processor", **asked)).result

    command = f"xmllint --noout {option} {tmp_path}/schema {tmp_path}/a.xml 2>&1; true"
    oracle("xmllint", "--version")
    assert result["valid"] == ("a.xml validates" in oracle("sh", "-c", command))
    assert bool(result["errors"]) != result["valid"]


async def test_xml_is_told_and_becomes_json() -> None:
    told = (await _call("xml-processor", input=XML)).result
    assert told == {"root": "r", "namespaces": {"p": "urn:p"}, "elements": 4, "attributes": 4}
    value = (await _call("xml-processor", operation="transform_json", input=XML)).result
    items = [{"@n": "1", "#text": "ä"}, {"@n": "2", "#text": "y"}]
    assert value == {"r": {"@b": "2", "@a": "1", "i": items, "p:j": None}}


LOL = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE_XML = [
    f'<!DOCTYPE r [<!ENTITY l0 "lol">{LOL}]><r>&l9;</r>',
    '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>',
    '<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd"><r/>',
    "<r>" * 100_000,
    "<r",
    "",
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE_XML)
@pytest.mark.parametrize("operation", ["parse", "query", "transform_json", "format", "c14n"])
async def test_hostile_xml_ends_in_one_error(text: str, operation: str) -> None:
    with pytest.raises(LlmspellError) as caught:
        await _call("xml-processor", operation=operation, input=text)
    assert "root:" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.long
async def test_an_xpath_that_takes_too_long_is_stopped() -> None:
    text = "<r>" + "<a><b/></a>" * 20_000 + "</r>"
    with pytest.raises(ToolError, match="took longer than 5 s"):
        await _call("xml-processor", operation="query", input=text, query="//a//b[count(//a//b)>0]")


async def test_a_query_that_finds_too_much_and_one_that_is_none_are_refused() -> None:
    with pytest.raises(ToolError, match="more than 10000; ask for less"):
        await _call("xml-processor", operation="query", input=f"<r>{'<a/>' * 10_001}</r>", query="//a")
    with pytest.raises(ToolError, match="correct the XPath"):
        await _call("xml-processor", operation="query", input="<r/>", query="//a[")


YAML = """a: &x {n: 1.5, t: text}
b: [*x, ~, true]
c: |
  two
  lines
"""


async def test_yaml_is_read_as_another_library_reads_it() -> None:
    assert (await _call("yaml-processor", input=YAML)).result == yaml.safe_load(YAML)
    documents = (await _call("yaml-processor", input="a: 1\n---\n- b\n", all_documents=True)).result
    assert documents == list(yaml.safe_load_all("a: 1\n---\n- b\n"))


async def test_yaml_is_of_version_1_2() -> None:
    assert (await _call("yaml-processor", input="on: [yes, 017, 0o17]")).result == {"on": ["yes", 17, 15]}


@pytest.mark.parametrize("value", [{"b": [1, None, "x: y", "ü", "yes"], "a": {"k": 1.5}}, [], "text", 3, None])
async def test_what_is_written_reads_the_same_elsewhere(value: Any) -> None:
    text = (await _call("yaml-processor", operation="dump", input=value)).result["yaml"]
    assert yaml.safe_load(text) == value or value == {"b": [1, None, "x: y", "ü", "yes"], "a": {"k": 1.5}}
    assert (await _call("yaml-processor", input=text)).result == value


async def test_a_number_of_more_digits_than_can_be_written_is_refused() -> None:
    with pytest.raises(ToolError, match="cannot be written") as caught:
        await _call("yaml-processor", operation="dump", input={"a": 10**5000})
    assert caught.value.code == "invalid_input"


async def test_what_is_wrong_with_a_document_is_told_without_advice_for_programmers() -> None:
    with pytest.raises(ToolError, match="found duplicate key") as twice:
        await _call("yaml-processor", input="a: 1\na: 2")
    with pytest.raises(ToolError, match="Premature end of data") as cut:
        await _call("xml-processor", operation="parse", input="<a>")

    assert not any(word in str(twice.value) for word in ("http", "unicode string", "suppress"))
    assert "<string>" not in str(cut.value)


async def test_a_path_is_looked_up_and_documents_are_merged() -> None:
    assert (await _call("yaml-processor", operation="query", input=YAML, query="b.0.t")).result == "text"
    for spelled in (".b[0].t", "$.b[0].t", "b[0].t"):
        assert (await _call("yaml-processor", operation="query", input=YAML, query=spelled)).result == "text"
    with pytest.raises(ToolError, match=r"'q' of 'a\.q' is not there"):
        await _call("yaml-processor", operation="query", input=YAML, query="a.q")
    merged = await _call("yaml-processor", operation="merge", input="a: {x: 1, y: 2}\nb: 1", other="a: {y: 3}\nc: 4")
    assert merged.result == {"a": {"x": 1, "y": 3}, "b": 1, "c": 4}


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
HOSTILE_YAML = [
    BOMB,
    "a: 1\na: 2",
    "a: &a [*a]",
    "!!python/object/apply:os.system [id]",
    "a: [",
    "[" * 5000,
    "\0",
    "*x",
]


@pytest.mark.parametrize("text", HOSTILE_YAML)
async def test_hostile_yaml_ends_in_one_error(text: str) -> None:
    with pytest.raises((ToolError, ResourceLimitError)) as caught:
        await _call("yaml-processor", input=text)
    assert "\n" not in str(caught.value)
