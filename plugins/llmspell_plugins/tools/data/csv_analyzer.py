"""The csv_analyzer tool: what stands in a CSV text or file, and what can be made of it. Rows count from 1.

What is a path: an input of one line that ends in .csv or .tsv and holds no comma, semicolon, tab or bar. It becomes the
parameter ``path``, which may also be given itself, and which the host judges before the call.
Invariant: a text is read and worked on in a worker thread that looks between rows whether the call was cancelled.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.spelling import spelled_path
from llmspell_hookspecs.tool import Access, PathAccess, ToolLimits
from llmspell_plugins.tools.filesystem.content import read_file

from .csv_columns import described
from .csv_conversion import FORMATS
from .csv_rows import filtered, sampled, transformed, violations
from .csv_table import Reading, Table, decoded, opened, written

__all__ = ["CsvAnalyzer", "CsvOptions", "CsvParameters"]

_PATH = re.compile(r"[^\r\n,;\t|]+\.[ct]sv", re.IGNORECASE)
_HELD = 4  # a table in work takes about four times its text
_MOST_DESCRIBED, _MOST_NAMED = 500, 1000  # more would hold the loop while hooks are shown the answer


class CsvOptions(BaseModel):
    """How to read, and what the operations may be told."""

    model_config = ConfigDict(extra="forbid")

    delimiter: str | None = Field(
        default=None, pattern=r'^[^"\r\n]$', description="Between cells; found out if left out."
    )
    encoding: str | None = Field(default=None, description="Of the file; found out if left out.")
    has_headers: bool = Field(default=True, description="Whether the first row names the columns.")
    null_values: list[str] = Field(default=[], description="Cells that count as empty, such as NA.")
    columns: list[str] = Field(
        default=[],
        max_length=_MOST_DESCRIBED,
        description=f"For analyze: which to describe; the first {_MOST_DESCRIBED} if left out.",
    )
    format: Literal["json", "jsonlines", "tsv", "parquet", "excel"] = Field(default="json", description="For convert.")
    filter: str | None = Field(default=None, max_length=1000, description="For filter: 'column > value'.")
    add_columns: dict[str, str] = Field(default={}, description="For transform: 'price * quantity' by new name.")
    rename_columns: dict[str, str] = Field(default={}, description="For transform: new names by old names.")
    rules: dict[str, str] = Field(default={}, description="For validate: 'email' or 'range:0-100' by column.")
    size: int = Field(default=10, ge=0, le=1_000_000_000, description="For sample: how many rows.")
    method: Literal["head", "random"] = Field(default="head", description="For sample: the first, or by chance.")
    seed: int = Field(default=0, description="For sample: the same seed gives the same rows.")


class CsvParameters(BaseModel):
    """What the csv_analyzer takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["analyze", "convert", "filter", "transform", "validate", "sample"] = Field(
        default="analyze", description="What to do."
    )
    input: str | None = Field(default=None, description="CSV text, or the path of a .csv or .tsv file.")
    path: str | None = Field(default=None, description="The path of a file, in place of input.")
    options: CsvOptions = Field(default=CsvOptions(), description="How to do it.")

    @model_validator(mode="before")
    @classmethod
    def _find_path(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("path") is None:
            text = given.get("input")
            if isinstance(text, str) and _PATH.fullmatch(text.strip()):
                return {**given, "input": None, "path": text.strip()}
        return given

    @model_validator(mode="after")
    def _have_one(self) -> CsvParameters:
        if (self.input is None) == (self.path is None):
            raise ValueError("give either input, a CSV text or a path, or path")
        return self


class CsvAnalyzer(Tool[CsvParameters]):
    """Analyze, convert, filter, transform, validate or sample CSV."""

    name = "csv_analyzer"
    aliases = ("csv-analyzer", "csv-analyzer-tool")
    category = "data"
    level = SecurityLevel.SAFE
    limits = ToolLimits(time_s=60, memory_bytes=1024 * 1024 * 1024)
    repeatable = True
    examples = (
        ToolExample("what is in it", {"input": "name,age\nAda,36\nBob,41\n"}, {"row_count": 2, "column_count": 2}),
        ToolExample(
            "some of the rows",
            {"operation": "filter", "input": "name,age\nAda,36\nBob,41\n", "options": {"filter": "age > 40"}},
            "name,age\nBob,41\n",
        ),
    )

    def access(self, parameters: CsvParameters) -> Sequence[Access]:
        """Return that it reads the file, if there is one."""
        return (PathAccess("path", "read"),) if parameters.path is not None else ()

    async def run(self, parameters: CsvParameters, context: ToolContext) -> ToolResult:
        """Return the analysis, the converted content, or the rows as CSV; metadata tells what did not fit.

        Raises:
            ToolError: ``invalid_input``, ``not_found``, ``limit_exceeded`` or ``missing_library``.
        """
        context.charge(_HELD * len(parameters.input or ""))
        try:
            answer: ToolResult = await context.run_thread(_answer, parameters, context.charge)
        except ImportError as error:
            name = parameters.options.format
            what = f"csv_analyzer: options.format: {name} needs {error.name}; run pip install 'llmspell[data]'"
            raise ToolError(what, code="missing_library") from error
        return answer


def _answer(parameters: CsvParameters, charge: Callable[[int], None]) -> ToolResult:
    table, options = _table(parameters, charge), parameters.options
    answer = {
        "analyze": _analyze,
        "convert": _convert,
        "filter": _filter,
        "transform": _transform,
        "validate": _validate,
        "sample": _sample,
    }[parameters.operation](table, options)
    metadata = {**answer[2], "delimiter": table.delimiter, "parse_errors": table.told()}
    return ToolResult(operation=parameters.operation, result=answer[0], text=answer[1], metadata=metadata)


def _table(parameters: CsvParameters, charge: Callable[[int], None]) -> Table:
    options = parameters.options
    reading = Reading(options.delimiter, options.encoding, options.has_headers, frozenset(options.null_values))
    if parameters.path is None:
        return opened(parameters.input or "", reading)
    try:
        data = read_file(parameters.path, sys.maxsize, lambda size_bytes: charge(_HELD * size_bytes))
    except OSError as error:
        raise _unreadable(parameters.path, error) from error
    text, encoding = decoded(data, options.encoding)
    return opened(text, reading, encoding, len(data))


_Answer = tuple[Any, str | None, dict[str, Any]]


def _analyze(table: Table, options: CsvOptions) -> _Answer:
    count, columns = described(table, _chosen(table, options.columns))
    result = {
        "row_count": count,
        "column_count": len(table.names),
        "encoding": table.encoding,
        "delimiter": table.delimiter,
        "has_headers": table.reading.has_headers,
        "columns": columns,
        "file_size_bytes": table.size_bytes,
        "parse_errors": table.told(),
    }
    return result, json.dumps(result, ensure_ascii=False), {"count": count, **_left_out(table.names, len(columns))}


def _chosen(table: Table, names: Sequence[str]) -> Sequence[int]:
    """Return which columns are to be described."""
    if not names:
        return range(min(len(table.names), _MOST_DESCRIBED))
    places = {name: index for index, name in enumerate(table.names)}
    return [places[name] if name in places else table.index(name, "options.columns") for name in names]


def _left_out(names: Sequence[str], told: int) -> dict[str, int]:
    return {"columns_left_out": len(names) - told} if len(names) > told else {}


def _convert(table: Table, options: CsvOptions) -> _Answer:
    result, text = FORMATS[options.format](table)
    return result, text, {"format": options.format}


def _filter(table: Table, options: CsvOptions) -> _Answer:
    if options.filter is None:
        raise ToolError("csv_analyzer: options.filter: there is none; give 'column > value'", code="invalid_input")
    return _rows(table, table.names, filtered(table, options.filter))


def _transform(table: Table, options: CsvOptions) -> _Answer:
    if not options.add_columns and not options.rename_columns:
        what = "csv_analyzer: options: there is nothing to do; give add_columns or rename_columns"
        raise ToolError(what, code="invalid_input")
    names, rows = transformed(table, options.add_columns, options.rename_columns)
    return _rows(table, names, rows)


def _validate(table: Table, options: CsvOptions) -> _Answer:
    if not options.rules:
        what = "csv_analyzer: options.rules: there is none; give a rule such as 'email' by column"
        raise ToolError(what, code="invalid_input")
    result = violations(table, options.rules)
    return result, json.dumps(result, ensure_ascii=False), {"count": result["error_count"]}


def _sample(table: Table, options: CsvOptions) -> _Answer:
    return _rows(table, table.names, sampled(table, options.size, options.method, options.seed))


def _rows(table: Table, names: Sequence[str], rows: Iterable[Sequence[str]]) -> _Answer:
    count = 0

    def counted() -> Iterator[Sequence[str]]:
        nonlocal count
        for row in rows:
            count += 1
            yield row

    text = written(names if table.reading.has_headers else None, counted(), table.delimiter)
    return text, text, {"count": count, "columns": list(names[:_MOST_NAMED]), **_left_out(names, _MOST_NAMED)}


def _unreadable(path: str, error: OSError) -> ToolError:
    code = "not_found" if isinstance(error, FileNotFoundError) else "io"
    return ToolError(
        f"csv_analyzer: path: {spelled_path(path)}: {error.strerror}; give a file that can be read", code=code
    )
