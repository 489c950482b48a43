"""The topics that llmspell itself declares, and all of their points.

Invariant: this is the one list of topics; the host, its tests and the references take theirs from here.
"""

from __future__ import annotations

import functools
import importlib
from itertools import chain
from types import ModuleType
from typing import Final

from .points import HookPoint, points_of

__all__ = ["TOPICS", "own_points"]

TOPICS: Final[tuple[ModuleType, ...]] = tuple(
    importlib.import_module(f".{name}", __package__)  # the package's own ``tool`` is the decorator
    for name in (
        "system",
        "plugin",
        "script",
        "agent",
        "agent_life",
        "model",
        "tool",
        "workflow",
        "event",
        "state",
        "sessions",
        "artifacts",
    )
)
"""The modules that declare points, in the order of the reference."""


@functools.cache
def own_points() -> tuple[HookPoint, ...]:
    """Return every point that llmspell declares, topic by topic, in order of declaration."""
    return tuple(chain.from_iterable(map(points_of, TOPICS)))
