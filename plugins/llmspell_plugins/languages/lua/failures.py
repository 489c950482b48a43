"""How a script's failure is told: one line with file and line, Lua's own trace beside it.

Invariant: no Python traceback, and no name of the sandbox's own code, reaches a person.
"""

from __future__ import annotations

import re
from typing import Final

from llmspell_hookspecs import LlmspellError
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.language import ScriptLimits

__all__ = ["chunk_of", "line_of", "script_failure"]

_LONGEST_CHUNK: Final = 50
_LONGEST_TEXT: Final = 20_000
"""Of what a script raises; the message is shorter still."""
_HOST_POSITION: Final = re.compile(r"^\[host\]:\d+: ")


def chunk_of(name: str) -> str:
    """Return what Lua calls the script: whole letters, and no NUL; Lua cuts names of more than 59 bytes."""
    plain = " ".join(name.encode("utf-8", "replace").decode().replace("\0", " ").split()) or "script"
    while len(plain.encode()) > _LONGEST_CHUNK:
        plain = plain[1:]
    return plain


def line_of(error: BaseException) -> str:
    """Return an error as one line of text."""
    text = " ".join(str(error).split())
    if isinstance(error, LlmspellError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def script_failure(
    kind: str, text: str, where: str, trace: str, *, name: str, limits: ScriptLimits, callback: bool
) -> ScriptError:
    """Return the error for a slice that failed.

    Args:
        kind: ``error``, ``syntax`` or ``limit``.
        text: What Lua says, or the name of the limit.
        where: Where it happened, ``chunk:line:``, or nothing.
        trace: Lua's trace.
        name: The script's name.
        limits: What the script may use.
        callback: Whether a callback failed.
    """
    chunk = chunk_of(name)
    if len(text) > _LONGEST_TEXT:
        text = f"{text[: _LONGEST_TEXT // 2]} ... {text[-_LONGEST_TEXT // 2 :]}"
    code = {"syntax": "syntax", "limit": f"{_LIMIT_CODES.get(text, text)}"}.get(kind, "script")
    if kind == "limit":
        text = _limit_text(text, limits, callback)
    text = " ".join(_HOST_POSITION.sub("", text).split())
    position = re.match(rf"^({re.escape(chunk)}):(\d+): ?", text)
    if position is None and where and not text.startswith(where):
        text = f"{where} {text}"
        position = re.match(rf"^({re.escape(chunk)}):(\d+): ?", text)
    if position is None:
        return ScriptError(f"{name}: {text}", file=name, trace=_own_trace(trace), code=code)
    message = f"{name}:{position[2]}: {text[position.end() :]}"
    return ScriptError(message, file=name, line=int(position[2]), trace=_own_trace(trace), code=code)


_LIMIT_CODES: Final = {
    "instructions": "instruction_limit",
    "memory": "memory_limit",
    "stopped": "stopped",
    "time": "time_limit",
}


def _limit_text(limit: str, limits: ScriptLimits, callback: bool) -> str:
    if limit == "instructions":
        return f"the script ran more than its {limits.instructions} instructions; do less or raise scripts.instructions"
    if limit == "stopped":
        return "the script was stopped from outside; run it again"
    if limit == "memory":
        share = " (a callback may add 8 MB in one slice)" if callback else ""
        return (
            f"the script needs more than its {limits.memory_bytes} bytes of memory{share}; "
            "hold less at once, or raise scripts.memory_bytes"
        )
    if callback:
        return (
            f"a callback used more than {limits.callback_s:g} s of processor time in one slice; "
            "do less in it, or raise scripts.callback_s"
        )
    return f"the script used more than its {limits.time_s:g} s of processor time; do less, or raise scripts.time_s"


def _own_trace(trace: str) -> str:
    """Return the trace without the sandbox's own frames."""
    return "\n".join(line for line in trace.split("\n") if "[host]" not in line)
