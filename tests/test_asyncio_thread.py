"""The host's asyncio thread: results, errors, cancellation, streams, and its end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
import trio

from kernel import make_tool, opened, run
from llmspell_hookspecs import ToolContext
from llmspell_hookspecs.services import AsyncioThread as Contract
from llmspell_plugins.services.asyncio_thread import AsyncioThread


def within(main: Callable[[AsyncioThread], Any]) -> Any:
    async def body() -> Any:
        async with AsyncioThread() as thread:
            return await main(thread)

    return run(body)


async def add(one: int, *, other: int) -> int:
    await asyncio.sleep(0)
    return one + other


def test_it_keeps_its_protocol() -> None:
    assert isinstance(AsyncioThread(), Contract)


def test_no_thread_is_started_before_somebody_asks() -> None:
    before = threading.active_count()

    async def main(thread: AsyncioThread) -> int:
        return threading.active_count()

    assert within(main) == before


def test_an_async_function_runs_on_one_loop_in_one_thread() -> None:
    async def where() -> tuple[int, asyncio.AbstractEventLoop]:
        return threading.get_ident(), asyncio.get_running_loop()

    async def main(thread: AsyncioThread) -> None:
        assert await thread.run(add, 1, other=2) == 3
        places = {await thread.run(where) for _ in range(5)}
        assert len(places) == 1
        assert threading.get_ident() not in {ident for ident, _ in places}

    within(main)


def test_errors_pass_through_as_they_are() -> None:
    problem = KeyError("here")

    async def fail() -> None:
        raise problem

    async def main(thread: AsyncioThread) -> None:
        with pytest.raises(KeyError) as raised:
            await thread.run(fail)
        assert raised.value is problem
        assert await thread.run(add, 1, other=1) == 2

    within(main)


def test_the_callers_context_goes_along() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")

    async def who() -> str:
        return name.get()

    async def main(thread: AsyncioThread) -> str:
        name.set("somebody")
        return await thread.run(who)

    assert within(main) == "somebody"


def test_a_cancelled_caller_cancels_the_task_and_waits_for_its_end() -> None:
    seen: list[str] = []

    async def wait() -> None:
        try:
            seen.append("waits")
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            seen.append("ended")
            raise

    async def main(thread: AsyncioThread) -> None:
        with trio.move_on_after(0.1) as scope:
            await thread.run(wait)
        assert scope.cancelled_caught
        assert seen == ["waits", "ended"]
        assert await thread.run(add, 1, other=1) == 2

    within(main)


def test_a_caller_that_is_cancelled_before_it_asks_leaves_nothing_behind() -> None:
    started: list[int] = []

    async def work() -> None:
        started.append(1)
        await asyncio.sleep(60)

    async def left() -> int:
        return len(asyncio.all_tasks()) - 1

    async def main(thread: AsyncioThread) -> int:
        with trio.CancelScope() as scope:
            scope.cancel()
            await thread.run(work)
        return await thread.run(left)

    assert within(main) == 0


@pytest.mark.timing
def test_a_task_that_will_not_end_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmspell_plugins.services.asyncio_thread._GRACE_S", 0.1)
    released = threading.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    async def main(thread: AsyncioThread) -> float:
        began = time.monotonic()
        with trio.move_on_after(0.05):
            await thread.run(stubborn)
        took = time.monotonic() - began
        released.set()
        return took

    assert 0.1 < within(main) < 1


def test_a_stream_hands_over_its_items_in_order_and_then_ends() -> None:
    async def count(to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number

    async def main(thread: AsyncioThread) -> list[int]:
        async with thread.stream(count, 500) as numbers:
            return [number async for number in numbers]

    assert within(main) == list(range(500))


def test_a_slow_reader_slows_a_stream() -> None:
    made: list[int] = []

    async def count() -> AsyncGenerator[int, None]:
        while True:
            made.append(len(made))
            yield made[-1]

    async def main(thread: AsyncioThread) -> None:
        async with thread.stream(count) as numbers:
            for expected in range(3):
                assert await anext(numbers) == expected
                await trio.sleep(0.02)
                assert len(made) <= expected + 2

    within(main)


def test_a_stream_that_fails_raises_after_what_came() -> None:
    async def fail() -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("no more")

    async def main(thread: AsyncioThread) -> None:
        got: list[int] = []
        with pytest.raises(ValueError, match="no more"):
            async with thread.stream(fail) as numbers:
                async for number in numbers:
                    got.append(number)  # noqa: PERF401 - a comprehension would lose what came before the error
        assert got == [1]

    within(main)


@pytest.mark.parametrize("how", ["leave", "raise", "cancel"])
def test_leaving_a_stream_ends_its_generator(how: str) -> None:
    seen: list[str] = []

    async def count() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
                await asyncio.sleep(0.001)
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    async def main(thread: AsyncioThread) -> None:
        with trio.CancelScope() as scope:
            try:
                async with thread.stream(count) as numbers:
                    async for _ in numbers:
                        if how == "raise":
                            raise RuntimeError("enough")
                        if how == "leave":
                            break
                        scope.cancel()
            except RuntimeError:
                seen.append("raised")

    within(main)
    assert seen == (["closed", "raised"] if how == "raise" else ["closed"])


def test_many_calls_at_once_each_get_their_own_result() -> None:
    async def main(thread: AsyncioThread) -> set[tuple[int, int]]:
        results: set[tuple[int, int]] = set()

        async def one(number: int) -> None:
            results.add((number, await thread.run(add, number, other=1)))

        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(one, number)
        return results

    assert within(main) == {(number, number + 1) for number in range(300)}


def test_closing_it_ends_what_runs_and_refuses_what_comes() -> None:
    began = threading.Event()
    ended: list[str] = []

    async def wait() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("task")

    async def main() -> None:
        thread = AsyncioThread()

        async def ask() -> None:
            with pytest.raises(trio.ClosedResourceError, match="the host closes"):
                await thread.run(wait)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.to_thread.run_sync(began.wait, 5)
            await thread.__aexit__()
        with pytest.raises(trio.ClosedResourceError):
            await thread.run(add, 1, other=1)

    run(main)
    assert ended == ["task"]
    assert not [thread for thread in threading.enumerate() if thread.name == "llmspell-asyncio"]


def test_a_host_offers_it_and_ends_it_also_when_it_is_cancelled() -> None:
    async def body(parameters: dict[str, Any], context: ToolContext) -> int:
        return await context.services.get(Contract).run(add, 1, other=parameters["other"])

    async def main() -> int:
        answer = 0
        with trio.CancelScope() as scope:
            async with opened(make_tool("adder", body)) as host:
                answer = (await host.call("tool:adder", {"other": 5})).result
                scope.cancel()
                await trio.sleep_forever()
        return answer

    assert run(main) == 6
    assert not [thread for thread in threading.enumerate() if thread.name == "llmspell-asyncio"]
