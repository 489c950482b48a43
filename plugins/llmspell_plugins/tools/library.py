"""The libraries that only some tools need: whether one is installed, and what to install if it is not."""

from __future__ import annotations

from importlib.util import find_spec

from llmspell_hookspecs import ToolError

__all__ = ["missing", "require"]


def require(tool: str, extra: str, *modules: str) -> None:
    """Refuse a call that needs a library which is not installed; imports none.

    Args:
        tool: The tool's name, for the message.
        extra: Of llmspell, which brings it.
        modules: By their import names.

    Raises:
        ToolError: ``missing_library``; the message names the extra.
    """
    for module in modules:
        if find_spec(module) is None:
            raise missing(tool, extra, module)


def missing(tool: str, extra: str, module: str | None) -> ToolError:
    """Return the error of a library that is not installed."""
    message = f"{tool}: it needs {module}, which is not installed; run pip install 'llmspell[{extra}]'"
    return ToolError(message, code="missing_library", details={"extra": extra})
