"""The service plugin_switch: plugins of hooks are switched on and off, and made anew, while the host runs.

Invariant: one at a time. What begins while a plugin is made anew waits where its hooks stand, and is judged by its
guards.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import trio

from llmspell_hookspecs import HookContext, InvalidInputError, Phase, Priority, Services
from llmspell_hookspecs.errors import PluginError
from llmspell_hookspecs.hook_table import HookTable
from llmspell_hookspecs.marker import HookOptions
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.services import Hooks
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.stateful import Stateful
from llmspell_hookspecs.switching import HookSwitch, LoadedPlugin, PluginSwitch, PluginTable

__all__ = ["PluginSwitching"]


class PluginSwitching:
    """Implements the contract's `PluginSwitch`."""

    name: ClassVar[str] = "plugin_switch"
    provides: ClassVar[type[Any]] = PluginSwitch

    def __init__(self, settings: object, services: Services) -> None:
        self._plugins = services.get(PluginTable)
        self._switch = services.get(HookSwitch)
        self._hooks = services.get(Hooks)
        self._table = services.get(HookTable)
        self._lock = trio.Lock()

    def known(self) -> Sequence[PluginInfo]:
        """Return those that were loaded, or could not be."""
        return self._plugins.known()

    def plugin(self, name: str, /) -> Any:
        """Return the object of a plugin that is loaded; None if it is not."""
        _check(name)
        made = self._plugins.made(name)
        return made and made.plugin

    async def enable(self, name: str, /, *, session: str = "") -> None:
        """Ask its hooks from now on, everywhere or in a session; an optional one is loaded if need be."""
        _check(name, session)
        async with self._lock:
            if self._plugins.made(name) is None:
                if session:  # silent elsewhere from its first hook on
                    self._switch.switch(f"{name}.*", False)
                await self._plugins.load_asked(name)
        self._switch.switch(f"{name}.*", True, session=session)

    def disable(self, name: str, /, *, session: str = "") -> None:
        """Ask its hooks no longer, everywhere or in a session; it keeps what it knows."""
        _check(name, session)
        self._loaded(name)
        if self._plugins.is_required(name):
            raise PluginError(f"plugin {name}: it is required; take it out of plugins.required first", plugin=name)
        self._switch.switch(f"{name}.*", False, session=session)

    async def reload(self, name: str, /) -> None:
        """Make it anew with the settings as they are now, and hand on what it knows."""
        _check(name)
        async with self._lock:
            loaded = self._loaded(name)
            problem = "it is no class, so there is one of it" if not inspect.isclass(loaded.target) else ""
            if not isinstance(loaded.plugin, Stateful) and hasattr(loaded.plugin, "stats"):
                problem = "it counts and hands nothing on (dump_state), so it would forget"
            if problem:
                raise PluginError(f"plugin {name}: {problem}; start the host anew", plugin=name)
            new = self._plugins.make(name)
            with trio.CancelScope(shield=True), self._gate(name):  # what opens and leaves has a time of its own
                await self._plugins.replace(name, new)

    def _loaded(self, name: str) -> LoadedPlugin:
        loaded = self._plugins.made(name)
        if loaded is None:
            there = ", ".join(info.name for info in self._plugins.known() if not info.error) or "none"
            raise PluginError(f"plugin {name[:80]}: it is not loaded; loaded are {there[:300]}", plugin=name)
        return loaded

    @contextmanager
    def _gate(self, name: str) -> Iterator[None]:
        """Let operations that begin wait where a plugin's hooks stand before them, so that none gets past its guards.

        A guard that comes while they wait judges them.
        """
        opened = trio.Event()

        async def gate(context: HookContext[Any]) -> None:
            await opened.wait()

        options = HookOptions(priority=Priority.HIGHEST, waits=True, name=f"until_{name}_is_back")
        names = dict.fromkeys(hook.point for hook in self._hooks.list() if hook.plugin == name and not hook.scope)
        points = [point for point in map(self._table.point, names) if point.phase is Phase.BEFORE]
        gates = [
            self._table.enter(point, gate, options, plugin="llmspell", language="python", scope="")
            for point in points
            if not point.sync_only
        ]
        try:
            yield
        finally:
            for each in gates:
                self._table.remove(each)
            opened.set()


def _check(name: str, session: str = "") -> None:
    """Refuse what is no name of a plugin or of a session."""
    for what, given, field in (("plugin", name, "name"), ("session", session, "session")):
        if not isinstance(given, str):
            raise InvalidInputError(f"plugins: the {what} {told(given, 80)} is no name; give a text", field=field)
