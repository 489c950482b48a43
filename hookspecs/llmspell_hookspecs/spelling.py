"""Foreign text as people may read it: what steers a terminal, or hides, is spelled out.

Invariant: what comes out holds no control character but line feed and tab, nothing that turns the direction of text or
has no width, and no half of a surrogate pair; spelling it out again changes nothing. A message is one line of at most
`MESSAGE_CHARACTERS`. A path that is spelled comes back byte for byte, whatever its bytes.
Source: Unicode categories Cc, Cf, Cs, Zl and Zp; Trojan Source (CVE-2021-42574).
"""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
from collections.abc import Iterable
from typing import Final

__all__ = [
    "MESSAGE_CHARACTERS",
    "escaped",
    "meant",
    "one_line",
    "shown_wait",
    "spell_out",
    "spelled_path",
    "told",
    "true_path",
]

MESSAGE_CHARACTERS: Final = 500
"""How long the message of an error may be."""

# Joiners are left between letters that need them (Persian, Hindi) and in joined emoji; elsewhere they hide something.
_JOINED: Final = "[^\x00-\xff\u2000-\u206f\ud800-\udfff\ufeff]"
_ODD: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    f"|\r(?!\n)|(?<!{_JOINED})[\u200c\u200d]|[\u200c\u200d](?!{_JOINED})"
)
_ENDS: Final = 20
"""Of a text that is so many times as long as a line may be, no more than that is read."""
_UNITS: Final = ((2.0, "days", 86_400), (2.0, "h", 3600), (2.0, "min", 60))
"""From how many of a unit on a wait is shown in it, and how many seconds it has."""
_LONGEST_WAIT_S: Final = 366 * 86_400
_BITS: Final = 256
"""From how large on a number is not printed."""
_SHORT: Final = reprlib.Repr()
_BREAK: Final = re.compile(r"(?<!\s)\s*\n\s*")  # from where white space begins: else a row of blanks takes its square


_BYTES: Final = re.compile(r"(?:\\x(?!00|2f)[0-9a-f]{2})+", re.IGNORECASE)
"""Bytes of a path, spelled; neither NUL nor a slash is part of a name."""
_LIKE_A_BYTE: Final = re.compile(r"\\(?=x(?!00|2f)[0-9a-f]{2})", re.IGNORECASE)


def spell_out(text: str) -> str:
    r"""Return the text with what a terminal would obey, or would not show, as ``\x1b``, ``\u202e`` and the like.

    A byte that is no UTF-8, as Python keeps it in file names, becomes ``\xe9``.
    """
    return text if text.isprintable() else _ODD.sub(_spelled, text)


def spelled_path(path: str) -> str:
    r"""Return a path as it is shown and taken back: what is no UTF-8, or not to be seen, byte for byte as ``\xe9``.

    Args:
        path: As Python has it from the system; a backslash that would read as the start of a byte becomes ``\x5c``.
    """
    if path.isprintable() and "\\" not in path:
        return path
    text = re.sub(r"[\n\r\t]", _spelled_bytes, _LIKE_A_BYTE.sub(r"\\x5c", path))
    while _ODD.search(text):  # what has no width may lose the letter that it stood behind
        text = _ODD.sub(_spelled_bytes, text)
    return text


def true_path(text: str) -> str:
    r"""Return the path that a spelling stands for, as Python has it from the system; ``\xe9`` is one byte.

    Only once, where a path comes in: a name may itself look like a spelling.
    """
    if "\\" not in text:
        return text
    return _BYTES.sub(lambda found: os.fsdecode(bytes.fromhex(found[0].replace("\\x", "").replace("\\X", ""))), text)


def one_line(text: str, characters: int = MESSAGE_CHARACTERS) -> str:
    """Return the text as one line, spelled out; of a long one the middle is left out, for the remedy stands at the end.

    Args:
        text: The message.
        characters: How long the line may be.
    """
    more = len(text) - characters
    if len(text) > _ENDS * characters:  # what is left out is not looked at
        text = text[: _ENDS // 2 * characters] + text[-_ENDS // 2 * characters :]
    else:
        more = 0
    if not text.isprintable():
        text = spell_out(_BREAK.sub(" ", text.strip()).replace("\t", " "))
    if len(text) <= characters:
        return text
    end = characters // 3
    mark = f" ... {more or len(text) - characters} characters more ... "
    return text[: characters - end - len(mark)] + mark + text[-end:]


def meant(name: str, known: Iterable[str], otherwise: str, *, most: int = 1, cutoff: float = 0.6) -> str:
    """Return advice about a name that is not known: ``did you mean X?`` if some are near, else what is said otherwise.

    Args:
        name: The name; of a long one the beginning counts.
        known: Those that there are.
        otherwise: What to do if none is near.
        most: How many are named.
        cutoff: How near they must be, from 0 to 1.
    """
    import difflib

    near = difflib.get_close_matches(name[:80], sorted(known), most, cutoff)
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def shown_wait(wait_s: float) -> str:
    """Return a wait as people say it: ``1.5 s``, ``90 s``, ``15 min``, ``3 h``, ``12 days``; rounded up."""
    if not wait_s <= _LONGEST_WAIT_S:
        return "more than a year"
    for most, unit, seconds in _UNITS:
        if wait_s > most * seconds:
            return f"{math.ceil(wait_s / seconds)} {unit}"
    return f"{math.ceil(wait_s * 10) / 10:g} s"


def told(value: object, characters: int = 60) -> str:
    """Return a value as an error shows it: cut off; of whatever class it is, this never fails, nor takes long."""
    if isinstance(value, int) and value.bit_length() > _BITS:
        return f"a number of {value.bit_length()} bits"
    try:
        text = repr(value[:characters]) if isinstance(value, str) else _SHORT.repr(value)
    except Exception:  # its own code ran, or it holds a number that is too long to print
        text = f"a {type(value).__name__}"
    return text if len(text) <= characters else f"{text[: characters - 3]}..."


def escaped(text: str) -> str:
    """Return a text, JSON or a part of a line, with what is not printable escaped as JSON has it."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


def _spelled_bytes(match: re.Match[str]) -> str:
    try:
        return "".join(f"\\x{byte:02x}" for byte in os.fsencode(match[0]))
    except UnicodeEncodeError:  # half of a letter: no path that the system knows
        return _spelled(match)


def _spelled(match: re.Match[str]) -> str:
    number = ord(match[0])
    if 0xDC80 <= number <= 0xDCFF:
        number -= 0xDC00
    if number > 0xFFFF:
        return f"\\U{number:08x}"
    return f"\\u{number:04x}" if number > 0xFF else f"\\x{number:02x}"
