"""The csv_analyzer: every operation and format, malformed and foreign input, cancellation."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_hookspecs.tool import PathAccess
from llmspell_plugins.tools.data.csv_analyzer import CsvAnalyzer, CsvParameters
from llmspell_testing import held_beyond_idle_s
from tool_caller import acall, call

PEOPLE = """name,age,city,score,member,born
Ann,34,Oslo,1.5,true,1990-01-31
Bob,,Rome,-2,false,1985-12-01
Cid,51,Oslo,,TRUE,
"Dan, Jr.",18,"New
York",1e3,false,2006-06-06
"""


def analyze(text: str, **options: Any) -> Any:
    return call(CsvAnalyzer, input=text, options=options).result


def column(text: str, **options: Any) -> Any:
    return analyze(text, **options)["columns"][0]


def rows(operation: str, text: str, **options: Any) -> list[str]:
    return str(call(CsvAnalyzer, operation=operation, input=text, options=options).text).splitlines()


def refused(**parameters: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        call(CsvAnalyzer, **parameters)
    assert str(caught.value).startswith("csv_analyzer: ")
    assert "\n" not in str(caught.value)
    return caught.value


def test_analyze_is_the_default_operation_and_answers_as_the_reference_says() -> None:
    result = call(CsvAnalyzer, input=PEOPLE)

    answer = dict(result.result)
    columns = {one["name"]: one for one in answer.pop("columns")}
    assert answer == {
        "row_count": 4,
        "column_count": 6,
        "encoding": "utf-8",
        "delimiter": ",",
        "has_headers": True,
        "file_size_bytes": len(PEOPLE),
        "parse_errors": [],
    }
    assert columns["age"] == {
        "name": "age",
        "data_type": "integer",
        "null_count": 1,
        "unique_count": 3,
        "min_value": 18,
        "max_value": 51,
        "mean": pytest.approx(34.3333333),
        "median": 34,
        "std_dev": pytest.approx(statistics.stdev([34, 51, 18])),
        "sample_values": ["34", "51", "18"],
    }
    assert {name: one["data_type"] for name, one in columns.items()} == {
        "name": "string",
        "age": "integer",
        "city": "string",
        "score": "float",
        "member": "boolean",
        "born": "date",
    }
    assert columns["city"]["sample_values"] == ["Oslo", "Rome", "New\nYork"]
    assert (columns["born"]["min_value"], columns["born"]["max_value"]) == ("1985-12-01", "2006-06-06")
    assert (columns["score"]["median"], columns["name"]["mean"]) == (1.5, None)
    assert json.loads(result.text or "") == result.result


@pytest.mark.parametrize(
    ("cells", "data_type"),
    [
        (["1", "-2", "+3", " 4 "], "integer"),
        (["1", "2.5"], "float"),
        (["1e5", ".5", "5."], "float"),
        (["007", "1"], "string"),
        (["1e999"], "string"),
        (["1234567890123456789012"], "string"),
        (["NaN", "1"], "string"),
        (["true", "False"], "boolean"),
        (["true", "1"], "string"),
        (["2024-02-29"], "date"),
        (["2023-02-29"], "string"),
        (["2024-01-01T10:00:00Z", "2024-01-01 11:00"], "datetime"),
        (["2024-01-01", "2024-01-01T10:00"], "string"),
        (["x"], "string"),
        (["\u0661"], "string"),
        (['""'], "empty"),
    ],
)
def test_a_column_has_the_type_that_all_its_cells_fit(cells: list[str], data_type: str) -> None:
    assert column("\n".join(["a", *cells]))["data_type"] == data_type


def test_integers_keep_all_their_digits() -> None:
    assert column("id\n999999999999999999\n999999999999999998")["min_value"] == 999999999999999998


def test_nulls_are_blank_cells_and_what_the_caller_names() -> None:
    text = "a,b\n1,\n2,  \nNA,x\n"

    assert column(text)["null_count"] == 0
    assert column(text, null_values=["NA"])["null_count"] == 1
    assert column(text, null_values=["NA"])["data_type"] == "integer"
    assert analyze(text)["columns"][1]["null_count"] == 2


def test_statistics_of_large_and_single_numbers_stay_finite() -> None:
    assert column("a\n1.7e308\n1.7e308\n1.5e308")["mean"] == pytest.approx(
        4.9e308 / 3 if False else 1.6333e308, rel=1e-3
    )
    assert column("a\n5")["std_dev"] is None
    assert column("a\n1e308\n-1e308")["median"] == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2))
def test_statistics_agree_with_python(numbers: list[float]) -> None:
    answer = column("a\n" + "\n".join(f"{number:.6f}" for number in numbers))
    expected = [float(f"{number:.6f}") for number in numbers]

    assert answer["mean"] == pytest.approx(statistics.fmean(expected), abs=1e-6)
    assert answer["median"] == pytest.approx(statistics.median(expected), abs=1e-6)
    assert answer["std_dev"] == pytest.approx(statistics.stdev(expected), abs=1e-5)


def test_the_median_of_many_numbers_is_merged_from_runs() -> None:
    text = "a\n" + "\n".join(str(index * 7919 % 50_001) for index in range(50_001))

    assert column(text)["median"] == 25_000


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out(delimiter: str) -> None:
    text = delimiter.join(["a", "b", "c"]) + "\n" + delimiter.join(["1,5", '"x;y|z"', "3"]).replace("1,5", "15") + "\n"

    answer = analyze(text)

    assert (answer["delimiter"], answer["column_count"]) == (delimiter, 3)


def test_the_delimiter_may_be_given() -> None:
    assert analyze("a:b\n1:2", delimiter=":")["column_count"] == 2
    assert analyze("a;b;c\n1,5;2;3\n1,5;2;3")["delimiter"] == ";"


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_text_has_no_columns(text: str) -> None:
    answer = analyze(text)

    assert (answer["row_count"], answer["column_count"], answer["columns"]) == (0, 0, [])
    assert rows("sample", text) == []
    assert call(CsvAnalyzer, operation="convert", input=text).result == []


def test_a_header_alone_has_no_rows() -> None:
    assert analyze("a,b")["row_count"] == 0
    assert column("a,b")["data_type"] == "empty"


def test_headers_may_be_missing_blank_or_double() -> None:
    assert [one["name"] for one in analyze("1,2\n3,4", has_headers=False)["columns"]] == ["column_1", "column_2"]
    assert analyze("1,2\n3,4", has_headers=False)["row_count"] == 2
    assert [one["name"] for one in analyze(" a ,,a,a_2,a\n")["columns"]] == ["a", "column_2", "a_3", "a_2", "a_4"]
    names = [one["name"] for one in analyze("a,a,a_2,,column_4\n")["columns"]]
    assert len(set(names)) == 5
    assert rows("sample", "1,2\n3,4", has_headers=False) == ["1,2", "3,4"]


def test_ragged_rows_are_filled_or_cut_and_told() -> None:
    text = "a,b\n1\n2,3,4\n\n5,6\n"

    result = call(CsvAnalyzer, operation="sample", input=text)

    assert result.text == "a,b\n1,\n2,3\n5,6\n"
    assert [(one["row"], one["error"]) for one in result.metadata["parse_errors"]] == [
        (1, "it has 1 cells, the table 2 columns"),
        (2, "it has 3 cells, the table 2 columns"),
    ]
    assert len(analyze(text)["parse_errors"]) == 2


def test_a_stray_quote_is_read_as_it_stands_and_told() -> None:
    result = call(CsvAnalyzer, operation="sample", input='a,b\n"x"y,2\n3,4\n')

    assert str(result.text).splitlines()[1:] == ["xy,2", "3,4"]
    assert result.metadata["parse_errors"][0]["line"] == 2


def test_a_quote_that_is_never_closed_is_told() -> None:
    answer = analyze('a,b\n1,2\n"3,4\n5,6\n')

    assert answer["row_count"] == 1
    assert answer["parse_errors"] == [{"line": 3, "error": "unexpected end of data"}]


def test_past_a_thousand_errors_only_their_number_is_told() -> None:
    errors = analyze("a,b\n" + "1\n" * 1500)["parse_errors"]

    assert len(errors) == 1001
    assert errors[-1] == {"error": "and 500 more"}


def test_a_line_without_end_is_refused() -> None:
    assert refused(input="a,b\n" + "1," * 600_000).code == "limit_exceeded"


def test_a_text_that_would_take_too_much_memory_is_refused() -> None:
    with pytest.raises(ResourceLimitError):
        call(CsvAnalyzer, input="x" * (256 * 1024 * 1024 + 1))


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("näme,x\nß,1\n".encode(), "utf-8"),
        ("näme,x\nß,1\n".encode("utf-8-sig"), "utf-8"),
        ("näme,x\nß,1\n".encode("utf-16"), "utf-16"),
        ("näme,x\nß,1\n".encode("utf-32"), "utf-32"),
        ("näme,x\nß,1\n".encode("windows-1252"), "windows-1252"),
    ],
)
def test_the_encoding_of_a_file_is_found_out(tmp_path: Path, data: bytes, encoding: str) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(data)

    answer = call(CsvAnalyzer, input=str(file)).result

    assert answer["encoding"] == encoding
    assert answer["file_size_bytes"] == len(data)
    assert [one["sample_values"] for one in answer["columns"]] == [["ß"], ["1"]]
    assert answer["columns"][0]["name"] == "näme"


def test_the_encoding_may_be_given_and_must_fit(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes("a\ngrößer\n".encode("mac-roman"))

    assert "größer" in str(
        call(CsvAnalyzer, operation="sample", input=str(file), options={"encoding": "mac-roman"}).text
    )
    for encoding in ("utf-8", "klingon", "hex", "punycode", "utf\0-8", "\ud800", ""):
        assert refused(input=str(file), options={"encoding": encoding}).code == "invalid_input"


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("data.csv", "data.csv"),
        (" dir with space/DATA.TSV ", "dir with space/DATA.TSV"),
        ("a,b.csv", None),
        ("a;b.csv", None),
        ("x\ndata.csv", None),
        ("data.csv\n", "data.csv"),
        ("data.txt", None),
    ],
)
def test_what_is_a_path(given: str, path: str | None) -> None:
    parameters = CsvParameters.model_validate({"input": given})

    assert parameters.path == path
    assert parameters.input == (None if path else given)
    assert list(CsvAnalyzer().access(parameters)) == ([PathAccess("path", "read")] if path else [])
    assert CsvParameters.model_validate(parameters.model_dump()) == parameters


def test_any_file_may_be_read_by_path(tmp_path: Path) -> None:
    (tmp_path / "blob").write_text("a\n1\n")

    assert call(CsvAnalyzer, path=str(tmp_path / "blob")).result["row_count"] == 1
    assert refused(path=str(tmp_path / "missing.csv")).code == "not_found"
    assert refused(path=str(tmp_path)).code == "io"


def test_convert_to_json_gives_each_cell_its_type() -> None:
    result = call(CsvAnalyzer, operation="convert", input=PEOPLE)

    assert json.loads(result.text or "") == result.result
    assert result.result[1] == {
        "name": "Bob",
        "age": None,
        "city": "Rome",
        "score": -2.0,
        "member": False,
        "born": "1985-12-01",
    }
    assert result.result[3]["city"] == "New\nYork"


def test_convert_to_json_lines_and_tsv() -> None:
    lines = rows("convert", PEOPLE, format="jsonlines")
    assert [json.loads(line)["name"] for line in lines] == ["Ann", "Bob", "Cid", "Dan, Jr."]

    tsv = call(CsvAnalyzer, operation="convert", input="a,b\n1,x\ty\n2,\n", options={"format": "tsv"})
    assert tsv.result == tsv.text == 'a\tb\n1\t"x\ty"\n2\t\n'


def binary(text: str, name: str) -> bytes:
    result = call(CsvAnalyzer, operation="convert", input=text, options={"format": name}).result
    data = base64.b64decode(result["data"])
    assert {**result, "data": ""} == {"format": name, "encoding": "base64", "data": "", "size_bytes": len(data)}
    return data


def test_convert_to_parquet() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")

    table = parquet.read_table(io.BytesIO(binary(PEOPLE, "parquet")))

    assert table.column_names == ["name", "age", "city", "score", "member", "born"]
    assert [str(one.type) for one in table.schema] == ["string", "int64", "string", "double", "bool", "date32[day]"]
    assert table.column("age").to_pylist() == [34, None, 51, 18]
    assert refused(operation="convert", input="", options={"format": "parquet"}).code == "invalid_input"


@pytest.mark.parametrize("name", ["json", "jsonlines", "tsv", "parquet", "excel"])
def test_half_a_letter_has_a_stand_in_in_every_format(name: str) -> None:
    answer = call(CsvAnalyzer, operation="convert", input="x\udcff,b\nc\ud800,1\n", options={"format": name})

    assert answer.success
    assert "\\ud" not in ascii(answer.result)


def test_convert_to_excel_makes_no_formula() -> None:
    openpyxl = pytest.importorskip("openpyxl")

    data = binary("a,b,c\n=1+1,2,2024-01-31\nx\x01y,,\n", "excel")
    sheet = openpyxl.load_workbook(io.BytesIO(data)).active

    assert [cell.value for cell in sheet[1]] == ["a", "b", "c"]
    assert (sheet["A2"].value, sheet["A2"].data_type, sheet["B2"].value) == ("=1+1", "s", 2)
    assert sheet["C2"].value.isoformat() == "2024-01-31T00:00:00"
    assert (sheet["A3"].value, sheet["B3"].value) == ("xy", None)


def test_what_excel_cannot_hold_is_refused_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openpyxl")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    long = refused(operation="convert", input="a\n" + "x" * 40_000, options={"format": "excel"})
    wide = refused(operation="convert", input="a," * 17_000 + "\n", options={"format": "excel", "delimiter": ","})

    assert long.code == wide.code == "limit_exceeded"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "module"), [("parquet", "pyarrow"), ("excel", "openpyxl")])
def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, name: str, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    error = refused(operation="convert", input="a\n1", options={"format": name})

    assert error.code == "missing_library"
    assert "pip install 'llmspell[data]'" in str(error)


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("age > 20", ["Ann", "Cid"]),
        ("age >= 34", ["Ann", "Cid"]),
        ("age<34", ['"Dan, Jr."']),
        ("age <= 34", ["Ann", '"Dan, Jr."']),
        ("age == 34.0", ["Ann"]),
        ("age != 34", ["Bob", "Cid", '"Dan, Jr."']),
        ('age == ""', ["Bob"]),
        ("age ==", ["Bob"]),
        ('age != ""', ["Ann", "Cid", '"Dan, Jr."']),
        ("city == Oslo", ["Ann", "Cid"]),
        ("city == 'Oslo'", ["Ann", "Cid"]),
        ("`city` != Oslo", ["Bob", '"Dan, Jr."']),
        ('"city" > Oz', ["Bob"]),
        ("born >= 1990-01-01", ["Ann", '"Dan, Jr."']),
        ("city > 5", []),
        ('name == "Dan, Jr."', ['"Dan, Jr."']),
    ],
)
def test_filter(condition: str, names: list[str]) -> None:
    result = call(
        CsvAnalyzer, operation="filter", input=PEOPLE.replace("New\nYork", "NY"), options={"filter": condition}
    )

    found = [row.rpartition(",")[0] for row in str(result.text).splitlines()[1:]]
    assert [row[: len(name)] for row, name in zip(found, names, strict=True)] == names
    assert result.metadata["count"] == len(names)
    assert result.result == result.text


def test_a_quoted_number_is_compared_as_text() -> None:
    assert rows("filter", "a\n007\n7\n", filter="a == '7'") == ["a", "7"]
    assert rows("filter", "a\n007\n7\n", filter="a == 007") == ["a", "007"]


@pytest.mark.parametrize("condition", ["", "age", "age ~ 5", "> 5", "nope == 1", "x" * 500])
def test_a_wrong_condition_is_refused(condition: str) -> None:
    assert refused(operation="filter", input=PEOPLE, options={"filter": condition}).code == "invalid_input"


def test_filter_needs_a_condition_and_names_the_columns() -> None:
    assert refused(operation="filter", input=PEOPLE).code == "invalid_input"
    assert "name, age, city" in str(refused(operation="filter", input=PEOPLE, options={"filter": "nope == 1"}))


def test_transform_adds_and_renames_columns() -> None:
    text = "price,unit count,note\n2.5,4,a\n,1,b\n1e3,3,c\n"
    options = {
        "add_columns": {"total": "price * `unit count`", "half": "round(price / 2, 1)", "odd": "price / 0"},
        "rename_columns": {"note": "remark", "half": "rebate"},
    }

    assert rows("transform", text, **options) == [
        "price,unit count,remark,total,rebate,odd",
        "2.5,4,a,10,1.2,Infinity",
        ",1,b,,,",
        "1e3,3,c,3000,500,Infinity",
    ]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({}, "nothing to do"),
        ({"add_columns": {"x": "age *"}}, "options.add_columns.x"),
        ({"add_columns": {"x": "nope * 2"}}, "no column 'nope'"),
        ({"add_columns": {"x": "name * 2"}}, "row 1 has 'Ann' in name"),
        ({"add_columns": {"x": "age ^ age"}}, ""),
        ({"add_columns": {"age": "age * 2"}}, "two columns"),
        ({"rename_columns": {"nope": "x"}}, "no column 'nope'"),
        ({"rename_columns": {"name": "age"}}, "two columns"),
    ],
)
def test_a_wrong_transformation_is_refused(options: dict[str, Any], what: str) -> None:
    if what:
        assert what in str(refused(operation="transform", input=PEOPLE, options=options))
    else:
        assert refused(operation="transform", input="age\n101", options=options).code == "limit_exceeded"


def test_validate_names_row_column_and_value() -> None:
    text = "mail,age\na@b.co,5\nnobody,200\n,x\na@b,-1\n"
    result = call(
        CsvAnalyzer, operation="validate", input=text, options={"rules": {"mail": "email", "age": "range:0-120"}}
    )

    assert result.result["valid"] is False
    assert (result.result["total_rows"], result.result["error_count"]) == (4, 6)
    assert result.result["errors"][:2] == [
        {"row": 2, "column": "mail", "value": "nobody", "error": "it is no e-mail address"},
        {"row": 2, "column": "age", "value": "200", "error": "it is not between 0 and 120"},
    ]
    assert result.result["errors"][3]["error"] == "it is no number"
    assert json.loads(result.text or "") == result.result


def test_a_range_may_be_negative_and_every_row_right() -> None:
    options = {"rules": {"t": "range:-5.5--1"}}

    assert call(CsvAnalyzer, operation="validate", input="t\n-5.5\n-1\n", options=options).result == {
        "valid": True,
        "errors": [],
        "total_rows": 2,
        "error_count": 0,
    }


def test_all_errors_are_counted_and_the_first_thousand_told() -> None:
    answer = call(
        CsvAnalyzer, operation="validate", input="a\n" + "x\n" * 1200, options={"rules": {"a": "email"}}
    ).result

    assert (answer["error_count"], len(answer["errors"])) == (1200, 1000)


@pytest.mark.parametrize(
    "rules", [{}, {"a": "phone"}, {"a": "range:5"}, {"a": "range:9-1"}, {"a": "range:.-."}, {"b": "email"}]
)
def test_a_wrong_rule_is_refused(rules: dict[str, str]) -> None:
    assert refused(operation="validate", input="a\n1", options={"rules": rules}).code == "invalid_input"


def test_sample_takes_the_first_rows_or_some_by_chance() -> None:
    text = "n\n" + "\n".join(map(str, range(1000)))

    assert rows("sample", text) == ["n", *map(str, range(10))]
    assert rows("sample", text, size=2) == ["n", "0", "1"]
    assert rows("sample", text, size=0) == ["n"]
    assert rows("sample", "n\n1", size=5) == ["n", "1"]
    chosen = rows("sample", text, size=20, method="random", seed=7)
    assert chosen == rows("sample", text, size=20, method="random", seed=7)
    assert chosen != rows("sample", text, size=20, method="random", seed=8)
    numbers = [int(row) for row in chosen[1:]]
    assert numbers == sorted(set(numbers))
    assert max(numbers) > 100


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"input": "a", "path": "b.csv"},
        {"input": 5},
        {"input": "a", "operation": "guess"},
        {"input": "a", "options": {"delimiter": "::"}},
        {"input": "a", "options": {"delimiter": '"'}},
        {"input": "a", "options": {"format": "xml"}},
        {"input": "a", "options": {"size": -1}},
        {"input": "a", "options": {"sise": 1}},
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        call(CsvAnalyzer, **parameters)


@pytest.mark.timing
async def test_a_cancelled_analysis_ends_between_rows() -> None:
    text = "a,b,c\n" + "1,2.5,2024-01-01\n" * 400_000

    started_s = trio.current_time()
    with trio.move_on_after(0.1) as scope:
        await acall(CsvAnalyzer, input=text)

    assert scope.cancelled_caught
    assert trio.current_time() - started_s < 1


@pytest.mark.timing
async def test_the_loop_goes_on_while_a_large_table_is_analyzed() -> None:
    text = "a,b,c\n" + "\n".join(f"{index},{index * 0.5},n{index}" for index in range(60_000))

    held_s = await held_beyond_idle_s(lambda: acall(CsvAnalyzer, input=text))

    assert held_s < 0.02


_cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(_cells, min_size=width, max_size=width), max_size=6)))
def test_rows_come_out_as_they_went_in(table: list[list[str]]) -> None:
    width = len(table[0]) if table else 2
    header = [f"c{index}" for index in range(width)]
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([header, *table])

    out = call(CsvAnalyzer, operation="sample", input=buffer.getvalue(), options={"size": 100, "delimiter": ","})

    assert list(csv.reader(io.StringIO(str(out.text), newline=""))) == [header, *table]
    assert out.metadata["parse_errors"] == []


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='ab1,;\t|"\r\n .-\ufeff\x00é', max_size=60), st.sampled_from(["analyze", "convert", "sample"]))
def test_no_text_breaks_the_reader(text: str, operation: str) -> None:
    result = call(CsvAnalyzer, operation=operation, input=text)

    assert result.text is not None


@pytest.mark.parametrize("size", [131_072, 131_073, 1_000_000])
@pytest.mark.parametrize("text", ["x", "line\n"])
def test_a_cell_of_any_size_is_read(size: int, text: str) -> None:
    cell = (text * size)[:size]

    rows = call(CsvAnalyzer, operation="convert", input=f'id,note\n1,a\n2,"{cell}"\n3,c\n').result

    assert [row["id"] for row in rows] == [1, 2, 3]
    assert rows[1]["note"].strip() == cell.strip()


@pytest.mark.parametrize("path", ["pipe.csv", "/dev/zero"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(path: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")

    with pytest.raises(ToolError, match="not a regular file") as caught:
        call(CsvAnalyzer, path=str(tmp_path / path))

    assert caught.value.code == "not_a_file"


def test_a_link_that_was_put_in_the_place_of_the_judged_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    (tmp_path / "table.csv").symlink_to("secret.csv")

    with pytest.raises(SecurityError, match="a link has been put in its way"):
        call(CsvAnalyzer, path=str(tmp_path / "table.csv"))


WIDE = f"{','.join(f'c{index}' for index in range(1200))}\n{'1,' * 1199}1\n"


def test_of_a_wide_table_the_first_columns_are_described_or_those_that_are_asked_for() -> None:
    first = call(CsvAnalyzer, input=WIDE)
    chosen = call(CsvAnalyzer, input=WIDE, options={"columns": ["c1100", "c7"]})
    sample = call(CsvAnalyzer, operation="sample", input=WIDE)

    assert [one["name"] for one in first.result["columns"]] == [f"c{index}" for index in range(500)]
    assert (first.result["column_count"], first.metadata["columns_left_out"]) == (1200, 700)
    assert [(one["name"], one["mean"]) for one in chosen.result["columns"]] == [("c1100", 1), ("c7", 1)]
    assert (len(sample.metadata["columns"]), sample.metadata["columns_left_out"]) == (1000, 200)
    assert str(sample.text) == WIDE
    assert "columns_left_out" not in call(CsvAnalyzer, input=PEOPLE).metadata


def test_columns_that_are_not_there_or_too_many_are_refused() -> None:
    assert "options.columns: there is no column 'c9'" in str(refused(input="a,b\n1,2\n", options={"columns": ["c9"]}))
    with pytest.raises(InvalidInputError, match="at most 500 items"):
        call(CsvAnalyzer, input=WIDE, options={"columns": [f"c{index}" for index in range(501)]})


def test_the_wider_a_table_the_fewer_rows_are_read_before_a_cancellation_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[None] = []
    monkeypatch.setattr(trio.from_thread, "check_cancelled", lambda: looks.append(None))

    analyze(WIDE + WIDE.partition("\n")[2] * 9)

    assert len(looks) == 10
