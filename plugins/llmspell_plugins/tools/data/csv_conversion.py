"""A table in other formats: JSON, JSON lines, TSV, Parquet, Excel. All of it runs in worker threads.

Invariant: a cell's value has its column's type; in an Excel file no text becomes a formula.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from llmspell_hookspecs import ToolError
from llmspell_plugins.tools.utility.wording import joined

from .csv_columns import typed, types
from .csv_table import Table, written

__all__ = ["FORMATS"]

_EXCEL_ROWS, _EXCEL_COLUMNS, _EXCEL_CHARACTERS = 1_048_576, 16_384, 32_767
_GROUP_ROWS = 20_000


def _json(table: Table) -> tuple[Any, str]:
    rows = list(_objects(table))
    return rows, f"[{joined(',', map(_dumped, rows))}]"


def _jsonlines(table: Table) -> tuple[Any, str]:
    text = joined("", (f"{_dumped(row)}\n" for row in _objects(table)))
    return text, text


def _tsv(table: Table) -> tuple[Any, str]:
    text = written(table.names if table.reading.has_headers else None, table.rows(), "\t")
    return text, text


def _parquet(table: Table) -> tuple[Any, None]:
    import pyarrow
    import pyarrow.parquet

    if not table.names:
        raise ToolError("csv_analyzer: input: it has no columns; parquet needs one", code="invalid_input")
    of_type = {
        "integer": pyarrow.int64(),
        "float": pyarrow.float64(),
        "boolean": pyarrow.bool_(),
        "date": pyarrow.date32(),
        "string": pyarrow.string(),
        "empty": pyarrow.null(),
    }
    data_types = ["string" if one == "datetime" else one for one in types(table)]
    fields = [pyarrow.field(name, of_type[one]) for name, one in zip(table.names, data_types, strict=True)]
    schema = pyarrow.schema(fields)
    file = io.BytesIO()
    rows = table.rows()
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, _GROUP_ROWS)):
            columns = [
                pyarrow.array([typed(row[index], one, table) for row in group], of_type[one])
                for index, one in enumerate(data_types)
            ]
            writer.write_batch(pyarrow.record_batch(columns, schema=schema))
    return _encoded("parquet", file.getvalue()), None


def _excel(table: Table) -> tuple[Any, None]:
    import openpyxl
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    if len(table.names) > _EXCEL_COLUMNS:
        raise _too_large(f"{len(table.names)} columns are more than {_EXCEL_COLUMNS}")
    data_types = ["string" if one == "datetime" else one for one in types(table)]
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("data")

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if len(value) > _EXCEL_CHARACTERS:
            raise _too_large(f"a cell of {len(value)} characters is longer than {_EXCEL_CHARACTERS}")
        made = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", value))
        made.data_type = "s"
        return made

    file = io.BytesIO()
    try:
        if table.reading.has_headers and table.names:
            sheet.append([cell(name) for name in table.names])
        for number, row in enumerate(table.rows(), 2):
            if number > _EXCEL_ROWS:
                raise _too_large(f"there are more than {_EXCEL_ROWS - 1} rows")
            sheet.append([cell(typed(one, data_type, table)) for one, data_type in zip(row, data_types, strict=True)])
    finally:
        book.save(file)  # whatever happened: only this removes the sheet's temporary file
    return _encoded("excel", file.getvalue()), None


FORMATS: dict[str, Callable[[Table], tuple[Any, str | None]]] = {
    "json": _json,
    "jsonlines": _jsonlines,
    "tsv": _tsv,
    "parquet": _parquet,
    "excel": _excel,
}


def _objects(table: Table) -> Iterator[dict[str, Any]]:
    """Yield each row as an object; dates stay texts, as JSON has none."""
    data_types = ["string" if one in ("date", "datetime") else one for one in types(table)]
    for row in table.rows():
        cells = zip(table.names, row, data_types, strict=True)
        yield {name: typed(cell, data_type, table) for name, cell, data_type in cells}


def _dumped(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def _encoded(name: str, data: bytes) -> dict[str, Any]:
    step = 3 * 1024 * 1024
    text = "".join(base64.b64encode(data[start : start + step]).decode() for start in range(0, len(data), step))
    return {"format": name, "encoding": "base64", "data": text, "size_bytes": len(data)}


def _too_large(what: str) -> ToolError:
    return ToolError(f"csv_analyzer: options.format: {what}, too much for excel; use another", code="limit_exceeded")
