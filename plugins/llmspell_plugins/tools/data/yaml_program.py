"""What the yaml-processor does in a child process: YAML 1.2 to plain values and back.

Invariant: only plain values come of a document, a tag makes no object; what its anchors stand for is counted before it
is written out, so that a small document cannot become a large one.
"""

from __future__ import annotations

import base64
import math
import re
from datetime import date, datetime
from io import StringIO
from typing import Any

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error

__all__ = ["dump", "merge", "parse"]

_MOST_NODES = 1_000_000
_DEEPEST = 100


def parse(text: str, every: bool, path: str = "") -> Any:
    """Return the value of a document, or the list of all of them; a part of it if there is a path such as ``a.b.0``.

    Raises:
        ToolError: ``invalid_input``, ``not_found`` or ``limit_exceeded``.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    reader = YAML(typ="safe", pure=True)
    try:
        value = list(reader.load_all(text)) if every else reader.load(text)
    except YAMLError as error:
        told = " ".join(line_of_error(error).split()).partition(" To suppress this check")[0]  # advice for programmers
        raise _invalid(told.replace('in "<unicode string>", ', "at ")[:300]) from None
    except RecursionError:
        raise _invalid("it is nested too deeply") from None
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise _invalid(line_of_error(error)[:200]) from None
    return _plain(_part(value, path), [_MOST_NODES], 0)


def dump(value: Any) -> str:
    """Return a value as YAML, in blocks, keys in their order."""
    from ruamel.yaml import YAML

    writer: Any = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.sort_base_mapping_type_on_output = False
    stream = StringIO()
    try:
        writer.dump(_plain(value, [_MOST_NODES], 0), stream)
    except ValueError as error:  # a number of more digits than Python writes
        message = f"yaml-processor: input: it cannot be written: {line_of_error(error)[:200]}; give it as a text"
        raise ToolError(message, code="invalid_input") from None
    return stream.getvalue().removesuffix("...\n")


def merge(first: str, second: str) -> Any:
    """Return two documents as one: tables key by key, all else as the second has it."""
    return _merged(parse(first, False), parse(second, False))


def _merged(first: Any, second: Any) -> Any:
    if not isinstance(first, dict) or not isinstance(second, dict):
        return second
    shared = {key: _merged(first[key], value) for key, value in second.items() if key in first}
    return {**first, **second, **shared}


def _steps(path: str) -> list[str]:
    """The keys and places of a path, written ``a.0.b``, or as jq and JSONPath have it: ``.a[0].b``, ``$.a[0].b``."""
    plain = re.sub(r"\[(\d+)\]", r".\1", path.removeprefix("$")).removeprefix(".")
    return plain.split(".") if plain else []


def _part(value: Any, path: str) -> Any:
    for step in _steps(path):
        try:
            known = isinstance(value, dict) and step in value
            value = value[step if known else int(step)]
        except (KeyError, IndexError, ValueError, TypeError):
            message = f"yaml-processor: query: {step[:80]!r} of {path[:100]!r} is not there; correct the path"
            raise ToolError(message, code="not_found") from None
    return value


def _plain(value: Any, left: list[int], depth: int) -> Any:
    """The value as JSON can hold it; ``left`` holds how many nodes it may still have."""
    left[0] -= 1
    if left[0] < 0 or depth > _DEEPEST:
        what = f"more than {_MOST_NODES} values" if left[0] < 0 else f"deeper than {_DEEPEST} levels"
        message = f"yaml-processor: input: written out it is {what}; give less, or fewer anchors"
        raise ToolError(message, code="limit_exceeded")
    if isinstance(value, dict):
        return {_key(key): _plain(item, left, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item, left, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value.isoformat() if isinstance(value, date | datetime) else value


def _key(key: Any) -> str:
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    return key if isinstance(key, str) else str(key)


def _invalid(what: str) -> ToolError:
    return ToolError(f"yaml-processor: input: {what}; give valid YAML 1.2", code="invalid_input")
