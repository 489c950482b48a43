"""What a composite makes of the answers of its children.

Invariant: nothing here asks a hook or waits. `steps` says who is to be asked about what, and is sent the answers in the
order of the children, so the result does not depend on who answered first. Of several answers the highest in
`PRECEDENCE` counts; what several changed is put together, and two that change the same JSON pointer (RFC 6901) in
different ways are a conflict.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from msgspec import Struct, structs

from .composites import Composite, Mode
from .context import Failure, HookContext
from .errors import HookError
from .failure import changed_failure
from .fit import fit
from .results import (
    Cache,
    Cancel,
    Continue,
    Fork,
    HookResult,
    Modified,
    Redirect,
    Replace,
    Retry,
    Skipped,
)
from .values import freeze

__all__ = ["PRECEDENCE", "Answers", "Asking", "Wanted", "changed", "merged", "steps"]

PRECEDENCE: Final[tuple[type, ...]] = (Cancel, Replace, Redirect, Fork, Retry, Modified, Cache, Skipped, Continue)
"""The nine results, the one that counts before all others first."""
_ENDING: Final = (Cancel, Replace, Redirect, Retry)
_TOLD: Final = ("message", "code", "details")
_ABSENT: Final = object()
Answers: TypeAlias = Sequence[tuple[str, HookResult]]
"""What children answered, each with its name, in their order; nobody who answered nothing is among them."""
Wanted: TypeAlias = list[tuple[int, HookContext[Any]]]
"""Who is to be asked, by the place among those that may be, and with which context."""
Asking: TypeAlias = Generator[Wanted, list[HookResult | None], HookResult | None]


def steps(composite: Composite, asked: Sequence[str], context: HookContext[Any], where: str) -> Asking:
    """Say whom to ask, and return what the composite answers.

    Args:
        composite: Which.
        asked: Those of its children that are asked about this component, by name, in their order.
        context: What the composite was given.
        where: Which it is, for errors.

    Yields:
        Who is to be asked now, by the place among them, and with which context; is sent what they answered.

    Raises:
        HookError: Two changed the same in different ways.
        InvalidInputError: One answered a value that does not fit.
    """
    if composite.mode in (Mode.PARALLEL, Mode.VOTING):
        given = yield [(place, context) for place in range(len(asked))]
        answers = [(name, Continue() if answer is None else answer) for name, answer in zip(asked, given, strict=True)]
        if composite.mode is Mode.VOTING:
            answers = _elected(answers, composite)
        return _highest(answers, context, composite, where)
    return (yield from _in_order(composite, asked, context, where))


def _in_order(composite: Composite, asked: Sequence[str], context: HookContext[Any], where: str) -> Asking:
    answers: list[tuple[str, HookResult]] = []
    now, change = context, ""
    for place, name in enumerate(asked):
        (answer,) = yield [(place, now)]
        if answer is None or isinstance(answer, Continue):
            continue
        if composite.mode is Mode.FIRST_MATCH and not isinstance(answer, Skipped):
            return answer
        if isinstance(answer, Modified):
            now = structs.replace(now, subject=changed(now.subject, answer.value, where))
            change = name
        else:
            answers.append((name, answer))
        if isinstance(answer, _ENDING):
            break
    if change:
        answers.append((change, Modified(_told(now.subject))))
    return _highest(answers, context, composite, where)


def _elected(answers: Answers, composite: Composite) -> list[tuple[str, HookResult]]:
    """Return the answers of the result with the most votes, if these are enough."""
    votes = Counter(type(answer) for _, answer in answers)
    needed = math.ceil(len(answers) * composite.threshold - 1e-9)
    most = max(votes.values(), default=0)
    if most == 0 or most < needed:
        return []
    tied = [kind for kind, count in votes.items() if count == most]  # in the order in which they were first answered
    winner = tied[0]
    if composite.tie == "continue" and Continue in tied:
        winner = Continue
    elif composite.tie == "action":
        winner = next((kind for kind in tied if kind not in (Continue, Skipped)), winner)
    elif composite.tie == "precedence":
        winner = min(tied, key=PRECEDENCE.index)
    return [(name, answer) for name, answer in answers if type(answer) is winner]


def _highest(answers: Answers, context: HookContext[Any], composite: Composite, where: str) -> HookResult | None:
    """Return what counts of several answers, those of the same kind put together."""
    for kind in PRECEDENCE:
        same = [(name, answer) for name, answer in answers if type(answer) is kind]
        if not same or kind is Continue:
            continue
        first = same[0][1]
        if isinstance(first, Fork):
            forks = [answer for _, answer in same if isinstance(answer, Fork)]
            calls = tuple(call for fork in forks for call in fork.calls)
            return Fork(calls, any(fork.join for fork in forks))
        if isinstance(first, Modified) and len(same) > 1:
            base = _told(context.subject)
            values = [
                (name, _told(changed(context.subject, answer.value, where)))
                for name, answer in same
                if isinstance(answer, Modified)
            ]
            return Modified(merged(base, values, composite.prefer, f"composite {composite.__name__[:80]}"))
        return first
    return None


def changed(subject: Any, value: Any, where: str) -> Any:
    """Return a subject as a Modified leaves it.

    Raises:
        InvalidInputError: The value does not fit the subject's type.
    """
    if isinstance(subject, Failure):
        return changed_failure(subject, value, where)
    if not isinstance(subject, Struct):
        return fit(value, object, where, subject)
    kind: Any = type(subject)
    partial = isinstance(value, Mapping) and bool(value) and set(value) <= set(kind.__struct_fields__)
    if hasattr(kind, "of") and not partial:  # a result may be given as the bare value that it carries
        return fit(kind.of(freeze(value)), kind, where)
    return fit(value, kind, where, subject)


def _told(subject: Any) -> Any:
    """Return what of a subject a Modified carries: of a failure the three fields that hooks may change."""
    return {name: getattr(subject, name) for name in _TOLD} if isinstance(subject, Failure) else subject


def merged(base: Any, values: Sequence[tuple[str, Any]], prefer: Sequence[str], where: str, pointer: str = "") -> Any:
    """Return a value with what several made of it put together.

    Args:
        base: What all of them were given.
        values: What each made of it, with its name.
        prefer: Whose change counts where two are in each other's way, the first of them before the others.
        where: Which composite it is, for the error.
        pointer: Where in the subject this value lies, as a JSON pointer.

    Raises:
        HookError: Two changed the same in different ways, and none of those is preferred.
    """
    differing = [(name, value) for name, value in values if not _same(value, base)]
    if not differing:
        return base
    everyone = [base, *(value for _, value in differing)]
    first = differing[0][1]
    if all(_same(value, first) for _, value in differing):
        return first
    if isinstance(base, Struct) and all(type(value) is type(base) for value in everyone):
        fields = {
            name: merged(
                getattr(base, name),
                [(who, getattr(value, name)) for who, value in differing],
                prefer,
                where,
                f"{pointer}/{name}",
            )
            for name in base.__struct_fields__
        }
        return structs.replace(base, **fields)
    if all(isinstance(value, Mapping) for value in everyone):
        return _merged_items(base, differing, prefer, where, pointer)
    if all(isinstance(value, list | tuple) and len(value) == len(base) for value in everyone):
        return type(base)(
            merged(item, [(who, value[place]) for who, value in differing], prefer, where, f"{pointer}/{place}")
            for place, item in enumerate(base)
        )
    return _preferred(differing, prefer, where, pointer)


def _merged_items(
    base: Mapping[Any, Any], differing: Sequence[tuple[str, Any]], prefer: Sequence[str], where: str, pointer: str
) -> dict[Any, Any]:
    keys = dict.fromkeys([*base, *(key for _, value in differing for key in value)])
    items = {
        key: merged(
            base.get(key, _ABSENT),
            [(who, value.get(key, _ABSENT)) for who, value in differing],
            prefer,
            where,
            f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}",
        )
        for key in keys
    }
    return {key: item for key, item in items.items() if item is not _ABSENT}


def _preferred(differing: Sequence[tuple[str, Any]], prefer: Sequence[str], where: str, pointer: str) -> Any:
    for wanted in prefer:
        for name, value in differing:
            if name == wanted:
                return value
    names = " and ".join(dict.fromkeys(name for name, _ in differing))
    place = pointer[:100] or "the subject"
    raise HookError(f"{where}: {names[:150]} change {place} in different ways; name the one that counts in prefer")


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are the same as JSON; 1, 1.0 and true are three."""
    if one is other:
        return True
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(item, other[key]) for key, item in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if type(one) is not type(other):
        return False
    if isinstance(one, Struct):
        return all(_same(getattr(one, name), getattr(other, name)) for name in one.__struct_fields__)
    return bool(one == other)
