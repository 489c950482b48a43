"""The global Hook: a script's hooks, registered beside everybody else's and gone when the script ends.

Invariant: a script changes only hooks that it registered itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias

import trio

from llmspell_hookspecs import HookKind, InvalidInputError, ScriptGlobal, Services, script_method
from llmspell_hookspecs.errors import HookRegistrationError, ResourceLimitError
from llmspell_hookspecs.language import ScriptObject, ScriptScope
from llmspell_hookspecs.services import HookHandle, Hooks
from llmspell_hookspecs.values import thaw

from .builtins import Builtins, builtin_name
from .hook_callback import callback_for
from .hook_composite import read_composite
from .hook_listing import describe_hook, describe_point, select, wants_others
from .hook_options import ScriptHookOptions, read_request

__all__ = ["Hook", "ScriptHook"]

Rows: TypeAlias = list[dict[str, Any]]
_MOST: Final = 1_000


class ScriptHook(ScriptObject):
    """A registration that a script made; dropping it does not unregister."""

    def __init__(self, handle: HookHandle, options: ScriptHookOptions, count: int = 1) -> None:
        self.handle = handle
        self.options = options
        self.count = count
        self.live = True

    @script_method()
    def id(self) -> str:
        """Return the hook's id, unique within the host.

        Raises:
            HookRegistrationError: It is unregistered.
        """
        return self._alive("id").id

    @script_method("point")
    def hook_point(self) -> str:
        """Return the name of the point at which it is registered.

        Raises:
            HookRegistrationError: It is unregistered.
        """
        return self._alive("hook_point").point.script_name

    @script_method()
    def unregister(self) -> bool:
        """Take it out; false if it was out already."""
        was, self.live = self.live, False
        return was and self.handle.unregister()

    @script_method()
    def enable(self, enabled: bool = True) -> None:
        """Call it from now on, or with false no longer.

        Raises:
            HookRegistrationError: It is unregistered.
        """
        self._alive("enable").enable(enabled)

    @script_method()
    def disable(self) -> None:
        """Call it no longer.

        Raises:
            HookRegistrationError: It is unregistered.
        """
        self._alive("disable").enable(False)

    @script_method()
    def info(self) -> dict[str, Any]:
        """Return what ``Hook.list`` says of it.

        Raises:
            HookRegistrationError: It is unregistered.
        """
        handle = self._alive("info")
        return describe_hook(handle.info, handle.point, self.options)

    def script_text(self) -> str:
        """Return which hook it is."""
        return f"Hook {self.handle.id}" if self.live else "Hook (unregistered)"

    def _alive(self, method: str) -> HookHandle:
        if not self.live:
            raise HookRegistrationError(f"Hook handle.{method}: the hook is unregistered; register it again")
        return self.handle


class Hook(ScriptGlobal):
    """Register hooks, list them, and fire points of one's own."""

    name: ClassVar[str] = "Hook"

    def __init__(self, services: Services, scope: ScriptScope) -> None:
        super().__init__(services, scope)
        self._mine: list[ScriptHook] = []
        self._made = 0
        self._builtins = Builtins(services, scope)

    @script_method()
    def register(self, point: Any, function: Any = None, options: Any = None) -> ScriptHook:
        """Register a hook at a point.

        Args:
            point: Any spelling of a point (see ``points``), or a table with ``point``, ``handler`` and the options.
            function: Is called with the context; returns nothing, a word, or a table that stands for a result.
            options: A priority, or a table: priority, name, kind (transform, guard, observe), match, timeout_ms,
                before, after, tags, on_error, enabled, description, version.

        Raises:
            HookRegistrationError: The point is unknown, or the hook cannot stand there.
            InvalidInputError: An option is unknown or wrong.
        """
        request = read_request(point, function, options)
        self._make_room("register", 1)
        language = self.scope.language
        hook = callback_for(request.function, request.options.kind, self.scope, f"{language}_{self._made + 1}")
        return self._enter(request.point, hook, request.options, 1)

    @script_method()
    def composite(self, point: Any, options: Any = None) -> ScriptHook:
        """Register hooks at a point that answer as one.

        Args:
            point: Any spelling of a point (see ``points``), or a table with ``point`` and the options.
            options: A table: mode (sequential, parallel, first_match, voting), children (functions; tables with a
                handler, kind, name, match, timeout_ms, on_error; or tables with mode and children), threshold, tie,
                prefer, on_error; and priority, name, match, timeout_ms, before, after, tags, enabled, description,
                version as ``register`` takes them.

        Raises:
            HookRegistrationError: The point is unknown, or it is no composite that can stand there.
            InvalidInputError: An option is unknown or wrong.
        """
        request = read_composite(point, options, self._child)
        count = request.composite.leaves + 1
        self._make_room("composite", count)
        return self._enter(request.point, request.composite, request.options, count)

    @script_method()
    def unregister(self, hook: Any) -> bool:
        """Take out a hook of this script; false if it is out already or not this script's.

        Args:
            hook: What ``register`` answered, its id or name, or ``{name = ...}``.

        Raises:
            InvalidInputError: It is none of these.
        """
        if isinstance(hook, ScriptHook):
            return any(mine is hook and mine.unregister() for mine in self._mine)
        chosen = self._named(hook, "unregister")
        if isinstance(hook, ScriptObject) or (isinstance(hook, str) and not chosen):
            shown = hook.script_text() if isinstance(hook, ScriptObject) else hook
            message = f"Hook.unregister: {shown!r} is no hook of this script; give what Hook.register answered"
            raise InvalidInputError(message, field="hook")
        return sum(mine.unregister() for mine in chosen) > 0

    @script_method()
    def enable(self, hook: Any, enabled: bool = True) -> bool:
        """Call a hook of this script, or with false no longer; returns whether there is one.

        Args:
            hook: What ``register`` answered, its id or name, or ``{name = ...}``.
            enabled: Whether it is to be called.
        """
        chosen = [hook] if isinstance(hook, ScriptHook) and hook in self._mine else self._named(hook, "enable")
        for mine in chosen:
            mine.enable(enabled)
        return bool(chosen)

    @script_method()
    def disable(self, hook: Any) -> bool:
        """Call a hook of this script no longer; returns whether there is one."""
        return self.enable(hook, False)

    @script_method()
    async def list(self, filters: Any = None) -> Sequence[dict[str, Any]]:
        """Return this script's hooks: at one point in the order in which they are called, at several by priority.

        Args:
            filters: Nothing, a point, a glob over points (``agent:*``), or a table with any of point, hook_point,
                language, priority, tag, name, kind, plugin, enabled, all. Those of plugins and of others are listed
                only if it says ``all = true``, or names a language or a plugin.
        """
        said = {each.handle.id: each.options for each in self._mine if each.live}
        return await trio.to_thread.run_sync(self._listed, filters, said)  # there may be very many

    def _listed(self, filters: Any, said: Mapping[str, ScriptHookOptions]) -> Rows:
        hooks = self._hooks
        found = select(hooks, filters)
        if not wants_others(filters):
            found = [info for info in found if info.scope == self.scope.id]
        mine = {info.id: said.get(info.id, ScriptHookOptions()) for info in found if info.scope == self.scope.id}
        return [describe_hook(info, hooks.point(info.point), mine.get(info.id)) for info in found]

    @script_method()
    def points(self) -> Sequence[dict[str, Any]]:
        """Return the points there are, each with its names, topic, phase and accepted results."""
        hooks = self._hooks
        known = hooks.points()
        return [describe_point(point) for point in known]

    @script_method()
    async def fire(self, name: str, value: Any = None) -> Any:
        """Fire ``custom:<name>`` and return the value as its hooks leave it.

        Raises:
            OperationCancelledError: A hook cancelled it.
        """
        return thaw(await self._hooks.fire(name.removeprefix("custom:"), value))

    @script_method()
    async def enable_builtin(self, name: Any, settings: Mapping[str, Any] | None = None) -> bool:
        """Enable a built-in plugin of hooks for what this script does, beside what the settings enable for all.

        Args:
            name: One of caching, cost, debugging, metrics, rate_limit, retry, security, or a name of the original; or a
                list of them, without settings.
            settings: Those that a script may give; they add to what holds for the script and lift nothing of it.

        Raises:
            InvalidInputError: There is none of the name, or it is enabled already.
            SecurityError: It, or a setting, is not a script's to say.
            PluginError: A setting does not fit, or the plugin cannot be made.
        """
        for each in self._named_builtins(name, "enable_builtin"):
            self._make_room("enable_builtin", 1)
            await self._builtins.enable(each, settings or {})
        return True

    @script_method()
    async def disable_builtin(self, name: Any) -> bool:
        """Disable a built-in plugin that this script has enabled, or a list of them; false if it has enabled none."""
        return any([await self._builtins.disable(each) for each in self._named_builtins(name, "disable_builtin")])

    @script_method()
    async def disable_all_builtin(self) -> int:
        """Disable all built-in plugins that this script has enabled; returns how many."""
        return sum([await self._builtins.disable(each) for each in self._builtins.names])

    @script_method()
    def is_builtin_enabled(self, name: str) -> bool:
        """Return whether this script has enabled a built-in plugin."""
        return builtin_name(name, "is_builtin_enabled") in self._builtins.names

    @script_method()
    def stats(self, name: str | None = None) -> dict[str, Any]:
        """Return what the built-in plugins count that this script has enabled: of one, or of each by its name.

        Raises:
            InvalidInputError: This script has not enabled it.
        """
        if name is None:
            return {each: self._builtins.stats(each) for each in self._builtins.names}
        return self._builtins.stats(builtin_name(name, "stats"))

    @script_method()
    def metrics(self) -> dict[str, Any]:
        """Return, by component, how often what this script runs ended and how, and p50_s, p95_s and p99_s of its time.

        Raises:
            InvalidInputError: This script has not enabled the built-in plugin metrics.
        """
        return self._builtins.stats("metrics")

    @property
    def _hooks(self) -> Hooks:
        return self.services.get(Hooks)

    def _child(self, function: Any, kind: HookKind, name: str) -> Callable[..., Any]:
        return callback_for(function, kind, self.scope, name)

    @staticmethod
    def _named_builtins(name: Any, method: str) -> Sequence[str]:
        names = name if isinstance(name, list | tuple) else [name]
        return [builtin_name(each, method) for each in names]

    def _make_room(self, method: str, count: int) -> None:
        self._mine = [mine for mine in self._mine if mine.live]
        if sum(mine.count for mine in self._mine) + self._builtins.count + count > _MOST:
            message = f"Hook.{method}: this script has {_MOST} hooks, which is the most; unregister some"
            raise ResourceLimitError(message, resource="hooks", limit=_MOST)

    def _enter(self, point: str, hook: Any, said: ScriptHookOptions, count: int) -> ScriptHook:
        if not self._made:
            self.scope.on_close(self._leave)
        self._made += 1
        language = self.scope.language
        handle = self._hooks.register(
            point,
            hook,
            plugin=f"script:{self.scope.script.name}",
            language=language,
            scope=self.scope.id,
            tags=tuple(dict.fromkeys(("cross-language", language, *said.tags))),
            **said.for_registry(),
        )
        if not said.enabled:
            handle.enable(False)
        made = ScriptHook(handle, said, count)
        self._mine.append(made)
        return made

    def _leave(self) -> None:
        self._hooks.unregister_scope(self.scope.id)

    def _named(self, hook: Any, method: str) -> Sequence[ScriptHook]:
        """Return this script's hooks of a name or id."""
        name = hook.get("name", hook.get("id")) if isinstance(hook, dict) else hook
        if isinstance(name, ScriptObject):
            return []
        if not isinstance(name, str):
            message = f"Hook.{method}: expected a hook or {{name = ...}}; give what Hook.register answered"
            raise InvalidInputError(message, field="hook")
        live = [mine for mine in self._mine if mine.live]
        return [mine for mine in live if name in (mine.handle.id, mine.handle.info.name)]
