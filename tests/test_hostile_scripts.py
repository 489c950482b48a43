"""A script that means harm, beside a caller who does not: it holds nobody up, it ends, and Ctrl-C is heard."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from llmspell import Host
from llmspell_hookspecs import LlmspellError
from llmspell_testing import loop_steps

STEP_S = 0.02
P99_S = 0.05
HEARD_S = 0.2
ROUNDS = 3
"""The best of these counts where a clock is read: what a script does it does each time, the machine now and then."""
ONE = "{operation = 'evaluate', input = '1'}"
SETTINGS = {"storage": {"backend": "memory"}, "scripts": {"time_s": 1.0}}

HOSTILE = {
    "observers without end": (
        "for i = 1, 1000 do Hook.register('AfterToolExecution', function() while true do end end, {kind = 'observe'})"
        f" end while true do pcall(Tool.invoke, 'calculator', {ONE}) end"
    ),
    "hooks that fail": (
        "for i = 1, 1000 do Hook.register('AfterToolExecution', function() error('no') end) end"
        f" while true do pcall(Tool.invoke, 'calculator', {ONE}) end"
    ),
    "a fork bomb": (
        "local call = {tool = 'calculator', input = " + ONE + "}"
        " Hook.register('BeforeToolExecution', function() return {type = 'fork', operations = {call, call}} end)"
        f" while true do pcall(Tool.invoke, 'calculator', {ONE}) end"
    ),
    "a retry after years": (
        "Hook.register('AfterToolExecution', function() return {type = 'retry', delay_s = 1e9} end)"
        f" while true do pcall(Tool.invoke, 'calculator', {ONE}) end"
    ),
    "20,000 paths": (
        "local t = {} for i = 1, 20000 do t[i] = 'p' .. i end"
        " while true do pcall(Config.set, 'security.paths.read', t) end"
    ),
    "200 paths again and again": (
        "local t = {} for i = 1, 200 do t[i] = '/tmp/' .. ('*a'):rep(20) .. i end"
        " while true do pcall(Config.set, 'security.paths.denied', t) end"
    ),
}


async def beside(source: str, serve: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
    """Let somebody be served beside the script, which is cancelled then; no step of the loop is long meanwhile."""
    async with Host.open(SETTINGS) as host:

        async def call() -> None:
            result = await host.call("tool:calculator", {"operation": "evaluate", "input": "1 + 1"})
            assert result.result["result"] == 2

        async def harm() -> None:
            while True:
                try:
                    await host.run_source(source, "lua")
                except LlmspellError:
                    await trio.lowlevel.checkpoint()

        await call()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(harm)
            await trio.sleep(0.2)
            with loop_steps() as steps:
                await serve(call)
            nursery.cancel_scope.cancel()
    assert steps.longest_s < STEP_S, steps.longest_task


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_script_makes_no_step_of_the_loop_long(what: str) -> None:
    async def serve(call: Callable[[], Awaitable[None]]) -> None:
        for _ in range(100):
            await call()
            await trio.sleep(0.005)

    await beside(HOSTILE[what], serve)


@pytest.mark.timing
@pytest.mark.parametrize("what", HOSTILE)
async def test_a_caller_beside_a_hostile_script_is_served_in_time(what: str) -> None:
    p99_s = []

    async def serve(call: Callable[[], Awaitable[None]]) -> None:
        took_s = []
        for _ in range(200):
            began_s = time.perf_counter()
            await call()
            took_s.append(time.perf_counter() - began_s)
            await trio.sleep(0.005)
        p99_s.append(statistics.quantiles(took_s, n=100)[98])

    for _ in range(ROUNDS):
        await beside(HOSTILE[what], serve)

    assert min(p99_s) < P99_S


def heard_after_s(source: str, folder: Path) -> float:
    """Return how long after Ctrl-C a command says that it is interrupted: the script and all it set off are over."""
    script = folder / "harm.lua"
    script.write_text(f"print('begun') {source}", encoding="utf-8")
    command = [sys.executable, "-m", "llmspell", "run", str(script)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, cwd=folder, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.5)
        began_s = time.perf_counter()
        process.send_signal(signal.SIGINT)
        assert any(line == "llmspell: interrupted\n" for line in process.stderr)
        heard_s = time.perf_counter() - began_s
    assert process.returncode == 130
    return heard_s


@pytest.mark.timing
@pytest.mark.parametrize("what", HOSTILE)
def test_ctrl_c_is_heard_beside_a_hostile_script(what: str, tmp_path: Path) -> None:
    idle_s = min(heard_after_s("os.execute('sleep 60')", tmp_path) for _ in range(ROUNDS))

    assert min(heard_after_s(HOSTILE[what], tmp_path) for _ in range(ROUNDS)) - idle_s < HEARD_S
