"""What plugins and packages do wrong is told in one line with their name, and harms nobody else."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from pydantic import BaseModel, Field

from llmspell import Host
from llmspell.plugins.doctor import examine
from llmspell.settings import load_settings
from llmspell_hookspecs import (
    Cancel,
    HookContext,
    HookResult,
    InvalidInputError,
    OperationCancelledError,
    Phase,
    ScriptGlobal,
    Tool,
    ToolCall,
    hookimpl,
    hookpoint,
)
from llmspell_hookspecs.errors import PluginError, PluginRequiredError
from llmspell_hookspecs.foreign import Blamed, text_of
from packages import install

RAISED = {
    "SystemExit": "SystemExit(4)",
    "KeyboardInterrupt": "KeyboardInterrupt()",
    "CancelledError": "__import__('asyncio').CancelledError()",
    "GeneratorExit": "GeneratorExit()",
    "RecursionError": "RecursionError()",
    "AssertionError": "AssertionError()",
    "PanicException": "type('PanicException', (BaseException,), {})('index')",
    "Untold": "type('Untold', (Exception,), {'__str__': lambda self: 1 / 0})()",
}
WHERE = {
    "import": "raise {}",
    "constructor": "class Plugin:\n def __init__(self): raise {}",
    "settings": "class Plugin:\n class Settings: pass\n @property\n def x(self): pass\nraise {}",
    "model": (
        "from pydantic import BaseModel\nclass Plugin:\n class Settings(BaseModel):\n"
        "  def __init__(self, **k): raise {0}\n  @classmethod\n  def model_validate(cls, *a, **k): raise {0}"
    ),
    "metaclass": "class M(type):\n @property\n def __signature__(c): raise {}\nclass Plugin(metaclass=M): pass",
    "property": "class Plugin:\n @property\n def before_tool_execution(self): raise {}",
    "getattr": "class Plugin:\n def __getattr__(self, name): raise {}",
}
GUARD = """
from llmspell_hookspecs import Cancel, HookContext, ToolCall, hookimpl

@hookimpl(kind="guard")
def before_tool_execution(context: HookContext[ToolCall]):
    return Cancel("refused by the package")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder on the path; the modules that came from it are forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.endswith("_module")]:
        del sys.modules[name]


async def infos_of(*plugins: Any, **settings: Any) -> dict[str, str]:
    """Open a host, call a tool, and return what became of each plugin that was loaded."""

    async with Host.open({"plugins": settings}, plugins=plugins) as host:
        assert (await host.call("tool:calculator", {"input": "2 + 2"})).success
        return {info.name: info.error for info in host.plugins.infos}


async def is_denied(*plugins: Any, **settings: Any) -> bool:
    try:
        await infos_of(*plugins, **settings)
    except OperationCancelledError:
        return True
    return False


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize("where", WHERE)
async def test_whatever_a_plugin_raises_is_its_own_failure(site: Path, where: str, raised: str) -> None:
    install(site, "broken-package", name="broken", code=WHERE[where].format(RAISED[raised]) + "\n")

    error = (await infos_of())["broken"]

    assert error.startswith("plugin broken")
    assert "\n" not in error
    assert len(error) <= 500
    if where != "getattr":
        assert raised in error
    findings = {finding.plugin.name: finding for finding in examine(load_settings({}).settings)}
    assert findings["broken"].status == "failed"
    assert findings["calculator"].status == "ok"


@pytest.mark.parametrize("group", ["tools", "globals", "languages", "providers", "agents", "services", "storage"])
@pytest.mark.parametrize("code", ["raise SystemExit", "Plugin = None", "Plugin = 3", "class Plugin:\n name = 'x'"])
async def test_a_broken_plugin_of_any_group_takes_away_nothing_else(site: Path, group: str, code: str) -> None:
    install(site, "broken-package", name="aaa", code=f"{code}\n# class Plugin", group=f"llmspell.{group}")

    async with Host.open({}) as host:
        await host.tools.discover()
        result = await host.run_source("return 1 + 1", language="lua")

    assert result == 2
    if code != "class Plugin:\n name = 'x'":
        findings = {finding.plugin.name: finding for finding in examine(load_settings({}).settings)}
        assert findings["aaa"].status == "failed", group


def test_the_users_own_interrupt_goes_on() -> None:
    def interrupt() -> None:
        with Blamed(lambda error: PluginError(text_of(error))):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()

    with pytest.raises(KeyboardInterrupt):
        interrupt()


async def test_a_cancellation_goes_on() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        with Blamed(lambda error: PluginError(text_of(error))):
            await trio.sleep_forever()

    assert scope.cancelled_caught


PACKAGES = {
    "no sign": {"entry_points.txt": b"[console_scripts]\nfoo\n"},
    "latin-1": {"entry_points.txt": b"[llmspell.plugins]\nq\xe9=p\n"},
    "binary": {"entry_points.txt": bytes(range(256))},
    "metadata": {"METADATA": b"Name: \xff\n"},
    "no name": {"METADATA": b"Version: 1\n"},
    "no version": {"METADATA": b"Name: zz\n"},
    "no metadata": {"METADATA": b""},
    "no module": {"entry_points.txt": b"[llmspell.plugins]\nq = 3 + 4\n"},
    "nameless": {"entry_points.txt": b"[llmspell.plugins]\n = p\n"},
}


@pytest.mark.parametrize("files", PACKAGES.values(), ids=PACKAGES)
@pytest.mark.parametrize("folder", ["zz-1.dist-info", "~z-1.dist-info"])
async def test_a_malformed_package_is_named_and_passed_over(site: Path, files: dict[str, bytes], folder: str) -> None:
    info = site / folder
    info.mkdir()
    whole = {"METADATA": b"Name: zz\nVersion: 1\n", "entry_points.txt": b"[llmspell.plugins]\nq = p\n"}
    for name, content in {**whole, **files}.items():
        (info / name).write_bytes(content)
    install(site, "sound-package", name="sound", code=GUARD)

    findings = examine(load_settings({}).settings)

    assert any("zz" in finding.message or "~z" in finding.message for finding in findings)
    assert {finding.plugin.name: finding.status for finding in findings}["sound"] == "ok"
    assert await is_denied()


def test_of_a_package_only_the_entry_point_that_is_malformed_is_refused(site: Path) -> None:
    install(site, "acme-mixed", name="sound", code=GUARD)
    entry_points = next(site.glob("acme_mixed*.dist-info")) / "entry_points.txt"
    entry_points.write_text(entry_points.read_text() + "no sign at all\nno_module =\nodd = 1 2 3\n")

    findings = {finding.plugin.name: finding for finding in examine(load_settings({}).settings)}

    assert findings["sound"].status == "ok"
    for name in ("no sign at all", "no_module", "odd"):
        assert findings[name].status == "failed"
        assert findings[name].message.startswith(f"plugin {name} (acme-mixed): its entry point ")
        assert findings[name].message.endswith("; ask its author to fix it")


@pytest.mark.parametrize(
    ("group", "told"),
    [
        ("llmspell.toools", "there is no group of entry points 'llmspell.toools'; did you mean llmspell.tools?"),
        ("llmspell.settings", "sections of the settings (llmspell.settings) come from llmspell itself, for they are"),
    ],
)
async def test_an_entry_point_where_nobody_looks_is_told_and_never_imported(
    site: Path, group: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    marker = install(site, "acme-nowhere", name="acme", code="class Plugin: pass\n", group=group)

    [finding] = [each for each in examine(load_settings({}).settings) if each.plugin.name == "acme"]
    errors = await infos_of()

    assert finding.status == "failed"
    assert finding.message.startswith(f"plugin acme (acme-nowhere): {told}")
    assert errors["acme"] == finding.message
    assert finding.message in caplog.text
    assert not marker.exists()


@pytest.mark.parametrize("group", ["tools", "globals", "storage"])
async def test_a_name_that_two_packages_bring_is_told_once_with_the_setting_that_decides(
    site: Path, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = {"tools": "calculator", "globals": "State", "storage": "sqlite"}[group]
    install(site, "acme-clash", name=name, code="class Plugin: pass", group=f"llmspell.{group}")

    async with Host.open(settings=False):
        pass

    told = [record.getMessage() for record in caplog.records if f" {name}: " in record.getMessage()]
    assert len(told) == 1
    assert f"plugins.prefer.{name} = " in told[0]


async def test_of_a_package_that_is_broken_throughout_a_few_faults_are_told_and_how_many_there_are(
    site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(site, "acme-many", name="p", code="raise ValueError")
    install(site, "acme-other", name="z", code="raise KeyError")
    points = "".join(f"p{number} = acme_many_module\n" for number in range(30))
    (site / "acme_many-1.0.dist-info" / "entry_points.txt").write_text(f"[llmspell.plugins]\n{points}")

    async with Host.open(settings=False):
        pass

    told = [record.getMessage() for record in caplog.records if "acme" in record.getMessage()]
    assert len(told) == 5
    assert any("plugin z" in line for line in told)
    assert told[-1] == "package acme-many: 30 of its plugins failed; llmspell plugin doctor tells all of them"


def test_an_entry_point_that_is_written_often_is_told_once(site: Path) -> None:
    info = site / "zz-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: zz\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[llmspell.plugins]\n" + "q = 3 + 4\n" * 50)

    told = [finding.plugin.name for finding in examine(load_settings({}).settings)]

    # Once the backport importlib_metadata is imported, it refuses the file as a whole.
    assert told.count("q") + told.count("zz") == 1


def test_two_metadata_folders_of_one_package_are_told(site: Path) -> None:
    install(site, "sound-package", name="sound", code=GUARD)
    second = site / "sound_package-2.0.dist-info"
    second.mkdir()
    (second / "METADATA").write_text("Name: sound-package\nVersion: 2\n")
    (second / "entry_points.txt").write_text("[llmspell.plugins]\nother = sound_package_module\n")

    messages = [finding.message for finding in examine(load_settings({}).settings)]

    assert any("stand side by side" in message for message in messages)


# Hooks, however they are marked.


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(context: HookContext[ToolCall]) -> Any:
        return function(context)

    return inner


def plain_wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda context: function(context)


guarded = hookimpl(kind="guard")
marked = guarded(lambda context: Cancel("no"))


class Outside:
    @guarded
    @staticmethod
    def before_tool_execution(context: HookContext[ToolCall]) -> Cancel:
        return Cancel("no")


class Inside:
    @staticmethod
    @guarded
    def before_tool_execution(context: HookContext[ToolCall]) -> Cancel:
        return Cancel("no")


class OnClass:
    @guarded
    @classmethod
    def before_tool_execution(cls, context: HookContext[ToolCall]) -> Cancel:
        return Cancel("no")


class OnInstance:
    def __init__(self) -> None:
        self.before_tool_execution = guarded(lambda context: Cancel("no"))


class OfMethod:
    def __init__(self) -> None:
        self.before_tool_execution = guarded(self._check)

    def _check(self, context: HookContext[ToolCall]) -> Cancel:
        return Cancel("no")


class Partial:
    before_tool_execution = staticmethod(functools.partial(marked))


class Wrapped:
    before_tool_execution = staticmethod(wrapped(marked))


class Inherited(Outside):
    pass


class ByProperty:
    @property
    def before_tool_execution(self) -> Any:
        return marked


class Callable_:
    def __call__(self, context: HookContext[ToolCall]) -> Cancel:
        return Cancel("no")


class OfObject:
    before_tool_execution = guarded(Callable_())


class Dynamic:
    def __getattr__(self, name: str) -> Any:
        if name == "before_tool_execution":
            return marked
        raise AttributeError(name)


class Slotted:
    __slots__ = ("before_tool_execution",)

    def __init__(self) -> None:
        self.before_tool_execution = marked


def lazy_module() -> types.ModuleType:
    module = types.ModuleType("lazy")
    vars(module)["__getattr__"] = lambda name: {"before_tool_execution": marked}[name]
    return module


FOUND = [Outside, Inside, OnClass, OnInstance, OfMethod, Partial, Wrapped, Inherited, ByProperty, OfObject, Dynamic]


@pytest.mark.parametrize("kind", [*FOUND, Slotted])
async def test_a_hook_is_found_however_it_is_marked(kind: type) -> None:
    assert await is_denied(kind)
    assert await is_denied(kind())


async def test_a_hook_that_a_module_makes_on_demand_is_found() -> None:
    assert await is_denied(lazy_module())


class Unmarked:
    before_tool_execution = staticmethod(plain_wrapped(marked))


class Hiding(Inside):
    @staticmethod
    def before_tool_execution(context: HookContext[ToolCall]) -> Cancel:
        return Cancel("no")


class MarkedProperty:
    @property
    @hookimpl
    def before_tool_execution(self) -> None:
        return None


class KeywordOnly:
    @hookimpl
    def before_tool_execution(self, *, context: HookContext[ToolCall]) -> None: ...


class Variadic:
    @hookimpl
    def before_tool_execution(self, *context: Any) -> None: ...


class Misspelled:
    @hookimpl
    def before_tool_exekution(self, context: HookContext[ToolCall]) -> None: ...


class OthersMarker:
    import pluggy

    @pluggy.HookimplMarker("llmspell")
    def before_tool_execution(self, context: HookContext[ToolCall]) -> None: ...


class Nothing:
    pass


LOST = (Unmarked, Hiding, MarkedProperty, KeywordOnly, Variadic, Misspelled, OthersMarker, Nothing)


@pytest.mark.parametrize(
    "plugin",
    [*LOST, 3, None, "name", types.ModuleType("empty"), object(), b"x", {"a": 1}, [1]],
)
async def test_what_is_no_plugin_or_brings_nothing_is_told(plugin: Any, caplog: pytest.LogCaptureFixture) -> None:
    errors = [error for error in (await infos_of(plugin)).values() if error]

    assert len(errors) == 1
    assert errors[0] in caplog.text


@pytest.mark.parametrize("plugins", ["name", {"a": 1}, Outside, types.ModuleType("m")])
async def test_plugins_that_are_no_list_are_refused(plugins: Any) -> None:
    with pytest.raises(InvalidInputError, match="no list of plugins"):
        async with Host.open({}, plugins=plugins):
            pass


# Names.


async def test_of_two_plugins_of_one_name_the_first_goes_on_guarding() -> None:
    class Second(Nothing):
        name = "Outside"

        @hookimpl
        def before_tool_execution(self, context: HookContext[ToolCall]) -> None: ...

    assert await is_denied(Outside, Second)


async def test_a_name_is_disabled_in_its_group_or_in_all(caplog: pytest.LogCaptureFixture) -> None:
    class Memory:
        name = "memory"
        before_tool_execution = staticmethod(marked)

    assert await is_denied(Memory, disabled=["storage:memory"])
    assert not await is_denied(Memory, disabled=["plugins:memory"])
    assert not await is_denied(Memory, disabled=["plugin:memory"])
    assert not await is_denied(Memory, disabled=["memory"])


async def test_unknown_names_in_settings_are_told(caplog: pytest.LogCaptureFixture) -> None:
    await infos_of(disabled=["calculater"], prefer={"ghost": "x"}, spectre={"enabled": True})

    assert "plugins.disabled: nothing called 'calculater' is installed; did you mean calculator?" in caplog.text
    assert "plugins.prefer: nothing called 'ghost' is installed" in caplog.text
    assert "plugins.spectre: nothing called 'spectre' is installed" in caplog.text


@pytest.mark.parametrize("match", ["user.*", "user:*"])
@pytest.mark.parametrize("topic", ["user.created", "user:created"])
async def test_a_guard_judges_an_event_in_every_spelling(match: str, topic: str) -> None:
    with pytest.raises(OperationCancelledError):
        async with Host.open({}) as host:
            host.hooks.register("before_event_emit", lambda context: Cancel("no"), kind="guard", match=match)
            host.events.publish_nowait(topic, {})


# What is handed over in code.


class Inner(BaseModel):
    depth: int = 1


class Options(BaseModel):
    size: int = 1
    inner: Inner = Inner()


class Empty(BaseModel):
    pass


class Sized(Tool[Empty]):
    """Tell the size."""

    name = "sized"
    Settings = Options

    async def run(self, parameters: Empty, context: Any) -> int:
        assert isinstance(self.settings, Options)
        return self.settings.size


async def call_sized(tools: dict[str, Any]) -> Any:
    async with Host.open({"tools": tools}, plugins=[Sized]) as host:
        return (await host.call("tool:sized")).result


async def test_a_tool_that_is_handed_over_gets_its_settings() -> None:
    assert await call_sized({"sized": {"size": 7}}) == 7


async def test_of_two_of_one_name_it_is_told_which_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    class Calculator(Sized):
        name = "calculator"

    class Twin(Sized):
        name = "sized"

    async with Host.open(plugins=[Calculator, Sized, Twin]) as host:
        assert (await host.call("tool:calculator")).result == 1

    assert [message.partition(";")[0] for message in caplog.messages if " is used, " in message] == [
        "tool sized: the one that was handed over is used, another that was handed over is not",
        "tool calculator: the one that was handed over is used, the one of llmspell is not",
    ]


@pytest.mark.parametrize("table", [{"sise": 7}, {"inner": {"dept": 2}}])
async def test_an_unknown_key_is_refused_however_deep_it_lies(table: dict[str, Any]) -> None:
    with pytest.raises(
        PluginError, match=r"tools\.sized\..*there is none of this name; did you mean (size|depth)\?; fix it, there are"
    ):
        await call_sized({"sized": table})


async def test_the_keys_that_there_are_are_named_by_what_people_write() -> None:
    class Aliased(BaseModel):
        from_: str = Field(default="", alias="from")

    class Other(Tool[Empty]):
        """Tell nothing."""

        name = "other"
        Settings = Aliased

        async def run(self, parameters: Empty, context: Any) -> None:
            pass

    with pytest.raises(PluginError, match=r"; fix it, there are from$"):
        async with Host.open({"tools": {"other": {"form": "x"}}}, plugins=[Other]) as host:
            await host.call("tool:other")


async def test_a_plugin_may_say_that_it_is_required() -> None:
    class Strict(Nothing):
        required = True

    with pytest.raises(PluginRequiredError, match="required plugin Strict is not loaded"):
        await infos_of(Strict)


async def test_a_broken_global_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ScriptGlobal):
        name = "Broken"

        def __init__(self, services: Any, scope: Any) -> None:
            raise SystemExit

    async with Host.open({}, plugins=[Broken]) as host:
        result = await host.run_source("return Broken == nil", language="lua")

    assert result is True
    assert "script global Broken: it cannot be constructed: SystemExit" in caplog.text


async def test_a_slow_import_is_told(
    site: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("llmspell.plugins.loading._SLOW_S", 0.0)
    install(site, "slow-package", name="slow", code=GUARD)

    with caplog.at_level(logging.WARNING):
        await is_denied()

    assert "plugin slow: its import took" in caplog.text


# Names that settings could not tell apart, or that nobody could read.


class Untold(str):
    """A text that fails when it is compared."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")


NAMES = {
    "empty": "",
    "blank": " ",
    "line": "a\nb",
    "escape": "\x1b[31mred",
    "direction": "\u202elive",
    "surrogate": "a\ud800",
    "long": "x" * 1_000_000,
    "colon": "tool:calculator",
    "key": "disabled",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_a_name_that_settings_could_not_tell_apart_is_refused(name: str) -> None:
    class Plugin:
        @hookimpl(kind="guard")
        def before_tool_execution(self, context: HookContext[ToolCall]) -> Cancel:
            return Cancel("no")

    Plugin.name = name  # type: ignore[attr-defined]

    (error,) = [error for error in (await infos_of(Plugin)).values() if error]

    assert "name" in error
    assert error.isprintable()
    assert len(error) <= 500


async def test_a_name_that_compares_as_it_likes_is_taken_as_its_text() -> None:
    class Plugin:
        name = Untold("odd")

        @hookimpl
        def before_tool_execution(self, context: HookContext[ToolCall]) -> None:
            return None

    assert (await infos_of(Plugin))["odd"] == ""


@pytest.mark.parametrize("name", ["tool:calculator", "disabled", "x" * 200])
async def test_a_package_with_such_a_name_is_named_and_passed_over(site: Path, name: str) -> None:
    marker = install(site, "odd-package", name=name, code=GUARD)

    assert not await is_denied()

    assert not marker.exists()
    assert any("odd-package" in finding.message for finding in examine(load_settings({}).settings))


def test_a_package_whose_entry_points_cannot_be_read_is_told_why(site: Path) -> None:
    install(site, "odd-package", name="odd", code=GUARD)
    entry_points = next(site.glob("odd_package*.dist-info")) / "entry_points.txt"
    entry_points.unlink()
    entry_points.mkdir()

    [problem] = [finding.message for finding in examine(load_settings({}).settings) if "odd" in finding.message]

    assert problem.startswith("package odd_package-1.0.dist-info: its metadata cannot be read: ")
    assert "Is a directory" in problem
    assert problem.endswith("; install it again, or remove it")


# What is loaded by name on first use.


LACKING = """
from llmspell_hookspecs import Tool
class Plugin(Tool):
    name = "lost"
    def __init__(self, settings, services): raise SystemExit(3)
"""


async def test_a_plugin_that_fails_when_it_is_first_needed_gives_notice_once(site: Path) -> None:
    install(site, "lost-package", name="lost", code=LACKING, group="llmspell.tools")
    told: list[str] = []

    async with Host.open({}) as host:
        host.hooks.register("plugin_failed", lambda context: told.append(context.subject.error), kind="observe")
        for _ in range(3):
            with pytest.raises(PluginError, match="lost"):
                await host.call("tool:lost", {})
        await host.tools.discover()
        await trio.testing.wait_all_tasks_blocked()
        assert "lost" in host.plugins.failed
        str((await host.call("tool:calculator", {"input": "2 + 2"})).text)

    assert len(told) == 1
    assert "SystemExit" in told[0]


async def test_one_that_says_it_is_required_stops_operations_once_it_fails(site: Path) -> None:
    code = "from llmspell_hookspecs import Tool\nclass Plugin(Tool):\n required = True\n name = 'needed'\n"
    code += " def __init__(self, settings, services): raise ValueError('no key')\n"
    install(site, "needed-package", name="needed", code=code, group="llmspell.tools")

    async with Host.open({}) as host:
        assert (await host.call("tool:calculator", {"input": "2 + 2"})).success
        with pytest.raises(PluginError, match="no key"):
            await host.call("tool:needed", {})
        with pytest.raises(PluginRequiredError, match="needed"):
            await host.call("tool:calculator", {"input": "2 + 2"})


async def test_the_points_of_a_plugin_that_failed_are_gone() -> None:
    class Half:
        @hookpoint(phase=Phase.NOTICE, topic="half")
        def half_made(context: HookContext[ToolCall]) -> HookResult | None:  # type: ignore[misc]
            """Half of a plugin was made."""

        @hookimpl
        def before_nothing_at_all(self, context: HookContext[ToolCall]) -> None:
            return None

    async with Host.open({}, plugins=[Half]) as host:
        result = [point.name for point in host.hooks.points()]

    assert "half_made" not in result


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"trusted": ["llmspel"]}, "plugins.trusted"),
        ({"prefer": {"calculator": "nobody"}}, "plugins.prefer.calculator"),
    ],
)
def test_a_package_that_settings_name_and_that_is_not_there_is_told(settings: dict[str, Any], key: str) -> None:
    findings = examine(load_settings({"plugins": settings}).settings)

    assert any(finding.message.startswith(f"{key}: nothing called") for finding in findings)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("'>=1.0,<2'", ""),
        ("'>=99'", "its requires_host is '>=99', and this llmspell has the contract 1.0; install a version of either"),
        ("'new'", "its requires_host cannot be read: InvalidSpecifier"),
        ("99", "its requires_host cannot be read: "),
    ],
)
async def test_a_plugin_that_was_written_for_another_contract_is_refused(site: Path, wanted: str, told: str) -> None:
    code = f"class Plugin:\n    name = 'later'\n    requires_host = {wanted}\n" + HOOK
    install(site, "later", name="later", code=code)

    async with Host.open({}) as host:
        errors = {info.name: info.error for info in host.plugins.infos if info.name == "later"}
    findings = {finding.plugin.name: finding for finding in examine(load_settings({}).settings)}

    assert told in errors["later"]
    assert bool(errors["later"]) == bool(told)
    assert findings["later"].status == ("failed" if told else "ok")


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        ("llmspell>=0.0.1", ""),
        ("llmspell>=99; extra == 'later'", ""),
        ("llmspell-other>=99", ""),
        ("LLMspell>=99", "its package needs llmspell>=99, and this is "),
    ],
)
async def test_a_package_that_needs_another_llmspell_is_refused_before_it_is_imported(
    site: Path, needs: str, told: str
) -> None:
    imported = install(site, "later", name="later", code="class Plugin:\n    name = 'later'\n" + HOOK)
    metadata = next(site.glob("later*.dist-info")) / "METADATA"
    metadata.write_text(f"{metadata.read_text().rstrip()}\nRequires-Dist: {needs}\n")

    async with Host.open({}) as host:
        errors = [info.error for info in host.plugins.infos if info.name == "later"]

    assert [told in error for error in errors] == [True]
    assert bool(errors[0]) == bool(told) == (not imported.exists())


HOOK = """
    from llmspell_hookspecs import hookimpl

    @hookimpl
    def before_tool_execution(self, context):
        pass
"""
