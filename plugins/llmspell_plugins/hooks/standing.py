"""Hooks of plugins whose settings say at which points they stand, so that no method of theirs is marked in the source.

Invariant: such a hook is called what its function and its point are called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from llmspell_hookspecs import HookContext, hookimpl

__all__ = ["stand"]


def stand(plugin: object, point: str, function: Callable[[HookContext[Any]], Any], **options: Any) -> None:
    """Let a method be asked at a point: as an attribute of the plugin, where the host finds it.

    Args:
        plugin: The plugin, as it is made.
        point: The point's name.
        function: Its method, sync or async; one may stand at several points.
        options: Those of `hookimpl`.
    """
    if inspect.iscoroutinefunction(function):

        async def hook(context: HookContext[Any]) -> Any:
            return await function(context)
    else:

        def hook(context: HookContext[Any]) -> Any:  # type: ignore[misc]
            return function(context)

    name = f"{function.__name__.strip('_')}_{point}"
    setattr(plugin, f"hook_{name}", hookimpl(specname=point, name=name, **options)(hook))
