"""Every point there is fires, seen from a plugin, in a host that does what the point is about."""

from __future__ import annotations

from typing import Any

import pytest

from kernel import ALL_POINTS, FAILS, MORE_PLUGINS, POINTS, SCENARIOS, SETTINGS, Bench, make_plugin, opened, run
from llmspell_hookspecs import HookContext, InvalidInputError, Phase
from llmspell_hookspecs.errors import HookRegistrationError
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.points import HookPoint
from llmspell_hookspecs.system import ConfigurationChange, LimitExceeded, LoadSample, SlowOperation, Violation
from llmspell_hookspecs.tool import ToolLimits


def seen_at(point: HookPoint) -> list[HookContext[Any]]:
    """Run the point's scenario and return the contexts that a plugin's hook was given."""
    bench = Bench()
    seen: list[HookContext[Any]] = []

    async def wrap(context: HookContext[Any]) -> Any:
        seen.append(context)
        yield

    around = point.phase is Phase.AROUND
    marked = make_plugin("watcher", (point.name, wrap, {"kind": "wrap"}) if around else watching(point.name, seen))

    async def main() -> None:
        plugins = [*bench.plugins, *MORE_PLUGINS.get(point.name, ()), marked]
        async with opened(*plugins, settings=SETTINGS.get(point.name)) as host:
            try:
                await SCENARIOS[point.name](host, bench)
            except FAILS.get(point.name, ()):
                assert point.name in FAILS

    run(main)
    return seen


def watching(point: str, seen: list[HookContext[Any]]) -> tuple[str, Any, dict[str, Any]]:
    """Return an observer that remembers what it was given."""
    return point, seen.append, {"kind": "observe"}


@pytest.mark.parametrize("point", ALL_POINTS, ids=lambda point: point.name)
def test_every_point_fires_with_a_subject_of_its_type(point: HookPoint) -> None:
    seen = seen_at(point)

    assert seen
    assert all(context.point == point.name for context in seen)
    assert all(isinstance(context.subject, point.subject) for context in seen)


def test_every_point_that_the_host_declares_is_in_its_catalogue_and_no_other() -> None:
    async def main() -> set[str]:
        async with opened() as host:
            return {point.name for point in host.hooks.points()}

    assert run(main) == {point.name for point in POINTS}


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_nobody_but_the_host_fires_its_own_points(point: HookPoint) -> None:
    async def main() -> None:
        async with opened() as host:
            await host.hooks.fire(point.script_name, None)

    with pytest.raises(HookRegistrationError, match="the host alone fires this point"):
        run(main)


def test_a_fired_value_must_be_of_the_points_type() -> None:
    async def main() -> None:
        async with opened(*Bench().plugins) as host:
            await host.hooks.fire("deploy_choice", {"text": "by mapping"})
            await host.hooks.fire("deploy_choice", {"wrong": 1})

    with pytest.raises(InvalidInputError, match="has no field 'wrong'"):
        run(main)


SUBJECTS = {point.name: point for point in POINTS}


def only(name: str) -> Any:
    """Return the one subject with which the point fired."""
    (context,) = seen_at(SUBJECTS[name])
    return context.subject


def test_startup_and_shutdown_tell_the_version_and_the_plugins() -> None:
    for name in ("system_startup", "system_shutdown"):
        subject = only(name)

        assert subject.version
        assert set(subject.plugins) == {
            "approval_gate",
            "deploy_points",
            "watcher",
            "monitor",
            "event_tail",
            "journal",
            "sessions",
        }


def test_plugin_notices_tell_which_one_and_why() -> None:
    loaded = [context.subject.name for context in seen_at(SUBJECTS["plugin_loaded"])]
    failed = only("plugin_failed")

    hooks = [name for name in loaded if name in ("deploy_points", "watcher", "monitor")]
    assert hooks == ["deploy_points", "watcher", "monitor"]
    assert isinstance(failed, PluginInfo)
    assert failed.name == "Refused"
    assert "before_nothing_at_all" in failed.error


def test_system_notices_tell_what_happened() -> None:
    assert only("configuration_change") == ConfigurationChange("limits.hops", 8, 3, "code")
    assert only("resource_limit_exceeded") == LimitExceeded("memory_bytes", 1, "echo: too much")
    assert only("security_violation") == Violation("path", "echo: forbidden", {})


def test_thresholds_tell_the_measure_once_for_each_crossing() -> None:
    slow, memory = only("performance_threshold_exceeded"), only("memory_usage_high")
    processor = seen_at(SUBJECTS["cpu_usage_high"])[0].subject

    assert isinstance(slow, SlowOperation)
    assert slow.elapsed_ms > slow.threshold_ms == 1
    assert isinstance(memory, LoadSample)
    assert memory.value > memory.threshold == 1
    assert processor.resource == "cpu_percent"
    assert processor.value > 0


def test_allocation_and_release_tell_the_limits_of_the_call() -> None:
    allocated, released = only("tool_resource_allocated"), only("tool_resource_released")

    assert allocated.limits == ToolLimits(output_bytes=released.limits.output_bytes)
    assert released.call.name == "echo"
    assert released == allocated


def test_limits_exceeded_in_a_script_are_told_with_no_hook_around_scripts() -> None:
    seen: list[Any] = []
    watcher = make_plugin("watcher", ("resource_limit_exceeded", seen.append, {"kind": "observe"}))

    async def main() -> None:
        async with opened(*Bench().plugins, watcher) as host:
            await host.run_source("exceed", "mini", name="greedy")

    with pytest.raises(Exception, match="too much memory"):
        run(main)

    assert [context.subject for context in seen] == [LimitExceeded("memory_bytes", 0, "greedy: too much memory")]


def test_a_refusal_is_told_once_however_many_operations_its_error_goes_through() -> None:
    seen: list[Any] = []
    bench = Bench()
    watcher = make_plugin("watcher", ("security_violation", seen.append, {"kind": "observe"}))

    async def main() -> None:
        async with opened(*bench.plugins, watcher) as host:
            host.hooks.register("before_script_run", lambda context: None)
            host.hooks.register("before_tool_execution", lambda context: context.modify(parameters={"do": "deny"}))
            await host.run_source("call tool:echo", "mini")

    with pytest.raises(Exception, match="forbidden"):
        run(main)

    assert len(seen) == 1
