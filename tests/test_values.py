"""Values that cross: read-only for every hook, whatever their type, and as they were for whoever called."""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import sys
from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import make_tool, opened
from llmspell_hookspecs import Cache, HookContext, InvalidInputError, Modified, Replace, ToolContext, fit
from llmspell_hookspecs.values import Settled, canonical, freeze, is_kept, restore, thaw
from values_of_all_types import REFUSED, VALUES, nested
from waiting import PATIENCE_S

BEFORE, AFTER = "before_tool_execution", "after_tool_execution"
each_value = pytest.mark.parametrize("name", VALUES)
each_refused = pytest.mark.parametrize("name", REFUSED)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, types included, all the way down."""
    return type(one) is type(other) and (one == other or one != one) and canonical(one) == canonical(other)


def spoil(value: Any, depth: int = 0) -> None:
    """Try to change a value in every way there is, all the way down."""
    attempts: list[Any] = [
        lambda: value.append("spoiled"),
        lambda: value.add("spoiled"),
        lambda: value.update({"spoiled": 1}),
        lambda: value.extend(b"s"),
        lambda: value.clear(),
        lambda: value.__setitem__(0, 9),
        lambda: value.__setitem__("spoiled", 1),
        lambda: setattr(value, "spoiled", 1),
        lambda: setattr(value, "x", 9),
        lambda: setattr(value, "a", 9),
        lambda: setattr(value, "kind", list),
        lambda: value["absent"],
    ]
    for attempt in attempts:
        try:
            attempt()
        except (AttributeError, TypeError, LookupError, ValueError):
            continue
    if depth < 5 and not isinstance(value, str | bytes):
        parts = [*value.values()] if isinstance(value, Mapping) else [*value] if hasattr(value, "__iter__") else []
        parts += [getattr(value, name) for name in getattr(value, "__struct_fields__", ())]
        for part in parts:
            spoil(part, depth + 1)


@each_value
def test_a_value_comes_back_equal_and_of_its_types_whatever_was_tried_on_what_was_shown(name: str) -> None:
    shown = freeze(VALUES[name]())

    spoil(shown)

    assert same(restore(shown), VALUES[name]())
    assert same(restore(freeze(shown)), VALUES[name]())


@each_value
async def test_a_result_is_the_same_with_hooks_and_without(name: str) -> None:
    async def answer(parameters: dict[str, Any], context: ToolContext) -> Any:
        return {"value": VALUES[name]()}

    async with opened(make_tool("odd", answer)) as host:
        without = (await host.call("tool:odd")).result["value"]
        for kind in ("transform", "guard", "observe"):
            host.hooks.register(AFTER, lambda context: spoil(context.subject.result), kind=kind)
        hooked = (await host.call("tool:odd")).result["value"]

    assert same(hooked, VALUES[name]())
    assert same(without, VALUES[name]())


@each_value
async def test_what_a_hook_changes_later_in_the_value_that_it_gave_changes_nothing(name: str) -> None:
    async def answer(parameters: dict[str, Any], context: ToolContext) -> Any:
        return None

    kept: list[Any] = []

    def replace(context: HookContext[Any]) -> Replace:
        kept.append({"value": VALUES[name]()})
        return Replace(kept[-1])

    async with opened(make_tool("odd", answer)) as host:
        host.hooks.register(AFTER, replace)
        host.hooks.register(AFTER, lambda context: spoil(kept[-1]), kind="guard")
        result = (await host.call("tool:odd")).result["value"]

    assert same(result, VALUES[name]())


async def test_what_a_body_changes_later_in_what_it_answered_changes_nothing() -> None:
    kept: list[Any] = []

    async def answer(parameters: dict[str, Any], context: ToolContext) -> Any:
        kept.append(deque(["ok"]))
        return kept[-1]

    async with opened(make_tool("odd", answer)) as host:
        host.hooks.register(AFTER, lambda context: kept[-1].append("later"), kind="observe")
        assert (await host.call("tool:odd")).result == deque(["ok"])


@each_value
async def test_a_value_that_is_fired_comes_back_as_it_was(name: str) -> None:
    async with opened() as host:
        host.hooks.register("custom:x", lambda context: spoil(context.subject), kind="guard")

        assert same(await host.hooks.fire("x", VALUES[name]()), VALUES[name]())


@each_refused
async def test_what_cannot_be_shown_is_refused_by_its_type_wherever_it_comes_in(name: str) -> None:
    async def answer(parameters: dict[str, Any], context: ToolContext) -> Any:
        return REFUSED[name]() if parameters.get("answer") else None

    async with opened(make_tool("odd", answer)) as host:
        with pytest.raises(InvalidInputError, match=f"tool:odd: its result: .*{name.partition(' more')[0]}") as told:
            await host.call("tool:odd", {"answer": True})
        with pytest.raises(InvalidInputError, match="tool:odd: its input"):
            await host.call("tool:odd", {"given": REFUSED[name]()})
        host.hooks.register("custom:x", lambda context: Modified(REFUSED[name]()))
        with pytest.raises(InvalidInputError, match="answer"):
            await host.hooks.fire("x", 1)
    assert len(str(told.value)) <= 500 and "\n" not in str(told.value)


def test_what_is_nested_as_deeply_as_may_be_goes_through_all_of_it() -> None:
    deep = nested(200)

    assert restore(freeze(deep)) == deep
    assert thaw(freeze(deep)) == deep
    assert canonical(deep) == canonical(freeze(deep))


# Telling values apart.


def test_values_of_all_types_are_told_apart() -> None:
    for one, other in itertools.combinations(VALUES, 2):
        assert canonical(VALUES[one]()) != canonical(VALUES[other]()), (one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (float("nan"), float("inf")),
        (float("nan"), None),
        (float("inf"), float("-inf")),
        ({"a": float("nan")}, {"a": None}),
        (0.0, -0.0),
        (1, True),
        (1, 1.0),
        ("a", b"a"),
        ("1", 1),
        ((1,), [1]),
        ([1, [2]], [[1], 2]),
        (["ab"], ["a", "b"]),
        ({"a": "b"}, [("a", "b")]),
        ({1: "x"}, {"1": "x"}),
        ({1, 2}, frozenset({1, 2})),
        (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
        (deque([1], 2), deque([1], 3)),
        ("\ud800", "\udc00"),
        (10**5000, 10**5000 + 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_look_alike_are_told_apart(one: Any, other: Any) -> None:
    assert canonical(one) != canonical(other)
    assert canonical([one]) != canonical([other])


atoms = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, -1.0, 0.5]) | st.text("ab", max_size=2)
)
plain = st.recursive(
    atoms | st.binary(max_size=2) | st.decimals(-1, 1, places=1) | st.sets(st.integers(0, 2), max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text("ab", max_size=1) | st.integers(0, 1), inner, max_size=2)
    ),
    max_leaves=6,
)


def alike(one: Any, other: Any) -> bool:
    """Whether two plain values are equal, types included; the long way round."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        keys = {(type(key), key) for key in one} == {(type(key), key) for key in other}
        return keys and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other) and str(one) == str(other)


@given(plain, plain)
def test_canonical_bytes_are_equal_when_values_and_their_types_are_and_never_else(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) is alike(one, other)
    assert canonical(restore(freeze(one))) == canonical(one)
    assert alike(restore(freeze(one)), one)


@given(st.permutations(["a", "b", "c"]))
def test_the_order_of_keys_and_of_sets_is_no_difference(order: list[str]) -> None:
    assert canonical(dict.fromkeys(order, 1)) == canonical(dict.fromkeys("abc", 1))
    assert canonical(set(order)) == canonical(set("abc"))


async def test_what_is_kept_for_one_value_is_not_served_for_another_that_only_looks_like_it() -> None:
    given: list[Any] = [float("nan"), float("inf"), None, "a", b"a", True, 1, 1.0, (1,), [1], 0.0, -0.0, {1}]
    runs: list[Any] = []

    async def answer(parameters: dict[str, Any], context: ToolContext) -> Any:
        runs.append(parameters)
        return len(runs)

    async with opened(make_tool("odd", answer)) as host:
        host.hooks.register(BEFORE, lambda context: Cache("k", 60))
        first = [(await host.call("tool:odd", {"value": value})).result for value in given]
        again = [(await host.call("tool:odd", {"value": value})).result for value in given]

    assert first == list(range(1, len(given) + 1))
    assert again == first


class Layer(Settled, frozen=True):
    """Holds another one."""

    inner: Any = None


class Loose(Settled, frozen=False):  # type: ignore[misc]  # msgspec lets it
    """Can be changed."""

    inner: Any = None


@pytest.mark.parametrize("walk", [fit.plain, canonical])
def test_what_holds_itself_by_the_thousand_is_refused_in_words(walk: Any) -> None:
    value = functools.reduce(lambda inner, _: Layer(inner), range(5_000), Layer())

    with pytest.raises(InvalidInputError, match="nested more than"):
        walk(value)


def test_a_class_whose_objects_can_be_changed_is_not_taken_for_read_only() -> None:
    value = Loose([1])

    assert not is_kept(value)
    assert freeze((value,))[0] is not value


def test_what_stands_for_a_value_is_the_same_in_every_process() -> None:
    found = set()
    for seed in range(4):  # by it, a process orders its sets
        command = [sys.executable, "-m", "values_of_all_types"]
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        folder = Path(__file__).parent
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)

    assert len(found) == 1
    assert "model with many fields set " in found.pop()
