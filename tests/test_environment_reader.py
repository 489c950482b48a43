"""environment_reader: held against env."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kernel import opened
from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import SecurityError
from llmspell_plugins.tools.system.environment_reader import EnvironmentReader
from tool_host import oracle, settings_of


async def told(folder: Path, *calls: dict[str, Any], names: tuple[str, ...] = ("TEST_*", "PATH"), **own: Any) -> Any:
    given = settings_of(folder, security={"environment": names}, tools={"environment_reader": own})
    async with opened(EnvironmentReader, settings=given) as host:
        results = [(await host.call("tool:environment_reader", each)).result for each in calls]
    return results[-1]


def printed() -> dict[str, str]:
    return dict(line.split("=", 1) for line in oracle("env", "-0").decode().rstrip("\0").split("\0"))


async def test_a_variable_is_what_env_prints(tmp_path: Path) -> None:
    result = await told(tmp_path, {"operation": "get", "variable_name": "PATH"})

    assert result == {"variable_name": "PATH", "value": printed()["PATH"], "found": True}


async def test_those_that_are_open_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_A", "ä=b\nc")
    monkeypatch.setenv("TEST_B", "")

    listed = await told(tmp_path, {"operation": "list"})
    some = await told(tmp_path, {"operation": "pattern", "pattern": "TEST_?"})

    expected = {name: value for name, value in printed().items() if name == "PATH" or name.startswith("TEST_")}
    assert listed == {"variables": expected, "count": len(expected)}
    assert some["variables"] == {"TEST_A": "ä=b\nc", "TEST_B": ""}


async def test_one_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    result = await told(tmp_path, {"operation": "get", "name": "TEST_NOWHERE"})

    assert result == {"variable_name": "TEST_NOWHERE", "value": None, "found": False}


async def test_what_is_not_open_is_neither_told_nor_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_API_KEY", "s3cret")
    monkeypatch.setenv("OTHER", "1")

    for name in ("TEST_API_KEY", "OTHER", "", "test_a", "TEST_A\0"):
        if name != "TEST_A\0":
            with pytest.raises(SecurityError, match="not open"):
                await told(tmp_path, {"operation": "get", "variable_name": name})
    listed = await told(tmp_path, {"operation": "pattern", "pattern": "*"})
    assert {"TEST_API_KEY", "OTHER"}.isdisjoint(listed["variables"])


async def test_a_variable_is_set_for_the_host_alone(tmp_path: Path) -> None:
    change = {"operation": "set", "variable_name": "TEST_NEW", "value": "1"}
    read = {"operation": "get", "variable_name": "TEST_NEW"}

    inside = await told(tmp_path, change, read, allow_set=True)
    outside = await told(tmp_path, read)

    assert (inside["value"], outside["found"]) == ("1", False)
    assert "TEST_NEW" not in os.environ
    with pytest.raises(SecurityError, match="set is off"):
        await told(tmp_path, change)
    with pytest.raises(SecurityError, match="not open"):
        await told(tmp_path, {**change, "variable_name": "LD_PRELOAD"}, allow_set=True)


async def test_what_is_too_long_or_missing_is_refused(tmp_path: Path) -> None:
    for wrong in (
        {"operation": "get"},
        {"operation": "set", "variable_name": "TEST_A"},
        {"operation": "set", "variable_name": "TEST_A", "value": "x" * 100_001},
    ):
        with pytest.raises(InvalidInputError):
            await told(tmp_path, wrong, allow_set=True)
