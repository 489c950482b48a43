"""A script's function as a hook: given the context as a plain value, its answer taken for one of the nine results.

Invariant: a failure of the script is raised, never swallowed, so a guard whose script fails or has ended denies. What
stands for no result lets a transform's call go on, as in the original, with a warning; a guard denies then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from llmspell_hookspecs import HookContext, HookKind, HookResult, InvalidInputError, Skipped
from llmspell_hookspecs.language import ScriptFunction, ScriptScope
from llmspell_hookspecs.tally import Tally

__all__ = ["callback_for"]

_log = logging.getLogger("llmspell.script")


def callback_for(function: ScriptFunction, kind: HookKind, scope: ScriptScope, name: str) -> Callable[..., Any]:
    """Return the hook that calls a script's function.

    Args:
        function: The script's function.
        kind: What the hook is for.
        scope: The run that the function belongs to.
        name: What the hook is called if its options do not say.
    """
    hook = _MAKERS[kind](function, scope)
    hook.__name__ = name
    return hook


def _guard(function: ScriptFunction, scope: ScriptScope) -> Callable[..., Any]:
    async def decide(context: HookContext[Any]) -> HookResult | None:
        answer = _first(await function(scope.adapter.adapt_context(context)))
        return scope.adapter.adapt_result(answer, context)

    return decide


def _transform(function: ScriptFunction, scope: ScriptScope) -> Callable[..., Any]:
    decide = _guard(function, scope)
    tally: Tally | None = None

    async def change(context: HookContext[Any]) -> HookResult | None:
        nonlocal tally
        try:
            result: HookResult | None = await decide(context)
        except InvalidInputError as error:
            if error.field != "answer":
                raise
            if tally is None:
                tally = Tally(_log, f"{scope.script.name}: hook at {context.point}: it answered wrongly")
                scope.on_close(tally.end)
            tally.tell(f"{scope.script.name}: {error}; the call goes on")
            return Skipped(str(error))
        return result

    return change


def _observer(function: ScriptFunction, scope: ScriptScope) -> Callable[..., Any]:
    async def observe(context: HookContext[Any]) -> None:
        await function(scope.adapter.adapt_context(context))

    return observe


def _first(answer: Any) -> Any:
    if isinstance(answer, tuple):
        return answer[0] if answer else None
    return answer


_MAKERS: Final = {
    HookKind.TRANSFORM: _transform,
    HookKind.GUARD: _guard,
    HookKind.OBSERVE: _observer,
}
