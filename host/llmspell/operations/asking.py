"""Asking a point that stands alone: checks, decisions and notices.

Invariant: a check can only deny, a decision yields its inputs or its verdict, a notice changes nothing. Guards judge
what the transforms left; observers are told in any case. What a point does not accept raises, whoever answered it.
Hooks of scripts are asked behind the guards, which judge again what they change; of what is withheld they are told the
failure.
"""

from __future__ import annotations

import logging
from math import inf
from typing import Any, Literal

import trio
from msgspec import Struct, structs

from llmspell.hooks import Chain, Hook, judge, next_answer, observe
from llmspell_hookspecs import (
    Cancel,
    Fork,
    HookContext,
    HookResult,
    Modified,
    OperationCancelledError,
    Redirect,
    Replace,
)
from llmspell_hookspecs.context import Outcome
from llmspell_hookspecs.failure import failure_of
from llmspell_hookspecs.fit import fit

from .together import on_behalf
from .wraps import LAST_MOMENTS_S

__all__ = ["Answer", "ask_chain", "cancellation", "seen_by_scripts"]

_log = logging.getLogger("llmspell.operations")


def cancellation(
    hook: Hook, cancel: Cancel, context: HookContext[Any], cause: BaseException | None = None
) -> OperationCancelledError:
    """Return the error of an operation that a hook cancelled."""
    component = f"{context.component.kind}:{context.component.name}"
    error = OperationCancelledError(
        f"{component}: denied by {hook.where}: {cancel.reason}"
        if cancel.code == "denied"
        else f"{component}: cancelled by {hook.where}: {cancel.reason} ({cancel.code})",
        hook=f"{hook.plugin}.{hook.name}",
        point=hook.point.name,
        reason=cancel.reason,
        code=cancel.code,
        operation=context.operation.id,
        component=component,
    )
    error.__cause__ = cause
    _log.info("%s", error)
    return error


class Answer(Struct):
    """What the hooks of a lone point left.

    Attributes:
        subject: The inputs, or the verdict.
        limit_s: How long each may wait.
        forks: What notices asked to run.
        outcome: What the hooks decided last.
    """

    subject: Any
    limit_s: float | None = None
    forks: list[Fork] = []
    outcome: Outcome | None = None


async def ask_chain(
    chain: Chain,
    context: HookContext[Any],
    until_s: float = inf,
    scripts: Chain | None = None,
    limit_s: float | None = None,
    *,
    held: bool = False,
) -> Answer:
    """Ask every hook of the chain.

    Args:
        chain: The hooks.
        context: What they are given.
        until_s: When a cancellation has come, until when observers may take their time, on trio's clock.
        scripts: The hooks of scripts that are asked, too.
        limit_s: How long each hook may wait.
        held: Whether all but those of scripts have been asked.

    Raises:
        OperationCancelledError: A hook cancelled.
        UnsupportedResultError: A hook answered what the point does not accept.
    """
    answer = Answer(context.subject, limit_s)
    layers = [layer for layer in (None if held else chain, scripts) if layer is not None]
    try:
        for layer in layers:
            await _ask_layer(chain, layer, context, answer)
    except Exception as error:
        if not held:
            ended = _ended(answer.outcome, error)
            await _tell(chain, structs.replace(context, subject=answer.subject, outcome=ended), until_s, limit_s)
        if scripts is not None:  # that something was withheld, or failed; never what
            told = structs.replace(context, subject=failure_of(error), outcome=_ended(None, error))
            await _tell(scripts, told, until_s, limit_s)
        raise
    for layer in layers:
        if not layer.observers:
            continue
        outcome = answer.outcome or Outcome()
        shown = seen_by_scripts(outcome) if layer is scripts else outcome
        await _tell(layer, structs.replace(context, subject=answer.subject, outcome=shown), until_s, limit_s)
    return answer


def seen_by_scripts(outcome: Outcome | None) -> Outcome | None:
    """Return an outcome as scripts may see it: without a proposed value, which no guard may have let pass."""
    if outcome is None or outcome.decision is None or isinstance(outcome.decision, Cancel | Redirect):
        return outcome
    return Outcome(outcome.status, None, outcome.hook, outcome.error)


async def _ask_layer(chain: Chain, layer: Chain, context: HookContext[Any], answer: Answer) -> None:
    """Ask the transforms of a layer, then who judges what they left: its guards, and again those of the chain."""
    given = answer.subject
    decided = await _transforms(
        layer, context if layer is chain else structs.replace(context, subject=given, outcome=None), answer
    )
    if decided is not None:
        hook, result = decided
        answer.outcome = Outcome("running", result, f"{hook.plugin}.{hook.name}")
        if isinstance(result, Cancel):
            raise cancellation(hook, result, context)
    if layer is chain or answer.subject is not given:
        await _judge(chain, context, answer, answer.outcome)
    if layer is not chain:
        await _judge(layer, context, answer, seen_by_scripts(answer.outcome))


async def _judge(chain: Chain, context: HookContext[Any], answer: Answer, outcome: Outcome | None) -> None:
    if not chain.guards:
        return
    shown = structs.replace(context, subject=answer.subject, outcome=outcome)
    verdict = await judge(chain.guards, shown, answer.limit_s)
    if verdict is not None:
        answer.outcome = Outcome("running", verdict[1], f"{verdict[0].plugin}.{verdict[0].name}")
        raise cancellation(verdict[0], verdict[1], context, verdict[2])


async def _tell(chain: Chain, context: HookContext[Any], until_s: float, limit_s: float | None) -> None:
    """Tell every observer, even if a cancellation comes while one waits."""
    steps = iter(chain.observer_steps)
    try:
        for observers in steps:
            await observe(observers, context, limit_s)
    except (trio.Cancelled, BaseExceptionGroup):  # a group where one waits in a nursery of its own
        deadline = min(until_s, trio.current_time() + LAST_MOMENTS_S)
        for observers in steps:
            with trio.CancelScope(shield=True, deadline=deadline):
                await observe(observers, context, limit_s)
        raise


def _ended(outcome: Outcome | None, error: Exception) -> Outcome:
    status: Literal["cancelled", "failed"] = "cancelled" if isinstance(error, OperationCancelledError) else "failed"
    return (outcome or Outcome()).ended(status, failure_of(error))


async def _transforms(chain: Chain, context: HookContext[Any], answer: Answer) -> tuple[Hook, HookResult] | None:
    index = 0
    while (found := await next_answer(chain, index, context, answer.limit_s)) is not None:
        index, hook, result = found
        if isinstance(result, Modified | Replace):
            answer.subject = fit(result.value, chain.point.subject, hook.where, answer.subject)
            context = structs.replace(context, subject=answer.subject, outcome=None)
        if isinstance(result, Fork):
            answer.forks.append(on_behalf(result, hook.scope))
        if isinstance(result, Cancel | Replace):
            return hook, result
    return None
