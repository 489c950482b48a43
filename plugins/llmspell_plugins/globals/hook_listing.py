"""The registered hooks and the points as scripts see them, and the filters that choose among the hooks.

Invariant: an entry has the original's fields (name, priority, language, version, description, tags) and ours beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.points import HookPoint
from llmspell_hookspecs.services import HookInfo, Hooks

from .hook_options import ScriptHookOptions, priority_from

__all__ = ["describe_hook", "describe_point", "select", "wants_others"]

_FILTERS: Final = ("point", "hook_point", "language", "priority", "tag", "name", "kind", "plugin", "enabled", "all")
_GLOB: Final = frozenset("*?[")


def describe_hook(info: HookInfo, point: HookPoint, options: ScriptHookOptions | None) -> dict[str, Any]:
    """Return an entry of ``Hook.list``.

    Args:
        info: What the registry knows.
        point: Where the hook stands.
        options: What the script said of it; None if this script did not register it.
    """
    said = options or ScriptHookOptions()
    return {
        "id": info.id,
        "name": info.name,
        "plugin": info.plugin,
        "point": point.script_name,
        "hook_point": point.script_name,
        "kind": str(info.kind),
        "priority": f"Priority({info.priority})",
        "language": info.language,
        "version": said.version,
        "description": said.description or f"{info.language} hook for {point.script_name}",
        "tags": list(info.tags),
        "match": info.match,
        "enabled": info.enabled,
        "breaker": str(info.breaker),
        "calls": info.calls,
        "failures": info.failures,
        "within": info.within,
        "mine": options is not None,
    }


def describe_point(point: HookPoint) -> dict[str, Any]:
    """Return an entry of ``Hook.points``."""
    return {
        "name": point.script_name,
        "snake_name": point.name,
        "alias": point.alias,
        "aliases": list(point.aliases),
        "topic": point.topic,
        "phase": point.phase.value,
        "accepts": sorted(point.accepts),
        "description": point.summary,
    }


def select(hooks: Hooks, filters: Any) -> list[HookInfo]:
    """Return the hooks that fit: at one point in the order in which they are called, at several by priority.

    Args:
        hooks: The registry.
        filters: None, a point's name, a glob over the points' names, or a table of filters.

    Raises:
        HookRegistrationError: A point or a priority is unknown.
        InvalidInputError: A filter is unknown or of the wrong type.
    """
    if filters is None or isinstance(filters, list):
        filters = {}
    wanted = {"point": filters} if isinstance(filters, str) else filters
    if not isinstance(wanted, Mapping):
        raise InvalidInputError("Hook.list: the filter must be a point's name or a table; give one of these")
    for name in wanted:
        if name not in _FILTERS:
            raise InvalidInputError(f"Hook.list: there is no filter {name!r}; there are {', '.join(_FILTERS)}")
    if "priority" in wanted:
        wanted = {**wanted, "priority": priority_from(wanted["priority"])}
    if isinstance(wanted.get("language"), str):
        wanted = {**wanted, "language": wanted["language"].lower()}
    found = _at_point(hooks, wanted.get("point") or wanted.get("hook_point"))
    return [info for info in found if _fits(info, wanted)]


def wants_others(filters: Any) -> bool:
    """Return whether the filters of ``Hook.list`` ask for hooks that the script did not register itself."""
    return isinstance(filters, Mapping) and bool(filters.get("all") or {"language", "plugin"} & set(filters))


def _at_point(hooks: Hooks, point: Any) -> list[HookInfo]:
    if point is None:
        return _by_priority(hooks.list())
    if not isinstance(point, str):
        raise InvalidInputError(f"Hook.list: the point must be a name, not {point!r}; see Hook.points()", field="point")
    if not _GLOB & set(point) or point.count(":") > 1:  # tool:*:before_execution names a point for any component
        return hooks.list(hooks.point(point).name)
    listed = hooks.list()
    points = {name for name in {info.point for info in listed} if _matches(hooks.point(name), point)}
    return _by_priority(info for info in listed if info.point in points)


def _by_priority(found: Iterable[HookInfo]) -> list[HookInfo]:
    """Return the hooks of several points as the original lists them; at one point their order is that of calls."""
    return sorted(found, key=lambda info: info.priority)


def _matches(point: HookPoint, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in (*point.names, f"{point.topic}:{point.name}"))


def _fits(info: HookInfo, wanted: Mapping[str, Any]) -> bool:
    if "tag" in wanted and wanted["tag"] not in info.tags:
        return False
    simple = ("language", "priority", "name", "kind", "plugin", "enabled")
    return all(getattr(info, name) == wanted[name] for name in simple if name in wanted)
