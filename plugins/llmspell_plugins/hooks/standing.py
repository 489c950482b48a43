"""Where the hooks of plugins stand whose settings say so: no method of theirs is marked in the source.

Invariant: such a hook is called what its function and its point are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llmspell_hookspecs import HookContext, hookimpl

__all__ = ["CALLED", "POINTS", "stand"]

POINTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "tool": ("before_tool_execution", "after_tool_execution", "tool_error"),
    "model": ("before_model_call", "after_model_call", "model_error"),
    "agent": ("before_agent_execution", "after_agent_execution", "agent_error"),
    "workflow": ("before_workflow_start", "after_workflow_complete", "workflow_error"),
    "script": ("before_script_run", "after_script_run", "script_error"),
}
"""By the kind of what runs: where it begins, where it ends well and where it fails."""
CALLED: Final = ("tool", "model", "agent")
"""The kinds whose calls are limited, paid for, cached and made again."""


def stand(plugin: object, point: str, function: Callable[[HookContext[Any]], Any], **options: Any) -> None:
    """Let a method be asked at a point: as an attribute of the plugin, where the host finds it.

    Args:
        plugin: The plugin, as it is made.
        point: The point's name.
        function: Its method, sync or async; one may stand at several points.
        options: Those of `hookimpl`.
    """
    name = f"{function.__name__.strip('_')}_{point}"
    setattr(plugin, f"hook_{name}", hookimpl(specname=point, name=name, **options)(function))
