"""What commands print: tables for people, JSON for programs.

Invariant: every listing has both, from the same rows; what is not a terminal gets whole, unstyled lines.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click
import msgspec

from llmspell_hookspecs import ScriptFunction, ScriptObject

__all__ = ["harmless", "print_json", "print_rows", "print_value"]

_CONTROLS: Final = {sign: f"\\x{sign:02x}" for sign in (*range(0x20), *range(0x7F, 0xA0)) if chr(sign) not in "\n\t"}


def harmless(text: str) -> str:
    """Answer what a model said as a terminal may have it, its control characters spelled out; as it is for a file."""
    return text.translate(_CONTROLS) if sys.stdout.isatty() else text


def print_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    encoded = msgspec.json.encode(value, enc_hook=_plain)
    click.echo(msgspec.json.format(encoded, indent=2).decode())


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """Print rows as a table.

    Args:
        rows: What to print.
        columns: Which fields, in which order; a column without content is left out.
        empty: What to say if there are no rows.
    """
    if not rows:
        click.echo(empty)
        return
    shown = [column for column in columns if any(_cell(row.get(column)) for row in rows)]
    cells = [[_cell(row.get(column)) for column in shown] for row in rows]
    headings = [column.replace("_", " ") for column in shown]
    if sys.stdout.isatty():
        _print_styled(headings, cells)
    else:
        _print_aligned([headings, *cells])


def print_value(value: Any) -> None:
    """Print what code answered: text as it is, nothing for None, all else as JSON."""
    if isinstance(value, str):
        click.echo(value)
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
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _print_aligned(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    """A value on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return msgspec.json.encode(value, enc_hook=_plain).decode()
    return " ".join(str(value).split("\n"))


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
