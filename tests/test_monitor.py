"""The points of monitoring: each is fired by what it is about, once for each crossing, and by nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio
import trio.testing

from kernel import make_plugin, make_tool, run
from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, Services, ToolContext
from llmspell_hookspecs.errors import LlmspellError, OperationCancelledError, SettingsError
from llmspell_hookspecs.system import ConfigurationChange, LimitExceeded, LoadSample, SlowOperation, Violation
from llmspell_plugins.services.monitor import Load, Monitor, memory_bytes
from waiting import PATIENCE_S

EVERY_S = 1.0


class Told(Load):
    """Measures that a test tells, one at each sample; the last one stays."""

    def __init__(self) -> None:
        self.memory: Iterator[int] = iter(())
        self.percent: Iterator[float] = iter(())
        self.took_ms = 0.0
        self._bytes, self._busy_s = 0, 0.0
        self.asked = 0

    def memory_bytes(self) -> int:
        self.asked += 1
        self._bytes = next(self.memory, self._bytes)
        return self._bytes

    def processor_s(self) -> float:
        self._busy_s += next(self.percent, 0.0) / 100 * EVERY_S
        return self._busy_s

    def took_ns(self, context: HookContext[Any]) -> int:
        return round(self.took_ms * 1e6)


class Watched(Monitor):
    """The plugin with a load of the test's."""

    name: ClassVar[str] = "watched"
    told: ClassVar[Told]

    def __init__(self, settings: None, services: Services) -> None:
        super().__init__(settings, services, Watched.told)


def settings(**performance: Any) -> dict[str, Any]:
    quiet = {"disabled": ["plugins:monitor"]}
    return {"plugins": quiet, "performance": {"sample_interval_s": EVERY_S, **performance}}


def watched(point: str, seen: list[Any]) -> Any:
    return make_plugin("seer", (point, lambda context: seen.append(context.subject), {"kind": "observe"}))


def samples(count: int, point: str, **performance: Any) -> list[Any]:
    """Return what a host told at a point while so many samples were taken of the test's load."""
    seen: list[Any] = []

    async def main() -> None:
        plugins = [Watched, watched(point, seen)]
        async with Host.open(settings(**performance), plugins=plugins, discover=False):
            await trio.sleep(EVERY_S * (count - 0.5))

    run(main, virtual=True)
    return seen


@pytest.mark.parametrize(
    ("rearm_percent", "told"),
    [(90, [101, 120]), (100, [101, 102, 101, 120]), (50, [101])],
)
def test_memory_is_told_once_for_each_crossing_and_again_only_after_it_fell_far_enough(
    rearm_percent: float, told: list[int]
) -> None:
    Watched.told = Told()
    Watched.told.memory = iter([100, 101, 105, 99, 102, 91, 101, 90, 100, 120])

    seen = samples(10, "memory_usage_high", memory_high_bytes=100, rearm_percent=rearm_percent)

    assert seen == [LoadSample("memory_bytes", value, 100) for value in told]


def test_processor_use_is_told_as_the_part_of_one_core_since_the_last_sample() -> None:
    Watched.told = Told()
    Watched.told.percent = iter([0, 50, 120, 110, 79, 200])

    seen = samples(7, "cpu_usage_high", cpu_high_percent=100, rearm_percent=80)

    assert [(each.resource, round(each.value, 6), each.threshold) for each in seen] == [
        ("cpu_percent", 120, 100),
        ("cpu_percent", 200, 100),
    ]


def test_a_component_whose_calls_have_become_slow_is_told_once_and_again_after_they_were_quick() -> None:
    load = Watched.told = Told()
    seen: list[SlowOperation] = []

    async def main() -> list[int]:
        tools = [make_tool("slow", nothing), make_tool("quick", nothing)]
        plugins = [Watched, watched("performance_threshold_exceeded", seen), *tools]
        counts = []
        async with Host.open(settings(slow_p95_ms=10), plugins=plugins, discover=False) as host:

            async def calls(name: str, count: int, took_ms: float) -> None:
                load.took_ms = took_ms
                for _ in range(count):
                    await host.call(f"tool:{name}", {})
                await trio.sleep(EVERY_S)
                counts.append(len(seen))

            await trio.sleep(EVERY_S / 2)
            await calls("quick", 100, 1)
            await calls("slow", 19, 50)  # too few to tell
            await calls("slow", 1, 50)
            await calls("slow", 100, 9.5)  # quick enough, not far enough
            await calls("slow", 100, 50)
            await calls("slow", 100, 9)
            await calls("slow", 5, 50)  # one in twenty
            await calls("slow", 1, 50)
        return counts

    assert run(main, virtual=True) == [0, 0, 1, 1, 1, 1, 1, 2]
    assert seen[0] == SlowOperation(50, 10, "tool:slow", 20)
    assert seen[1] == SlowOperation(50, 10, "tool:slow", 100)


async def nothing(parameters: dict[str, Any], context: ToolContext) -> str:
    return "done"


def test_where_nothing_is_to_be_told_nothing_is_measured_and_no_hook_stands() -> None:
    load = Watched.told = Told()

    async def main() -> tuple[int, int]:
        async with Host.open(settings(), plugins=[Watched], discover=False) as host:
            await trio.sleep(10 * EVERY_S)
            return load.asked, sum(info.plugin == "monitor" for info in host.hooks.list())

    assert run(main, virtual=True) == (0, 0)


def test_a_threshold_that_is_set_while_the_host_runs_counts_from_the_next_sample_on() -> None:
    load = Watched.told = Told()
    load.memory = iter([500])
    seen: list[Any] = []

    async def main() -> list[int]:
        counts = []
        plugins = [Watched, watched("memory_usage_high", seen)]
        async with Host.open(settings(), plugins=plugins, discover=False) as host:
            await trio.sleep(1.5 * EVERY_S)
            for key, value in (("memory_high_bytes", 400), ("slow_p95_ms", 1)):
                await host.settings.change(f"performance.{key}", value)
                await trio.sleep(2 * EVERY_S)
                counts.append(sum(info.name == "time" for info in host.hooks.list()))
        return counts

    assert run(main, virtual=True) == [0, 10]
    assert seen == [LoadSample("memory_bytes", 500, 400)]


# The real thing, once each.


async def told_by(point: str, do: Callable[[], Awaitable[object]], *tools: Any, **performance: Any) -> Any:
    """Return the first that is told at a point while something is done again and again."""
    seen: list[Any] = []
    fast = {"performance": {"sample_interval_s": 0.01, **performance}}
    async with Host.open(fast, plugins=[watched(point, seen), *tools], discover=False) as host:
        Real.host = host
        with trio.fail_after(PATIENCE_S):
            while not seen:
                await do()
                await trio.sleep(0.01)
    return seen[0]


class Real:
    """What the tests below do to the process."""

    host: ClassVar[Host]
    held: ClassVar[list[bytearray]] = []

    @staticmethod
    async def hold_memory() -> None:
        if len(Real.held) < 8:
            Real.held.append(bytearray(b"x") * (32 * 1024 * 1024))

    @staticmethod
    async def burn() -> None:
        await trio.to_thread.run_sync(lambda: sum(range(1_000_000)))

    @staticmethod
    async def call_slowly() -> None:
        for _ in range(20):
            await Real.host.call("tool:slow", {})


async def test_memory_that_is_really_held_is_told() -> None:
    threshold = memory_bytes() + 64 * 1024 * 1024
    try:
        told = await told_by("memory_usage_high", Real.hold_memory, memory_high_bytes=threshold)
    finally:
        Real.held.clear()

    assert told.value > told.threshold == threshold


async def test_a_processor_that_is_really_busy_is_told() -> None:
    told = await told_by("cpu_usage_high", Real.burn, cpu_high_percent=5)

    assert told.value > 5


async def test_a_tool_that_is_really_slow_is_told() -> None:
    async def sleep(parameters: dict[str, Any], context: ToolContext) -> None:
        await trio.sleep(0.002)

    tool = make_tool("slow", sleep)
    told = await told_by("performance_threshold_exceeded", Real.call_slowly, tool, slow_p95_ms=1)

    assert (told.component, told.threshold_ms) == ("tool:slow", 1)
    assert told.elapsed_ms > 1


LIMITS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "instructions": ("return (function() while true do end end)()", "time_s", {"scripts": {"time_s": 0.2}}),
    "memory": ("local t = {} for i = 1, 1e7 do t[i] = ('x'):rep(100) .. i end", "memory_bytes", {}),
    "output": ("return Tool.execute('echo_all', {})", "output_bytes", {"tools": {"output_bytes": 1000}}),
}


@pytest.mark.parametrize("name", LIMITS)
async def test_a_limit_that_a_script_or_a_tool_really_exceeds_is_told(name: str, tmp_path: Path) -> None:
    source, resource, more = LIMITS[name]
    seen: list[LimitExceeded] = []

    async def long(parameters: dict[str, Any], context: ToolContext) -> str:
        return "x" * 100_000

    plugins = [watched("resource_limit_exceeded", seen), make_tool("echo_all", long)]
    async with Host.open(more, plugins=plugins) as host:
        with pytest.raises(LlmspellError):
            await host.run_source(source, "lua")

    assert [each.resource for each in seen] == [resource]


VIOLATIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "path": ("tool:file_operations", {"operation": "read", "path": "/etc/passwd"}, {}),
    "host": ("tool:http_request", {"input": "http://169.254.169.254/latest"}, {}),
    "level": ("tool:process_executor", {"executable": "echo"}, {"security": {"level": "safe"}}),
    "environment": ("tool:environment_reader", {"operation": "get", "variable_name": "NOBODYS_SECRET_KEY"}, {}),
    "process": ("tool:process_executor", {"executable": "sh"}, {}),
}


@pytest.mark.parametrize("rule", VIOLATIONS)
async def test_a_call_that_a_rule_refuses_is_told_with_the_rule(rule: str) -> None:
    address, parameters, strict = VIOLATIONS[rule]
    seen: list[Violation] = []
    async with Host.open(strict, plugins=[watched("security_violation", seen)]) as host:
        with pytest.raises(LlmspellError):
            print(await host.call(address, parameters))

    assert [each.rule for each in seen] == [rule]


async def test_a_change_of_settings_by_a_script_or_by_code_is_told_before_it_counts_and_may_be_refused() -> None:
    key, seen = "performance.sample_interval_s", list[ConfigurationChange]()
    async with Host.open(False, plugins=[watched("configuration_change", seen)]) as host:
        await host.settings.change(key, 4)
        await host.run_source(f"Config.set('{key}', 3)", "lua")
        host.hooks.register("configuration_change", lambda context: Cancel("not now"))
        with pytest.raises(OperationCancelledError, match="not now"):
            await host.settings.change(key, 2)
        with pytest.raises(SettingsError):
            await host.settings.change(key, 0)
        now = host.settings.plain("performance")["sample_interval_s"]

    assert seen == [
        ConfigurationChange(key, 5, 4, "code"),
        ConfigurationChange(key, 4, 3, "script"),
        ConfigurationChange(key, 3, 2, "code"),
    ]
    assert now == 3
