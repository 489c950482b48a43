"""The built-in plugins of hooks as a script enables them: found by name, made, registered for its run, and taken back.

The names that v0.4 of the original promised stand for ours, and so do those of its classes.

Invariant: an instance is made with what a script may say, and all of its hooks are registered with the script's scope
or none; what a script disables is its own.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from importlib.metadata import distribution
from typing import Any, Final, cast

import trio

from llmspell_hookspecs import HookKind, InvalidInputError, Services
from llmspell_hookspecs.borrowing import borrowed_settings
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.finding import find_hooks
from llmspell_hookspecs.fit import plain
from llmspell_hookspecs.kind import Registries
from llmspell_hookspecs.language import ScriptScope
from llmspell_hookspecs.loading import settings_of
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.services import HookHandle, Hooks, SettingsAccess
from llmspell_hookspecs.switching import PluginSwitch

__all__ = ["BUILTINS", "Builtins", "builtin_name"]

BUILTINS: Final = ("caching", "cost", "debugging", "logging", "metrics", "rate_limit", "retry", "security")
_GROUP: Final = "llmspell.plugins"
_ALIASES: Final = {
    "audit_logger": "logging",
    "authorization_checker": "security",
    "caching_optimizer": "caching",
    "cost_tracker": "cost",
    "cost_tracking": "cost",
    "debug_logger": "debugging",
    "input_sanitizer": "security",
    "metrics_collector": "metrics",
    "performance_monitor": "metrics",
    "resource_limiter": "rate_limit",
    "retry_handler": "retry",
    "security_validator": "security",
    "token_optimizer": "cost",
    "tracing_integrator": "debugging",
}


def builtin_name(text: Any, method: str) -> str:
    """Return which built-in plugin of hooks is meant.

    Raises:
        InvalidInputError: None is.
    """
    if not isinstance(text, str):
        message = f"Hook.{method}: the name is a {type(text).__name__}; give one of {', '.join(BUILTINS)}"
        raise InvalidInputError(message, field="name")
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower().removesuffix("_hook")
    name = _ALIASES.get(word, word)
    if name not in BUILTINS:
        near = difflib.get_close_matches(word[:80], [*BUILTINS, *_ALIASES], 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(BUILTINS)}"
        raise InvalidInputError(f"Hook.{method}: no built-in hook is called {text[:80]!r}; {hint}", field="name")
    return name


class Builtins:
    """The built-in plugins that one run of a script has enabled.

    Args:
        services: What the instances may use of the host.
        scope: The run.
    """

    def __init__(self, services: Services, scope: ScriptScope) -> None:
        self._services = services
        self._scope = scope
        self._made: dict[str, Any] = {}
        self._handles: dict[str, list[HookHandle]] = {}
        self._lock = trio.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are enabled, in the order in which they came."""
        return tuple(self._handles)

    @property
    def count(self) -> int:
        """How many hooks of theirs are registered."""
        return sum(map(len, self._handles.values()))

    async def enable(self, name: str, given: Mapping[str, Any]) -> None:
        """Make an instance with these settings, and register its hooks for the script's own operations.

        Raises:
            InvalidInputError: It is enabled already.
            SecurityError: The settings disable it, or a script may not say this.
            PluginError: The settings do not fit, or it cannot be made or opened.
        """
        where = f"Hook.enable_builtin: {name}"
        async with self._lock:
            if name in self._handles:
                raise InvalidInputError(f"{where}: it is enabled already; disable it first", field="name")
            if self._is_refused(name):
                raise SecurityError(f"{where}: the settings disable it; leave it out", rule="plugins.disabled")
            target = await trio.to_thread.run_sync(_load, name)
            table = borrowed_settings(target.borrowing, given, where)
            settings = settings_of(PluginInfo(name), target, table, "Hook.enable_builtin")
            globals_ = self._services.get(Registries).of("llmspell.globals")
            made = await globals_.build(lambda: target(settings, self._services), name="Hook")
            if not self._made:
                self._scope.on_close(self.close)
            self._made[name] = made
            try:
                self._register(name, made)
            except Exception:
                await self._end(name)
                raise

    async def disable(self, name: str) -> bool:
        """Take back what `enable` did; False if this script has not enabled it."""
        async with self._lock:
            if name not in self._handles:
                return False
            await self._end(name)
            return True

    async def close(self) -> None:
        """Take back all of it."""
        for name in reversed(self.names):
            await self.disable(name)

    def stats(self, name: str) -> dict[str, Any]:
        """Return what an instance counts, as plain values: the script's own, or everybody's if it may see that.

        Raises:
            InvalidInputError: This script has not enabled it.
        """
        if name not in self._handles and self._services.get(SettingsAccess).section("scripts").hooks == "all":
            shared = self._services.get(PluginSwitch).plugin(name)
            if shared is not None:
                return cast("dict[str, Any]", plain(shared.stats()))
        if name not in self._handles:
            told = ", ".join(self.names) or "none"
            message = (
                f"Hook.stats: this script has not enabled {name} (it has {told}); call Hook.enable_builtin({name!r})"
            )
            raise InvalidInputError(message, field="name")
        return cast("dict[str, Any]", plain(self._made[name].stats()))

    def _is_refused(self, name: str) -> bool:
        plugins = self._services.get(SettingsAccess).plain("plugins") or {}
        spelled = (name, f"plugin:{name}", f"plugins:{name}")
        tables = [plugins[each] for each in spelled if isinstance(plugins.get(each), Mapping)]
        said = [table["enabled"] for table in tables if table.get("enabled") is not None]
        return not said[-1] if said else any(each in (plugins.get("disabled") or ()) for each in spelled)

    def _register(self, name: str, made: Any) -> None:
        hooks, handles = self._services.get(Hooks), self._handles.setdefault(name, [])
        for found in find_hooks(made, name, [point.name for point in hooks.points()]):
            options = {each: getattr(found.options, each) for each in found.options.__struct_fields__}
            if options.pop("kind") is HookKind.WRAP:  # inside of the guards, for plugins only
                continue
            point = options.pop("specname") or found.attribute
            options |= {"kind": found.options.kind, "name": f"{name}/{found.options.name or found.attribute}"}
            handles.append(
                hooks.register(
                    point,
                    found.function,
                    plugin=f"script:{self._scope.script.name}",
                    scope=self._scope.id,
                    **{**options, "tags": ("builtin", name)},
                )
            )

    async def _end(self, name: str) -> None:
        for handle in self._handles.pop(name, ()):
            handle.unregister()
        made = self._made.pop(name)
        await self._services.get(Registries).of("llmspell.globals").leave(made)


def _load(name: str) -> Any:
    """Import the class of a built-in plugin: those that come with this package, whatever others are called."""
    found = [point for point in distribution("llmspell").entry_points if (point.group, point.name) == (_GROUP, name)]
    return found[0].load()
