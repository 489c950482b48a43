"""What one call of a tool is given; keeps the contract's ``ToolContext``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from llmspell.security import MemoryAccount, ProcessPool
from llmspell_hookspecs import OperationRef, Services, ToolCall, ToolLimits

__all__ = ["CallContext"]


class CallContext:
    """What one call of a tool is given.

    Attributes:
        operation: Which operation this is.
        limits: What this call may use.
        call: The call as it was approved.
        services: What the tool may use of the host.
    """

    __slots__ = ("_account", "_processes", "call", "limits", "operation", "services")

    def __init__(
        self,
        operation: OperationRef,
        limits: ToolLimits,
        call: ToolCall,
        services: Services,
        processes: ProcessPool,
    ) -> None:
        self.operation = operation
        self.limits = limits
        self.call = call
        self.services = services
        self._processes = processes
        self._account = MemoryAccount(limits.memory_bytes, f"tool:{call.name}")

    def charge(self, size_bytes: int, /) -> None:
        """Count memory that the tool is about to hold."""
        self._account.charge(size_bytes)

    async def run_thread(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Run a sync function in a worker thread; a cancellation waits for it to end."""
        return await trio.to_thread.run_sync(function, *arguments)

    async def run_process(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Run a module-level function in a child process held to the limits; a cancellation kills it."""
        return await self._processes.run(
            function, *arguments, memory_bytes=self.limits.memory_bytes, output_bytes=self.limits.output_bytes
        )
