"""What one call of a tool is given; implements the contract's ``ToolContext``.

What most tools never ask for is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Final

import trio
from blake3 import blake3
from msgspec import Struct

from llmspell_hookspecs import Services, ToolCall, ToolError
from llmspell_hookspecs.context import OperationRef
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.operation import RunningOperation
from llmspell_hookspecs.services import Processes
from llmspell_hookspecs.tool import ToolLimits

from .account import MemoryAccount

__all__ = ["CallContext"]

_OPENING: Final = Lock()


class CallContext(Struct, eq=False):
    """What one call of a tool is given.

    Attributes:
        limits: What this call may use.
        services: What the tool may use of the host.
    """

    _frame: RunningOperation
    limits: ToolLimits
    _call: Callable[[], ToolCall]
    services: Services
    _key: str = ""
    _ref: OperationRef | None = None
    _account: MemoryAccount | None = None

    @property
    def operation(self) -> OperationRef:
        """Which operation this is."""
        if self._ref is None:
            self._ref = self._frame.ref()
        return self._ref

    @property
    def call(self) -> ToolCall:
        """The call as it was approved."""
        return self._call()

    @property
    def key(self) -> str:
        """What stands for this call wherever its effect must happen once; see the contract's `ToolContext`."""
        return self._key or blake3(self.operation.id.encode()).hexdigest(16)

    def charge(self, size_bytes: int, /) -> None:
        """Count memory that the tool is about to hold."""
        with _OPENING:  # a tool's threads may charge at once
            if self._account is None:
                self._account = MemoryAccount(self.limits.memory_bytes, self._frame.address)
        self._account.charge(size_bytes)

    async def run_thread(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Run a sync function in a worker thread; a cancellation waits for it to end."""
        return await trio.to_thread.run_sync(function, *arguments)

    async def run_process(self, function: Callable[..., Any], /, *arguments: Any, work_s: float | None = None) -> Any:
        """Run a module-level function in a child process held to the limits; a cancellation kills it."""
        try:
            return await self.services.get(Processes).run(
                function,
                *arguments,
                memory_bytes=self.limits.memory_bytes,
                output_bytes=self.limits.output_bytes,
                work_s=work_s,
            )
        except (ResourceLimitError, ToolError) as error:
            own = f"{getattr(function, '__qualname__', repr(function))}: "  # says nothing to whoever calls the tool
            if str(error).startswith(own):
                error.args = (f"{self._frame.address}: {str(error).removeprefix(own)}",)
            raise
