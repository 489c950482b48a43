"""JSON text to plain values and back, in steps short enough that other threads keep running.

Invariant: strict JSON only (no NaN, no lone surrogates, nothing after the value); what is wrong is named with its line
and column. Python's decoder holds every other thread for as long as it works, unless it calls back: here it does so for
each object and number, so only strings by the million in one array hold them (4 ms a megabyte).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.values import thaw

__all__ = ["check", "decode", "encode"]

_BATCH = 20_000
_CHUNK = 1_000_000


def decode(text: str, where: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ToolError: ``invalid_input``, with line and column.
    """
    try:
        value = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=lambda pairs: dict(pairs),
            parse_int=lambda digits: int(digits),
            parse_float=_float,
            parse_constant=_refuse_constant,
        )
        if "\\ud" in text or "\\uD" in text:
            _check_text(encode(value, where))
        _check_text(text)
    except json.JSONDecodeError as error:
        found = repr(error.doc[error.pos : error.pos + 20]) if error.pos < len(error.doc) else "the end"
        what = f"{error.msg} at line {error.lineno}, column {error.colno}, where {found} stands"
        raise _invalid(where, what, line=error.lineno, column=error.colno) from None
    except UnicodeEncodeError:
        raise _invalid(where, "half of a surrogate pair stands alone") from None
    except RecursionError:
        raise _invalid(where, "it is nested too deeply") from None
    except ValueError as error:
        raise _invalid(where, line_of_error(error)) from None
    return value


def check(text: str, where: str) -> None:
    """See that a text is one JSON value, without building it.

    Raises:
        ToolError: ``invalid_input``, with line and column.
    """
    import msgspec

    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except UnicodeEncodeError:
        raise _invalid(where, "half of a surrogate pair stands alone") from None
    except (msgspec.DecodeError, RecursionError):
        decode(text, where)


def encode(value: Any, where: str) -> str:
    """Return the value as compact JSON; mappings and tuples are as good as dicts and lists.

    Raises:
        ToolError: It holds what JSON cannot hold (``invalid_input``).
    """
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return "".join(_batches(encoder.iterencode(thaw(value))))
    except RecursionError:
        raise _invalid(where, "it is nested too deeply") from None
    except (TypeError, ValueError) as error:
        why = line_of_error(error)
        if why.startswith("Out of range float"):
            why = "a number in it is infinite or none at all"
        raise _invalid(where, f"it cannot be written as JSON ({why})") from None


def _batches(pieces: Iterator[str]) -> Iterator[str]:
    while batch := list(islice(pieces, _BATCH)):
        yield "".join(batch)


def _check_text(text: str) -> None:
    """Raise UnicodeEncodeError if half of a surrogate pair stands alone in it."""
    if not text.isascii():
        for start in range(0, len(text), _CHUNK):
            text[start : start + _CHUNK].encode()


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits[:30]} is too large")
    return value


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _invalid(where: str, what: str, **details: int) -> ToolError:
    return ToolError(f"{where}: {what}; give valid JSON", code="invalid_input", details=details or None)
