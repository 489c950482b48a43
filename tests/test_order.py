"""The order of hooks: constraints, then priority, then registration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import Bench, opened, run
from llmspell.hooks import Hook
from llmspell_hookspecs.errors import HookOrderError
from llmspell_hookspecs.marker import hook_options
from llmspell_hookspecs.order import ordered
from llmspell_hookspecs.topics import own_points

BEFORE = "before_tool_execution"
POINT = next(point for point in own_points() if point.name == BEFORE)


def called(*hooks: tuple[str, dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Register the hooks, call a tool; answer the names as they were called and as they are listed."""
    calls: list[str] = []

    async def main() -> list[str]:
        async with opened(*Bench().plugins) as host:
            for name, options in hooks:
                note = lambda context, name=name: calls.append(name)  # noqa: E731
                host.hooks.register(BEFORE, note, **{"name": name, **options})
            await host.call("tool:echo")
            return [info.name for info in host.hooks.list(BEFORE)]

    return calls, run(main)


def test_the_five_priorities_and_any_number_between_come_in_order() -> None:
    calls, listed = called(
        ("lowest", {"priority": "lowest"}),
        ("low", {"priority": "low"}),
        ("seven", {"priority": 7}),
        ("normal", {}),
        ("high", {"priority": "high"}),
        ("highest", {"priority": "highest"}),
    )

    assert calls == listed == ["highest", "high", "normal", "seven", "low", "lowest"]


def test_ties_are_settled_by_registration() -> None:
    calls, _ = called(("c", {}), ("a", {}), ("b", {}))

    assert calls == ["c", "a", "b"]


def test_constraints_come_before_priority_and_name_hooks_or_plugins() -> None:
    calls, _ = called(
        ("last", {"priority": "highest", "after": "audit"}),
        ("plain", {}),
        ("audited", {"plugin": "audit", "priority": "lowest"}),
        ("first", {"priority": "lowest", "before": ("plain", "code.last")}),
    )

    assert calls == ["audited", "first", "last", "plain"]


def test_a_constraint_on_what_is_not_there_is_no_error() -> None:
    calls, _ = called(("b", {"after": "absent"}), ("a", {"before": "absent"}))

    assert calls == ["b", "a"]


def test_the_order_is_within_a_kind_and_kinds_have_an_order_of_their_own() -> None:
    calls, _ = called(
        ("observer", {"kind": "observe", "priority": "highest"}),
        ("guard", {"kind": "guard", "priority": "highest"}),
        ("transform", {"priority": "lowest"}),
    )

    assert calls == ["transform", "guard", "observer"]


def test_a_cycle_is_an_error_that_prints_it_and_leaves_the_others_registered() -> None:
    async def main() -> list[str]:
        async with opened() as host:
            host.hooks.register(BEFORE, lambda context: None, name="a", before="b")
            host.hooks.register(BEFORE, lambda context: None, name="b", before="c")
            with pytest.raises(HookOrderError, match=r"code\.\w -> code\.\w -> code\.\w -> code\.\w") as caught:
                host.hooks.register(BEFORE, lambda context: None, name="c", before="a")
            assert all(f"code.{name}" in str(caught.value) for name in "abc")
            return [info.name for info in host.hooks.list(BEFORE)]

    assert run(main) == ["a", "b"]


def test_the_compiled_order_says_why() -> None:
    async def main() -> list[str]:
        async with opened() as host:
            host.hooks.register(BEFORE, lambda context: None, name="a", before="b", match="file_*")
            host.hooks.register(BEFORE, lambda context: None, name="b", priority="high")
            return [reason for _, reason in host.hooks.order("BeforeToolExecution")]

    assert run(main) == [
        "priority normal, before b, only file_*, registered as number 1",
        "priority high, registered as number 2",
    ]


@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.sets(st.integers(0, 7), max_size=3), st.sets(st.integers(0, 7), max_size=3)),
        max_size=8,
    )
)
def test_whatever_is_asked_for_is_kept_or_is_a_cycle(asked: list[tuple[int, set[int], set[int]]]) -> None:
    hooks = [
        Hook(
            POINT,
            lambda context: None,
            hook_options(
                name=f"h{n}",
                priority=priority,
                before=[f"h{i}" for i in before - {n}],
                after=[f"h{i}" for i in after - {n}],
            ),
            sequence=n,
            plugin="p",
        )
        for n, (priority, before, after) in enumerate(asked)
    ]
    pairs = {(n, i) for n, (_, before, _) in enumerate(asked) for i in before - {n} if i < len(asked)}
    pairs |= {(i, n) for n, (_, _, after) in enumerate(asked) for i in after - {n} if i < len(asked)}

    try:
        answer = [hook.sequence for hook in ordered(hooks)]
    except HookOrderError:
        assert _has_cycle(pairs)
    else:
        assert sorted(answer) == list(range(len(hooks)))
        assert all(answer.index(first) < answer.index(second) for first, second in pairs)
        if not pairs:
            assert answer == sorted(answer, key=lambda n: (asked[n][0], n))


def _has_cycle(pairs: set[tuple[int, int]]) -> bool:
    reach = set(pairs)
    while True:
        more = {(a, d) for a, b in reach for c, d in reach if b == c} - reach
        if not more:
            return any(a == b for a, b in reach)
        reach |= more
