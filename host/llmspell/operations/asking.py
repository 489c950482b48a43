"""Asking a point that stands alone: checks, decisions and notices.

Invariant: a check can only deny, a decision yields its inputs or its verdict, a notice changes nothing. Guards judge
what the transforms left; observers are told in any case. What a point does not accept raises, whoever answered it.
"""

from __future__ import annotations

from math import inf
from typing import Any, Literal

import trio

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
from .forks import failure_of, on_behalf
from .wraps import LAST_MOMENTS_S

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


async def ask_chain(chain: Chain, context: HookContext[Any], until_s: float = inf) -> Answer:
    """Ask every hook of the chain.

    Args:
        chain: The hooks.
        context: What they are given.
        until_s: When a cancellation has come, until when observers may take their time, on trio's clock.

    Raises:
        OperationCancelledError: A hook cancelled.
        UnsupportedResultError: A hook answered what the point does not accept.
    """
    answer = Answer(context.subject)
    outcome: Outcome | None = None
    try:
        decided = await _transforms(chain, context, answer)
        if decided is not None:
            hook, result = decided
            outcome = Outcome("running", result, f"{hook.plugin}.{hook.name}")
            if isinstance(result, Cancel):
                raise cancellation(hook, result, context)
        verdict = await judge(chain.guards, _with(context, answer.subject, outcome)) if chain.guards else None
        if verdict is not None:
            outcome = Outcome("running", verdict[1], f"{verdict[0].plugin}.{verdict[0].name}")
            raise cancellation(verdict[0], verdict[1], context, verdict[2])
    except Exception as error:
        await _tell(chain, _with(context, answer.subject, _ended(outcome, error)), until_s)
        raise
    await _tell(chain, _with(context, answer.subject, outcome or Outcome()), until_s)
    return answer


async def _tell(chain: Chain, context: HookContext[Any], until_s: float) -> None:
    """Tell every observer, even if a cancellation comes while one waits."""
    steps = iter(chain.observer_steps)
    try:
        for observers in steps:
            await observe(observers, context)
    except trio.Cancelled:
        deadline = min(until_s, trio.current_time() + LAST_MOMENTS_S)
        for observers in steps:
            with trio.CancelScope(shield=True, deadline=deadline):
                await observe(observers, context)
        raise


def _ended(outcome: Outcome | None, error: Exception) -> Outcome:
    status: Literal["cancelled", "failed"] = "cancelled" if isinstance(error, OperationCancelledError) else "failed"
    decided = outcome or Outcome()
    return Outcome(status, decided.decision, decided.hook, failure_of(error))


async def _transforms(chain: Chain, context: HookContext[Any], answer: Answer) -> tuple[Hook, HookResult] | None:
    transforms, index = chain.transforms, 0
    while index < len(transforms):
        waits = chain.waits
        answered = await advance_waiting(transforms, index, context) if waits else advance(transforms, index, context)
        if answered is None:
            return None
        index, result = answered
        hook = transforms[index - 1]
        if type(result).__name__ not in chain.point.accepts:
            raise unsupported(hook, result, sorted(chain.point.accepts))
        if isinstance(result, Modified | Replace):
            answer.subject = fit(result.value, chain.point.subject, where(hook), answer.subject)
            context = _with(context, answer.subject, None)
        if isinstance(result, Fork):
            answer.forks.append(on_behalf(result, hook.scope))
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
