"""The peers: how each dispatches the same hooks, that do nothing, before a tool call.

Invariant: every dispatch makes what that library's own tool loop makes for it (the event, the arguments), and nothing
else; tracing is off. A peer that is not installed is named as absent.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Peer", "find_peers"]

Dispatch = Callable[..., Any]


class Peer(Protocol):
    """A library with hooks. Each method answers a function that dispatches to that many hooks, or None."""

    name: str

    def sync(self, count: int) -> Dispatch | None:
        """Dispatch to sync hooks, without an await."""

    def waiting(self, count: int) -> Dispatch | None:
        """Dispatch to async hooks; what it answers must be awaited."""


def find_peers() -> tuple[list[Peer], list[str]]:
    """Return the peers that are installed, and the names of those that are not."""
    found: list[Peer] = []
    absent: list[str] = []
    for kind in (_Pluggy, _Strands, _StrandsOneEvent, _Adk):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(kind())
        except ImportError:
            absent.append(kind.name)
    return found, absent


def _nothing(event: Any) -> None:
    return None


async def _nothing_waiting(event: Any) -> None:
    return None


class _Pluggy:
    name = "pluggy"

    def __init__(self) -> None:
        import pluggy

        self._manager = pluggy.PluginManager
        self._spec: Callable[[Dispatch], Dispatch] = pluggy.HookspecMarker("bench")
        self._impl: Callable[[Dispatch], Dispatch] = pluggy.HookimplMarker("bench")

    def sync(self, count: int) -> Dispatch:
        class Plugin:
            @self._impl
            def before_tool(self, call: Any) -> None:
                return None

        return self._dispatch(Plugin, count)

    def waiting(self, count: int) -> Dispatch:
        class Plugin:
            @self._impl
            async def before_tool(self, call: Any) -> None:
                return None

        dispatch = self._dispatch(Plugin, count)

        async def dispatch_and_await() -> None:
            for answer in dispatch():
                await answer

        return dispatch_and_await

    def _dispatch(self, plugin: type, count: int) -> Dispatch:
        class Spec:
            @self._spec
            def before_tool(self, call: Any) -> None:
                """A tool is about to run."""

        manager = self._manager("bench")
        manager.add_hookspecs(Spec)
        for _ in range(count):
            manager.register(plugin())
        hook, call = manager.hook.before_tool, {"name": "calculator"}
        return lambda: hook(call=call)


class _Strands:
    name = "strands-agents"

    def __init__(self) -> None:
        from strands.hooks import BeforeToolCallEvent, HookRegistry

        self._registry = HookRegistry
        self._event = BeforeToolCallEvent
        self._use = {"toolUseId": "1", "name": "calculator", "input": {}}

    def sync(self, count: int) -> Dispatch:
        registry, event = self._filled(_nothing, count), self._events()
        return lambda: registry.invoke_callbacks(event())

    def waiting(self, count: int) -> Dispatch:
        registry, event = self._filled(_nothing_waiting, count), self._events()
        return lambda: registry.invoke_callbacks_async(event())

    def _filled(self, hook: Callable[[Any], Any], count: int) -> Any:
        registry = self._registry()
        for _ in range(count):
            registry.add_callback(self._event, hook)
        return registry

    def _events(self) -> Callable[[], Any]:
        kind, use, state = self._event, self._use, dict[str, Any]()
        return lambda: kind(agent=None, selected_tool=None, tool_use=use, invocation_state=state)


class _StrandsOneEvent(_Strands):
    """Better than its tool loop does: the event is not made anew. The strictest comparison."""

    name = "strands-agents, event reused"

    def _events(self) -> Callable[[], Any]:
        event = super()._events()()
        return lambda: event


class _Adk:
    name = "google-adk"

    def __init__(self) -> None:
        from google.adk.plugins.base_plugin import BasePlugin
        from google.adk.plugins.plugin_manager import PluginManager

        class Plugin(BasePlugin):  # type: ignore[misc]  # untyped library
            async def before_tool_callback(self, *, tool: Any, tool_args: Any, tool_context: Any) -> None:
                return None

        logging.getLogger("google_adk").setLevel(logging.WARNING)
        self._plugin = Plugin
        self._manager = PluginManager

    def sync(self, count: int) -> None:
        return None

    def waiting(self, count: int) -> Dispatch:
        manager = self._manager([self._plugin(f"plugin_{number}") for number in range(count)])
        arguments = dict[str, Any]()
        return lambda: manager.run_before_tool_callback(tool=None, tool_args=arguments, tool_context=None)
