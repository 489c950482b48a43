"""What commands print: tables for people, JSON for programs.

Invariant: every listing has both, from the same rows; what is not a terminal gets whole, unstyled lines.
"""

from __future__ import annotations

import enum
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmspell_hookspecs import ScriptFunction, ScriptObject
from llmspell_hookspecs.spelling import escaped, spell_out

from .outlet import clean, own_stream, say, write

if TYPE_CHECKING:
    from llmspell.hooks import TraceRow

__all__ = ["cell", "print_json", "print_rows", "print_trace", "print_value", "to_json", "trace_rows"]

_DEEPEST: Final = 100
_HALF: Final = re.compile("[\ud800-\udfff]")
_LONGEST_DIGITS: Final = 4000


def print_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    encoded = to_json(value)
    with suppress(RecursionError):  # it stays on one line then
        encoded = msgspec.json.format(encoded, indent=2)
    write(_fitting(encoded) + "\n")


def to_json(value: Any) -> str:
    """Return any value as JSON of one line; what JSON has no word for as text, a number that is none as null."""
    try:
        return escaped(msgspec.json.encode(value, enc_hook=_plain).decode())
    except Exception:  # odd keys, halves of letters, rings, whatever a value's own methods raise
        return escaped(msgspec.json.encode(_whole(value, _DEEPEST)).decode())


def _fitting(text: str) -> str:
    """A JSON text with what standard output's encoding lacks escaped."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return "".join(sign if sign.isascii() else json.dumps(sign)[1:-1] for sign in text)
    return text


def _whole(value: Any, depth: int) -> Any:
    """A value that JSON has words for in the place of one that it has not."""
    try:
        value = value if isinstance(value, str | int | float | bool | list | tuple | Mapping | None) else _plain(value)
        if isinstance(value, str):
            return _HALF.sub(lambda half: spell_out(half[0]), value)
        if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _LONGEST_DIGITS * 3:
            return hex(value)
        if not isinstance(value, list | tuple | Mapping):
            return value
        if depth == 0:
            return "<nested too deeply>"
        if isinstance(value, Mapping):
            return {_whole(_key(key), 0): _whole(item, depth - 1) for key, item in value.items()}
        return [_whole(item, depth - 1) for item in value]
    except Exception as error:  # whatever the value's own methods raise
        return f"<left out: {type(error).__name__}>"


def _key(key: Any) -> str:
    return key if isinstance(key, str) else to_json(key) if key is None or isinstance(key, bool) else str(key)


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """Print rows as a table.

    Args:
        rows: What to print.
        columns: Which fields, in which order; a column without content is left out.
        empty: What to say if there are no rows.
    """
    if not rows:
        say(empty)
        return
    shown = [column for column in columns if any(cell(row.get(column)) for row in rows)]
    cells = [[cell(row.get(column)) for column in shown] for row in rows]
    headings = [column.replace("_", " ") for column in shown]
    if sys.stdout.isatty():
        _print_styled(headings, cells)
    else:
        _print_aligned([headings, *cells])


def trace_rows(trace: Sequence[TraceRow]) -> list[dict[str, Any]]:
    """Return what every hook did as rows."""
    return [{"order": order, **msgspec.structs.asdict(row)} for order, row in enumerate(trace, 1)]


def print_trace(trace: Sequence[TraceRow]) -> None:
    """Print what every hook did as a table."""
    rows = trace_rows(trace)
    for row in rows:
        row["time"] = f"{row['elapsed_ns'] / 1000:.1f} us"
        row["hook"] = f"{row['plugin']}.{row['hook']}" if row["hook"] else "(runner)"
        row["answer"] = " ".join(filter(None, (row["result"], row["detail"], row["error"])))
    columns = ("order", "point", "component", "hook", "kind", "answer", "time", "change")
    print_rows(rows, columns, empty="no hook fired")


def print_value(value: Any) -> None:
    """Print what code answered: text as it is, nothing for None, all else as JSON."""
    if isinstance(value, str):
        write(value + "\n")
    elif value is not None:
        print_json(value)


def _print_styled(headings: Iterable[str], cells: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", no_wrap=place == 0)
    for row in cells:
        table.add_row(*(Text(text) for text in row))
    Console(file=own_stream(sys.stdout)).print(table)


def _print_aligned(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for line in lines:
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def cell(value: Any) -> str:
    """Return a value on one line, with what steers a terminal spelled out."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(cell, value))
    if isinstance(value, Mapping):
        return to_json(value)
    return clean(" ".join(str(value).split("\n")))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, ScriptObject):
        return value.script_text()
    if isinstance(value, ScriptFunction):
        return "function"
    return str(value)
