"""Files of a call as bytes: read before what works on them runs, and written after it.

Whatever reads what strangers wrote gets bytes, never a path, so that it can open nothing of its own. Sizes in bytes.
Invariant: paths are those that the host has judged; an error names the parameter and the path.
"""

from __future__ import annotations

from llmspell_hookspecs import ToolContext, ToolError
from llmspell_hookspecs.spelling import spelled_path

from .blocking import Blocking
from .content import read_file, write_file

__all__ = ["content_of", "keep"]


async def content_of(tool: str, field: str, path: str, context: ToolContext, max_bytes: int) -> bytes:
    """Return the content of the file that a parameter names.

    Raises:
        ToolError: ``not_found`` or ``io``.
        ResourceLimitError: It is larger than ``max_bytes``.
    """
    try:
        content: bytes = await context.run_thread(read_file, path, max_bytes, context.charge)
    except OSError as error:
        code = "not_found" if isinstance(error, FileNotFoundError) else "io"
        raise ToolError(_told(tool, field, path, error, "give a file that can be read"), code=code) from error
    return content


async def keep(tool: str, field: str, path: str, content: bytes, context: ToolContext) -> None:
    """Write the file that a parameter names, whole or not at all.

    Raises:
        ToolError: ``io``.
        SecurityError: It is one that no tool writes.
        ResourceLimitError: It is larger than the call's answer may be.
    """
    Blocking.of(context.services).check(path)
    try:
        await context.run_thread(write_file, path, content, context.limits.output_bytes)
    except OSError as error:
        raise ToolError(_told(tool, field, path, error, "give a place that can be written"), code="io") from error


def _told(tool: str, field: str, path: str, error: OSError, todo: str) -> str:
    return f"{tool}: {field}: {spelled_path(path)[-200:]}: {error.strerror}; {todo}"
