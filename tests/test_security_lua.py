"""What a script tries through the host: secrets, paths that change under way, files of the settings, other scripts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import LlmspellError
from llmspell_hookspecs.errors import ScriptError
from waiting import PATIENCE_S

SETTINGS: dict[str, Any] = {"scripts": {"time_s": 1.0}}


async def run(source: str, project: Path, settings: dict[str, Any] | None = None) -> Any:
    loaded = load_settings({**SETTINGS, **(settings or {})}, cwd=project, environment={})
    with trio.fail_after(PATIENCE_S):
        async with Host.open(loaded, discover=False) as host:
            return await host.run_source(source, name="attack.lua")


@pytest.mark.parametrize("count", ["1e18", "math.maxinteger"])
async def test_an_empty_text_is_repeated_at_once(count: str, tmp_path: Path) -> None:
    assert await run(f"return #string.rep('', {count}) + #(''):rep({count}, '')", tmp_path) == 0


@pytest.mark.parametrize("name", ["LLMSPELL_API_KEY", "LLMSPELL_PLUGINS__AUDIT__TOKEN", "LLMSPELL_PASSPHRASE"])
async def test_a_script_reads_no_secret_that_only_a_glob_allows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("LLMSPELL_COLOUR", "blue")

    assert await run(f"return {{os.getenv('{name}') or 'nothing', os.getenv('LLMSPELL_COLOUR')}}", tmp_path) == [
        "nothing",
        "blue",
    ]


async def test_a_variable_that_is_spelled_out_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMSPELL_API_KEY", "hunter2")

    assert (
        await run("return os.getenv('LLMSPELL_API_KEY')", tmp_path, {"security": {"environment": ["LLMSPELL_API_KEY"]}})
        == "hunter2"
    )


async def test_files_work_when_the_script_has_replaced_the_library(tmp_path: Path) -> None:
    source = """
        local seen = 0
        local function spy() seen = seen + 1 end
        pairs, next, table.unpack, table.pack, table.concat, string.find = spy, spy, spy, spy, spy, spy
        local f = io.open('a.txt', 'w') f:write('one\\ntwo\\n') f:flush()
        for line in io.lines('a.txt') do end
        return {seen, (io.open('a.txt'):read('a'))}
    """

    assert await run(source, tmp_path) == [0, "one\ntwo\n"]


async def test_a_script_cannot_open_through_a_folder_that_became_a_link(tmp_path: Path) -> None:
    """The folder is swapped for a link all the time; whenever it is a link the script is refused."""
    project, outside = tmp_path / "project", tmp_path / "outside"
    (project / "real").mkdir(parents=True)
    outside.mkdir()
    (project / "real" / "f").write_text("mine")
    (outside / "f").write_text("secret")
    (project / "link").symlink_to(outside)
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            os.rename(project / "real", project / "tmp")
            os.rename(project / "link", project / "real")
            os.rename(project / "real", project / "link")
            os.rename(project / "tmp", project / "real")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        found = await run(
            "local found = {} for i = 1, 1500 do local f = io.open('real/f') if f then found[f:read('a')] = true "
            "f:close() end end return found",
            project,
            {"scripts": {"time_s": 20.0}, "security": {"paths": {"read": ["."]}}},
        )
    finally:
        ended.set()
        swapper.join()

    assert "secret" not in found


async def test_a_script_cannot_move_the_settings_away_with_their_folder(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "llmspell.toml").write_text("[limits]\ndepth = 3\n")

    moved = await run("return (select(2, os.rename('config', 'old')))", tmp_path)

    assert "settings of llmspell" in moved
    assert (tmp_path / "config" / "llmspell.toml").exists()


@pytest.mark.parametrize("path", ["/etc/passwd", ".hidden.lua", "/proc/self/environ"])
async def test_a_hook_cannot_redirect_to_a_script_that_scripts_may_not_read(path: str, tmp_path: Path) -> None:
    (tmp_path / ".hidden.lua").write_text("return 'hidden'")
    source = f"""
        Hook.register('BeforeToolExecution', function()
            return {{type = 'redirect', target = 'script:{path}'}}
        end)
        return Tool.invoke('calculator', {{operation = 'evaluate', input = '1+1'}})
    """

    with pytest.raises((ScriptError, LlmspellError)) as refused:
        await run(source, tmp_path)

    assert "refused" in str(refused.value) or "outside what may be read" in str(refused.value)
    assert "root:" not in str(refused.value)


@pytest.mark.timing
async def test_a_callback_that_makes_weak_tables_does_not_hold_the_loop(tmp_path: Path) -> None:
    """Lua collects a long chain of weak keys in one go, in a time that grows with the square of its length."""
    source = """
        local function chain(n)
            local keys = {}
            for i = 1, n do keys[i] = {} end
            for i = n, 2, -1 do local j = math.random(i) keys[i], keys[j] = keys[j], keys[i] end
            local weak, meta = {}, {}
            setmetatable(weak, meta)
            meta.__mode = 'k'
            for i = 1, n - 1 do weak[keys[i]] = keys[i + 1] end
            local first = keys[1]
            keys = nil
            collectgarbage()
            return first
        end
        Hook.register('BeforeToolExecution', function() chain(15000) end)
        pcall(Tool.invoke, 'calculator', {operation = 'evaluate', input = '1+1'})
    """
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await trio.sleep(0.001)
            gaps.append(time.perf_counter() - before)

    loaded = load_settings({"scripts": {"time_s": 20.0}}, cwd=tmp_path, environment={})
    with trio.fail_after(PATIENCE_S):
        async with Host.open(loaded, discover=False) as host, trio.open_nursery() as nursery:
            await host.run_source("return 1")
            nursery.start_soon(tick)
            await host.run_source(source)
            nursery.cancel_scope.cancel()

    assert max(gaps) < 0.15
    assert sorted(gaps)[int(len(gaps) * 0.95)] < 0.02


async def test_setmetatable_in_a_callback_works_wherever_it_is_called(tmp_path: Path) -> None:
    source = """
        local got = {}
        Hook.register('BeforeToolExecution', function()
            local co = coroutine.wrap(function() return setmetatable({}, {__index = {x = 1}}).x end)
            local ok, inner = pcall(function() return setmetatable({}, {__index = {x = 2}}).x end)
            got = {co(), inner}
        end)
        Tool.invoke('calculator', {operation = 'evaluate', input = '1+1'})
        return got
    """

    assert await run(source, tmp_path) == [1, 2]


HOSTILE_HEAP = """
local function chain(n)
  local weak, key = setmetatable({}, {__mode = 'k'}), {}
  for _ = 1, n do local following = {} weak[key] = following key = following end
  return weak
end
for _ = 1, 50 do chain(150000) end
"""


@pytest.mark.long
async def test_a_heap_that_the_collector_never_finishes_with_is_abandoned(tmp_path: Path) -> None:
    layers = {"scripts": {"time_s": 0.5, "memory_bytes": 200_000_000}}
    async with Host.open(layers) as host:
        with trio.fail_after(PATIENCE_S), pytest.raises(ScriptError, match="processor time"):
            await host.run_source(HOSTILE_HEAP)
        assert await host.run_source("return 1 + 1") == 2


@pytest.mark.long
def test_an_interrupt_ends_a_script_that_writes_into_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "llmspell", "exec", "print(('x'):rep(3e6))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        time.sleep(2)
        process.send_signal(signal.SIGINT)

        code = process.wait(timeout=PATIENCE_S)

    assert code == 130
