"""Work of a tool that only a kill can stop: in a child process, for so long and no longer. Durations in seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmspell_hookspecs import ToolContext
from llmspell_plugins.tools.library import missing

__all__ = ["run_child"]


async def run_child(
    context: ToolContext, tool: str, extra: str, time_s: float, function: Callable[..., Any], /, *arguments: Any
) -> Any:
    """Return what a module-level function returns in a child process held to the call's limits.

    Args:
        context: The call's.
        tool: Its name, for messages.
        extra: Which extra of llmspell holds the libraries that the function imports.
        time_s: How long it may work, counted from when the child begins with it; then it is killed.
        function: What the child runs.
        arguments: Picklable.

    Raises:
        ToolError: ``timeout``, or ``missing_library``; or what the function raised.
        ResourceLimitError: It ran out of memory.
    """
    try:
        return await context.run_process(function, *arguments, work_s=time_s)
    except ImportError as error:
        raise missing(tool, extra, error.name) from error
