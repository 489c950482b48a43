"""Every spelling of every point leads to it; whatever does not is answered with the nearest three."""

from __future__ import annotations

import pytest

from kernel import ALL_POINTS, POINTS, Bench, opened, run
from llmspell_hookspecs.catalog import PointCatalog
from llmspell_hookspecs.errors import HookRegistrationError
from llmspell_hookspecs.points import HookPoint

CATALOG = PointCatalog(POINTS)
SPELLINGS = [(point, name) for point in POINTS for name in point.names]


@pytest.mark.parametrize(("point", "name"), SPELLINGS, ids=[name for _, name in SPELLINGS])
def test_every_spelling_leads_to_its_point(point: HookPoint, name: str) -> None:
    assert CATALOG.resolve(name) == (point, None)


def test_the_spellings_are_the_originals() -> None:
    names = {
        "before_tool_execution": ("BeforeToolExecution", "tool:before_execution"),
        "tool_parameter_validation": ("ToolParameterValidation", "tool:parameter_validation", "ToolValidation"),
        "system_startup": ("SystemStartup", "system:startup"),
        "script_error": ("ScriptError", "script:error"),
    }

    assert {name: CATALOG.get(name).names[1:] for name in names} == names


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("tool:calc*:before_execution", "calc*"),
        ("tool:calculator:before_execution", "calculator"),
        ("tool:*:before_execution", None),
        ("tool:a:b:before_execution", "a:b"),
    ],
)
def test_an_alias_may_name_a_component_or_a_pattern(name: str, pattern: str | None) -> None:
    point, found = CATALOG.resolve(name)

    assert point.name == "before_tool_execution"
    assert found == pattern


def test_a_pattern_in_a_name_matches_components() -> None:
    called: list[str] = []

    async def main() -> None:
        async with opened(*Bench().plugins) as host:
            host.hooks.register("tool:ec*:before_execution", lambda context: called.append(context.component.name))
            await host.call("tool:echo")
            await host.call("tool:other")

    run(main)

    assert called == ["echo"]


@pytest.mark.parametrize(
    "name", ["before_tool_executon", "BeforeToolExecutoin", "tool:before_exec", "tool:calc:bfore_execution", "", ":"]
)
def test_an_unknown_name_is_an_error_with_the_nearest_three(name: str) -> None:
    with pytest.raises(HookRegistrationError) as caught:
        CATALOG.resolve(name)

    nearest = str(caught.value).rpartition("the nearest are ")[2].split(", ")
    assert len(nearest) == 3
    assert len({CATALOG.resolve(near)[0].name for near in nearest}) == 3


def test_the_nearest_name_is_the_one_that_was_meant() -> None:
    with pytest.raises(HookRegistrationError, match="nearest are before_tool_execution, "):
        CATALOG.resolve("before_tool_executon")


def test_anyone_may_name_a_custom_point() -> None:
    point, pattern = CATALOG.resolve("custom:my:thing")

    assert (point.name, pattern) == ("custom:my:thing", None)
    with pytest.raises(HookRegistrationError):
        CATALOG.resolve("custom:")


def test_a_plugins_points_are_known_by_all_their_spellings_in_its_host_alone() -> None:
    async def main() -> set[str]:
        async with opened(*Bench().plugins) as host:
            return {host.hooks.point(name).name for name in ("before_deploy", "BeforeDeploy", "deploy:before")}

    assert run(main) == {"before_deploy"}
    with pytest.raises(HookRegistrationError):
        CATALOG.resolve("before_deploy")


def test_a_name_that_is_taken_cannot_be_declared_again() -> None:
    clash = next(point for point in ALL_POINTS if point.name == "before_deploy")
    taken = HookPoint(
        "before_deploy",
        clash.phase,
        "tool",
        clash.subject,
        clash.value,
        "ToolValidation",
        "x:y",
        (),
        clash.accepts,
        "",
    )

    with pytest.raises(HookRegistrationError, match="'ToolValidation' belongs to tool_parameter_validation"):
        PointCatalog(POINTS).add(taken)
