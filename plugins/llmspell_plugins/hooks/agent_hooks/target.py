"""The target of an agent context: where a transform's path leads, and putting a value there.

Invariant: nothing but the target changes, and with it the one member of the context that it stands for; a path that
does not lead to something that is there changes nothing. Source: AGENT-HOOKS-0.1, sections 4.3 and 5.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["FIXED", "PLACES", "TransformError", "steps_of", "transformed"]

PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "agent_startup": ("agent_init",),
    "input": ("input",),
    "pre_model_call": ("messages",),
    "post_model_call": ("response",),
    "pre_tool_call": ("tool_call", "args"),
    "post_tool_call": ("tool_result", "value"),
    "output": ("output",),
    "agent_shutdown": ("summary",),
}
"""Which member of a context its target is, at each of the eight points."""
FIXED: Final = frozenset({"agent_startup", "agent_shutdown"})
"""Where there is nothing to transform."""
_ROOT: Final = re.compile(r"\$(?:policy_)?target")
_SEGMENT: Final = re.compile(r"""\.([A-Za-z0-9_-]+)|\[(\d{1,9})\]|\["([A-Za-z0-9_-]+)"\]""", re.ASCII)


class TransformError(Exception):
    """A transform does not apply.

    Attributes:
        reason: Which of the reserved reasons it is.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def transformed(point: str, target: Any, path: str, value: Any) -> Any:
    """Return the target with a value at a path; what is not on the way to it is shared with the old one.

    Args:
        point: At which of the eight points.
        target: As it stands.
        path: Rooted at ``$target``.
        value: What is put there.

    Raises:
        TransformError: Nothing may be changed there, or the path leads to nothing.
    """
    if point in FIXED:
        raise TransformError("host_error:transform_target_forbidden", f"nothing can be transformed at {point}")
    return _replaced(target, steps_of(path), value)


def steps_of(path: str) -> list[str | int]:
    """Return the members and indices that a path goes through.

    Raises:
        TransformError: It is not rooted at ``$target``, or is no path.
    """
    root = _ROOT.match(path)
    if root is None:
        raise TransformError("host_error:transform_target_forbidden", "the path is not rooted at $target")
    steps: list[str | int] = []
    place = root.end()
    while place < len(path):
        found = _SEGMENT.match(path, place)
        if found is None:
            raise TransformError("host_error:transform_invalid", "the path has a segment that is none")
        name, index, quoted = found.groups()
        steps.append(int(index) if index is not None else name or quoted)
        place = found.end()
    return steps


def _replaced(held: Any, steps: list[str | int], value: Any) -> Any:
    if not steps:
        return value
    step, *rest = steps
    if isinstance(step, str) and isinstance(held, Mapping) and step in held:
        return {**held, step: _replaced(held[step], rest, value)}
    if isinstance(step, int) and isinstance(held, list) and step < len(held):
        return [*held[:step], _replaced(held[step], rest, value), *held[step + 1 :]]
    raise TransformError("host_error:transform_invalid", "the path leads to nothing")
