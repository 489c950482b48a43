"""Opening a host inside a sync test function: one ``trio.run`` for each host.

Invariant: a host of a test loads no plugin but those that are built in and those that the test hands over, unless it
asks for discovery; it is closed when the call returns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import trio

from .output import ScriptOutput

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["HostRunner"]

T = TypeVar("T")


class HostRunner:
    """Runs async functions, each with a host of its own.

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
        main: Callable[[Host], Awaitable[T]],
        *,
        plugins: Iterable[Any] = (),
        settings: Mapping[str, Any] | Literal[False] | None = None,
        discover: bool = False,
        trace: bool = False,
        clock: trio.abc.Clock | None = None,
    ) -> T:
        """Open a host, await ``main(host)``, close the host and answer what ``main`` answered.

        Args:
            main: The test's own part.
            plugins: Handed to the host in code. A class is known by its ``name``, or else by its class name.
            settings: On top of the test's settings files, as tables; False for the defaults alone.
            discover: Whether the plugins of installed packages are loaded too.
            trace: Whether ``host.trace`` is kept.
            clock: trio's, such as ``MockClock(autojump_threshold=0)`` for time that passes at once. That one does
                not wait for threads or processes, so it suits hooks and tools that use none.

        Raises:
            Exception: Whatever ``main`` raises, or what kept the host from opening.
        """
        from llmspell.host import Host

        async def run() -> T:
            async with Host.open(
                settings,
                plugins=[*self.always, *plugins],
                discover=discover,
                trace=trace,
                write=self._output.write,
            ) as host:
                return await main(host)

        return trio.run(run, clock=clock)
