"""Hooks that nobody asks, orders that hold nothing and hooks that hold up the rest: told once, and harm nobody."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from llmspell import Host
from llmspell_hookspecs import HookContext, hookimpl
from packages import install, llmspell

UNASKED = "match='calcualtor' fits no tool that there is, so it is not asked; did you mean calculator?"
WATCH = """
from llmspell_hookspecs import hookimpl

@hookimpl(match="{match}", after="{after}")
def before_tool_execution(context): ...
"""


class Odd:
    """Waits for tools and plugins that there are not."""

    name = "odd"

    @hookimpl(match="calcualtor", before="nobodys", after="xyzzy")
    def before_tool_execution(self, context: HookContext[Any]) -> None: ...

    @hookimpl(match="agent_*")
    def before_agent_execution(self, context: HookContext[Any]) -> None: ...

    @hookimpl(match="file_*", name="fine", after="before_tool_execution")
    def after_tool_execution(self, context: HookContext[Any]) -> None: ...


async def test_a_pattern_that_fits_no_tool_and_an_order_that_names_nobody_are_logged_as_the_host_opens(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Host.open(False, plugins=[Odd]) as host:
        assert (await host.call("tool:calculator", {"input": "1"})).success

    where = "hook odd.before_tool_execution at before_tool_execution"
    assert caplog.messages == [
        f"{where}: {UNASKED}",
        f"{where}: before='nobodys' names no hook and no plugin; correct it, unless that comes later",
        f"{where}: after='xyzzy' names no hook and no plugin; correct it, unless that comes later",
    ]


async def test_hooks_that_come_later_are_told_of_as_they_come_and_of_their_orders_as_they_go(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = "Hook.register('BeforeToolExecution', function() end, {match = 'calcualtor', after = '%s', name = 'a'})"
    async with Host.open(False) as host:
        host.hooks.register("before_tool_execution", lambda context: None, name="b", match="calcualtor", before="c")
        await host.run_source(source % "d")
        host.hooks.register("before_tool_execution", lambda context: None, name="c")

    assert [message.partition(" at before_tool_execution: ")[::2] for message in caplog.messages] == [
        ("hook code.b", UNASKED),
        ("hook script:script.a", UNASKED),
        ("hook script:script.a", "after='d' names no hook and no plugin; correct it, unless that comes later"),
    ]


@pytest.mark.parametrize(
    ("match", "after", "logged"), [("calcualtor", "odd", True), ("jira_*", "odd", False), ("file_*", "else", False)]
)
def test_the_doctor_and_validate_name_idle_hooks_of_packages_and_the_log_those_that_look_mistyped(
    tmp_path: Path, match: str, after: str, logged: bool
) -> None:
    install(tmp_path, "odd", name="odd", code=WATCH.format(match=match, after=after))

    doctor = llmspell(tmp_path, "plugin", "doctor", "--output", "json")
    valid = llmspell(tmp_path, "config", "validate")
    ran = llmspell(tmp_path, "exec", "print(1)")

    [finding] = [each for each in json.loads(doctor.stdout) if each["plugin"]["name"] == "odd"]
    assert (doctor.returncode, valid.returncode, ran.returncode) == (0, 0, 0)
    assert finding["status"] == "ok"
    assert finding["message"].startswith("hook odd.before_tool_execution at before_tool_execution: ")
    assert finding["message"] in valid.stderr
    assert (finding["message"] in ran.stderr) is logged


@pytest.mark.parametrize("kind", ["transform", "guard", "observe"])
async def test_a_sync_hook_that_holds_up_the_rest_is_told_once(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Host.open({"hooks": {"breaker": "off"}}) as host:
        host.hooks.register("before_tool_execution", lambda context: time.sleep(0.021), name="slow", kind=kind)
        for _ in range(8):
            await host.call("tool:calculator", {"input": "1"})

    [line] = caplog.messages
    assert line.startswith(
        "hook code.slow at before_tool_execution: it is a sync function and holds up everything else"
    )
    assert line.endswith("; make it async, or say thread=True")
