"""Takes in TOML that people write, such as settings: bounded, each key with its line, what is wrong in one line.

Invariant: what leaves here is plain, has text as keys, and is bounded in depth, number and size; whatever else comes in
is one `SettingsError`, before any work is done on it. Lines are right for every text that tomllib accepts, which does
not tell them; of a key in an inline table or an array of tables, it is that of the outermost statement that holds it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, get_args, get_origin

from .errors import SettingsError, line_of_error
from .keys import split
from .regular import read_regular

__all__ = [
    "lines_of",
    "listed",
    "number_of",
    "parse_settings",
    "plain_table",
    "read_settings",
    "switch_of",
    "text_as",
    "value_of",
]

_MOST_BYTES: Final = 1024 * 1024
_MOST_LEVELS: Final = 32
_MOST_VALUES: Final = 20_000
_MOST_BITS: Final = 64
_PLACE: Final = re.compile(r"at line (\d+)")
_UTF_8_MARK: Final = b"\xef\xbb\xbf"
_OTHER_MARKS: Final = ((b"\xff\xfe", "UTF-16 or UTF-32"), (b"\xfe\xff", "UTF-16"), (b"\0\0\xfe\xff", "UTF-32"))
_PIECE = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|\n|[\[\]{}=]|[^\s\"'#\[\]{}=]+|[^\S\n]+",
    re.DOTALL,
)


def read_settings(file: Path) -> bytes:
    """Return the bytes of a settings file.

    Raises:
        SettingsError: It cannot be read, is no file, or is too large.
    """
    try:
        return read_regular(file, _MOST_BYTES)
    except OSError as error:
        message = f"{file}: it cannot be read: {error.strerror}; name a file that can, or allow it"
        raise SettingsError(message, origin=str(file)) from error


def parse_settings(file: Path, content: bytes) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """Return the tables in a settings file's bytes, and the line of each key.

    Raises:
        SettingsError: They are no UTF-8, no TOML, or more than settings hold.
    """
    where = str(file)
    try:
        text = content.removeprefix(_UTF_8_MARK).decode()
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        found = next((name for mark, name in _OTHER_MARKS if content.startswith(mark)), "")
        message = f"{file}: it is {found or 'not UTF-8'}; save it as UTF-8"
        raise SettingsError(message, origin=where) from error
    except tomllib.TOMLDecodeError as error:
        reason = line_of_error(error)
        place = _PLACE.search(reason)
        origin = f"{file}:{place[1]}" if place else where
        raise SettingsError(f"{origin}: it is no TOML: {_cut(reason)}; fix it", origin=origin) from error
    except (RecursionError, ValueError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else "a number in it is too long"
        raise SettingsError(f"{file}: it cannot be read: {reason}; fix it", origin=where) from error
    return plain_table(table, where), lines_of(text)


def plain_table(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a fresh copy of a table, every mapping a dict and every sequence a list.

    Args:
        table: As it was read or handed over.
        where: Where it came from, for messages.

    Raises:
        SettingsError: A key is no text, or there is more than settings hold.
    """
    copied = _Copy(where).copy(table, 0)
    if not isinstance(copied, dict):
        raise SettingsError(f"{where}: settings are {type(table).__name__}; give tables", origin=where)
    return copied


class _Copy:
    """Copies one table, and counts."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._left = _MOST_VALUES

    def copy(self, value: Any, level: int) -> Any:
        """Return the value as dicts and lists."""
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            message = f"{self._where}: a number has {value.bit_length()} bits, and at most {_MOST_BITS} are taken"
            raise SettingsError(f"{message}; write a smaller one", origin=self._where)
        if not isinstance(value, Mapping | list | tuple):
            return value
        self._left -= len(value)
        if self._left < 0 or level > _MOST_LEVELS:
            much = f"nested more than {_MOST_LEVELS} deep" if self._left >= 0 else f"more than {_MOST_VALUES} values"
            raise SettingsError(f"{self._where}: the settings are {much}; make them smaller", origin=self._where)
        if isinstance(value, Mapping):
            return {self._key(key): self.copy(item, level + 1) for key, item in value.items()}
        return [self.copy(item, level + 1) for item in value]

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            if not _is_whole(key):
                message = f"{self._where}: the key {_cut(ascii(key))} is no UTF-8; write it so"
                raise SettingsError(message, origin=self._where)
            return str(key)
        shown = _cut(repr(key) if not isinstance(key, int) else hex(key))
        raise SettingsError(f"{self._where}: the key {shown} is no text; write keys as text", origin=self._where)


def _is_whole(text: str) -> bool:
    """Return whether a text is letters throughout: no byte that is no UTF-8, and no half of a pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cut(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "..."


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


def number_of(text: str) -> float:
    """Return the number that a text spells.

    Raises:
        ValueError: It spells none.
    """
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number; give one") from None


def switch_of(text: str) -> bool:
    """Return whether a text says on: true, 1, yes.

    Raises:
        ValueError: It says neither on nor off.
    """
    known = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    try:
        return known[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false; give one of them") from None


def listed(text: str) -> list[str]:
    """Return the entries between commas."""
    return [item.strip() for item in text.split(",") if item.strip()]


def value_of(text: str) -> Any:
    """Return what a text spells as a value of TOML; the text itself if it spells none and does not begin as one.

    Raises:
        ValueError: It begins as a list, a table or a text in quotes, and is none: as a text it would mean what nobody
            meant.
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError) as error:  # no TOML, a number that is too long, or nested too deeply
        if not text.lstrip().startswith(("[", "{", '"')):
            return text
        why = "nested too deeply" if isinstance(error, RecursionError) else line_of_error(error)
        why = why.partition(" (at ")[0]  # of a line that nobody wrote
        raise ValueError(f"it begins as TOML and is none: {why}; a text that begins so stands in quotes") from None
    return parsed["value"] if len(parsed) == 1 else text


def text_as(annotation: Any, text: str, where: str, *, secret: bool = False) -> Any:
    """Return the value that a person means by a text, for a field of this type; None for what has a type of its own.

    A list is a TOML array, or entries between commas; ``none`` stands for no limit. What has no plain type is TOML, or
    else text.

    Args:
        annotation: The field's type.
        text: As it was given.
        where: What it was given as, for the error.
        secret: Whether it is a secret, which may begin with any sign.

    Raises:
        SettingsError: It begins as TOML and is none.
    """
    options = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    if type(None) in options and text.strip().lower() in ("", "none"):
        return None
    try:
        if annotation is None or get_origin(annotation) not in (None, tuple, UnionType, Literal):
            return value_of(text)
        if get_origin(annotation) is tuple:
            parsed = value_of(text) if text.strip().startswith("[") else text
            return listed(parsed) if isinstance(parsed, str) else parsed
    except ValueError as error:
        if not secret:
            raise SettingsError(f"{where}: {error}", origin=where) from None
    return text
