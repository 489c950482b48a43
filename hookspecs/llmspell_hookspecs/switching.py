"""Switching plugins of hooks and single hooks while the host runs, for all or for one session.

Invariant: what settings disable stays disabled, and what they require stays on. A plugin that is switched off keeps its
object, and with it all that it knows; one that is made anew hands its state on, or is not made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from .plugin import PluginInfo

__all__ = ["HookSwitch", "LoadedPlugin", "PluginSwitch", "PluginTable"]


@runtime_checkable
class HookSwitch(Protocol):
    """Single hooks, by patterns of ``plugin.hook``."""

    def switch(self, pattern: str, on: bool | None, /, *, session: str = "") -> int:
        """Ask the hooks that fit from now on, or no longer; also those that are registered later.

        Args:
            pattern: A glob for ``plugin.hook``. Those of scripts are not meant.
            on: Whether they are asked; None takes back what was said of this pattern and session.
            session: Only in this session, whatever is said for all; for all if empty.

        Returns:
            How many there are now that fit.

        Raises:
            InvalidInputError: The pattern or the session is no text, or ``on`` is none of the three.
            ResourceLimitError: A thousand patterns and sessions are spoken of already.
        """


@runtime_checkable
class PluginSwitch(Protocol):
    """The plugins of hooks of this host."""

    def known(self) -> Sequence[PluginInfo]:
        """Return those that were loaded, or could not be."""

    def plugin(self, name: str, /) -> Any:
        """Return the object of a plugin that is loaded; None if it is not."""

    async def enable(self, name: str, /, *, session: str = "") -> None:
        """Ask its hooks from now on; one that is optional is loaded first if need be.

        Raises:
            PluginError: There is none, the settings disable it, or it cannot be loaded.
            InvalidInputError: The name or the session is no text, as with all of these.
        """

    def disable(self, name: str, /, *, session: str = "") -> None:
        """Ask its hooks no longer; nothing that it knows is lost.

        Raises:
            PluginError: It is not loaded, or it is required.
        """

    async def reload(self, name: str, /) -> None:
        """Make it anew with the settings as they are now, and hand on what it knows; see `Stateful`.

        Operations that begin meanwhile wait where its hooks before them stand. If the settings do not fit the old one
        stays; if the new one cannot be opened, or does not take over, it is a plugin that failed.

        Raises:
            PluginError: It is not loaded, hands nothing on though it counts, or cannot be made or opened.
        """


class LoadedPlugin(Struct, frozen=True):
    """A plugin of hooks that is loaded.

    Attributes:
        info: What is known of it.
        target: What its entry point names, or what was handed over.
        plugin: Its object.
    """

    info: PluginInfo
    target: Any
    plugin: Any


@runtime_checkable
class PluginTable(Protocol):
    """The plugins of hooks as the host holds them: what `PluginSwitch` stands on."""

    def known(self) -> Sequence[PluginInfo]:
        """Return those that were loaded, or could not be."""

    def made(self, name: str, /) -> LoadedPlugin | None:
        """Return one that is loaded; None if it is not."""

    def is_required(self, name: str, /) -> bool:
        """Return whether one that is loaded is required, as it says or as settings do."""

    def make(self, name: str, /) -> Any:
        """Return another one of a plugin that is loaded, made with the settings as they are now; nobody asks it yet.

        Raises:
            PluginError: The settings do not fit, or its constructor failed.
        """

    async def load_asked(self, name: str, /) -> None:
        """Load one that is loaded only if somebody asks.

        Raises:
            PluginError: There is none, the settings disable it, or it cannot be loaded.
        """

    async def replace(self, name: str, new: Any, /) -> None:
        """Put another one in the place of one that is loaded, and hand on what that knows; see `Stateful`.

        Raises:
            PluginError: It cannot be opened, or does not take over: it is a plugin that failed.
        """
