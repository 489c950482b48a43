"""Child processes: what they answer, what limits them, and that none is left."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, ScriptError
from llmspell_plugins.services.processes import ProcessPool
from waiting import until

MB = 1024 * 1024


@pytest.fixture
def mock_clock() -> MockClock:
    """Return the clock of a test: time passes when the test says so."""
    return MockClock()


# What the children run


def add(left: int, right: int) -> int:
    return left + right


def identify() -> tuple[int, dict[str, str]]:
    return os.getpid(), dict(os.environ)


def allocate(size_bytes: int) -> int:
    return len(bytearray(size_bytes))


def fail(message: str) -> None:
    raise ScriptError(message, file="a.lua", line=3)


class Unportable(Exception):
    def __init__(self, one: int, *, two: int) -> None:
        super().__init__("unportable")


def fail_unportably() -> None:
    raise Unportable(1, two=2)


def print_much() -> str:
    print("x" * 100_000, flush=True)
    os.write(1, b"y" * 1000)
    return sys.stdin.read()


def spin() -> None:
    while True:
        pass


def hold_the_interpreter() -> None:
    import re

    re.match(r"(a+)+$", "a" * 60 + "b")


def die(code: int) -> None:
    os._exit(code)


def abort() -> None:
    os.kill(os.getpid(), signal.SIGABRT)


def start_others(path: str) -> None:
    same_group = subprocess.Popen(["sleep", "1000"])
    own_group = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    Path(path).write_text(f"{os.getpid()} {same_group.pid} {own_group.pid}")
    time.sleep(1000)


def answer_much(size_bytes: int) -> bytes:
    return b"x" * size_bytes


# The tests


async def with_pool(test: Callable[[ProcessPool], Awaitable[Any]], **options: Any) -> Any:
    async with ProcessPool(**options) as pool:
        result = await test(pool)
    assert not pool._children
    return result


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_dead(*pids: int) -> bool:
    until(lambda: not any(map(alive, pids)), "the end of a child")
    return True


async def test_a_function_answers_from_a_child() -> None:
    async def test(pool: ProcessPool) -> None:
        assert await pool.run(add, 2, 3) == 5
        pid, _ = await pool.run(identify)
        assert pid != os.getpid()

    await with_pool(test)


async def test_a_child_is_used_again_and_is_gone_with_the_pool() -> None:
    async def test(pool: ProcessPool) -> set[int]:
        return {(await pool.run(identify))[0] for _ in range(5)}

    pids = await with_pool(test)
    assert len(pids) == 1
    assert not alive(*pids)


async def test_calls_run_beside_each_other_up_to_the_number_of_processes() -> None:
    async def test(pool: ProcessPool) -> None:
        pids = []

        async def one() -> None:
            pids.append((await pool.run(identify))[0])

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(one)
        assert len(pids) == 8
        assert len(set(pids)) <= 2

    await with_pool(test, max_processes=2)


@pytest.mark.timing
async def test_a_warm_call_takes_less_than_five_milliseconds() -> None:
    async def test(pool: ProcessPool) -> float:
        await pool.run(add, 1, 1)
        spent = []
        for _ in range(50):
            started = time.perf_counter()
            await pool.run(add, 1, 1)
            spent.append(time.perf_counter() - started)
        return sorted(spent)[25]

    assert await with_pool(test) < 0.005


async def test_a_child_sees_none_of_the_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    monkeypatch.setenv("DATABASE_URL", "postgres://u:s3cret@h")

    async def test(pool: ProcessPool) -> dict[str, str]:
        return (await pool.run(identify))[1]  # type: ignore[no-any-return]

    environment = await with_pool(test)
    assert "s3cret" not in str(environment)
    assert environment["PATH"] == os.environ["PATH"]


async def test_memory_above_the_limit_is_an_error_and_the_next_call_works() -> None:
    async def test(pool: ProcessPool) -> None:
        with pytest.raises(ResourceLimitError) as caught:
            await pool.run(allocate, 400 * MB, memory_bytes=64 * MB)
        assert (caught.value.resource, caught.value.limit) == ("memory_bytes", 64 * MB)
        assert await pool.run(allocate, 32 * MB, memory_bytes=64 * MB) == 32 * MB

    await with_pool(test)


async def test_each_call_has_a_limit_of_its_own() -> None:
    async def test(pool: ProcessPool) -> None:
        assert await pool.run(allocate, 16 * MB, memory_bytes=32 * MB) == 16 * MB
        assert await pool.run(allocate, 200 * MB, memory_bytes=400 * MB) == 200 * MB
        with pytest.raises(ResourceLimitError):
            await pool.run(allocate, 64 * MB, memory_bytes=32 * MB)

    await with_pool(test)


async def test_an_answer_above_the_limit_is_an_error() -> None:
    async def test(pool: ProcessPool) -> None:
        with pytest.raises(ResourceLimitError) as caught:
            await pool.run(answer_much, 2 * MB, output_bytes=MB)
        assert caught.value.resource == "output_bytes"
        assert len(await pool.run(answer_much, 2 * MB)) == 2 * MB

    await with_pool(test)


async def test_an_error_keeps_its_type_its_facts_and_its_traceback() -> None:
    async def test(pool: ProcessPool) -> None:
        with pytest.raises(ScriptError, match="bad") as caught:
            await pool.run(fail, "bad")
        assert (caught.value.file, caught.value.line) == ("a.lua", 3)
        assert "in fail" in "".join(caught.value.__notes__)
        with pytest.raises(ZeroDivisionError):
            await pool.run(divmod, 1, 0)

    await with_pool(test)


async def test_an_error_that_cannot_be_sent_keeps_its_name_and_text() -> None:
    async def test(pool: ProcessPool) -> None:
        with pytest.raises(ToolError, match="Unportable: unportable"):
            await pool.run(fail_unportably)
        assert await pool.run(add, 1, 1) == 2

    await with_pool(test)


async def test_what_a_function_prints_does_not_disturb_its_answer() -> None:
    async def test(pool: ProcessPool) -> None:
        assert await pool.run(print_much) == ""

    await with_pool(test)


async def test_what_cannot_be_pickled_is_refused() -> None:
    def local() -> None: ...

    async def test(pool: ProcessPool) -> None:
        for function in (lambda: 1, local):
            with pytest.raises(InvalidInputError, match="module-level"):
                await pool.run(function)
        with pytest.raises(InvalidInputError):
            await pool.run(add, lambda: 1, 2)

    await with_pool(test)


@pytest.mark.parametrize(("function", "arguments", "word"), [(die, (7,), "exit code 7"), (abort, (), "SIGABRT")])
async def test_a_child_that_dies_is_an_error_and_the_next_call_works(
    function: Callable[..., None], arguments: tuple[int, ...], word: str
) -> None:
    async def test(pool: ProcessPool) -> None:
        with pytest.raises(ToolError, match=word):
            await pool.run(function, *arguments)
        assert await pool.run(add, 1, 1) == 2

    await with_pool(test)


async def test_an_idle_child_that_was_killed_is_replaced() -> None:
    async def test(pool: ProcessPool) -> None:
        pid, _ = await pool.run(identify)
        os.kill(pid, signal.SIGKILL)
        assert wait_until_dead(pid)
        assert await pool.run(add, 1, 1) == 2

    await with_pool(test)


@pytest.mark.parametrize("function", [spin, hold_the_interpreter])
@pytest.mark.timing
async def test_a_deadline_kills_the_child_at_once(function: Callable[[], None]) -> None:
    async def test(pool: ProcessPool) -> None:
        pid, _ = await pool.run(identify)
        started = time.perf_counter()
        with trio.move_on_after(0.1) as scope:
            await pool.run(function)
        assert scope.cancelled_caught
        assert time.perf_counter() - started < 1
        assert not alive(pid)
        assert await pool.run(add, 1, 1) == 2

    await with_pool(test)


async def test_the_clock_of_the_work_begins_when_the_child_begins_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    go = tmp_path / "go"
    lines = (
        "import os, time",
        f"while not os.path.exists({str(go)!r}):",
        "    time.sleep(0.01)",
        "def two(): return 2",
    )
    (tmp_path / "slow_to_import.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    go.touch()
    function = importlib.import_module("slow_to_import").two
    go.unlink()

    async def later(pool: ProcessPool, seconds: float) -> None:
        """Let time pass while a child starts and imports."""
        while not pool._children:
            await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
        mock_clock.jump(seconds)
        await wait_all_tasks_blocked()
        go.touch()

    async def test(pool: ProcessPool) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(later, pool, 61.0)
            with pytest.raises(ToolError, match=r"two: the child process did not begin within 60 s; ") as caught:
                await pool.run(function, work_s=5.0)
        assert caught.value.code == "timeout"
        go.unlink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(later, pool, 50.0)
            assert await pool.run(function, work_s=5.0) == 2

    await with_pool(test)


async def test_work_beyond_its_time_is_stopped_with_one_clear_error(tmp_path: Path, mock_clock: MockClock) -> None:
    noted = tmp_path / "pids"

    async def test(pool: ProcessPool) -> None:
        async def stop() -> None:
            while not (noted.exists() and noted.read_text()):
                await trio.lowlevel.checkpoint()
            await wait_all_tasks_blocked()  # so the frame that came before is read
            mock_clock.jump(6)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            with pytest.raises(ToolError, match=r"start_others: the work took longer than 5 s and was ") as caught:
                await pool.run(start_others, str(noted), work_s=5.0)
        assert caught.value.code == "timeout"

    await with_pool(test)
    assert wait_until_dead(*(int(word) for word in noted.read_text().split()))


async def test_a_cancellation_kills_what_the_child_started(tmp_path: Path) -> None:
    noted = tmp_path / "pids"

    async def test(pool: ProcessPool) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.run, start_others, str(noted))
            while not (noted.exists() and noted.read_text()):
                await trio.sleep(0.005)
            nursery.cancel_scope.cancel()

    await with_pool(test)
    pids = [int(word) for word in noted.read_text().split()]
    assert len(pids) == 3
    assert wait_until_dead(*pids)


async def test_closing_the_pool_ends_a_call_that_runs() -> None:
    pool = ProcessPool()
    pid, _ = await pool.run(identify)

    async def call() -> None:
        with pytest.raises(ToolError, match="closed"):
            await pool.run(spin)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.sleep(0.05)
        await pool.aclose()
    assert not alive(pid)
    with pytest.raises(ToolError, match="closed"):
        await pool.run(add, 1, 1)


async def test_a_cancellation_at_any_moment_leaves_no_process_and_no_pipe() -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    async with ProcessPool() as pool:
        await pool.run(add, 1, 1)
    before = open_files()
    for step in range(12):
        async with ProcessPool() as pool:
            with trio.move_on_after(step * 0.004):
                await pool.run(add, 1, 1)
    assert open_files() == before
    assert not children_of_this_process()


def children_of_this_process() -> list[int]:
    words = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    return [int(word) for word in " ".join(words).split()]


@pytest.mark.parametrize("busy", ["spin", "hold_the_interpreter"])
def test_a_child_does_not_outlive_a_host_that_is_killed(tmp_path: Path, busy: str) -> None:
    noted = tmp_path / "pid"
    program = textwrap.dedent(f"""
        import sys, pathlib, trio
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_process
        from llmspell_plugins.services.processes import ProcessPool

        async def main():
            pool = ProcessPool(1)
            pid, _ = await pool.run(test_process.identify)
            pathlib.Path({str(noted)!r}).write_text(str(pid))
            await pool.run(test_process.{busy})

        trio.run(main)
    """)
    host = subprocess.Popen([sys.executable, "-c", program])
    try:
        until(lambda: noted.exists() and noted.read_text(), "a child")
        time.sleep(0.1)
        pid = int(noted.read_text())
        assert alive(pid)
    finally:
        host.kill()
        host.wait()
    dead = wait_until_dead(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    assert dead
