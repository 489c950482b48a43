"""Plugins: found by entry point, loaded inside a guard, enabled, trusted, required, and told of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmspell import Host
from llmspell.plugins import Installed
from llmspell.plugins.doctor import examine
from llmspell.settings import load_settings
from llmspell_hookspecs import HookContext, OperationCancelledError, ToolResult, hookimpl
from llmspell_hookspecs.errors import PluginRequiredError
from llmspell_hookspecs.plugin import PluginInfo
from packages import install

GUARD = """
from llmspell_hookspecs import Cancel, HookContext, ToolCall, hookimpl

@hookimpl(kind="guard")
def before_tool_execution(context: HookContext[ToolCall]):
    return Cancel("refused by the package")
"""
WITH_SETTINGS = """
from pydantic import BaseModel
from llmspell_hookspecs import Cancel, HookContext, ToolCall, hookimpl

class Plugin:
    class Settings(BaseModel, extra="forbid"):
        reason: str = "by default"

    def __init__(self, settings, services):
        self.reason = settings.reason

    @hookimpl(kind="guard")
    def before_tool_execution(self, context: HookContext[ToolCall]):
        return Cancel(self.reason)
"""
BROKEN = {
    "ImportError": "import a_module_that_is_not_there\n",
    "SyntaxError": "def broken(:\n",
    "SystemExit": "import sys\nsys.exit(3)\n",
    "AssertionError": "assert False, 'no'\n",
    "wrong argument": GUARD.replace("context: HookContext[ToolCall]", "call"),
    "wrong subject": GUARD.replace("HookContext[ToolCall]", "HookContext[ScriptRun]"),
    "unknown point": GUARD.replace("before_tool_execution", "before_tool_exekution"),
    "constructor": WITH_SETTINGS.replace("self.reason = settings.reason", "raise RuntimeError('no')"),
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder on the path; the modules that came from it are forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.endswith("_module")]:
        del sys.modules[name]


def settings(**plugins: Any) -> Mapping[str, Any]:
    return {"plugins": plugins}


async def calculate(*, layers: Mapping[str, Any] | None = None, watch: Callable[[Host], None] | None = None) -> Any:
    async with Host.open(layers or {}) as host:
        if watch is not None:
            watch(host)
        return await host.call("tool:calculator", {"input": "2 + 2"})


async def test_an_installed_package_is_loaded_and_refuses(site: Path) -> None:
    install(site, "strict-package", name="strict", code=GUARD)

    with pytest.raises(OperationCancelledError, match="refused by the package"):
        await calculate()


async def test_a_disabled_plugin_is_never_imported(site: Path) -> None:
    marker = install(site, "strict-package", name="strict", code=GUARD)

    result = await calculate(layers=settings(disabled=["strict"]))

    assert isinstance(result, ToolResult)
    assert not marker.exists()
    assert "strict_package_module" not in sys.modules


def test_listing_imports_nothing(site: Path) -> None:
    marker = install(site, "strict-package", name="strict", code=GUARD)

    found = [candidate.info for candidate in Installed().of("llmspell.plugins")]

    assert PluginInfo("strict", "llmspell.plugins", "strict-package", "1.0", "strict_package_module") in found
    assert not marker.exists()


async def test_without_discovery_only_what_is_built_in_loads(site: Path) -> None:
    marker = install(site, "strict-package", name="strict", code=GUARD)

    async with Host.open({}, discover=False) as host:
        result = await host.call("tool:calculator", {"input": "2 + 2"})

    assert result.success
    assert not marker.exists()


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
async def test_a_broken_plugin_is_named_and_stops_nothing(site: Path, code: str) -> None:
    install(site, "broken-package", name="broken", code=code)
    seen: list[PluginInfo] = []

    class Witness:
        @hookimpl(kind="observe")
        def plugin_failed(self, context: HookContext[PluginInfo]) -> None:
            seen.append(context.subject)

    async with Host.open({}, plugins=[Witness()]) as host:
        assert host.plugins.failed == ("broken",)
        assert not host.hooks.list("before_tool_execution")
        result = await host.call("tool:calculator", {"input": "2 + 2"})

    assert result.result["result"] == 4
    assert [info.name for info in seen] == ["broken"]
    assert "broken" in seen[0].error
    assert "\n" not in seen[0].error


async def test_a_required_plugin_that_is_broken_refuses_operations_with_its_name(site: Path) -> None:
    install(site, "broken-package", name="broken", code=BROKEN["SyntaxError"])

    with pytest.raises(PluginRequiredError, match=r"required plugin broken is not loaded.*SyntaxError"):
        await calculate(layers=settings(broken={"required": True}))


async def test_a_required_plugin_that_is_not_installed_refuses_operations() -> None:
    with pytest.raises(PluginRequiredError, match="required plugin ghost is not loaded: it is not installed"):
        await calculate(layers=settings(required=["ghost"]))


async def test_a_plugin_of_a_package_that_is_not_listed_is_not_imported(site: Path) -> None:
    marker = install(site, "strict-package", name="strict", code=GUARD)

    result = await calculate(layers=settings(trust="listed"))

    assert result.success
    assert not marker.exists()


async def test_a_plugin_of_a_listed_package_is_loaded(site: Path) -> None:
    install(site, "strict-package", name="strict", code=GUARD)

    with pytest.raises(OperationCancelledError):
        await calculate(layers=settings(trust="listed", trusted=["Strict_Package"]))


async def test_two_packages_that_bring_the_same_name_are_both_refused_until_one_is_preferred(site: Path) -> None:
    first = install(site, "first-package", name="strict", code=GUARD)
    second = install(site, "second-package", name="strict", code=GUARD.replace("refused by", "from second:"))
    errors: list[str] = []

    await calculate(layers={}, watch=lambda host: errors.extend(info.error for info in host.plugins.infos))
    with pytest.raises(OperationCancelledError, match="from second"):
        await calculate(layers=settings(prefer={"strict": "second-package"}))

    assert any("first-package and second-package both bring it" in error for error in errors)
    assert not first.exists()
    assert second.exists()


async def test_a_plugin_is_constructed_with_its_settings(site: Path) -> None:
    install(site, "polite-package", name="polite", code=WITH_SETTINGS)

    with pytest.raises(OperationCancelledError, match="because I say so"):
        await calculate(layers=settings(polite={"reason": "because I say so"}))


async def test_a_plugin_s_wrong_setting_is_named_by_its_key(site: Path) -> None:
    install(site, "polite-package", name="polite", code=WITH_SETTINGS)
    errors: list[str] = []

    await calculate(
        layers=settings(polite={"reeson": "x"}),
        watch=lambda host: errors.extend(info.error for info in host.plugins.infos),
    )

    assert any("plugins.polite.reeson" in error for error in errors)


async def test_settings_for_a_plugin_that_takes_none_are_an_error(site: Path) -> None:
    install(site, "strict-package", name="strict", code=GUARD)
    errors: list[str] = []

    await calculate(
        layers=settings(strict={"colour": "red"}),
        watch=lambda host: errors.extend(info.error for info in host.plugins.infos),
    )

    assert any("plugins.strict.colour: this plugin takes no settings" in error for error in errors)


async def test_a_package_s_tool_answers_to_its_address(site: Path) -> None:
    code = """
from pydantic import BaseModel
from llmspell_hookspecs import Tool

class Nothing(BaseModel):
    pass

class Plugin(Tool[Nothing]):
    '''Say hello.'''
    name = "greeter"

    async def run(self, parameters, context):
        return "hello"
"""
    install(site, "greeting-package", name="greeter", code=code, group="llmspell.tools")

    async with Host.open({}) as host:
        result = await host.call("tool:greeter")

    assert result.result == "hello"


def test_the_doctor_names_what_is_broken_disabled_and_missing(site: Path) -> None:
    install(site, "broken-package", name="broken", code=BROKEN["SystemExit"])
    install(site, "strict-package", name="strict", code=GUARD)
    install(site, "sleeping-package", name="sleeping", code=GUARD)
    loaded = load_settings({"plugins": {"disabled": ["sleeping"], "required": ["ghost"]}})

    findings = {finding.plugin.name: finding for finding in examine(loaded.settings)}

    assert findings["broken"].status == "failed"
    assert "SystemExit" in findings["broken"].message
    assert (findings["strict"].status, findings["strict"].hooks) == ("ok", 1)
    assert findings["sleeping"].status == "disabled"
    assert findings["ghost"].status == "failed"
    assert findings["calculator"].status == "ok"


def test_the_doctor_finds_nothing_wrong_with_a_plugin_that_keeps_a_service(site: Path) -> None:
    code = WITH_SETTINGS.replace(
        "self.reason = settings.reason",
        "from llmspell_hookspecs import Calls\n        self.calls, self.reason = services.get(Calls), settings.reason",
    )
    install(site, "keeping-package", name="keeping", code=code)

    findings = {finding.plugin.name: finding for finding in examine(load_settings({}).settings)}

    assert findings["keeping"].status == "ok", findings["keeping"].message


async def test_a_broken_language_does_not_stop_files_in_the_others(site: Path) -> None:
    install(site, "broken-language", name="aaa", code=BROKEN["SyntaxError"], group="llmspell.languages")
    (site / "notes.txt").write_text("return 1 + 1")

    async with Host.open({}) as host:
        result = await host.run_script(site / "notes.txt")

    assert result == 2
