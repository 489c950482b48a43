"""What a command's end means: its exit code, and the JSON on its standard output.

| exit | Claude Code | here |
|---|---|---|
| 0 | its JSON counts | its JSON counts; JSON that cannot be read, or says what is not known, is a failure |
| 2 | blocks, with its standard error as the reason | the same |
| other | goes on | a failure |
| killed, too slow, too much | goes on | a failure |

A failure denies wherever a command decides: at every event but SessionStart, SessionEnd and Notification.
Invariant: only what was understood whole has an effect other than a denial.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import UNSET, Struct, UnsetType

from llmspell_plugins.tools.system.running import Ended

from .file import Command

__all__ = ["DECIDING", "Answer", "failed", "read_answer"]

DECIDING: Final = frozenset({"PreToolUse", "PostToolUse", "UserPromptSubmit", "Stop", "SubagentStop"})
"""Where a command may refuse, so that one that fails has refused."""
_SAYS: Final = frozenset({"UserPromptSubmit", "SessionStart"})
"""Where what a command prints is told to the model."""
_MEMBERS: Final[Mapping[str, type]] = {
    "continue": bool,
    "stopReason": str,
    "suppressOutput": bool,
    "systemMessage": str,
    "decision": str,
    "reason": str,
    "hookSpecificOutput": dict,
}
_OWN: Final[Mapping[str, Mapping[str, type]]] = {
    "PreToolUse": {
        "permissionDecision": str,
        "permissionDecisionReason": str,
        "updatedInput": dict,
        "additionalContext": str,
    },
    "PostToolUse": {"additionalContext": str, "updatedToolOutput": object, "updatedMCPToolOutput": object},
    "UserPromptSubmit": {"additionalContext": str},
    "SessionStart": {"additionalContext": str},
}
_WORDS: Final = {"PreToolUse": {"approve": "pass", "block": "deny"}}
_PERMISSIONS: Final = {"allow": "pass", "deny": "deny", "ask": "ask", "defer": "ask"}
_ANSWERS: Final = re.compile(r'"(?:hookSpecificOutput|permissionDecision|decision|continue)"\s*:')
_MOST_REASON: Final = 2000
_MOST_CONTEXT: Final = 10_000


class Answer(Struct, frozen=True):
    """What a command answered.

    Attributes:
        verdict: Whether it lets pass, refuses, or wants a person asked.
        reason: Why.
        updated: What a tool is to be given instead.
        output: What a tool has answered instead.
        context: What the model is to be told.
        message: What the user is to be told.
        stops: Whether the agent is to stop altogether.
        failure: Why it has no answer; empty if it has one.
    """

    verdict: Literal["pass", "deny", "ask"] = "pass"
    reason: str = ""
    updated: dict[str, Any] | None = None
    output: Any | UnsetType = UNSET
    context: str = ""
    message: str = ""
    stops: bool = False
    failure: str = ""


def failed(command: Command, problem: str) -> Answer:
    """Return the answer that stands for a failure."""
    told = f"{command.name}: {problem}"
    return Answer("deny" if command.event in DECIDING else "pass", told, failure=told)


def read_answer(command: Command, ended: Ended, limits: tuple[float, int]) -> Answer:
    """Return what a command answered.

    Args:
        command: The command.
        ended: How it ended.
        limits: How long it could run, and how much it could print.
    """
    said = _line(ended.stderr)
    if ended.timed_out:
        return failed(command, f"it ran for more than {limits[0]:g} s and was ended")
    if ended.truncated:
        return failed(command, f"it printed more than {limits[1]} bytes and was ended")
    if ended.code == 2:
        verdict: Literal["pass", "deny"] = "deny" if command.event in DECIDING else "pass"
        return Answer(verdict, said or f"{command.name}: it refuses", message="" if verdict == "deny" else said)
    if ended.code != 0:
        return failed(command, f"it ended with {ended.code}" + (f": {said}" if said else ""))
    try:
        text = ended.stdout.decode().strip()
    except UnicodeDecodeError:
        return failed(command, "what it printed is not UTF-8")
    if not text.startswith("{"):
        if command.event in DECIDING and _ANSWERS.search(text):
            return failed(command, "it printed words before its JSON, so that nobody reads that")
        return Answer(context=text[:_MOST_CONTEXT] if command.event in _SAYS else "")
    try:
        return _understood(command, json.loads(text, object_pairs_hook=_once, parse_constant=_refuse))
    except (ValueError, RecursionError):
        return failed(command, "what it printed begins as JSON and is none")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a member stands there twice")
    return dict(pairs)


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _understood(command: Command, given: dict[str, Any]) -> Answer:
    problem = _unfit(given, _MEMBERS)
    own = given.get("hookSpecificOutput") or {}
    if not problem and own:
        if own.get("hookEventName", command.event) != command.event:
            return failed(command, f"it answers for {own['hookEventName']!r:.40}")
        problem = _unfit({k: v for k, v in own.items() if k != "hookEventName"}, _OWN.get(command.event, {}))
    if problem:
        return failed(command, problem)
    verdict, reason = _verdict(command, given, own)
    if verdict is None:
        return failed(command, reason)
    stops = given.get("continue") is False
    return Answer(
        verdict=verdict,
        reason=" ".join(reason.split())[:_MOST_REASON] or f"{command.name}: it refuses",
        updated=own.get("updatedInput"),
        output=own.get("updatedToolOutput", own.get("updatedMCPToolOutput", UNSET)),
        context=(own.get("additionalContext") or "")[:_MOST_CONTEXT],
        message=(given.get("systemMessage") or "")[:_MOST_REASON],
        stops=stops,
    )


def _unfit(given: Mapping[str, Any], known: Mapping[str, type]) -> str:
    for name, value in given.items():
        if name not in known:
            return f"nothing is known of {name!r:.60}, which it answers"
        if value is not None and not isinstance(value, known[name]):
            return f"its {name} is a {type(value).__name__}"
    return ""


def _verdict(
    command: Command, given: Mapping[str, Any], own: Mapping[str, Any]
) -> tuple[Literal["pass", "deny", "ask"] | None, str]:
    """The strictest of what it says, and why; None if a word is none."""
    found: list[tuple[str, str]] = []
    if given.get("continue") is False and command.event in ("PreToolUse", "UserPromptSubmit", "SessionStart"):
        found.append(("deny", given.get("stopReason") or "it stops"))
    decision = given.get("decision")
    if decision is not None:
        words = _WORDS.get(command.event, {"block": "deny"} if command.event in DECIDING else {})
        if decision not in words:
            return None, f"its decision {decision!r:.40} is none"
        found.append((words[decision], given.get("reason") or ""))
    permission = own.get("permissionDecision")
    if permission is not None:
        if permission not in _PERMISSIONS:
            return None, f"its permissionDecision {permission!r:.40} is none"
        found.append((_PERMISSIONS[permission], own.get("permissionDecisionReason") or ""))
    for word in ("deny", "ask"):
        for each, reason in found:
            if each == word:
                return ("deny" if word == "deny" else "ask"), reason or f"{command.name}: it refuses"
    return "pass", ""


def _line(output: bytes) -> str:
    return " ".join(output.decode(errors="replace").split())[:_MOST_REASON]
