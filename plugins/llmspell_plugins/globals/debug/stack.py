"""The script's own call stack, as far as its language tells it.

A language tells it by setting ``stack`` on the run's scope: a function that answers frames from the innermost outwards,
each a table with ``function``, ``file`` and ``line`` and, if asked for, ``locals`` and ``upvalues``. Without it the
answer says that there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.language import ScriptScope

__all__ = ["stack_json", "stack_text"]

_OPTIONS: Final = ("max_depth", "capture_locals", "capture_upvalues", "include_source")
_DEPTH: Final = 50
_EXTRAS: Final = {"capture_locals": "locals", "capture_upvalues": "upvalues", "include_source": "source"}


def stack_text(scope: ScriptScope, options: Mapping[str, Any]) -> str:
    """Return the stack as text, the innermost frame first.

    Raises:
        InvalidInputError: An option is unknown or wrong.
    """
    frames = _frames(scope, options)
    if frames is None:
        return f"stack trace: {_absence(scope)}"
    lines = ["stack trace:"]
    for place, frame in enumerate(frames):
        lines.append(f"  {place}: {frame.get('function') or '?'} ({frame.get('file', '?')}:{frame.get('line', 0)})")
        lines += [f"     {name}: {frame[name]}" for name in _EXTRAS.values() if name in frame]
    return "\n".join(lines)


def stack_json(scope: ScriptScope, options: Mapping[str, Any]) -> str:
    """Return the stack as JSON text: ``{available, frames, reason?}``.

    Raises:
        InvalidInputError: An option is unknown or wrong.
    """
    frames = _frames(scope, options)
    if frames is None:
        return json.dumps({"available": False, "frames": [], "reason": _absence(scope)})
    return json.dumps({"available": True, "frames": frames}, default=str, ensure_ascii=False)


def _frames(scope: ScriptScope, options: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    for name in options:
        if name not in _OPTIONS:
            raise InvalidInputError(f"Debug.stack_trace: there is no option {name!r}; there are {', '.join(_OPTIONS)}")
    most = options.get("max_depth", _DEPTH)
    if isinstance(most, bool) or not isinstance(most, int | float) or most < 1:
        raise InvalidInputError(f"Debug.stack_trace: max_depth must be a number from 1, not {most!r}; correct it")
    source = scope.stack
    if source is None:
        return None
    dropped = {field for option, field in _EXTRAS.items() if not options.get(option)}
    kept = list(source())[: int(most)]
    return [{name: value for name, value in frame.items() if name not in dropped} for frame in kept]


def _absence(scope: ScriptScope) -> str:
    return f"the language {scope.language} does not tell its stack"
