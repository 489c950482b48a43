"""What commands print: tables for people, JSON for programs.

Invariant: every listing has both, from the same rows; what is not a terminal gets whole, unstyled lines.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from llmspell_hookspecs.any_json import to_json
from llmspell_hookspecs.trace import SHOWN, TraceRow, shown_row, trace_rows

from .outlet import clean, own_stream, say, write

__all__ = ["cell", "print_json", "print_rows", "print_trace", "print_value"]


def print_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    encoded = to_json(value)
    with suppress(RecursionError):  # it stays on one line then
        encoded = msgspec.json.format(encoded, indent=2)
    write(_fitting(encoded) + "\n")


def _fitting(text: str) -> str:
    """A JSON text with what standard output's encoding lacks escaped."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return "".join(sign if sign.isascii() else json.dumps(sign)[1:-1] for sign in text)
    return text


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
        lines = [headings, *cells]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def print_trace(trace: Sequence[TraceRow]) -> None:
    """Print what every hook did as a table."""
    print_rows(list(map(shown_row, trace_rows(trace))), SHOWN, empty="no hook fired")


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
