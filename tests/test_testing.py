from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import Cancel, HookContext, OperationCancelledError, ToolCall, hookimpl
from llmspell_hookspecs.errors import HookRegistrationError
from llmspell_testing import (
    HookRecorder,
    HostOpener,
    HostRunner,
    ScriptOutput,
    TemporarySettings,
    held_beyond_idle_s,
    loop_steps,
)


class NoSums:
    name = "no_sums"

    @hookimpl(kind="guard")
    def before_tool_execution(self, context: HookContext[ToolCall]) -> Cancel | None:
        return Cancel("no sums here") if "+" in context.subject.parameters["input"] else None


async def multiply(host: Host) -> Any:
    return (await host.call("tool:calculator", {"input": "6 * 7"})).result["result"]


async def add(host: Host) -> str:
    with pytest.raises(OperationCancelledError) as caught:
        await host.call("tool:calculator", {"input": "6 + 7"})
    return caught.value.reason


def test_the_plugin_imports_neither_trio_nor_pydantic_nor_the_host() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import llmspell_testing.plugin; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"trio", "pydantic", "msgspec", "pluggy", "stevedore", "llmspell_hookspecs"} & set(loaded)
    assert "llmspell_testing" in loaded


def test_a_host_runs_the_tests_function_with_the_plugins_it_is_handed(llmspell_host: HostRunner) -> None:
    product = llmspell_host(multiply)
    reason = llmspell_host(add, plugins=[NoSums()])

    assert product == 42
    assert reason == "no sums here"


def test_an_error_of_the_tests_function_comes_out_as_it_is(llmspell_host: HostRunner) -> None:
    async def main(host: Host) -> None:
        raise KeyError("as raised")

    with pytest.raises(KeyError, match="as raised"):
        llmspell_host(main)


def test_a_mock_clock_lets_time_pass_at_once(llmspell_host: HostRunner) -> None:
    async def main(host: Host) -> float:
        started = trio.current_time()
        await trio.sleep(3600)
        return trio.current_time() - started

    assert llmspell_host(main, clock=trio.testing.MockClock(autojump_threshold=0)) == 3600


async def test_an_async_test_opens_hosts_with_the_plugins_it_hands_over(
    llmspell_open: HostOpener, recorded_hooks: HookRecorder
) -> None:
    async with llmspell_open(plugins=[NoSums()]) as host:
        product = await multiply(host)
        reason = await add(host)

    assert (product, reason) == (42, "no sums here")
    recorded_hooks.assert_fired("before_tool_execution", component="calculator", times=2)


async def test_the_clock_of_an_async_test_is_the_one_of_its_fixture(autojump_clock: trio.testing.MockClock) -> None:
    await trio.sleep(3600)

    assert autojump_clock.current_time() == trio.current_time() == 3600


@settings(max_examples=5)
@given(pause_s=st.integers(0, 100_000))
async def test_each_example_of_hypothesis_is_a_run_of_its_own(pause_s: int) -> None:
    root = trio.lowlevel.current_root_task()
    assert root is not None

    with trio.CancelScope(deadline=trio.current_time()) as scope:
        await trio.sleep(pause_s)

    assert scope.cancelled_caught


def pytest_of(folder: Path, test: str, *options: str, ini: str = "") -> str:
    """Return what pytest says of these tests, in a project of their own."""
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}")
    (folder / "test_theirs.py").write_text(dedent(test))
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder).stdout


THEIRS = """
    import asyncio, pytest, trio

    async def test_bare():
        await trio.sleep(0)

    async def test_with_a_fixture(llmspell_settings):
        await trio.sleep(0)

    @pytest.mark.anyio
    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_of_anyio(llmspell_settings):
        await asyncio.sleep(0)
"""


@pytest.mark.long
def test_only_async_tests_with_our_fixtures_are_taken_unless_settings_say_all_of_them(tmp_path: Path) -> None:
    by_fixture = pytest_of(tmp_path, THEIRS)
    all_of_them = pytest_of(tmp_path, THEIRS, ini="llmspell_trio = true")

    assert "FAILED test_theirs.py::test_bare" in by_fixture
    assert "1 failed, 2 passed" in by_fixture
    assert "3 passed" in all_of_them


@pytest.mark.long
def test_an_async_test_fails_as_it_raised_and_is_ended_in_real_time_whatever_its_clock_says(tmp_path: Path) -> None:
    told = pytest_of(
        tmp_path,
        """
        import pytest, trio

        async def test_that_raises(autojump_clock):
            raise KeyError("as raised")

        async def test_that_skips(autojump_clock):
            pytest.skip("not here")

        async def test_that_hangs(autojump_clock):
            await trio.sleep_forever()
        """,
        ini="llmspell_trio_timeout_s = 0.2",
    )

    assert "FAILED test_theirs.py::test_that_raises - KeyError: 'as raised'" in told
    assert "SKIPPED [1] test_theirs.py:8: not here" in told
    assert "TimeoutError: the test did not end within 0.2 s" in told


async def test_the_longest_step_of_the_loop_is_told_in_processor_time() -> None:
    def spend(seconds: float) -> None:
        end_s = time.thread_time() + seconds
        while time.thread_time() < end_s:
            pass

    with loop_steps() as steps:
        await trio.lowlevel.checkpoint()
        spend(0.03)
        await trio.lowlevel.checkpoint()
        await trio.to_thread.run_sync(spend, 0.09)

    assert 0.03 <= steps.longest_s < 0.09
    assert "test_the_longest_step" in steps.longest_task
    assert steps.count >= 3


@pytest.mark.timing
async def test_what_holds_the_loop_is_told_apart_from_what_runs_beside_it() -> None:
    async def hold() -> None:
        time.sleep(0.05)

    assert await held_beyond_idle_s(hold) > 0.04
    assert await held_beyond_idle_s(lambda: trio.sleep(0.05)) < 0.02
    assert await held_beyond_idle_s(lambda: trio.to_thread.run_sync(time.sleep, 0.05)) < 0.02


def test_settings_come_from_the_tests_own_files_and_from_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, llmspell_output: ScriptOutput
) -> None:
    (tmp_path / "llmspell.toml").write_text("[limits]\ndepth = 3\n")
    monkeypatch.setenv("LLMSPELL_LIMITS__HOPS", "2")
    settings: TemporarySettings = request.getfixturevalue("llmspell_settings")
    settings.write_user("[limits]\ndepth = 9\n")
    settings.write_project("[scripts]\ntime_s = 5\n")

    loaded = load_settings().settings

    assert (loaded.limits.depth, loaded.limits.hops, loaded.scripts.time_s) == (9, 8, 5)
    assert Path.cwd() == settings.project
    assert os.environ["LLMSPELL_DATA_HOME"] == str(settings.data)


def test_the_recorder_sees_the_host_start_run_and_stop(llmspell_host: HostRunner, recorded_hooks: HookRecorder) -> None:
    llmspell_host(multiply)

    recorded_hooks.assert_order(
        ["system_startup", "ToolValidation", "before_tool_execution", "AfterToolExecution", "system_shutdown"]
    )
    recorded_hooks.assert_fired("after_tool_execution", component="calculator", status="completed", times=1)
    recorded_hooks.assert_fired("tool_error", times=0)
    assert recorded_hooks.fired("after_tool_execution")[0].subject.result["result"] == 42
    assert recorded_hooks.fired("after_tool_execution")[0].request.parameters["input"] == "6 * 7"


def test_the_recorder_sees_what_a_guard_refused(llmspell_host: HostRunner, recorded_hooks: HookRecorder) -> None:
    llmspell_host(add, plugins=[NoSums()])

    recorded_hooks.assert_fired("tool_error", component="calculator", status="cancelled", times=1)
    row = recorded_hooks.fired("before_tool_execution")[0]
    assert row.outcome is not None
    assert row.outcome.decision == Cancel("no sums here")


def test_an_assertion_that_does_not_hold_says_what_fired(
    llmspell_host: HostRunner, recorded_hooks: HookRecorder
) -> None:
    llmspell_host(multiply)

    with pytest.raises(AssertionError, match=r"tool_error, status='failed' fired 0 times.*system_startup\(host\)"):
        recorded_hooks.assert_fired("tool_error", status="failed")
    with pytest.raises(AssertionError, match="before_tool_execution did not fire where"):
        recorded_hooks.assert_order(["after_tool_execution", "before_tool_execution"])
    with pytest.raises(AssertionError, match="fired 1 times, not 2 times"):
        recorded_hooks.assert_fired("before_tool_execution", times=2)


def test_the_recorder_refuses_a_point_that_there_is_not(recorded_hooks: HookRecorder) -> None:
    with pytest.raises(HookRegistrationError, match="after_tool_execution"):
        recorded_hooks.assert_fired("after_tool_executoin", times=0)


def test_the_recorder_watches_custom_points_on_demand(llmspell_host: HostRunner, recorded_hooks: HookRecorder) -> None:
    async def main(host: Host) -> None:
        recorded_hooks.watch(host, "custom:review")
        await host.hooks.fire("review", {"page": 1})

    llmspell_host(main)

    recorded_hooks.assert_fired("custom:review", times=1)
    assert recorded_hooks.fired("custom:review")[0].subject == {"page": 1}


@pytest.mark.long
def test_what_scripts_write_is_kept(llmspell_host: HostRunner, llmspell_output: ScriptOutput) -> None:
    async def main(host: Host) -> None:
        await host.run_source("print('one') print('two', 2)", "lua")

    llmspell_host(main)

    assert llmspell_output.lines == ["one", "two\t2"]
