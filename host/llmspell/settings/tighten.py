"""Holds those who are not trusted to tightening: project files and scripts.

Invariant: between what stands and what would stand, nothing is permitted that was not, or the change is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from pydantic import BaseModel

from .model import PluginTable, Settings
from .policy import Policy, loosens
from .schema import order_of, policy_of

__all__ = ["Violation", "value_at", "violations"]


class Violation(Struct, frozen=True):
    """A change that loosens policy.

    Attributes:
        path: The key.
        old: What stands.
        new: What was asked for.
        policy: The key's rule.
    """

    path: tuple[str, ...]
    old: Any
    new: Any
    policy: Policy


def violations(old: Settings, new: Settings, paths: Iterable[Sequence[str]], project_dir: Path) -> list[Violation]:
    """Answer which of these keys loosen policy between the two settings."""
    found = []
    for path in paths:
        before, after, policy = value_at(old, path), value_at(new, path), policy_of(path)
        if loosens(policy, before, after, order=order_of(path), project_dir=project_dir):
            found.append(Violation(tuple(path), before, after, policy))
    return found


def value_at(settings: Settings, path: Sequence[str]) -> Any:
    """Answer a key's value, as it counts: a plugin's switches whichever way they are set; None if it is not set."""
    if len(path) == 3 and path[0] == "plugins" and path[2] in PluginTable.model_fields:
        return _switch(settings, path[1], path[2])
    value: Any = settings
    for name in path:
        value = _item(value, name)
    if value is None and len(path) == 2:  # A table that is not there says what an empty one says.
        return {"plugins": PluginTable(), "tools": {}, "providers": {}, "storage": {}}.get(path[0])
    return value


def _switch(settings: Settings, plugin: str, name: str) -> Any:
    match name:
        case "enabled":
            return settings.plugin_enabled(plugin)
        case "required":
            return settings.plugin_required(plugin)
    return settings.plugin_distribution(plugin)


def _item(value: Any, name: str) -> Any:
    """A key of a section or table; never an attribute that only Python knows."""
    if isinstance(value, BaseModel):
        return dict(value).get(name)
    return value.get(name) if isinstance(value, dict) else None
