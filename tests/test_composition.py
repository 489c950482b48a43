"""What a composite makes of its children's answers, held against an evaluator that is written in the plainest way.

The subject is JSON, the children answer at random and wait at random, so that every order of answering comes up.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeAlias, cast

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.hooks import HookRegistry, next_answer
from llmspell_hookspecs import (
    Cache,
    Cancel,
    Continue,
    Fork,
    HookContext,
    Modified,
    Redirect,
    Replace,
    Retry,
    Services,
    Skipped,
)
from llmspell_hookspecs.catalog import PointCatalog
from llmspell_hookspecs.composites import Composite
from llmspell_hookspecs.context import ComponentRef, Metadata, OperationRef
from llmspell_hookspecs.errors import HookFailedError
from llmspell_hookspecs.results import Call
from llmspell_hookspecs.topics import own_points
from llmspell_hookspecs.values import freeze, thaw
from llmspell_plugins.services.composites import CompositeService

Json: TypeAlias = Any
Made: TypeAlias = tuple[str, Any]
"""What a child is to answer: a result's name and what goes into it; or a composite's mode and its parts."""
RANKS = ["Cancel", "Replace", "Redirect", "Fork", "Retry", "Modified", "Cache", "Skipped", "Continue"]
MODES = ("sequential", "parallel", "first_match", "voting")


class Conflict(Exception):
    """Two changed the same in different ways."""


# The plain evaluator.


def edits(old: Json, new: Json, pointer: str = "") -> dict[str, Json]:
    """Return what differs, by the JSON pointer of the topmost difference; (), if it is gone."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = {}
        for key in {**old, **new}:
            if key not in new:
                found[f"{pointer}/{key}"] = ()
            elif key not in old:
                found[f"{pointer}/{key}"] = new[key]
            else:
                found.update(edits(old[key], new[key], f"{pointer}/{key}"))
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        found = {}
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            found.update(edits(one, other, f"{pointer}/{place}"))
        return found
    return {} if repr(old) == repr(new) else {pointer: new}


def at(value: Json, pointer: str) -> Json:
    for key in pointer.split("/")[1:]:
        if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            return ()
    return value


def put_together(base: Json, values: list[tuple[str, Json]], prefer: tuple[str, ...]) -> Json:
    wanted = [(name, edits(base, value)) for name, value in values]
    pointers = {pointer for _, changes in wanted for pointer in changes}
    tops = [p for p in pointers if not any(p.startswith(f"{other}/") for other in pointers)]
    result = copy.deepcopy(base)
    for top in sorted(tops):
        mine = {
            name: at(dict(values)[name], top)
            for name, changes in wanted
            if any(p == top or p.startswith(f"{top}/") for p in changes)
        }
        if len({repr(value) for value in mine.values()}) > 1:
            winner = next((name for name in prefer if name in mine), None)
            if winner is None:
                raise Conflict(top)
            chosen = mine[winner]
        else:
            chosen = next(iter(mine.values()))
        if top == "":
            return chosen
        place, _, key = top.rpartition("/")
        holder = at(result, place)
        if chosen == ():
            del holder[key]
        else:
            holder[int(key) if isinstance(holder, list) else key] = chosen
    return result


def edited(subject: Json, changes: tuple[tuple[tuple[str, ...], Json], ...]) -> Json:
    """Return the subject with something else at some places, as far as they are there."""
    subject = copy.deepcopy(subject)
    for path, value in changes:
        holder: Json = subject
        for key in path[:-1]:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            holder.pop(path[-1], None)
            if value != ():
                holder[path[-1]] = copy.deepcopy(value)
    return subject


def highest(answers: list[tuple[str, Made]], subject: Json, prefer: tuple[str, ...]) -> Made:
    for rank in RANKS[:-1]:
        same = [(name, answer) for name, answer in answers if answer[0] == rank]
        if same and rank == "Modified":
            return rank, put_together(subject, [(name, answer[1]) for name, answer in same], prefer)
        if same and rank == "Fork":
            return rank, tuple(call for _, answer in same for call in answer[1])
        if same:
            return same[0][1]
    return "Continue", None


def expected(made: Made, subject: Json, prefer: tuple[str, ...]) -> Made:
    """Return what a child answers about a subject."""
    kind, what = made
    if kind == "fails":
        return "Continue", None
    if kind == "edits":
        return "Modified", edited(subject, what)
    if kind not in MODES:
        return made
    parts, threshold, tie = what
    answers: list[tuple[str, Made]] = []
    if kind in ("sequential", "first_match"):
        now, changed = subject, False
        for number, part in enumerate(parts):
            answer = expected(part, now, prefer)
            if kind == "first_match" and answer[0] not in ("Continue", "Skipped"):
                return answer
            if answer[0] == "Modified":
                now, changed = answer[1], True
            elif answer[0] != "Continue":
                answers.append((f"c{number}", answer))
            if answer[0] in ("Cancel", "Replace", "Redirect", "Retry"):
                break
        if changed:
            answers.append(("changes", ("Modified", now)))
        return highest(answers, subject, prefer)
    answers = [(f"c{number}", expected(part, subject, prefer)) for number, part in enumerate(parts)]
    if kind == "voting":
        names = [answer[0] for _, answer in answers]
        counts = {name: names.count(name) for name in names}
        most = max(counts.values(), default=0)
        if not names or most < math.ceil(len(names) * threshold):
            return "Continue", None
        tied = [name for name in counts if counts[name] == most]
        winner = tied[0]
        if tie == "continue" and "Continue" in tied:
            winner = "Continue"
        if tie == "action":
            winner = ([name for name in tied if name not in ("Continue", "Skipped")] or tied)[0]
        if tie == "precedence":
            winner = min(tied, key=RANKS.index)
        answers = [(name, answer) for name, answer in answers if answer[0] == winner]
    return highest(answers, subject, prefer)


# The same, made of hooks.

RESULTS: dict[str, Callable[[Any], Any]] = {
    "Cancel": Cancel,
    "Replace": Replace,
    "Redirect": Redirect,
    "Fork": Fork,
    "Retry": lambda delay_s: Retry(delay_s),
    "Modified": Modified,
    "Cache": Cache,
    "Skipped": Skipped,
    "Continue": lambda nothing: Continue(),
}


def child(made: Made, name: str, prefer: tuple[str, ...], delays: list[float]) -> Any:
    kind, what = made
    if kind in MODES:
        parts, threshold, tie = what
        children = [child(part, f"c{number}", prefer, delays) for number, part in enumerate(parts)]
        known = tuple(each for each in prefer if each in {f"c{number}" for number in range(len(parts))})
        return Composite(kind, children, name=name, threshold=threshold, tie=tie, prefer=known)
    delay_s = delays.pop(0) if delays else 0.0

    def answer(context: HookContext[Any]) -> Any:
        if kind == "fails":
            raise ValueError("it broke")
        if kind == "edits":
            return Modified(edited(thaw(context.subject), what))
        return RESULTS[kind](what)

    async def late(context: HookContext[Any]) -> Any:
        await trio.sleep(delay_s)
        return answer(context)

    function = late if delay_s else answer
    function.__name__ = name
    return function


def plain(answer: Any) -> Made:
    """Return a hook's answer as the evaluator has it."""
    if answer is None or isinstance(answer, Continue):
        return "Continue", None
    name = type(answer).__name__
    value = getattr(answer, answer.__struct_fields__[0])
    return name, thaw(value) if name in ("Modified", "Replace") else value


POINT = "custom:thing"


async def ask(composite: Composite, subject: Json) -> Made:
    registry = HookRegistry(PointCatalog(own_points()))
    registry.composites = lambda: CompositeService(None, cast(Services, SimpleNamespace(get=lambda _: registry)))
    registry.register(POINT, composite, name="it")
    chain = registry.chain(POINT, "thing")
    context = HookContext(POINT, freeze(subject), ComponentRef("custom", "thing"), OperationRef("o", "c"), Metadata())
    if chain is None:
        return "Continue", None
    found = await next_answer(chain, 0, context)
    return plain(None if found is None else found[2])


ATOMS = st.sampled_from([0, 1, True, "x", None])
KEYS = st.sampled_from(["a", "b"])
VALUES = ATOMS | st.lists(ATOMS, min_size=1, max_size=2) | st.dictionaries(KEYS, ATOMS)
SUBJECTS: st.SearchStrategy[Json] = st.dictionaries(KEYS, VALUES)
PATHS = st.lists(KEYS, min_size=1, max_size=2).map(tuple)
CHANGES: st.SearchStrategy[Json] = st.lists(st.tuples(PATHS, VALUES | st.just(())), min_size=1, max_size=2).map(tuple)
EDITS: st.SearchStrategy[Made] = st.tuples(st.just("edits"), CHANGES)
LEAVES: st.SearchStrategy[Made] = st.one_of(
    EDITS,
    st.tuples(st.just("Modified"), SUBJECTS),
    st.tuples(st.just("Cancel"), st.sampled_from(["no", "never"])),
    st.tuples(st.just("Replace"), ATOMS),
    st.tuples(st.just("Redirect"), st.sampled_from(["tool:one", "tool:two"])),
    st.tuples(st.just("Fork"), st.just((Call("tool:side"),))),
    st.tuples(st.just("Retry"), st.sampled_from([0.0, 1.0])),
    st.tuples(st.just("Cache"), st.sampled_from(["one", "two"])),
    st.tuples(st.just("Skipped"), st.just("")),
    st.tuples(st.just("Continue"), st.none()),
    st.tuples(st.just("fails"), st.none()),
)
PREFER = st.lists(st.sampled_from(["c0", "c1", "c2"]), max_size=2, unique=True).map(tuple)
DELAYS = st.lists(st.sampled_from([0.0, 0.001, 0.002, 0.003]), max_size=9)


def together(parts: st.SearchStrategy[Made], modes: tuple[str, ...] = MODES) -> st.SearchStrategy[Made]:
    ties = st.sampled_from(["first", "continue", "action", "precedence"])
    what = st.tuples(st.lists(parts, max_size=4), st.sampled_from([0.25, 0.5, 0.75, 1.0]), ties)
    return st.tuples(st.sampled_from(modes), what)


def check(made: Made, subject: Json, prefer: tuple[str, ...], delays: list[float]) -> None:
    composite = child(made, "root", prefer, list(delays))
    wanted: Made
    try:
        wanted = expected(made, subject, prefer)
    except Conflict:
        wanted = "conflict", None

    async def main() -> Made:
        try:
            return await ask(composite, subject)
        except HookFailedError as error:
            assert "in different ways; name the one that counts in prefer" in str(error)
            return "conflict", None

    answered = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert repr_of(answered) == repr_of(wanted)


@settings(max_examples=300, deadline=None)
@given(together(st.recursive(LEAVES, together, max_leaves=8)), SUBJECTS, PREFER, DELAYS)
def test_a_composite_answers_what_the_plain_evaluator_does_in_whatever_order_its_children_end(
    made: Made, subject: Json, prefer: tuple[str, ...], delays: list[float]
) -> None:
    check(made, subject, prefer, delays)


@settings(max_examples=300, deadline=None)
@given(together(LEAVES, ("parallel", "voting")), SUBJECTS, PREFER, DELAYS)
def test_of_several_results_the_same_one_counts_in_whatever_order_they_come(
    made: Made, subject: Json, prefer: tuple[str, ...], delays: list[float]
) -> None:
    check(made, subject, prefer, delays)


@settings(max_examples=400, deadline=None)
@given(together(EDITS, ("parallel", "parallel", "sequential")), SUBJECTS, PREFER, DELAYS)
def test_changes_are_put_together_or_are_a_conflict_in_whatever_order_they_come(
    made: Made, subject: Json, prefer: tuple[str, ...], delays: list[float]
) -> None:
    check(made, subject, prefer, delays)


def repr_of(made: Made) -> str:
    """Return a text that tells 1 from true, and does not depend on the order of keys."""
    return repr(sorted_keys(made))


def sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return tuple(map(sorted_keys, value)) if isinstance(value, tuple) else value
