"""The mistakes that authors of plugins make are told in one line that says what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import kernel
from llmspell import Host
from llmspell_hookspecs import HookContext, Tool, ToolCall, ToolContext, hookimpl, tool
from llmspell_hookspecs.errors import ComponentNotFoundError, HookRegistrationError, PluginError, SecurityError
from packages import install, llmspell

FUNCTION = 'from llmspell_hookspecs import tool\n@tool\ndef foo(x: int) -> int:\n    """Foo."""\n    return x\n'
BARE = "class Plugin:\n    def get(self, key): ...\n    def complete(self, model): ...\n"


class Units(BaseModel):
    url: str
    unit: str = "C"


def named(folder: Path, group: str, value: str) -> None:
    """Name the module's attribute in another group."""
    (folder / "wrong-1.0.dist-info" / "entry_points.txt").write_text(f"[{group}]\nfoo = {value}\n")


@pytest.mark.parametrize(
    ("group", "told"),
    [
        ("llmspell.tool", "there is no group of entry points 'llmspell.tool'; did you mean llmspell.tools?"),
        ("llmspell.hooks", "there is no group of entry points 'llmspell.hooks'; "),
        ("llmspell.plugins", "it brings no hook and no point; name it in the group llmspell.tools"),
    ],
)
def test_a_tool_in_a_wrong_group_is_told(tmp_path: Path, group: str, told: str) -> None:
    install(tmp_path, "wrong", name="foo", code=FUNCTION)
    named(tmp_path, group, "wrong_module:foo")

    doctor = llmspell(tmp_path, "plugin", "doctor")

    assert doctor.returncode == 1
    assert told in doctor.stdout


def test_a_tool_that_fails_is_named_and_not_called_an_internal_error(tmp_path: Path) -> None:
    install(tmp_path, "wrong", name="foo", code=FUNCTION.replace("return x", "return x // 0"))
    named(tmp_path, "llmspell.tools", "wrong_module:foo")

    done = llmspell(tmp_path, "tool", "invoke", "foo", "x=1")

    assert done.returncode == 1
    assert done.stderr.startswith("llmspell: tool:foo: it failed: ZeroDivisionError: ")
    assert done.stderr.endswith("; fix the tool (--debug shows where)\n")


@pytest.mark.parametrize(
    ("group", "command", "told"),
    [
        (
            "llmspell.providers",
            ("agent", "run", "--model", "foo/x", "?"),
            "llmspell_hookspecs.Provider; give it info, at",
        ),
        ("llmspell.storage", ("--set", "storage.backend=foo", "state", "get", "a"), "Storage; give it __aenter__, "),
    ],
)
def test_what_lacks_methods_of_its_protocol_is_told_which(
    tmp_path: Path, group: str, command: tuple[str, ...], told: str
) -> None:
    install(tmp_path, "wrong", name="foo", code=BARE, group=group)

    done = llmspell(tmp_path, *command)

    assert done.returncode == 1
    assert told in done.stderr


async def test_a_function_without_a_mark_is_told_both_marks() -> None:
    def plain(context: object) -> None: ...

    async with kernel.opened(plain) as host:
        errors = [info.error for info in host.plugins.infos if info.name == "plain"]

    assert errors == ["plugin plain: it brings no hook and no point; mark it with @tool, or with @hookimpl"]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, r"^tools\.place\.url: it has no default; set it in \[tools\.place\]$"),
        (
            {"ur": "x"},
            r"^tools\.place\.ur: there is none of this name; did you mean url\?; fix it, there are unit, url$",
        ),
    ],
)
async def test_a_setting_that_must_be_set_says_where(table: dict[str, str], told: str) -> None:
    @tool(settings=Units)
    def place(settings: Units) -> str:
        return settings.url

    async with kernel.opened(place, settings={"tools": {"place": table}}) as host:
        with pytest.raises(PluginError, match=told):
            await host.call("tool:place", {})


REDACT = """
from llmspell_hookspecs import hookimpl
from pydantic import BaseModel

class Plugin:
    class Settings(BaseModel):
        word: str = ""
    @hookimpl
    def tool_error(self, context): ...
"""


async def test_a_table_that_misses_what_was_handed_over_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(tmp_path, "wrong", name="redact", code=REDACT)
    install(tmp_path, "other", name="foo", code=FUNCTION, group="llmspell.tools")
    monkeypatch.syspath_prepend(tmp_path)
    redact = type("Redact", (), {"tool_error": hookimpl(lambda self, context: None)})

    async with kernel.opened(redact, settings={"plugins": {"redact": {"word": "x"}}}) as host:
        with pytest.raises(ComponentNotFoundError, match=r"it is installed, but this host loads .* discover=True$"):
            await host.call("tool:foo", {"x": 1})

    assert "plugins.redact: what was handed over is called 'Redact'; give Redact the attribute name = 'redact'" in [
        record.getMessage() for record in caplog.records
    ]


class AwaitsAsyncio:
    @hookimpl
    async def before_tool_execution(self, context: HookContext[ToolCall]) -> None:
        await asyncio.sleep(0.01)


class YieldsToAsyncio:
    @hookimpl
    async def before_tool_execution(self, context: HookContext[ToolCall]) -> None:
        await asyncio.sleep(0)


class WritesIntoTheCall:
    @hookimpl
    def before_tool_execution(self, context: HookContext[ToolCall]) -> None:
        context.subject.parameters["x"] = 1  # type: ignore[index]


class SetsAField:
    @hookimpl
    def before_tool_execution(self, context: HookContext[ToolCall]) -> None:
        context.subject.name = "other"  # type: ignore[misc]


TRIO = "the host runs on trio: await that, or services.get(AsyncioThread).run"
READ_ONLY = "what a hook is given is read-only: return context.modify(...)"


@pytest.mark.parametrize(
    ("plugin", "told"),
    [
        (AwaitsAsyncio, TRIO),
        (YieldsToAsyncio, TRIO),
        (WritesIntoTheCall, READ_ONLY),
        (SetsAField, READ_ONLY),
    ],
)
async def test_a_hook_that_does_what_cannot_be_done_here_is_told_what_can(
    caplog: pytest.LogCaptureFixture, plugin: type, told: str
) -> None:
    @tool
    def one(x: int) -> int:
        return x

    async with kernel.opened(plugin, one) as host:
        await host.call("tool:one", {"x": 1})

    [line] = [record.getMessage() for record in caplog.records if plugin.__name__ in record.getMessage()]
    assert line.endswith(told)


async def test_a_private_address_is_refused_with_the_narrow_setting_first() -> None:
    async with kernel.opened() as host:
        with pytest.raises(SecurityError, match=r"security\.hosts\.private \(this one\) or .*allow_private \(all\)"):
            await host.call("tool:http_request", {"input": "http://127.0.0.1:1/"})


def test_settings_that_nobody_gets_and_settings_that_callers_would_fill_in_are_refused() -> None:
    def none(x: int) -> int:
        return x

    def open_to_callers(settings: Units, context: ToolContext) -> str:
        return settings.url

    with pytest.raises(PluginError, match="nothing gets its settings; annotate a parameter with Units"):
        tool(settings=Units)(none)
    with pytest.raises(PluginError, match=r"callers would fill in its parameter settings; say @tool\(settings=Units\)"):
        tool(open_to_callers)


def test_a_point_is_shown_with_the_fields_of_its_subject(tmp_path: Path) -> None:
    shown = llmspell(tmp_path, "hook", "point", "show", "tool_error")

    assert "Failure: Why an operation did not complete" in shown.stdout
    assert "    message: Its text." in shown.stdout


class Given(BaseModel):
    x: int = 0


class Unfinished(BaseModel):
    x: Nowhere  # type: ignore[name-defined]  # noqa: F821


async def runs(self: object, parameters: object, context: object) -> None: ...


def broken_tool(**attributes: object) -> type:
    return type("Odd", (Tool,), {"name": "odd", "parameters": Given, "run": runs, **attributes})


def refuses(self: object, settings: object, services: object) -> None:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"name": 3}, "plugin Odd: its name is 3, no text; give it one"),
        ({"name": ""}, "it has no name; give it one"),
        ({"name": None}, "has no name; give it name = 'Odd', as its entry point is called"),
        ({"name": "a\nb"}, "plugin a b: its name holds what cannot be printed, or blanks around it; rename it"),
        ({"name": "a:b"}, "plugin a:b: its name holds a colon, which stands between a group and a name; rename it"),
        ({"run": Tool.run}, "has no run method; write async def run(self, parameters, context)"),
        ({"run": 5}, "has no run method; write async def run(self, parameters, context)"),
        ({"run": lambda: None}, "has a run method that does not take (parameters, context); write it so"),
        ({"parameters": 3}, "has no model of its parameters; write class ...(Tool[Parameters])"),
        ({"parameters": Unfinished}, "Unfinished, that names types which are not there; import them"),
        ({"limits": 4}, "has the limits 4; use ToolLimits"),
        ({"level": "high"}, "has the level 'high'; use SecurityLevel.SAFE, RESTRICTED or PRIVILEGED"),
        ({"repeatable": "no"}, "says repeatable = 'no'; write True or False"),
        ({"effects": "often"}, "has the effects 'often'; use '', 'transactional' or 'keyed'"),
        ({"aliases": 4}, "has a description, category, version or alias that is no text; write texts, and aliases"),
        ({"__init__": refuses}, "plugin odd: its constructor failed: SystemExit: 3; repair it, or disable it"),
    ],
)
async def test_what_is_wrong_with_a_tool_that_is_handed_over_is_told_once_as_the_host_opens(
    attributes: dict[str, object], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with kernel.opened(broken_tool(**attributes)) as host:
        [error] = [info.error for info in host.plugins.infos if info.error]
        found = await host.tools.discover()

    assert told in error
    assert "\n" not in error
    assert caplog.messages == [error]
    assert not any(each["name"] in ("odd", "Odd") for each in found)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"name": 3}, "name: Expected `str`, got `int`"),
        ({"name": "a\nb"}, r"the name 'a\nb' holds a colon, blanks around it or what cannot be printed; rename it"),
        ({"name": "a:b"}, "the name 'a:b' holds a colon, blanks around it or what cannot be printed; rename it"),
        ({"plugin": 3}, "the plugin 3 is no name"),
        ({"plugin": ""}, "the plugin '' is no name"),
        ({"plugin": "a\x1b"}, r"the plugin 'a\x1b' is no name"),
        ({"match": 3}, "match: Expected `str | null`, got `int`"),
        ({"before": 3}, "before: Expected `array`, got `int`"),
        ({"timeout_s": "1"}, "timeout_s: Expected `float | null`, got `str`"),
        ({"priority": None}, "None is none; use a number or one of"),
    ],
)
async def test_what_is_wrong_with_a_hook_is_told_as_it_is_registered(options: dict[str, Any], told: str) -> None:
    async with kernel.opened() as host:
        with pytest.raises(HookRegistrationError) as raised:
            host.hooks.register("before_tool_execution", lambda context: None, **options)

    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [4, "a:b", "a b"])
def test_a_name_that_no_tool_may_have_is_told_where_the_function_is_marked(name: Any) -> None:
    with pytest.raises(PluginError, match="that is no name for a tool; say name"):
        tool(name=name)(lambda: None)


@pytest.mark.parametrize(
    "settings",
    [{"plugins": {"disabled": ["x" * 4000]}}, {"plugins": {"y" * 4000: {}}}, {"hooks": {"disabled": ["z" * 4000]}}],
    ids=["a name", "a table", "a hook"],
)
async def test_what_settings_name_and_nobody_is_called_is_told_in_a_line_of_its_length(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with Host.open(settings):
        lines = [record.getMessage() for record in caplog.records]

    told = [line for line in lines if "is called" in line or "nothing called" in line]
    assert told
    assert all(len(line) <= 500 and "; " in line for line in told)
