"""The topic plugin: what became of each plugin as it was loaded, and what a plugin is constructed with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, Final, Protocol, Self, TypeVar, runtime_checkable

from msgspec import Struct

from .context import HookContext
from .keys import spelled_names
from .points import Phase, hookpoint
from .results import HookResult

__all__ = ["HOOK_API_VERSION", "Closing", "PluginInfo", "Services", "fault_lines", "plugin_failed", "plugin_loaded"]

T = TypeVar("T")
_MOST_FAULTS: Final = 3
"""How many faults of one package are told."""

HOOK_API_VERSION: Final = "1.0"
"""The version of this contract; the first number grows when what a plugin relies on changes.

A plugin says which it was written for, as packages do: ``requires_host = ">=1.0,<2"``.
"""


class PluginInfo(Struct, frozen=True):
    """What is known of a plugin without importing it, and how its loading went.

    Attributes:
        name: Its entry point's name.
        group: The entry point group, such as ``llmspell.plugins``.
        distribution: The package that brings it; empty if it was handed over in code.
        version: That package's version.
        module: ``package.module:attribute``.
        required: Whether settings require it; of one that failed, also whether it says that it ``fails_closed``.
        error: Why it failed, empty if it did not.
        optional: Whether it is off until settings enable it: its entry point says ``module:attribute [optional]``.
    """

    name: str
    group: str = "llmspell.plugins"
    distribution: str = ""
    version: str = ""
    module: str = ""
    required: bool = False
    error: str = ""
    optional: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """The names under which settings may speak of it."""
        return spelled_names(self.name, self.group)


def fault_lines(infos: Iterable[PluginInfo], sections: Container[str]) -> Iterator[str]:
    """Yield what is told of the plugins that failed, a line each; of one package's a few, and how many more there are.

    So a package whose every entry point is broken hides nobody else's fault. What settings require is always told.

    Args:
        infos: What became of each plugin.
        sections: Of the settings; an error that begins with one reads as a detail, so it is told whose it is.
    """
    told: Counter[str] = Counter()
    for info in infos:
        if info.error:
            told[info.distribution] += 1
            if info.required or not info.distribution or told[info.distribution] <= _MOST_FAULTS:
                stopped = info.error.partition(".")[0] in sections
                yield f"{info.error} (so {info.name} does not run)" if stopped else info.error
    for package, count in told.items():
        if package and count > _MOST_FAULTS:
            yield f"package {package}: {count} of its plugins failed; llmspell plugin doctor tells all of them"


@runtime_checkable
class Services(Protocol):
    """What a plugin may use of the host and of other plugins, asked for by protocol."""

    def get(self, protocol: Callable[..., T], /) -> T:
        """Return the service that keeps this protocol; what is written as `Callable` takes a protocol's class.

        A constructor may ask for any and keep it, to use it later: what has a lifespan is opened before the plugin is.
        Elsewhere one that is not open yet is refused; `enter` opens it.

        Raises:
            ComponentNotFoundError: No plugin offers it.
            PluginError: It cannot be loaded, or it is not open yet.
        """

    async def enter(self, protocol: Callable[..., T], /) -> T:
        """Return the service that implements this protocol, opened if need be.

        Raises:
            ComponentNotFoundError: No plugin offers it.
            PluginError: It cannot be loaded, or cannot be opened.
        """

    def settings(self, plugin: str, /) -> dict[str, Any]:
        """Return the plain settings of a plugin."""


class Closing:
    """What needs no opening: it may be used as soon as it is made, and is closed (``__aexit__``) with the host."""

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self


@hookpoint(phase=Phase.NOTICE, topic="plugin")
def plugin_loaded(context: HookContext[PluginInfo]) -> HookResult | None:
    """A plugin is loaded and its hooks are registered.

    When: once for each, after all of them have been tried.
    Subject: the plugin.
    """


@hookpoint(phase=Phase.NOTICE, topic="plugin")
def plugin_failed(context: HookContext[PluginInfo]) -> HookResult | None:
    """A plugin could not be imported, constructed or registered.

    When: once for each, after all of them have been tried.
    Subject: the plugin, with its error.
    """
