"""What the offline provider says, and the rules by which it does.

`HELP` is the rules, as it tells them to whoever says "help".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from llmspell_hookspecs import Message
from llmspell_hookspecs.model import ToolSpec

__all__ = ["HELP", "general", "of_results", "without"]

HELP: Final = """\
I am no model, only rules (offline/rules). Given the tools for it, I act on these, and on several at once:
- arithmetic, such as "what is 2 + 2?" (calculator)
- use NAME {"key": "value"}, call NAME with {...}, or NAME(key=value, ...): any tool, with these parameters
- read FILE, list FOLDER, delete FILE, write "text" to FILE (file_operations)
- summarise FILE.csv or analyze FILE.csv (csv_analyzer)
Then I tell what the tools answered, or that they were denied. Anything else I repeat.
For a real model set a key, such as OPENAI_API_KEY."""
_LONGEST_ECHO: Final = 200
_LONGEST_READ: Final = 10_000


def general(asked: str, tools: Sequence[ToolSpec]) -> str:
    """Return what no rule is for."""
    line = " ".join(asked[:_LONGEST_READ].split())
    line = line if len(line) <= _LONGEST_ECHO else line[: _LONGEST_ECHO - 3] + "..."
    names = ", ".join(tool.name for tool in tools)
    can = f"I can use {names} when told to" if names else "I was given no tools"
    return f'I am no model, only rules. You said: "{line}". {can}; say "help" for how, or set a key for a real model.'


def without(names: Sequence[str], tools: Sequence[ToolSpec]) -> str:
    """Return that there are no such tools."""
    offered = ", ".join(tool.name for tool in tools) or "none"
    return f"I am no model, only rules, and I was given no tool {' or '.join(names)}; there are {offered}."


def of_results(results: Sequence[Message]) -> str:
    """Return what tools answered."""
    return "\n".join(_sentence(result.name or "the tool", result.content) for result in results)


def _sentence(name: str, content: str) -> str:
    if content.startswith("denied:"):
        return f"{name} was denied: {content.removeprefix('denied:').strip()}. I go on without it."
    if content.startswith("error:"):
        return f"{name} failed: {content.removeprefix('error:').strip()}"
    if name == "calculator":
        equation = _equation(content)
        if equation:
            return equation
    return f"{name} answered: {content}"


def _equation(content: str) -> str:
    """An evaluation as people write it."""
    try:
        read: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return ""
    if not isinstance(read, dict) or "input" not in read or "result" not in read:
        return ""
    value = read["result"]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return f"{read['input']} = {value}."
