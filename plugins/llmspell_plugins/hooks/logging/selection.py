"""What is logged: which points weigh how much, and which of them and of what runs there settings are about.

Invariant: where nothing is logged no hook stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from llmspell_hookspecs import HookContext, Phase
from llmspell_hookspecs.context import ComponentRef, Outcome
from llmspell_hookspecs.globs import Globs, is_wild
from llmspell_hookspecs.points import HookPoint

from .settings import LEVELS, Level, LoggingSettings

__all__ = ["Selection", "level_of", "level_of_refusal"]

_KEPT: Final = 4096
_ALL: Final = 1 << 20
_RANKS: Final = {level: rank for rank, level in enumerate(LEVELS)}
_WARNING: Final = _RANKS["warning"]
_LEVELS: Final[dict[str, Level]] = {
    "configuration_change": "info",
    "cpu_usage_high": "warning",
    "event_handler_error": "error",
    "memory_usage_high": "warning",
    "model_chunk": "trace",
    "performance_threshold_exceeded": "warning",
    "plugin_failed": "error",
    "plugin_loaded": "debug",
    "resource_limit_exceeded": "warning",
    "security_violation": "warning",
    "state_conflict": "warning",
    "tool_resource_allocated": "trace",
    "tool_resource_released": "trace",
    "tool_timeout": "warning",
}
_PHASES: Final[dict[Phase, Level]] = {Phase.AFTER: "info", Phase.NOTICE: "info", Phase.ERROR: "error"}
_DETAILS: Final[dict[str, Level]] = {"event": "trace", "state": "debug"}
"""Topics of which there is much."""


def level_of(point: HookPoint) -> Level:
    """Return how much what happens at a point weighs: errors, what ended, or how it went on its way."""
    level = _LEVELS.get(point.name) or _PHASES.get(point.phase, "debug")
    if point.name not in _LEVELS and level != "error":
        if point.sync_only:
            return "trace"
        details = _DETAILS.get(point.topic, "error")
        return min(level, details, key=_RANKS.__getitem__)
    return level


def level_of_refusal(outcome: Outcome) -> Level:
    """Return how much the end of what was cancelled weighs: by a hook, or by whoever had asked for it."""
    return "info" if outcome.decision is None else "warning"


class Selection:
    """What settings ask for.

    Args:
        settings: They.

    Attributes:
        left_out: How many records were not in the sample.
    """

    def __init__(self, settings: LoggingSettings) -> None:
        self.left_out = 0
        self._least = _RANKS[settings.level]
        self._parts = round(settings.sample * _ALL)
        self._points = _globs(settings.include, of_components=False)
        self._components = _globs(settings.include, of_components=True)
        self._no_points = _globs(settings.exclude, of_components=False)
        self._no_components = _globs(settings.exclude, of_components=True)
        self._named = [each for each in (*settings.include, *settings.exclude) if ":" not in each and not is_wild(each)]
        self._known: dict[tuple[str, str], bool] = {}
        self._asks_components = bool(self._components or self._no_components)

    def unknown(self, points: Iterable[HookPoint]) -> list[str]:
        """Return which names of points there are none of."""
        names = {name for point in points for name in _names(point)}
        return [each for each in self._named if each not in names]

    def takes_point(self, point: HookPoint) -> bool:
        """Return whether anything that happens at a point is logged."""
        if point.phase is Phase.AROUND:
            return False
        names = _names(point)
        if self._points is not None and not any(map(self._points.match, names)):
            return False
        if self._no_points is not None and any(map(self._no_points.match, names)):
            return False
        rank = _RANKS[level_of(point)]
        if rank >= self._least:
            return True  # where events are told, each is made, though nobody listens: no refusal is worth that
        return point.phase is Phase.AFTER and self._least <= _WARNING and not point.sync_only

    def takes(self, level: Level, context: HookContext[Any]) -> bool:
        """Return whether a record of this level is logged; asked in the hook itself."""
        rank = _RANKS[level]
        if rank < self._least or (self._asks_components and not self.takes_component(context.component)):
            return False
        if self._parts == _ALL or rank >= _WARNING or hash(context.operation.correlation_id) % _ALL < self._parts:
            return True
        self.left_out += 1
        return False

    def takes_component(self, component: ComponentRef) -> bool:
        """Return whether what happens to a component is logged."""
        key = component.kind, component.name
        known = self._known.get(key)
        if known is None:
            address = ":".join(key)
            known = self._components is None or self._components.match(address)
            known = known and not (self._no_components is not None and self._no_components.match(address))
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = known
        return known


def _globs(patterns: Iterable[str], *, of_components: bool) -> Globs | None:
    chosen = [each for each in patterns if (":" in each) is of_components]
    return Globs(chosen) if chosen else None


def _names(point: HookPoint) -> list[str]:
    return [name for name in point.names if ":" not in name]
