"""Settings for what has its table elsewhere, lists that name a tool by an alias, and plugins that settings stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from kernel import opened
from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, ToolCall, hookimpl
from llmspell_hookspecs.errors import SecurityError
from packages import llmspell


class Clerk:
    """Asks above a sum."""

    name = "clerk"

    class Settings(BaseModel):
        """What it takes."""

        model_config = ConfigDict(extra="forbid")
        ask_above: float = 10

    def __init__(self, settings: Settings, services: Any) -> None:
        self.settings = settings

    @hookimpl(kind="guard")
    def before_tool_execution(self, context: HookContext[ToolCall]) -> Cancel | None:
        return Cancel("too much")


@pytest.mark.parametrize("table", [{"ask_abov": 1}, {"ask_above": "much"}])
async def test_a_plugin_that_its_settings_stop_is_told_not_to_run(
    table: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with Host.open({"plugins": {"clerk": table}, "storage": {"backend": "memory"}}, plugins=[Clerk]) as host:
        await host.call("tool:calculator", {"input": "1"})

    (line,) = [line for line in caplog.messages if "plugins.clerk." in line]
    assert line.endswith("(so clerk does not run)")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("plugins.calculator.x=1", "plugins.calculator.x: calculator is no plugin"),
        ("plugins.calculator.x=1", "write it in [tools.calculator]"),
        ("plugins.sqlite.path=x", "write it in [storage.sqlite]"),
        ("plugins.openai.base_url=x", "write it in [providers.openai]"),
    ],
)
def test_settings_of_a_plugin_in_another_section_are_refused_with_the_right_one(
    setting: str, told: str, tmp_path: Path
) -> None:
    done = llmspell(tmp_path, "--set", setting, "config", "validate")

    assert done.returncode != 0
    assert told in done.stderr + done.stdout


@pytest.mark.parametrize("setting", ["plugins.calculator.enabled=false", "plugins.audit.enabled=false"])
def test_a_switch_stands_below_plugins_whatever_it_switches(setting: str, tmp_path: Path) -> None:
    done = llmspell(tmp_path, "--set", setting, "config", "validate")

    assert "write it in" not in done.stderr + done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["text_manipulator", "text-manipulator"])
async def test_a_tool_is_disabled_by_its_name_and_by_an_alias(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(settings={"tools": {"disabled": [name]}}) as host:
        with pytest.raises(SecurityError, match=r"take it out of tools\.disabled"):
            await host.call("tool:text_manipulator", {"operation": "uppercase", "input": "a"})

    assert [line for line in caplog.messages if "is installed" in line] == []
