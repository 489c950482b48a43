"""Each of the eight built-in plugins of hooks works by each of three ways: settings, the command line, a script.

Each has one scenario, a script; what comes of it is the same whichever way enabled the plugin, and without it is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from kernel import make_tool
from llmspell import Host
from llmspell.cli.main import main
from llmspell.settings import load_settings
from llmspell_hookspecs import ToolContext, ToolError
from llmspell_plugins.globals.builtins import BUILTINS, builtin_name
from llmspell_testing import TemporarySettings

TABLES: dict[str, dict[str, Any]] = {
    "caching": {"rules": [{"match": "tool:echo", "ttl_s": 60.0}]},
    "cost": {"budgets": [{"match": "tool:echo", "calls": 1}]},
    "debugging": {"min_ms": 0.0},
    "logging": {},
    "metrics": {},
    "rate_limit": {"limits": [{"match": "tool:echo", "rate": 1, "per_s": 3600, "action": "refuse"}]},
    "retry": {"attempts": 2, "base_s": 0.0, "retry_on": ["broken"]},
    "security": {"rules": [{"name": "none", "action": "deny", "tools": ["echo"]}], "audit": "off"},
}
FILES = {
    "debugging": ("export", "trace.json", '"tool:echo"'),
    "metrics": ("path", "metrics.prom", 'component="echo"'),
    "logging": ("path", "operations.log", "tool:echo"),
}
"""Those that change nothing: the setting that names a file, and what is in it."""
SCENARIOS = {
    "caching": ("return {call(), call()}", ["1", "1"], ["1", "2"]),
    "cost": ("return {call(), call()}", ["1", "(budget_exceeded)"], ["1", "2"]),
    "rate_limit": ("return {call(), call()}", ["1", "1 calls in 3600 s are used up"], ["1", "2"]),
    "retry": ("return {call('fail')}", ["2"], ["it broke"]),
    "security": ("return {call()}", ["rule none denies it"], ["1"]),
}
"""What a script does, what comes of it with the plugin, and what without."""
CALL = """
local function call(text)
  local ok, answer = pcall(Tool.invoke, "echo", {text = text or "x"})
  if not ok then return tostring(answer) end
  return tostring(answer.result)
end
"""


class Echo:
    """A tool that answers how often it ran, and fails the first time if it is told to."""

    def __init__(self) -> None:
        self.runs = 0

    async def __call__(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        self.runs += 1
        if parameters["text"] == "fail" and self.runs == 1:
            raise ToolError("it broke", code="broken")
        return str(self.runs)


def fits(answers: Any, wanted: list[str]) -> bool:
    """Return whether each answer has what is wanted of it."""
    return len(answers) == len(wanted) and all(part in answer for part, answer in zip(wanted, answers, strict=True))


def settings_with(plugins: Mapping[str, Any]) -> Any:
    disabled = ["model_retry", *plugins.get("disabled", ())]
    return load_settings({"storage": {"backend": "memory"}, "plugins": {**plugins, "disabled": disabled}})


async def ran(plugins: Mapping[str, Any], source: str) -> Any:
    loaded = settings_with(plugins)
    async with Host.open(loaded, plugins=[make_tool("echo", Echo())], discover=False) as host:
        assert host.plugins.failed == ()
        return await host.run_source(CALL + source, "lua")


def by_settings(name: str, table: Mapping[str, Any], settings: TemporarySettings) -> dict[str, Any]:
    return {name: {"enabled": True, **table}}


def by_the_command_line(name: str, table: Mapping[str, Any], settings: TemporarySettings) -> dict[str, Any]:
    with suppress(SystemExit):
        main(["hook", "enable", name])
    assert f"[plugins.{name}]" in settings.user_file.read_text()
    return {name: dict(table)}


BASE: dict[str, Any] = {}


@pytest.mark.parametrize("way", [by_settings, by_the_command_line])
@pytest.mark.parametrize("name", BUILTINS)
async def test_each_works_by_settings_and_by_the_command_line(
    name: str, way: Any, llmspell_settings: TemporarySettings
) -> None:
    table, file = dict(TABLES[name]), FILES.get(name)
    if file is not None:
        table[file[0]] = str(Path(llmspell_settings.project / file[1]))
    source, wanted, _ = SCENARIOS.get(name, ("return {call()}", ["1"], ["1"]))

    answer = await ran(way(name, table, llmspell_settings), source)

    assert fits(answer, wanted)
    if file is not None:
        assert file[2] in (llmspell_settings.project / file[1]).read_text()


@pytest.mark.parametrize("name", BUILTINS)
async def test_the_command_line_takes_back_what_it_enabled(name: str, llmspell_settings: TemporarySettings) -> None:
    by_the_command_line(name, {}, llmspell_settings)
    with suppress(SystemExit):
        main(["hook", "disable", name])
    source, _, without = SCENARIOS.get(name, ("return {call()}", ["1"], ["1"]))

    assert fits(await ran({name: TABLES[name]}, source), without)
    assert list(llmspell_settings.project.rglob("operations.log")) == []


def enabling(name: str) -> str:
    given = {key: value for key, value in TABLES[name].items() if key != "audit"}
    return f"Hook.enable_builtin('{name}', JSON.parse([==[{as_json(given)}]==])) "


def as_json(value: Any) -> str:
    return json.dumps(value)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_each_that_changes_something_works_from_a_script_until_it_is_disabled(
    name: str, llmspell_settings: TemporarySettings
) -> None:
    source, wanted, without = SCENARIOS[name]

    assert fits(await ran(BASE, enabling(name) + source), wanted)
    assert fits(await ran(BASE, f"{enabling(name)} Hook.disable_builtin('{name}') {source}"), without)
    assert fits(await ran(BASE, source), without)


@pytest.mark.parametrize(
    ("name", "look", "wanted"),
    [
        ("metrics", "Hook.metrics()['tool:echo'].completed", 1),
        ("debugging", "Hook.stats('debugging').kept", 1),
    ],
)
async def test_each_that_watches_counts_what_the_script_does(
    name: str, look: str, wanted: Any, llmspell_settings: TemporarySettings
) -> None:
    assert await ran(BASE, f"{enabling(name)} call() return {look}") == wanted


async def test_a_script_may_not_enable_logging_and_is_told_why_in_one_line() -> None:
    told = await ran(BASE, "local ok, told = pcall(Hook.enable_builtin, 'logging') return {ok, tostring(told)}")

    assert told[0] is False
    assert "logging: it writes a file that scripts cannot reach" in told[1]
    assert "\n" not in told[1]


@pytest.mark.parametrize("name", [name for name in BUILTINS if name != "logging"])
async def test_what_a_script_enables_is_asked_about_its_own_operations_and_goes_with_it(name: str) -> None:
    async with Host.open(settings_with(BASE), plugins=[make_tool("echo", Echo())], discover=False) as host:
        async with host.session("lua") as session:
            await session.evaluate(CALL + enabling(name))
            mine = await session.evaluate("return #Hook.list({tag = 'builtin'})")
            for number in (1, 2, 3):
                assert (await host.call("tool:echo", {"text": "x"})).result == str(number)
            hooks = len(host.hooks.list())
        left = host.hooks.list()

    assert hooks == mine > 0
    assert left == []


@pytest.mark.parametrize("name", [name for name in BUILTINS if name != "logging"])
async def test_what_each_counts_is_plain_and_json(name: str) -> None:
    text, number = await ran(
        BASE, f"{enabling(name)} call() call() return {{JSON.stringify(Hook.stats('{name}')), #Hook.list()}}"
    )

    assert text[0] in "{["
    assert number > 0


SAYS = "local ok, told = pcall(Hook.enable_builtin, {}) return {{ok, tostring(told)}}"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("'secrity'", "no built-in hook is called 'secrity'; did you mean security?"),
        ("7", "the name is a int; give one of caching"),
        ("'composite'", "no built-in hook is called 'composite'"),
        ("'metrics', {listen = '127.0.0.1:0'}", "'listen' is no setting that a script may give; there are none"),
        ("'metrics', {path = 'x'}", "'path' is no setting"),
        ("'debugging', {export = 'x'}", "'export' is no setting"),
        ("'debugging', {memory = true}", "'memory' is no setting"),
        ("'cost', {ledger = 'strict'}", "'ledger' is no setting"),
        ("'security', {audit = 'off'}", "'audit' is no setting"),
        ("'security', {audit_head = '/tmp/x'}", "'audit_head' is no setting"),
        ("'caching', {rules = {{match = '*', scope = 'host'}}}", "rules.scope reaches beyond the script"),
        ("'caching', {rules = {{match = '*', persist = true}}}", "rules.persist reaches beyond the script"),
        ("'retry', {attempts = 1000}", "Hook.enable_builtin.retry.attempts"),
        ("'retry', {enabled = true}", "'enabled' is no setting"),
    ],
)
async def test_what_a_script_may_not_say_is_refused_and_leaves_nothing(arguments: str, problem: str) -> None:
    async with Host.open(settings_with(BASE), discover=False) as host:
        ok, told = await host.run_source(SAYS.format(arguments), "lua")
        left = host.hooks.list()

    assert (ok, left) == (False, [])
    assert problem in told


async def test_many_rules_and_a_second_time_are_refused() -> None:
    many = "local many = {} for i = 1, 101 do many[i] = {match = '*', ttl_s = 1} end "
    ok, told = await ran(BASE, many + SAYS.format("'caching', {rules = many}"))
    assert (ok, "rules has 101 entries; give 100 at most" in told) == (False, True)

    ok, told = await ran(BASE, "Hook.enable_builtin('retry') " + SAYS.format("'RetryHook'"))
    assert (ok, "it is enabled already; disable it first" in told) == (False, True)


@pytest.mark.parametrize("said", [{"disabled": ["security"]}, {"security": {"enabled": False}}])
async def test_what_the_settings_disable_no_script_enables(said: dict[str, Any]) -> None:
    ok, told = await ran(said, SAYS.format("'security'"))

    assert (ok, "the settings disable it" in told) == (False, True)


async def test_a_script_disables_nothing_that_the_settings_enable() -> None:
    table = {"security": {"enabled": True, **TABLES["security"]}}
    source = (
        "local off = Hook.disable_builtin({'security', 'retry'}) local n = Hook.disable_all_builtin()"
        " return {off, n, Hook.is_builtin_enabled('security'), call()}"
    )

    *none, told = await ran(table, source)

    assert none == [False, 0, False]
    assert "rule none denies it" in told


async def test_lists_and_the_names_of_the_original_work() -> None:
    source = (
        "Hook.enable_builtin({'SecurityValidator', 'CostTrackingHook', 'retry_handler'})"
        " local rows = {} for name in pairs(Hook.stats()) do rows[#rows + 1] = name end table.sort(rows)"
        " return {rows, Hook.is_builtin_enabled('InputSanitizer'), Hook.disable_all_builtin(), #Hook.list()}"
    )

    assert await ran(BASE, source) == [["cost", "retry", "security"], True, 3, 0]


@pytest.mark.parametrize("name", BUILTINS)
async def test_what_the_settings_enable_counts_for_all_so_scripts_see_it_only_if_trusted_settings_say_so(
    name: str, llmspell_settings: TemporarySettings
) -> None:
    table = {name: {"enabled": True, **TABLES[name]}}
    for hooks, wanted in (("own", False), ("all", True)):
        loaded = load_settings({"storage": {"backend": "memory"}, "plugins": table, "scripts": {"hooks": hooks}})
        async with Host.open(loaded, plugins=[make_tool("echo", Echo())], discover=False) as host:
            ok, told = await host.run_source(
                f"{CALL} call() local ok, told = pcall(Hook.stats, '{name}')"
                " return {ok, ok and JSON.stringify(told) or tostring(told)}",
                "lua",
            )

        assert ok is wanted
        assert ok or f"this script has not enabled {name}" in told


def test_each_of_the_eight_is_off_until_somebody_enables_it() -> None:
    optional = {p.name for p in distribution("llmspell").entry_points if p.group == "llmspell.plugins" and p.extras}

    assert set(BUILTINS) <= optional


@pytest.mark.parametrize("name", BUILTINS)
def test_what_scripts_may_say_are_settings_that_there_are_and_none_of_them_names_a_file(name: str) -> None:
    (point,) = [p for p in distribution("llmspell").entry_points if (p.group, p.name) == ("llmspell.plugins", name)]
    target = point.load()
    fields = set(target.Settings.model_fields)

    assert target.borrowing.keys | set(target.borrowing.fixed) <= fields
    assert not target.borrowing.keys & {"path", "export", "listen", "audit", "audit_head", "ledger", "memory"}
    assert bool(target.borrowing.refused) == (name == "logging")


def test_every_name_stands_for_itself() -> None:
    assert [builtin_name(name, "x") for name in BUILTINS] == list(BUILTINS)
