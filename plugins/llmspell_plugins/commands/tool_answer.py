"""What ``tool invoke`` shows of an answer to people: tables for records, files for bytes, a pager for what is long.

Invariant: a pipe gets the whole answer, with bytes as Base64, and nothing is paged. Bytes are saved only for a
terminal, in files that nobody else may read. JSON for programs is printed elsewhere and is not touched here.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, Final

import click

from llmspell_hookspecs import ToolResult
from llmspell_hookspecs.spelling import spell_out
from llmspell_hookspecs.values import thaw

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import Invocation

__all__ = ["show_answer"]

_MOST_SAVED: Final = 16
"""How many pieces of one answer are saved: a table of a database may hold any number."""
_DEEP: Final = 16
_HOLDERS: Final = ("data", "input", "content", "output")
"""Where the Base64 stands of which ``encoding`` tells."""
_SUFFIX: Final = re.compile(r"\.\w{1,8}", re.ASCII)
_FORMATS: Final = {"excel": ".xlsx", "parquet": ".parquet"}
_SIGNATURES: Final = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"%PDF-": ".pdf",
    b"PK\x03\x04": ".zip",
    b"\x1f\x8b": ".gz",
}
_Records = Sequence[Mapping[str, Any]]


def show_answer(invocation: Invocation, result: ToolResult, *, pages: bool = True) -> None:
    """Print an answer for people.

    Args:
        invocation: The call of the command line.
        result: The tool's answer.
        pages: Whether what is longer than the terminal goes to a pager.
    """
    value = _Saving().saved(result.result) if sys.stdout.isatty() else result.result
    if pages and sys.stdout.isatty() and sys.stdin.isatty():
        with redirect_stdout(io.StringIO()) as plain:
            _show(invocation, result, value)
        if _is_long(plain.getvalue()) and _paged(spell_out(plain.getvalue())):
            return
    _show(invocation, result, value)


def _show(invocation: Invocation, result: ToolResult, value: Any) -> None:
    tables = _tables(value)
    told = result.text if value is result.result else None  # where bytes were saved, it would show them
    if told is not None and not (tables and (told == result.message or _is_json_of(told, value))):
        invocation.show(told)
        return
    if not tables:
        invocation.show(value)
        return
    if result.message:
        invocation.say(result.message)
    for name, item in value.items() if isinstance(value, Mapping) else ():
        if name not in tables and item not in (None, ""):
            invocation.say(f"{name.replace('_', ' ')}: {_spelled(item)}")
    for name, records in tables.items():
        if len(tables) > 1 or result.message or isinstance(value, Mapping):
            invocation.say()
        if len(tables) > 1:
            invocation.say(f"{name.replace('_', ' ')}:")
        columns = list(dict.fromkeys(key for record in records for key in record))
        invocation.show_rows(_with_all_columns(records, columns), columns)


def _with_all_columns(records: _Records, columns: Sequence[str]) -> _Records:
    """The records with what is null, or an empty list, spelled; and so is an empty text if it is all that a column has.

    Else a table would leave such a column out, as if the records had none.
    """
    bare = {name for name in columns if all(record.get(name, "") == "" for record in records)}

    def spelled(name: str, value: Any) -> Any:
        return json.dumps(value) if value is None or value in ([], ()) or (name in bare and value == "") else value

    return [{name: spelled(name, value) for name, value in record.items()} for record in records]


def _is_json_of(text: str, value: Any) -> bool:
    """Whether a text is the value and nothing more, so that it says no more than tables of it."""
    try:
        return bool(text.startswith(("[", "{")) and json.loads(text) == thaw(value))
    except (ValueError, RecursionError):
        return False


def _tables(value: Any) -> dict[str, _Records]:
    """Return the tables of an answer, by name: a list of records, or such lists beside facts that take a line each."""
    if _are_records(value):
        return {"": value}
    if not isinstance(value, Mapping):
        return {}
    tables = {name: item for name, item in value.items() if _are_records(item)}
    others = (item for name, item in value.items() if name not in tables)
    return tables if all(_is_line(item) for item in others) else {}


def _are_records(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(each, Mapping) and each for each in value)


def _is_line(value: Any) -> bool:
    items = value if isinstance(value, list | tuple) else (value,)
    return not any(isinstance(item, Mapping | list | tuple) for item in items)


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _is_long(text: str) -> bool:
    """Whether a text takes more lines than the terminal has, with one for the prompt."""
    size = shutil.get_terminal_size()
    return sum(1 + max(0, len(line) - 1) // size.columns for line in text.splitlines()) >= size.lines


def _paged(text: str) -> bool:
    """Show a text in the pager that ``PAGER`` names, or ``less``; False if it cannot be started."""
    try:
        with _interrupts_left_to_the_pager():
            click.echo_via_pager(text.rstrip("\n"), color=False)
    except (OSError, ValueError):
        return False
    return True


@contextmanager
def _interrupts_left_to_the_pager() -> Iterator[None]:
    """Let a Ctrl-C be the pager's, which stops a search or ends by it; it is not asked of both."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # ignored, it would be so in the pager, too
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Saving:
    """Saves the bytes in an answer, each to a file of its own."""

    def __init__(self) -> None:
        self._left = _MOST_SAVED

    def saved(self, value: Any) -> Any:
        """Return the answer with what tells where its bytes are; the very same object if it holds none."""
        changed = self._changed(value, 0)
        return value if self._left == _MOST_SAVED else changed

    def _changed(self, value: Any, depth: int) -> Any:
        if depth > _DEEP:
            return value
        if isinstance(value, bytes | bytearray):
            return self._save(bytes(value), {}) or value
        if isinstance(value, list | tuple):
            return [self._changed(item, depth + 1) for item in value]
        if not isinstance(value, Mapping):
            return value
        field = _encoded_field(value)
        if field is None:
            return {key: self._changed(item, depth + 1) for key, item in value.items()}
        place = self._save(_decoded(value[field]), value)
        if place is None:
            return value
        return place if len(value) == 1 else {**value, field: place}

    def _save(self, content: bytes | None, about: Mapping[str, Any]) -> str | None:
        """Save bytes, and return where; None if there are none, or no more are saved."""
        if not content or not self._left:
            return None
        path = ""
        try:
            handle, path = tempfile.mkstemp(prefix="llmspell-", suffix=_suffix(content, about))
            with os.fdopen(handle, "wb") as file:
                file.write(content)
        except OSError:  # the answer is shown as it is
            if path:
                os.unlink(path)
            return None
        self._left -= 1
        return f"saved to {path} ({len(content)} bytes)"


def _encoded_field(value: Mapping[str, Any]) -> str | None:
    """Return which field of a mapping is Base64, by the marks that tools give it."""
    if tuple(value) == ("base64",):
        return "base64"
    if value.get("encoding") == "base64":
        return next((name for name in _HOLDERS if isinstance(value.get(name), str)), None)
    marked = (str(key).removesuffix("_encoding") for key, item in value.items() if item == "base64")
    return next((name for name in marked if isinstance(value.get(name), str) and f"{name}_encoding" in value), None)


def _decoded(text: Any) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        return None


def _suffix(content: bytes, about: Mapping[str, Any]) -> str:
    """Return how the file's name ends: as what it was read from, as its format, as its first bytes say."""
    named = os.path.splitext(str(about.get("path", "")))[1]
    if _SUFFIX.fullmatch(named):
        return named
    known = (suffix for signature, suffix in _SIGNATURES.items() if content.startswith(signature))
    return _FORMATS.get(str(about.get("format"))) or next(known, ".bin")
