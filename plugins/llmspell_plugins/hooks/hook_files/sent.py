"""What a command is sent: one object of JSON, with the members that Claude Code has for its event.

Invariant: secrets are masked in it as every hook sees them; what JSON has no word for stands there as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import trio

from llmspell_hookspecs import HookContext
from llmspell_hookspecs.any_json import to_json
from llmspell_hookspecs.tool import ToolCall, ToolResult
from llmspell_plugins.json_text import is_small
from llmspell_plugins.kinds.hiding import hide_value

from .tools import Shown

__all__ = ["answer_sent", "as_json", "call_sent", "common", "original"]

_NO_TRANSCRIPT = "/dev/null"
"""There is none; whoever reads it finds nothing."""


async def as_json(value: Any) -> Any:
    """Return a value of any type as JSON has it, with its secrets masked; made in a thread if it is large."""
    if is_small(value):
        return _plain(value)
    return await trio.to_thread.run_sync(_plain, value)


def _plain(value: Any) -> Any:
    return json.loads(to_json(hide_value(value)))


def common(context: HookContext[Any], event: str, session: str, folder: str) -> dict[str, Any]:
    """Return the members that every event has."""
    return {
        "session_id": session,
        "transcript_path": _NO_TRANSCRIPT,
        "cwd": folder,
        "permission_mode": "default",
        "hook_event_name": event,
    }


async def call_sent(context: HookContext[Any], call: ToolCall, shown: Shown) -> dict[str, Any]:
    """Return the members about a call; what it is here stands beside what it is there."""
    return {
        "tool_name": shown.name,
        "tool_input": await as_json(shown.input),
        "tool_use_id": context.operation.id,
        "llmspell": {
            "tool": call.name,
            "parameters": await as_json(call.parameters),
            "category": call.category,
            "level": call.level,
            "language": context.language,
        },
    }


async def answer_sent(result: ToolResult) -> Any:
    """Return what a tool answered, as ``tool_response``: its payload, or all of an envelope that says more."""
    if result.success and not result.message and result.text is None and result.error is None:
        return await as_json(result.result)
    fields = ("result", "text", "message", "success", "error")
    return await as_json({name: getattr(result, name) for name in fields})


def original(changed: Mapping[str, Any], sent: Mapping[str, Any], shown: Shown) -> dict[str, Any]:
    """Return an input that a command answered, with what it left alone as it is, and not as it was sent."""
    return {
        name: shown.input[name] if name in sent and name in shown.input and sent[name] == value else value
        for name, value in changed.items()
    }
