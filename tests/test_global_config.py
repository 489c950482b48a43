from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmspell import Host
from llmspell_hookspecs import Cancel, InvalidInputError, OperationCancelledError
from llmspell_hookspecs.errors import ResourceLimitError, SettingsError
from puppet import Body, Puppet, Script


async def run_script(body: Body, **settings: Any) -> Any:
    async with Host.open(settings or False, plugins=[Puppet(main=body)], discover=False) as host:
        return await host.run_source("main", "puppet")


async def ask(method: str, *arguments: Any, **settings: Any) -> Any:
    return await run_script(lambda script: script(f"Config.{method}", *arguments), **settings)


async def test_settings_are_read_by_dotted_key() -> None:
    assert await ask("get", "limits.depth") == 32
    assert (await ask("get"))["limits"]["depth"] == 32
    assert (await ask("getSection", "limits"))["depth"] == 32
    assert await ask("get_section", "nosuch") is None
    assert await ask("get", "limits.nosuch", 7) == 7
    assert await ask("getDefaultEngine") == "lua"
    assert (await ask("getTools"))["time_s"] == 30.0
    assert (await ask("getSecurity"))["level"] == "privileged"


async def test_secrets_are_masked_everywhere() -> None:
    settings = {"plugins": {"mail": {"api_key": "hunter2"}}}

    async def body(script: Script) -> Any:
        return await script("Config.get"), await script("Config.toJson")

    value, text = await run_script(body, **settings)

    assert "hunter2" not in str(value) + text
    assert json.loads(text)["plugins"]["mail"]["api_key"] == "********"


async def test_what_may_be_touched_is_told() -> None:
    assert await ask("isFileAccessAllowed") is True
    assert await ask("isNetworkAccessAllowed") is True
    assert await ask("is_file_access_allowed", security={"paths": {"read": [], "write": []}}) is False
    assert await ask("is_network_access_allowed", security={"hosts": {"allowed": []}}) is False
    assert await ask("getPermissions") == {
        "read": True,
        "tighten": True,
        "modify_providers": False,
        "modify_tools": False,
        "modify_runtime": False,
        "modify_security": False,
        "access_secrets": False,
    }


async def test_without_providers_none_are_listed() -> None:
    assert await ask("listProviders") == []
    assert await ask("getProvider", "openai") is None


async def test_a_script_tightens() -> None:
    async def body(script: Script) -> Any:
        await script("Config.set", "limits.depth", 3)
        await script("Config.setSecurity", {"level": "safe", "hosts": {"denied": ["evil.example"]}})
        security = await script("Config.getSecurity")
        return await script("Config.get", "limits.depth"), security["level"], security["hosts"]["denied"]

    assert await run_script(body) == (3, "safe", ["evil.example"])


async def test_the_originals_switches_take_all_access_away() -> None:
    async def body(script: Script) -> Any:
        await script("Config.setSecurity", {"allow_file_access": False, "allow_network_access": False})
        off = [await script("Config.isFileAccessAllowed"), await script("Config.isNetworkAccessAllowed")]
        with pytest.raises(SettingsError, match="a script cannot switch it on"):
            await script("Config.setSecurity", {"allow_file_access": True})
        return off

    assert await run_script(body) == [False, False]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limits.depth", 33),
        ("security.paths.read", ["/"]),
        ("plugins.disabled", ["audit"]),
        ("hooks.breaker", "off"),
        ("scripts.memory_bytes", 10**12),
    ],
)
async def test_a_script_loosens_nothing(key: str, value: Any) -> None:
    with pytest.raises(SettingsError):
        await ask("set", key, value)


async def test_a_wrong_key_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="depth"):
        await ask("set", "limits.dept", 3)
    with pytest.raises(SettingsError, match="providers"):
        await ask("setProvider", "open.ai", {"model": "x"})


async def test_a_hook_may_refuse_a_change() -> None:
    with pytest.raises(OperationCancelledError, match="frozen"):
        async with Host.open(False, plugins=[(puppet := Puppet())], discover=False) as host:
            host.hooks.register("ConfigurationChange", lambda context: Cancel("frozen"))
            puppet.bodies["main"] = lambda script: script("Config.set", "limits.depth", 3)
            await host.run_source("main", "puppet")


async def test_a_path_inside_is_allowed_already_and_one_outside_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    settings = {"security": {"paths": {"read": [str(inside)], "write": [str(inside)]}}}

    assert await ask("addAllowedPath", str(inside / "deep"), **settings) is True
    with pytest.raises(SettingsError, match="outside what may be touched, which a script cannot widen; name it under"):
        await ask("addAllowedPath", str(tmp_path), **settings)


async def test_a_snapshot_is_gone_back_to_only_as_far_as_that_tightens() -> None:
    async def body(script: Script) -> Any:
        loose = await script("Config.snapshot")
        await script("Config.set", "limits.depth", 5)
        tight = await script("Config.snapshot")
        assert await script("Config.restoreSnapshot", tight) is True
        with pytest.raises(SettingsError):
            await script("Config.restoreSnapshot", loose)
        with pytest.raises(InvalidInputError, match="there is no snapshot 1;"):
            await script("Config.restore_snapshot", 1)
        return tight - loose, await script("Config.get", "limits.depth")

    apart, depth = await run_script(body)

    assert apart >= 0
    assert depth == 5


async def test_a_setting_of_more_entries_than_a_script_may_set_is_refused_with_what_to_do() -> None:
    with pytest.raises(ResourceLimitError, match=r"would have 201 entries, .*; use patterns .*, or put them into a"):
        await ask("set", "security.hosts.denied", [f"x{index}.example" for index in range(201)])

    assert await ask("set", "security.hosts.denied", [f"x{index}.example" for index in range(200)])
