"""Keys that the machine's file locks: whoever else would change them is refused.

Invariant: a locked key has the same effect after every layer and every change, by whichever key that would be changed
(``plugins.disabled`` and a plugin's ``enabled`` are one matter, and so are its name and its name with its group).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from llmspell_hookspecs.errors import SettingsError
from llmspell_hookspecs.keys import join, split

from .model import PluginSettings, Settings
from .origin import Origin
from .schema import is_known, nearest
from .tighten import value_at

__all__ = ["check_locks", "hold_locks"]

Locate = Callable[[Sequence[str]], Origin]
_LOCKED: Final = ("policy", "locked")


def check_locks(settings: Settings, locate: Locate) -> None:
    """Refuse a locked key that does not exist.

    Raises:
        SettingsError: There is no such key or section.
    """
    for key in settings.policy.locked:
        path = split(key)
        if not is_known(path):
            near = nearest(path)
            remedy = f"did you mean {near}?" if near else "see llmspell config show"
            origin = locate(_LOCKED)
            message = f"{origin}: policy.locked names {key!r}, and there is no such setting; {remedy}"
            raise SettingsError(message, origin=str(origin), key=join(_LOCKED))


def hold_locks(before: Settings, after: Settings, locate: Locate, machine: str) -> None:
    """Refuse a change to what is locked.

    Args:
        before: What stands.
        after: What would stand.
        locate: Returns where a key is asked for.
        machine: The machine's file.

    Raises:
        SettingsError: A locked key would be changed, or somebody else than the machine's file locks one.
    """
    if after.policy != before.policy:
        raise _refusal(_LOCKED, locate, f"counts in {machine} alone")
    names = before.plugin_names() | after.plugin_names() if before.policy.locked else set()
    for key in before.policy.locked:
        path = split(key)
        if _effect(before, path, names) != _effect(after, path, names):
            raise _refusal(path, locate, f"is locked by {machine}")


def _refusal(path: Sequence[str], locate: Locate, reason: str) -> SettingsError:
    origin = locate(path)
    return SettingsError(
        f"{origin}: {join(path)} {reason}, and nobody else changes it; take it out here, or ask who runs this machine",
        origin=str(origin),
        key=join(path),
    )


def _effect(settings: Settings, path: Sequence[str], names: Collection[str]) -> Any:
    """What the key does, not only what it says; of plugins, under each of the names that settings use for them."""
    value = value_at(settings, path)
    if path[0] != "plugins" or len(path) == 1:
        return value
    switches = {"disabled": "enabled", "required": "required", "prefer": "distribution"}
    if len(path) == 2 and path[1] in switches:
        return value, {name: getattr(settings.plugin(name), switches[path[1]]) for name in names}
    if path[1] in PluginSettings.model_fields:
        return value
    same = [path[1], *(name for name in names if name.partition(":")[2] == path[1])]
    return [_within(settings.plugin(name).model_dump() | settings.table("plugins", name), path[2:]) for name in same]


def _within(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
