"""JSON text for scripts and models: by the rules of the original, and without holding the trio loop or the GIL.

What is written: nothing and numbers that are not finite become ``null``; whole-number keys become strings and other
keys are left out; an object becomes its fields; a function is an error. What is large goes through Python's own scanner
and encoder in a worker thread: slower than the C ones, but those keep every other thread waiting until they are done.
"""

from __future__ import annotations

import json
import json.decoder
import json.scanner
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import trio

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.bounds import check_bounds
from llmspell_hookspecs.errors import ResourceLimitError, line_of_error
from llmspell_hookspecs.language import ScriptObject

__all__ = ["LARGEST_TEXT", "is_small", "parse_text", "plain", "sound", "write_text"]

LARGEST_TEXT: Final = 16 * 1024 * 1024
"""How long a text may be that is read into a script, in characters."""

_SMALL_TEXT: Final = 64 * 1024
_SMALL_WEIGHT: Final = 5_000
_DEEPEST: Final = 200
_ATOMS: Final = (str, bool, int, type(None))


async def parse_text(text: str) -> Any:
    """Return the value that a JSON text stands for.

    Raises:
        InvalidInputError: It is no JSON.
        ResourceLimitError: It is longer than `LARGEST_TEXT`.
    """
    if len(text) <= _SMALL_TEXT:
        return _parse(json.JSONDecoder(parse_constant=_refuse_constant), text)
    if len(text) > LARGEST_TEXT:
        message = f"JSON parse error: the text has {len(text)} characters; at most {LARGEST_TEXT} are read at once"
        raise ResourceLimitError(message, resource="characters", limit=LARGEST_TEXT)
    return await trio.to_thread.run_sync(_parse, _PatientDecoder(), text, abandon_on_cancel=True)


async def write_text(value: Any, *, pretty: bool = False) -> str:
    """Return a value as JSON text, on one line or indented by two.

    Raises:
        InvalidInputError: It holds a function or bytes, or is nested too deeply or in a circle.
    """
    if is_small(value):
        text = _encoder(pretty=False).encode(plain(value))
        return msgspec.json.format(text, indent=2) if pretty else text
    return await trio.to_thread.run_sync(_write_bounded, value, pretty, abandon_on_cancel=True)


def _write_bounded(value: Any, pretty: bool) -> Any:
    check_bounds(value)
    return _write_patiently(value, pretty)


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON knows it, fresh all the way down.

    Raises:
        InvalidInputError: It holds a function or bytes, or is nested too deeply or in a circle.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, _ATOMS):
        return value
    if depth > _DEEPEST:
        message = f"JSON: the value is nested more than {_DEEPEST} levels deep or refers to itself; flatten it"
        raise InvalidInputError(message)
    if isinstance(value, ScriptObject):
        value = {key: field for key, field in value.script_fields().items() if not callable(field)}
    if isinstance(value, Mapping):
        return _plain_mapping(value, depth)
    if isinstance(value, list | tuple):
        items: list[Any] = []
        for item in value:
            items.append(plain(item, depth + 1))  # noqa: PERF401 - a comprehension would double the frames a level costs
        return items
    word = "function" if callable(value) else type(value).__name__
    raise InvalidInputError(f"JSON: a {word} cannot be written as JSON; leave it out or give its text")


def is_small(value: Any) -> bool:
    """Return whether a value is so small that encoding it takes no time worth a thread."""
    weight, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        weight += 1
        if isinstance(item, str):
            weight += len(item) // 100
        elif isinstance(item, Mapping):
            weight += len(item)
            waiting.extend(item.values() if weight <= _SMALL_WEIGHT else ())
        elif isinstance(item, list | tuple):
            weight += len(item)
            waiting.extend(item if weight <= _SMALL_WEIGHT else ())
        if weight > _SMALL_WEIGHT:
            return False
    return True


def sound(value: Any) -> Any:
    """Return the value with a stand-in letter for each half of a surrogate pair that stands alone."""
    if isinstance(value, str):
        return _sound_text(value)
    if isinstance(value, Mapping):
        return {_sound_text(str(key)): sound(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [sound(item) for item in value]
    return value


def _plain_mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(key, str):
            found[key] = plain(item, depth + 1)
        elif isinstance(key, int) and not isinstance(key, bool):
            found[str(key)] = plain(item, depth + 1)
    return found


def _parse(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        return decoder.decode(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        message = f"JSON parse error: {error.msg} at line {error.lineno} column {error.colno}; correct the text"
        raise InvalidInputError(message) from error
    except RecursionError as error:
        raise InvalidInputError("JSON parse error: the text is nested too deeply; flatten it") from error
    except ValueError as error:
        raise InvalidInputError(f"JSON parse error: {line_of_error(error)}; correct the text") from error


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


class _PatientDecoder(json.JSONDecoder):
    """The decoder without its C scanner, so that other threads get their turn."""

    def __init__(self) -> None:
        super().__init__(parse_constant=_refuse_constant)
        self.scan_once = json.scanner.py_make_scanner(self)  # type: ignore[attr-defined]


def _encoder(*, pretty: bool) -> json.JSONEncoder:
    if pretty:
        return json.JSONEncoder(ensure_ascii=False, indent=2)
    return json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _write_patiently(value: Any, pretty: bool) -> str:
    return "".join(_encoder(pretty=pretty).iterencode(plain(value)))


def _sound_text(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Two halves that belong together become one letter on the way.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
