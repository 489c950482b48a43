"""What the transforms of a point answer, and what each answer means there; the same in every phase.

Invariant: Cancel, Replace, Redirect, Retry and a cache hit end the transforms; the others go on. What ends them is a
proposal and nothing more: it takes effect when the guards have passed.
"""

from __future__ import annotations

from typing import Any

import trio
from msgspec import Struct, structs

from llmspell.hooks import PAUSE, Chain, Hook, advance, advance_waiting, unsupported
from llmspell_hookspecs import (
    Cache,
    Cancel,
    Fork,
    HookResult,
    Modified,
    Outcome,
    Phase,
    Redirect,
    Replace,
    Retry,
    SecurityError,
    freeze,
)
from llmspell_hookspecs.fit import fit, name_after

from .course import NOTHING, Course
from .failure import changed_failure
from .forks import on_behalf

__all__ = ["Proposal", "propose"]


class Proposal(Struct, frozen=True):
    """What ended the transforms.

    Attributes:
        hook: Who answered it.
        answer: What it answered.
        value: The result that it proposes; `NOTHING` if it proposes none.
    """

    hook: Hook
    answer: HookResult
    value: Any = NOTHING


async def propose(
    course: Course, chain: Chain, subject: Any, answered: tuple[int, HookResult] | None = None
) -> tuple[Any, Proposal | None]:
    """Ask the transforms of a chain.

    Args:
        course: The operation.
        chain: The chain.
        subject: What they are given.
        answered: Where to go on and what was answered, if they have been asked so far.

    Returns:
        The subject as they left it, and what ended them.

    Raises:
        UnsupportedResultError: One answered what is no result.
        InvalidInputError: One answered a value that does not fit.
        HookFailedError: One failed whose ``on_error`` is ``raise``.
    """
    transforms = chain.transforms
    if not transforms:
        return subject, None
    if answered is None:
        context = course.context(chain, subject)
        answered = (
            await advance_waiting(transforms, 0, context, course.limit_s)
            if chain.waits
            else advance(transforms, 0, context)
        )
    if answered is None:
        return subject, None
    return await _interpret(course, chain, subject, answered)


async def _interpret(
    course: Course, chain: Chain, subject: Any, answered: tuple[int, HookResult] | None
) -> tuple[Any, Proposal | None]:
    """Give the first answer its meaning, and go on with the transforms behind it."""
    transforms, phase = chain.transforms, chain.point.phase
    context = course.context(chain, subject)
    while answered is not None:
        index, answer = answered
        hook = transforms[index - 1]
        if answer is PAUSE and not chain.point.sync_only:
            await trio.lowlevel.checkpoint()
        if type(answer).__name__ not in chain.point.accepts:
            raise unsupported(hook, answer, sorted(chain.point.accepts))
        if isinstance(answer, Modified) and phase is Phase.ERROR:
            subject = changed_failure(subject, answer.value, hook.where)
            context = course.context(chain, subject)
        elif isinstance(answer, Modified):
            subject = await course.beside(answer.value, _changed, course, hook, answer.value, subject)
            context = course.context(chain, subject)
        elif isinstance(answer, Fork):
            course.wanted.append(on_behalf(answer, hook.scope))
        elif isinstance(answer, Cache):
            stored = await _cached(course, hook, answer, subject)
            if stored is not None:
                return subject, _proposal(course, hook, answer, stored)
        elif isinstance(answer, Replace):
            current = subject if phase is Phase.AFTER else None
            value = await course.beside(answer.value, _as_result, course, hook, answer.value, current)
            return subject, _proposal(course, hook, answer, value)
        elif isinstance(answer, Retry):
            if answer.value is not None:
                value = await course.beside(answer.value, _next, course, hook, answer.value)
                answer = structs.replace(answer, value=value)
            return subject, _proposal(course, hook, answer)
        elif isinstance(answer, Cancel | Redirect):
            return subject, _proposal(course, hook, answer)
        answered = (
            await advance_waiting(transforms, index, context, course.limit_s)
            if chain.waits
            else advance(transforms, index, context)
        )
    return subject, None


def _proposal(course: Course, hook: Hook, answer: HookResult, value: Any = NOTHING) -> Proposal:
    course.outcome = Outcome("running", answer, f"{hook.plugin}.{hook.name}")
    return Proposal(hook, answer, value)


def _changed(course: Course, hook: Hook, value: Any, subject: Any) -> Any:
    if hook.point.phase is Phase.AFTER:
        return _as_result(course, hook, value, subject)
    course.proposed = fit(value, hook.point.subject, hook.where, subject)
    return course.proposed


def _next(course: Course, hook: Hook, value: Any) -> Any:
    """Return what a Retry wants to run, which is another call of the same kind."""
    call = course.asked
    return fit(value, type(call) if isinstance(call, Struct) else object, hook.where, call)


def _as_result(course: Course, hook: Hook, value: Any, current: Any) -> Any:
    kind = course.operation.kind
    if isinstance(value, dict) and kind.result is not object and _is_partial(value, kind.result):
        result = fit(value, kind.result, hook.where, current)
    else:
        result = fit(kind.to_result(freeze(value)), kind.result, hook.where)
    return name_after(result, course.asked, kind.named)


def _is_partial(value: dict[str, Any], wanted: type) -> bool:
    return bool(value) and set(value) <= set(wanted.__struct_fields__)  # type: ignore[attr-defined]


async def _cached(course: Course, hook: Hook, cache: Cache, subject: Any) -> Any:
    results, phase = course.house.results, hook.point.phase
    asked = (hook.plugin, cache.key, cache.scope)
    if phase is Phase.BEFORE:
        course.questions[asked] = subject
    about = course.operation.kind.identity(course.questions.get(asked, course.proposed))
    asker = hook.plugin if cache.scope == "host" else f"{hook.plugin} {hook.scope}".strip()
    if course.operation.depends is not None:
        about = (about, course.operation.depends())
    key = results.key(course.frame, course.operation.kind.name, asker, cache, about)
    if phase is Phase.AFTER:
        course.stores.append((key, cache.ttl_s, subject))
        return None
    if phase is Phase.ERROR and isinstance(subject.error, SecurityError):  # what policy refuses now is not served
        return None
    stored = results.stale(key) if phase is Phase.ERROR else await results.enter(key, course.frame)
    if phase is Phase.BEFORE and stored is None:
        course.stores.append((key, cache.ttl_s, NOTHING))
    course.note(hook, "Cache", "miss" if stored is None else "hit")
    return None if stored is None else stored.value
