"""The json_processor: every operation and error, what jq may not see, and that nothing holds the loop."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import opened
from llmspell_hookspecs import InvalidInputError, ToolError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.values import freeze
from llmspell_plugins.services.processes import ProcessPool
from llmspell_plugins.tools.data import json_program
from llmspell_plugins.tools.data.json_processor import JsonProcessor, JsonProcessorParameters
from llmspell_plugins.tools.data.json_text import decode, encode
from tool_caller import call


def refused(**parameters: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        call(JsonProcessor, **parameters)
    assert str(caught.value).startswith("json_processor: ")
    assert "\n" not in str(caught.value)
    return caught.value


def test_query_unwraps_a_single_result_and_gives_its_json_as_text() -> None:
    result = call(JsonProcessor, input={"a": {"b": "é"}}, query=".a")

    assert result == ToolResult(operation="query", result={"b": "é"}, text='{"b":"é"}')


@pytest.mark.parametrize("operation", ["query", "transform", "jq"])
@pytest.mark.parametrize(
    ("value", "query", "expected"),
    [
        ({"a": [1, 2]}, ".a[]", [1, 2]),
        ('{"a": 1}', ".a", 1),
        ('{"a": 1}', "", {"a": 1}),
        ([3, 1, 2], "sort", [1, 2, 3]),
        ([3, 1, 2], "map(select(. > 1)) | add", 5),
        ([{"k": "x", "v": 1}, {"k": "y", "v": 2}], "map({(.k): .v}) | add", {"x": 1, "y": 2}),
        ("[]", ".[]", []),
        (None, "1 + 1", 2),
        (None, "nan", None),
        ("\ufeff[1]", ".[0]", 1),
        ('"Ω\\u0000\\ud83d\\ude00"', ".", "Ω\0😀"),
        ("[1]", ". as [$a] | def f: $a + 1; f", 2),
    ],
)
def test_query_is_the_whole_of_jq(operation: str, value: Any, query: str, expected: Any) -> None:
    assert call(JsonProcessor, operation=operation, input=value, query=query).result == expected


def test_a_read_only_input_is_as_good_as_a_plain_one() -> None:
    frozen = freeze({"a": [1, {"b": 2}]})

    assert call(JsonProcessor, input=frozen, query=".a[1].b").result == 2


TWINS = '{"items": [{"id": 50000000014435121}, {"id": 50000000014435122}], "n": 1}'


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ('{"a": 13911860366432393}', ".", {"a": 13911860366432393}),
        ('{"a": 1234567890123456789012}', ".a", 1234567890123456789012),
        ('{"a": -13911860366432393, "b": 1}', "{x: .a, y: (.b + 1)}", {"x": -13911860366432393, "y": 2}),
        ('{"a": 13911860366432393}', ".a | tostring", "13911860366432393"),
        ('{"a": 13911860366432393}', '"id \\(.a)!"', "id 13911860366432393!"),
        ("[13911860366432393, 0.5]", "map(.)", [13911860366432393, 0.5]),
        ('{"a": 1, "b": 13911860366432393}', "to_entries | map(.value) | add - .[1]", 0),
        (TWINS, "[.items[0].id, 1] | .[1]", 1),
        (TWINS, ".items[].id", [50000000014435121, 50000000014435122]),
        (TWINS, '.items[] | select(.id != null) | .["id"]  # both', [50000000014435121, 50000000014435122]),
        (TWINS, ".items[-1]", {"id": 50000000014435122}),
        (TWINS, ".items[5].id", None),
        (f"[1{'0' * 400}]", ".[0]", 10**400),
    ],
)
def test_an_integer_that_a_double_does_not_hold_comes_out_as_it_went_in(text: str, query: str, expected: Any) -> None:
    """As in jqlang/jq, issues 1652, 2013 and 2509."""
    result = call(JsonProcessor, input=text, query=query)

    assert json.loads(str(result.text)) == expected


def test_two_integers_that_jq_takes_for_one_are_no_result_of_a_query_that_makes_something_of_them() -> None:
    error = refused(input=TWINS, query=".items | map(.id)")

    assert error.code == "query_failed"
    assert "50000000014435121 and 50000000014435122 for one number" in str(error)


def test_lines_keep_their_integers() -> None:
    result = call(JsonProcessor, operation="stream", input='{"a": 13911860366432393}\n{"a": 2}', query="{a}")

    assert json.loads(str(result.text)) == [{"a": 13911860366432393}, {"a": 2}]


def test_stream_answers_the_results_for_all_lines() -> None:
    lines = '{"a": 1}\n\n  {"a": 2}\r\n{"a": [3, 4]}\n'

    assert call(JsonProcessor, operation="stream", input=lines, query=".a").result == [1, 2, [3, 4]]
    assert call(JsonProcessor, operation="stream", input=[{"a": 1}, {"a": 2}], query=".a, .a").result == [1, 1, 2, 2]
    assert call(JsonProcessor, operation="stream", input="5").result == [5]
    assert call(JsonProcessor, operation="stream", input="").result == []


def test_stream_names_the_line_that_is_wrong() -> None:
    assert "line 3 of input" in str(refused(operation="stream", input="1\n2\n{", query="."))
    assert "line 2 of input" in str(refused(operation="stream", input='{"a": 1}\n5', query=".a"))
    assert refused(operation="stream", input={"a": 1}).code == "invalid_input"


def test_parse_keeps_what_jq_would_round() -> None:
    result = call(JsonProcessor, operation="parse", input=' {"n": 12345678901234567890123} ')

    assert result.result == {"n": 12345678901234567890123}
    assert result.text == ' {"n": 12345678901234567890123} '
    assert refused(operation="parse", input={"a": 1}).code == "invalid_input"


@pytest.mark.parametrize("operation", ["query", "parse"])
@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", "{", "[1,]", "1 2", "[NaN]", "[-Infinity]", "{'a': 1}", "[01]", '"\\ud800"', '"\ud800"'),
        *("[" * 5000, "[" * 5000 + "]" * 5000, '"\n"', "nul", '{"a" 1}'),
    ],
)
def test_what_is_not_json_is_refused(operation: str, text: str) -> None:
    assert refused(operation=operation, input=text).code == "invalid_input"


def test_a_syntax_error_has_a_line_and_a_column() -> None:
    error = refused(input='{"a": 1,\n "b": oops}')

    assert error.details == {"line": 2, "column": 7}
    assert "line 2, column 7" in str(error)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], b"bytes", {"a": object()}, {(1, 2): 3}])
def test_a_value_that_json_cannot_hold_is_refused(value: Any) -> None:
    assert refused(input=value).code == "invalid_input"


def test_a_number_beyond_floats_is_refused_by_parse() -> None:
    assert "1e400" in str(refused(operation="parse", input="[1e400]"))
    assert refused(operation="parse", input="1" * 5000).code == "invalid_input"


@pytest.mark.parametrize(
    ("query", "where"),
    [
        (". |", "line 1, column"),
        (".\n| nope", "nope/0 is not defined at line 2"),
        ("$x", "$x is not defined"),
        (")", "line 1"),
    ],
)
def test_a_wrong_program_is_named_with_its_own_lines(query: str, where: str) -> None:
    error = refused(input="1", query=query)

    assert error.code == "invalid_query"
    assert where in str(error)


@pytest.mark.parametrize("query", [".a", "error", 'error("boo")', "input", '"x" | halt_error', '"x" | modulemeta'])
def test_a_program_that_fails_is_told_apart(query: str) -> None:
    assert refused(input="[1]", query=query).code == "query_failed"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("env", {}),
        ("$ENV", {}),
        ("def f: $ENV; f", {}),
        ("$ENV.SECRET", None),
        ("get_search_list", []),
        ("[inputs]", []),
    ],
)
def test_a_program_sees_nothing_but_its_input(monkeypatch: pytest.MonkeyPatch, query: str, expected: Any) -> None:
    monkeypatch.setenv("SECRET", "s3cret")

    assert call(JsonProcessor, input="1", query=query).result == expected


@pytest.mark.parametrize("query", ['import "a" as $a; .', 'include "a"; .', '1 | import "a" as a; 1'])
def test_a_program_loads_no_module(query: str) -> None:
    assert refused(input="1", query=query).code == "invalid_query"


def test_validate_answers_each_error_with_its_field() -> None:
    schema = {
        "type": "object",
        "required": ["name"],
        "properties": {"age": {"type": "integer", "minimum": 0}, "mail": {"format": "email"}},
    }
    data = {"age": -1, "mail": "nobody"}

    result = call(JsonProcessor, operation="validate", input=data, schema=schema).result

    assert result["valid"] is False
    assert {(error["field"], error["code"]) for error in result["errors"]} == {
        ("", "required"),
        ("age", "minimum"),
        ("mail", "format"),
    }
    assert all(error["message"] for error in result["errors"])


@pytest.mark.parametrize(
    ("value", "schema", "valid"),
    [
        ("5", {"type": "integer"}, True),
        ("5", '{"type": "string"}', False),
        (None, {"type": "null"}, True),
        (5, True, True),
        (5, False, False),
        (5, {"$schema": "http://json-schema.org/draft-07/schema#", "type": "string"}, False),
        ({"a": 1}, {"$ref": "#/$defs/x", "$defs": {"x": {"required": ["a"]}}}, True),
        ({"type": 5}, {"$ref": "https://json-schema.org/draft/2020-12/schema"}, False),
    ],
)
def test_validate(value: Any, schema: Any, valid: bool) -> None:
    result = call(JsonProcessor, operation="validate", input=value, schema=schema)

    assert result.result["valid"] is valid
    assert json.loads(result.text or "") == result.result


@pytest.mark.parametrize(
    "schema",
    [
        *([1], 5, {"type": "nope"}, {"pattern": "("}, {"$ref": "#/nowhere"}, {"$ref": "#"}, {"$schema": 5}),
        *({"$ref": "http://127.0.0.1:9/schema"}, {"$ref": "file:///etc/passwd"}),
    ],
)
def test_a_wrong_schema_is_refused_and_nothing_is_fetched(schema: Any) -> None:
    assert refused(operation="validate", input='{"a": 1}', schema=schema).code == "invalid_schema"


def test_validate_needs_a_schema_that_is_json() -> None:
    assert refused(operation="validate", input="1").code == "invalid_input"
    assert "schema" in str(refused(operation="validate", input="1", schema="{"))


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jq", None)

    error = refused(input="1")

    assert error.code == "missing_library"
    assert "pip install 'llmspell[data]'" in str(error)


def test_more_than_100_mb_are_refused() -> None:
    assert refused(input=" " * (100 * 1024 * 1024 + 1)).code == "limit_exceeded"


@pytest.mark.parametrize("parameters", [{"operation": "guess"}, {"query": 5}, {"quer": "."}, {"query": "." * 100_001}])
def test_wrong_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        call(JsonProcessor, **parameters)


def test_the_schema_parameter_survives_a_dump() -> None:
    dumped = JsonProcessorParameters.model_validate({"schema": {"type": "null"}}).model_dump()

    assert dumped["schema"] == {"type": "null"}
    assert JsonProcessorParameters.model_validate(dumped).schema == {"type": "null"}
    assert "schema" in JsonProcessor.schema()["properties"]


async def test_the_schema_is_called_so_wherever_it_is_shown_and_still_taken_by_its_old_name() -> None:
    shown: list[str] = []
    async with opened() as host:
        host.hooks.register(
            "before_tool_execution", lambda context: shown.extend(context.subject.parameters), kind="guard"
        )
        results = [
            await host.call("tool:json_processor", {"operation": "validate", "input": "1", name: {"type": "null"}})
            for name in ("schema", "schema_")
        ]
        with pytest.raises(InvalidInputError) as refused:
            await host.call("tool:json_processor", {"scheme": 1})
        unknown = host.tools.unknown_parameters("json_processor", {"schema": 1, "schema_": 1, "schem": 1})
        described = host.tools.describe("json_processor")["schema"]["properties"]

    assert [result.result["valid"] for result in results] == [False, False]
    assert shown == ["operation", "input", "query", "schema"] * 2
    assert str(refused.value).endswith("it takes operation, input, query, schema")
    assert [key.nearest for key in unknown] == ["schema"]
    assert list(described) == ["operation", "input", "query", "schema"]


async def test_in_a_child_process_an_endless_program_is_killed_and_a_greedy_one_ends() -> None:
    async with ProcessPool(1) as pool:
        assert await pool.run(json_program.query, "[1,2]", "add") == "3"
        with pytest.raises(ToolError) as caught:
            await pool.run(json_program.query, "1", ".a")
        assert caught.value.code == "query_failed"
        with trio.move_on_after(0.3) as scope:
            await pool.run(json_program.query, "1", "def f: f; f")
        assert scope.cancelled_caught
        with pytest.raises((ResourceLimitError, ToolError), match="memory"):
            await pool.run(json_program.query, "1", "[range(1e9)]", memory_bytes=64 * 1024 * 1024)


def _longest_gap_s(function: Any) -> float:
    """The longest time for which another thread did not run."""
    thread = threading.Thread(target=function)
    longest, last = 0.0, time.perf_counter()
    thread.start()
    while thread.is_alive():
        time.sleep(0.0005)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


@pytest.mark.timing
def test_large_json_is_read_and_written_without_holding_other_threads() -> None:
    value = [{"id": index, "name": f"n{index}", "rate": index * 1.5} for index in range(150_000)]
    text = json.dumps(value)
    held = _longest_gap_s(lambda: json.loads(text))

    decoding = min(_longest_gap_s(lambda: decode(text, "test")) for _ in range(3))
    encoding = min(_longest_gap_s(lambda: encode(value, "test")) for _ in range(3))

    assert max(decoding, encoding) < max(held / 2, 0.02)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(_json)
def test_any_value_goes_through_parse_unchanged(value: Any) -> None:
    assert call(JsonProcessor, operation="parse", input=json.dumps(value)).result == value
    assert json.loads(encode(value, "test")) == value


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='[]{}",:0123456789.eE-+ntrufalse \\\nNaIé', max_size=30))
def test_json_is_accepted_exactly_when_python_accepts_it_strictly(text: str) -> None:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        expected = json.loads(text, parse_constant=refuse)
        json.dumps(expected, allow_nan=False)
    except ValueError:
        refused(operation="parse", input=text)
    else:
        assert call(JsonProcessor, operation="parse", input=text).result == expected
