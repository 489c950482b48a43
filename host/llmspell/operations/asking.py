"""Asking a point that stands alone: checks, decisions and notices.

Invariant: a check can only deny, a decision yields its inputs or its verdict, a notice changes nothing. Guards judge
what the transforms left; observers are told in any case. What a point does not accept raises, whoever answered it.
"""

from __future__ import annotations

from typing import Any

from llmspell.hooks import Chain, Hook, advance, advance_waiting, judge, observe, unsupported
from llmspell_hookspecs import (
    Cancel,
    Fork,
    HookContext,
    HookResult,
    Modified,
    OperationCancelledError,
    Outcome,
    Replace,
)

from .fit import fit

__all__ = ["Answer", "ask_chain", "cancellation", "where"]


def where(hook: Hook) -> str:
    """Answer which hook stands where, for messages."""
    return f"hook {hook.plugin}.{hook.name} at {hook.point.name}"


def cancellation(
    hook: Hook, cancel: Cancel, context: HookContext[Any], cause: Exception | None = None
) -> OperationCancelledError:
    """Answer the error of an operation that a hook cancelled."""
    component = f"{context.component.kind}:{context.component.name}"
    error = OperationCancelledError(
        f"{component}: denied by {where(hook)}: {cancel.reason}"
        if cancel.code == "denied"
        else f"{component}: cancelled by {where(hook)}: {cancel.reason} ({cancel.code})",
        hook=f"{hook.plugin}.{hook.name}",
        point=hook.point.name,
        reason=cancel.reason,
        code=cancel.code,
        operation=context.operation.id,
        component=component,
    )
    error.__cause__ = cause
    return error


class Answer:
    """What the hooks of a lone point left.

    Attributes:
        subject: The inputs, or the verdict.
        forks: What notices asked to run.
    """

    __slots__ = ("forks", "subject")

    def __init__(self, subject: Any) -> None:
        self.subject = subject
        self.forks: list[Fork] = []


async def ask_chain(chain: Chain, context: HookContext[Any]) -> Answer:
    """Ask every hook of the chain.

    Raises:
        OperationCancelledError: A hook cancelled.
        UnsupportedResultError: A hook answered what the point does not accept.
    """
    answer = Answer(context.subject)
    outcome: Outcome | None = None
    try:
        decided = await _transforms(chain, context, answer)
        if decided is not None:
            outcome = Outcome("running", decided[1], where(decided[0]))
            if isinstance(decided[1], Cancel):
                raise cancellation(decided[0], decided[1], context)
        verdict = await judge(chain.guards, _with(context, answer.subject, outcome)) if chain.guards else None
        if verdict is not None:
            outcome = Outcome("cancelled", verdict[1], where(verdict[0]))
            raise cancellation(verdict[0], verdict[1], context, verdict[2])
    except Exception:
        if chain.observers:
            await observe(chain.observers, _with(context, answer.subject, outcome or Outcome("cancelled")))
        raise
    if chain.observers:
        await observe(chain.observers, _with(context, answer.subject, outcome))
    return answer


async def _transforms(chain: Chain, context: HookContext[Any], answer: Answer) -> tuple[Hook, HookResult] | None:
    index, count = 0, len(chain.transforms)
    while index < count:
        if chain.waits:
            index, result = await advance_waiting(chain.transforms, index, context)
        else:
            index, result = advance(chain.transforms, index, context)
        if result is None:
            return None
        hook = chain.transforms[index - 1]
        if type(result).__name__ not in chain.point.accepts:
            raise unsupported(hook, result, sorted(chain.point.accepts))
        if isinstance(result, Modified | Replace):
            answer.subject = fit(result.value, chain.point.subject, where(hook), answer.subject)
            context = _with(context, answer.subject, None)
        if isinstance(result, Fork):
            answer.forks.append(result)
        if isinstance(result, Cancel | Replace):
            return hook, result
    return None


def _with(context: HookContext[Any], subject: Any, outcome: Outcome | None) -> HookContext[Any]:
    return HookContext(
        context.point,
        subject,
        context.component,
        context.operation,
        context.metadata,
        context.language,
        context.request,
        context.elapsed_ns,
        outcome,
        context.forks,
    )
