"""Where in a TOML file each key stands, which tomllib does not tell. Lines from 1.

Invariant: right for every text that tomllib accepts; of a key in an inline table or an array of tables, the line of the
outermost statement that holds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmspell_hookspecs.errors import SettingsError
from llmspell_hookspecs.keys import split

__all__ = ["lines_of"]

_PIECE = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|\n|[\[\]{}=]|[^\s\"'#\[\]{}=]+|[^\S\n]+",
    re.DOTALL,
)


def lines_of(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of each key and table header."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for line, statement in _statements(text):
        if statement[0] == "[":
            table = _path("".join(statement).strip().strip("[]"))
            found.setdefault(table, line)
        elif "=" in statement:
            found.setdefault((*table, *_path("".join(statement[: statement.index("=")]))), line)
    return found


def _path(key: str) -> tuple[str, ...]:
    try:
        return split(key)
    except SettingsError:  # A quoted key with escapes: its errors name the table's line.
        return ()


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each header or assignment as its pieces, with the line on which it begins."""
    statement: list[str] = []
    line, begun, depth = 1, 1, 0
    for match in _PIECE.finditer(text):
        piece = match.group()
        if piece == "\n" and depth == 0:
            if statement:
                yield begun, statement
            statement = []
        elif not piece.startswith("#") and (statement or not piece.isspace()):
            begun = begun if statement else line
            statement.append(piece)
            depth += (piece in "[{") - (piece in "]}")
        line += piece.count("\n")
    if statement:
        yield begun, statement
