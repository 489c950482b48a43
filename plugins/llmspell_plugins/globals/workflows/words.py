"""The words that a script's tables may hold, and what is said of one that they may not.

Invariant: whatever is advised can be written as it stands: ``function``, ``while`` and ``end`` are words of Lua's own,
and no bare keys of a table.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection, Iterable
from typing import Any, Final

from llmspell_hookspecs.spelling import told

__all__ = [
    "AGGREGATION",
    "BRANCH",
    "ITERATOR",
    "KINDS",
    "OTHERWISE",
    "OWN",
    "PATTERN_WORDS",
    "SAME",
    "STEP",
    "WHILE",
    "check",
    "check_workflow",
]

_log = logging.getLogger("llmspell.script")
KINDS: Final = ("tool", "agent", "workflow", "model")
SAME: Final = ("description", "shared", "durable", "on_cancel", "on_error", "timeout_s")
"""What our definitions call the same."""
PATTERN_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "parallel": ("max_concurrency", "fail_fast"),
    "conditional": (
        "execute_all_matching",
        "execute_default_on_no_match",
        "short_circuit",
        "max_branches_to_evaluate",
        "default_branch",
    ),
    "loop": ("range", "items", "while", "break_when", "aggregation", "n", "max_iterations"),
    "map_reduce": ("items", "max_concurrency", "fail_fast", "max_items"),
    "pipeline": ("items", "buffer", "max_items"),
    "graph": ("max_concurrency", "fail_fast"),
}
"""The options of each pattern."""
STEP: Final = frozenset(
    {"name", "id", "type", "description", "input", "parameters", "params", "execute", "function", "on_error", "needs"}
    | {"timeout_ms", "timeout", "timeout_s", "retry_count", "retry_attempts", "retry", "retries", "error_strategy"}
    | {"dependencies", "compensate", "repeatable", "template", "address", *KINDS}
)
BRANCH: Final = frozenset(
    {"name", "description", "steps", "stages", "condition", "is_default", "default", "required"}
    | {"timeout_ms", "timeout", "timeout_s"}
)
OTHERWISE: Final = frozenset({"name", "description", "steps", "stages"})
"""What ``default_branch`` may hold, if it is not one step."""
WHILE: Final = frozenset({"condition", "max_iterations"})
ITERATOR: Final = frozenset(
    {"range", "collection", "items", "values", "while_condition", "while", "max_iterations", "type"}
)
AGGREGATION: Final = frozenset({"type", "n", "count"})
_ALL: Final = frozenset(
    {"name", "id", "type", "description", "steps", "stages", "body", "config", "options", "error_strategy"}
    | {"timeout_ms", "timeout"}
)
_REST: Final = frozenset({"branches", "reduce", "reducer"})
_OF_PATTERN: Final = {
    "parallel": frozenset({"branches"}),
    "conditional": frozenset({"branches", "condition", "then_steps", "else_steps"}),
    "loop": ITERATOR | {"iterator", "break_conditions", "aggregation_strategy"},
    **dict.fromkeys(("sequential", "map_reduce", "pipeline", "graph"), _REST),
}
OWN: Final = _ALL.union(*_OF_PATTERN.values(), ("default_branch",))
"""What is read of a workflow's table, and not handed on as it is."""
_UNWRITABLE: Final = {"function": "execute", "while": "while_condition"}
"""What Lua has as words of its own, and what says the same."""
_MEANT: Final = {
    **dict.fromkeys(("func", "fn", "action", "handler", "callback", "run", "code", "lambda"), "execute"),
    **dict.fromkeys(("optional", "is_optional"), "required = false"),
}
"""What people call a word that spelling alone would not find."""


def check_workflow(where: str, pattern: str, given: Iterable[Any]) -> None:
    """Tell of each word of a workflow's table that its pattern does not know; of one of another's too."""
    if pattern not in _OF_PATTERN:
        return
    known = _ALL | _OF_PATTERN[pattern] | {*SAME, *PATTERN_WORDS.get(pattern, ())}
    everywhere = OWN.union(*PATTERN_WORDS.values())
    for word in given:
        check(where, f"a {pattern} workflow" if word in everywhere else "a workflow", (word,), known)


def check(where: str, what: str, given: Iterable[Any], known: Collection[str]) -> None:
    """Tell of each word that is not known.

    Args:
        where: What the script called.
        what: What has the words: ``a step``.
        given: The words.
        known: Those that it may have.
    """
    for word in given:
        if word not in known:
            _log.warning("%s: %s has no %s; %s", where, what, told(word), _advice(str(word), known))


def _advice(word: str, known: Collection[str]) -> str:
    """Return what to write instead; of a word that looks like an unwritable one, what says the same."""
    likely = _MEANT.get(word, "")
    if likely.partition(" ")[0] in known:
        return f"did you mean {likely!r}?"
    near = difflib.get_close_matches(word[:80], sorted(known), 1)
    return f"did you mean {_UNWRITABLE.get(near[0], near[0])!r}?" if near else "leave it out"
