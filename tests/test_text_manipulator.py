"""The text_manipulator: every operation, its options, its limits."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell_hookspecs import InvalidInputError, ToolError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_plugins.tools.utility import wording
from llmspell_plugins.tools.utility.text_manipulator import TextManipulator, TextManipulatorParameters
from tool_caller import call

OPERATIONS = TextManipulatorParameters.model_json_schema()["properties"]["operation"]["enum"]


def change(text: str | list[str], operation: str, **options: Any) -> Any:
    return call(TextManipulator, input=text, operation=operation, options=options).result["result"]


def test_the_answer_has_the_keys_of_the_reference() -> None:
    result = call(TextManipulator, input=" héllo ", operation="trim")

    answer = {"result": "héllo", "operation": "trim", "original_length": 7, "result_length": 5}
    assert result == ToolResult(operation="trim", result=answer)


@pytest.mark.parametrize(
    ("operation", "text", "options", "expected"),
    [
        ("uppercase", "straße", {}, "STRASSE"),
        ("lowercase", "ΟΔΟΣ İ", {}, "οδος i̇"),
        ("reverse", "abc", {}, "cba"),
        ("trim", "\t a b \n", {}, "a b"),
        ("replace", "a.b.c", {"from": ".", "to": "-"}, "a-b-c"),
        ("replace", "a.b", {"from": "."}, "ab"),
        ("replace", "aaa", {"from": "(a+)+$", "to": "x"}, "aaa"),
        ("substring", "hello", {"start": 1, "end": 3}, "el"),
        ("substring", "hello", {"start": 3}, "lo"),
        ("substring", "hello", {"start": -2}, "lo"),
        ("substring", "hello", {"end": 99}, "hello"),
        ("substring", "hello", {"start": 5}, ""),
        ("substring", "hello", {}, "hello"),
        ("split", "a,b,,c", {"delimiter": ","}, ["a", "b", "", "c"]),
        ("split", " a  b\nc ", {}, ["a", "b", "c"]),
        ("split", "", {"delimiter": ","}, [""]),
        ("join", "a\nb\r\nc", {}, "a b c"),
        ("join", "a\nb", {"delimiter": ", "}, "a, b"),
        ("join", ["x", "y", "z"], {"delimiter": ""}, "xyz"),
        ("join", [], {}, ""),
        ("snake_case", "HTTPServer two-words  x2Y", {}, "http_server_two_words_x2_y"),
        ("snake_case", "already_snake_case", {}, "already_snake_case"),
        ("camel_case", "hello big_world", {}, "helloBigWorld"),
        ("camel_case", "XMLHttpRequest", {}, "xmlHttpRequest"),
        ("pascal_case", "hello-big world", {}, "HelloBigWorld"),
        ("pascal_case", "éa ñb", {}, "ÉaÑb"),
        ("sanitize", "a\x00b\x1b[31m\u202ec\u200bd\re\r\nf\tg", {}, "ab[31mcd\ne\nf\tg"),
        ("sanitize", "e\u0301 👩\u200d💻 \ud800", {}, "é 👩\u200d💻 "),
        ("truncate", "x" * 200, {}, "x" * 97 + "..."),
        ("truncate", "hello world", {"max_length": 8}, "hello..."),
        ("truncate", "hello", {"max_length": 5}, "hello"),
        ("truncate", "hello", {"max_length": 2}, "he"),
        ("truncate", "hello", {"max_length": 0}, ""),
        ("indent", "a\n\n  b\r\nc", {}, "    a\n\n      b\r\n    c"),
        ("indent", "a", {"spaces": 1}, " a"),
        ("dedent", "    a\n      b\n  \n    c", {}, "a\n  b\n\nc"),
        ("dedent", "\ta\n  b", {}, "\ta\n  b"),
        ("dedent", "", {}, ""),
        ("normalize_whitespace", " a \t\n b\u00a0c ", {}, "a b c"),
        ("word_wrap", "aa bb cc dd", {"width": 5}, "aa bb\ncc dd"),
        ("word_wrap", "aa incomprehensible b\n\nshort", {"width": 5}, "aa\nincomprehensible\nb\n\nshort"),
        ("word_wrap", "word " * 40, {}, "\n".join([" ".join(["word"] * 16)] * 2 + [" ".join(["word"] * 8)])),
    ],
)
def test_each_operation(operation: str, text: Any, options: dict[str, Any], expected: Any) -> None:
    assert change(text, operation, **options) == expected


def test_each_operation_is_tested_above() -> None:
    marks = getattr(test_each_operation, "pytestmark")  # noqa: B009

    assert {case[0] for case in marks[0].args[1]} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("operation", "text", "options", "code"),
    [
        ("replace", "abc", {"to": "x"}, "invalid_input"),
        ("replace", "abc", {"from": "", "to": "x"}, "invalid_input"),
        ("substring", "abc", {"start": 2, "end": 1}, "invalid_input"),
        ("split", "abc", {"delimiter": ""}, "invalid_input"),
        ("split", "," * 100_000, {"delimiter": ","}, "limit_exceeded"),
        ("trim", ["a"], {}, "invalid_input"),
        ("trim", "x" * 10_000_001, {}, "limit_exceeded"),
    ],
)
def test_what_cannot_be_done_is_refused(operation: str, text: Any, options: dict[str, Any], code: str) -> None:
    with pytest.raises(ToolError, match=r"^text_manipulator: ") as caught:
        change(text, operation, **options)

    assert caught.value.code == code


def test_an_answer_that_would_not_fit_is_never_made() -> None:
    with pytest.raises(ResourceLimitError):
        change("a" * 1_000_000, "replace", **{"from": "a", "to": "b" * 1_000_000})
    with pytest.raises(ResourceLimitError):
        change("\n" * 1_000_000, "indent", spaces=1000)
    with pytest.raises(ResourceLimitError):
        change("\n" * 1_000_000, "join", delimiter="b" * 1_000_000)


@pytest.mark.parametrize(
    "parameters",
    [
        {"input": "a"},
        {"operation": "trim"},
        {"input": 5, "operation": "trim"},
        {"input": "a", "operation": "shout"},
        {"input": "a", "operation": "indent", "options": {"spaces": -1}},
        {"input": "a", "operation": "word_wrap", "options": {"width": 0}},
        {"input": "a", "operation": "truncate", "options": {"length": 5}},
        {"input": "a", "operation": "substring", "options": {"start": 1, "end": -(10**5000)}},
        {"input": "a", "operation": "substring", "options": {"start": 10**5000, "end": 1}},
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        call(TextManipulator, **parameters)


def test_the_from_option_survives_a_dump() -> None:
    parameters = {"input": "a", "operation": "replace", "options": {"from": "a", "to": "b"}}

    dumped = TextManipulatorParameters.model_validate(parameters).model_dump()

    assert call(TextManipulator, **dumped).result["result"] == "b"


def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wording, "_PIECE", 10)
    monkeypatch.setattr(wording, "_BATCH", 2)
    text = "Grüße AN ΟΔΥΣΣΕΥΣ, Straße"

    assert wording.mapped(text, str.lower) == text.lower()
    assert wording.mapped(text, str.upper) == text.upper()
    assert wording.mapped("x" * 100, str.upper) == "X" * 100
    assert wording.joined("-", "abcde") == "a-b-c-d-e"
    assert wording.joined("-", []) == ""


@settings(max_examples=200, deadline=None)
@given(st.text(), st.sampled_from([name for name in OPERATIONS if name != "replace"]))
def test_no_text_breaks_an_operation(text: str, operation: str) -> None:
    answer = call(TextManipulator, input=text, operation=operation).result

    assert answer["original_length"] == len(text)
    assert answer["result_length"] == len(answer["result"])


@settings(max_examples=200, deadline=None)
@given(st.text("ab\r\n"))
def test_lines_are_cut_as_python_cuts_them(text: str) -> None:
    assert list(wording.lines(text)) == text.splitlines(keepends=True)


@settings(max_examples=100, deadline=None)
@given(st.text(), st.integers(1, 40))
def test_wrapping_keeps_the_words_and_the_width(text: str, width: int) -> None:
    result = wording.wrapped(text, width)

    assert result.split() == text.split()
    assert all(len(line) <= width or len(line.split()) <= 1 for line in re.split("\r\n|[\r\n]", result))


@settings(max_examples=100, deadline=None)
@given(st.text(), st.integers(0, 50))
def test_truncating_keeps_the_length(text: str, max_length: int) -> None:
    assert len(wording.truncated(text, max_length)) <= max_length


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cc", "Zs", "Zl", "Zp"])), st.integers(0, 8))
def test_dedent_undoes_indent(text: str, spaces: int) -> None:
    assert wording.dedented(wording.indented(text, spaces)) == text


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_sanitizing_twice_is_sanitizing_once(text: str) -> None:
    once = wording.sanitized(text)

    assert wording.sanitized(once) == once
