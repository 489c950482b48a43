"""The pool: its queue, how it grows and shrinks, who is replaced, and what is left when it goes."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as some

from kernel import make_plugin
from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, InvalidInputError, OperationCancelledError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError
from team_members import Sayer, in_host


async def pool(host: Host, member: dict[str, Any] | None = None, **options: Any) -> Any:
    member = {"kind": "sayer", "options": {"sleeps": 1, **(member or {})}}
    return await host.agents.create(name="pool", kind="pool", options={"member": member, **options})


def names(host: Host) -> list[str]:
    return [info.name for info in host.agents.list() if info.name != "pool"]


async def ask_all(made: Any, texts: list[str]) -> list[Any]:
    """Ask all at once, each after the one before has begun to wait; returns the outputs in the order of their ends."""
    ended: list[Any] = []

    async def ask(text: str) -> None:
        ended.append(await made.run(text))

    async with trio.open_nursery() as nursery:
        for text in texts:
            nursery.start_soon(ask, text)
            await trio.testing.wait_all_tasks_blocked()
    return ended


def test_members_take_one_question_each_and_the_others_wait_in_their_order() -> None:
    async def main(host: Host) -> list[Any]:
        return await ask_all(await pool(host, size=1), [*"abcdef"])

    outputs = in_host(main, virtual=True)

    assert [text for _, text in Sayer.asked] == [*"abcdef"]
    assert [output.metadata["waiting"] for output in outputs] == [4, 3, 2, 1, 0, 0]


def test_no_more_members_are_made_than_may_be() -> None:
    async def main(host: Host) -> list[Any]:
        return await ask_all(await pool(host, size=2), [*"abcdef"])

    outputs = in_host(main, virtual=True)

    assert {output.metadata["member"] for output in outputs} == {"pool.1", "pool.2"}
    assert {output.metadata["members"] for output in outputs} == {2}


@pytest.mark.parametrize(("scale_at", "most"), [(1, 5), (3, 4), (9, 2)])
def test_it_grows_while_questions_wait_and_shrinks_when_they_do_not(scale_at: int, most: int) -> None:
    async def main(host: Host) -> tuple[int, list[str]]:
        made = await pool(host, size=2, max_size=5, scale_at=scale_at)
        counts: list[int] = []

        async def watch(context: HookContext[Any]) -> None:
            counts.append(len(names(host)))

        host.hooks.register("before_agent_execution", watch, kind="observe", match="pool.*", plugin="watch")
        await ask_all(made, [*"abcdef"])
        return max(counts), names(host)

    largest, left = in_host(main, virtual=True)

    assert largest == most
    assert len(left) == 2


def test_some_are_made_with_the_first_question() -> None:
    async def main(host: Host) -> tuple[list[str], list[str]]:
        made = await pool(host, size=3, warm=2)
        before = names(host)
        await made.run("go")
        return before, names(host)

    assert in_host(main, virtual=True) == ([], ["pool.1", "pool.2"])


def test_no_more_questions_wait_than_may() -> None:
    async def main(host: Host) -> str:
        made = await pool(host, size=1, queue=1)
        async with trio.open_nursery() as nursery:
            for text in "ab":
                nursery.start_soon(made.run, text)
                await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ResourceLimitError) as refused:
                await made.run("c")
        return str(refused.value)

    assert in_host(main, virtual=True) == ("agent pool: 1 questions wait, which is the most; ask later, or raise queue")


def test_a_member_that_fails_too_often_is_replaced() -> None:
    async def main(host: Host) -> list[str]:
        made = await pool(host, {"fails": 3}, size=1, max_error_rate=0.5, window=4)
        for _ in range(3):
            with pytest.raises(ToolError, match="it broke"):
                await made.run("go")
        seen = names(host)
        with pytest.raises(ToolError, match=r"pool\.2: it broke"):
            await made.run("go")
        return [*seen, *names(host)]

    assert in_host(main, virtual=True) == ["pool.2"]


def test_a_denied_question_is_no_fault_of_the_member() -> None:
    def deny(context: HookContext[Any]) -> Cancel:
        return Cancel("not now")

    guard = make_plugin("guard", ("before_agent_execution", deny, {"kind": "guard", "match": "pool.*"}))

    async def main(host: Host) -> list[str]:
        made = await pool(host, size=1)
        for _ in range(5):
            with pytest.raises(OperationCancelledError, match="not now"):
                await made.run("go")
        return names(host)

    assert in_host(main, guard, virtual=True) == ["pool.1"]
    assert Sayer.asked == []


def test_a_member_that_somebody_shut_down_is_replaced() -> None:
    async def main(host: Host) -> list[str]:
        made = await pool(host, size=1)
        await made.run("go")
        await host.agents.get("pool.1").close()  # type: ignore[union-attr]
        return [(await made.run("go")).metadata["member"], *names(host)]

    assert in_host(main, virtual=True) == ["pool.2", "pool.2"]


def test_its_members_go_with_it() -> None:
    async def main(host: Host) -> list[list[str]]:
        made = await pool(host, size=2)
        await ask_all(made, ["a", "b"])
        seen = [names(host)]
        await made.close()
        with pytest.raises(InvalidInputError):
            await made.run("late")
        return [*seen, names(host)]

    assert in_host(main, virtual=True) == [["pool.1", "pool.2"], []]


def test_a_member_that_cannot_be_made_is_told_and_leaves_nobody_waiting() -> None:
    denied = 0

    def deny(context: HookContext[Any]) -> Cancel | None:
        nonlocal denied
        denied += 1
        return Cancel("none more") if denied <= 1 else None

    guard = make_plugin("guard", ("before_agent_init", deny, {"kind": "guard", "match": "pool.*"}))

    async def main(host: Host) -> list[str]:
        made = await pool(host, size=1)
        ended: list[str] = []

        async def ask(text: str) -> None:
            try:
                ended.append((await made.run(text)).text)
            except OperationCancelledError as error:
                ended.append(error.reason)

        async with trio.open_nursery() as nursery:
            for text in "abc":
                nursery.start_soon(ask, text)
        return sorted(ended)

    ended = in_host(main, guard, virtual=True)

    assert ended[0] == "none more"
    assert len(ended) == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": 3, "max_size": 2}, "max_size 2 is below size 3"),
        ({"member": {"name": "x"}}, "member has a name"),
        ({"size": 0}, "size"),
    ],
)
def test_what_cannot_be_is_told_as_it_is_made(options: dict[str, Any], told: str) -> None:
    async def main(host: Host) -> None:
        with pytest.raises(InvalidInputError, match=told):
            await host.agents.create(name="pool", kind="pool", options={"member": {"kind": "sayer"}, **options})

    in_host(main)


@given(
    size=some.integers(1, 3),
    more=some.integers(0, 2),
    asked=some.lists(some.tuples(some.integers(0, 3), some.sampled_from(["ask", "cancel"])), max_size=12),
    fails=some.integers(0, 2),
)
def test_whoever_asks_and_gives_up_no_member_is_lost_or_has_two_runs(
    size: int, more: int, asked: list[tuple[int, str]], fails: int
) -> None:
    running: Counter[str] = Counter()
    peaks = [0]

    def begin(context: HookContext[Any]) -> None:
        running[context.component.name] += 1
        peaks.append(running.total())
        assert running[context.component.name] == 1

    def end(context: HookContext[Any]) -> None:
        running[context.component.name] -= 1

    watch = make_plugin(
        "watch",
        ("before_agent_execution", begin, {"kind": "observe", "match": "pool.*"}),
        ("after_agent_execution", end, {"kind": "observe", "match": "pool.*"}),
        ("agent_error", end, {"kind": "observe", "match": "pool.*"}),
    )

    async def main(host: Host) -> None:
        made = await pool(host, {"fails": fails}, size=size, max_size=size + more)

        async def ask(delay: int, what: str) -> None:
            await trio.sleep(delay)
            with trio.move_on_after(0.5 if what == "cancel" else 1e5):
                with suppress(ToolError):
                    await made.run("go")

        async with trio.open_nursery() as nursery:
            for delay, what in asked:
                nursery.start_soon(ask, delay, what)
        assert len(names(host)) <= size + more
        assert running.total() == 0
        peaks[:] = [0]
        async with trio.open_nursery() as nursery:
            for _ in range(size):
                nursery.start_soon(ask, 0, "ask")
        assert max(peaks) == size

    in_host(main, watch, virtual=True)
