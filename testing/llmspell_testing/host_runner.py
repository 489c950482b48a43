"""Opening a host in a test: as an async context manager in an async test, or for a function in a sync one.

Invariant: a host of a test loads no plugin but those that are built in and those that the test hands over, unless it
asks for discovery; it is closed when the block is left or the call returns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import trio

from .output import ScriptOutput

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["HostOpener", "HostRunner"]

T = TypeVar("T")


class HostOpener:
    """Opens hosts.

    Args:
        output: Takes what scripts write.

    Attributes:
        always: Plugins that every host is handed beside its own.
    """

    def __init__(self, output: ScriptOutput) -> None:
        self.always: list[Any] = []
        self._output = output

    def __call__(
        self,
        *,
        plugins: Iterable[Any] = (),
        settings: Mapping[str, Any] | Literal[False] | None = None,
        discover: bool = False,
        trace: bool = False,
    ) -> AbstractAsyncContextManager[Host]:
        """Return a host to open with ``async with``.

        Args:
            plugins: Handed to the host in code. A class is known by its ``name``, or else by its class name.
            settings: On top of the test's settings files, as tables; False for the defaults alone.
            discover: Whether the plugins of installed packages are loaded too.
            trace: Whether ``host.trace`` is kept.
        """
        from llmspell.host import Host

        return Host.open(
            settings,
            plugins=[*self.always, *plugins],
            discover=discover,
            trace=trace,
            write=self._output.write,
        )


class HostRunner:
    """Runs async functions, each with a host of its own.

    Args:
        opener: Opens the hosts.
    """

    def __init__(self, opener: HostOpener) -> None:
        self._open = opener

    def __call__(
        self,
        main: Callable[[Host], Awaitable[T]],
        *,
        plugins: Iterable[Any] = (),
        settings: Mapping[str, Any] | Literal[False] | None = None,
        discover: bool = False,
        trace: bool = False,
        clock: trio.abc.Clock | None = None,
    ) -> T:
        """Open a host, await ``main(host)``, close the host and return what ``main`` returned.

        Args:
            main: The test's own part.
            plugins: See `HostOpener`, as for the three that follow.
            settings: On top of the test's settings files.
            discover: Whether the plugins of installed packages are loaded too.
            trace: Whether ``host.trace`` is kept.
            clock: trio's, such as ``MockClock(autojump_threshold=0)`` for time that passes at once. That one does
                not wait for threads or processes, so it suits hooks and tools that use none.

        Raises:
            Exception: Whatever ``main`` raises, or what kept the host from opening.
        """

        async def run() -> T:
            async with self._open(plugins=plugins, settings=settings, discover=discover, trace=trace) as host:
                return await main(host)

        return trio.run(run, clock=clock)
