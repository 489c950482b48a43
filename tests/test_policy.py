"""Project files and scripts may tighten policy, never loosen it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from llmspell import Host
from llmspell.plugins.tables import TableModels
from llmspell.settings import LoadedSettings, change, load_settings
from llmspell.settings.layers import trust_project
from llmspell.settings.model import PluginTable, Settings
from llmspell.settings.trust import untrust
from llmspell_hookspecs import Policy, Services
from llmspell_hookspecs.errors import SettingsError
from llmspell_hookspecs.policy import loosens
from packages import install


class Layers:
    """A project and a user whose files are written by the test."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        (self.project / ".git").mkdir(parents=True)
        self.environment = {"LLMSPELL_CONFIG_HOME": str(folder / "user"), "LLMSPELL_DATA_HOME": str(folder / "data")}
        (folder / "user").mkdir()
        self.user_file = folder / "user" / "llmspell.toml"
        self.project_file = self.project / "llmspell.toml"

    def load(self, project: str = "", user: str = "", **options: Any) -> LoadedSettings:
        self.user_file.write_text(user)
        self.project_file.write_text(project)
        return load_settings(cwd=self.project, environment=self.environment, **options)


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    return Layers(tmp_path)


LOOSENING = {
    "plugins.disabled": '[plugins]\ndisabled = ["audit"]',
    "plugins.trust": '[plugins]\ntrust = "listed"',
    "plugins.trusted": '[plugins]\ntrusted = ["evil"]',
    "plugins.prefer": '[plugins.prefer]\naudit = "evil"',
    "plugins.audit.enabled": "[plugins.audit]\nenabled = false",
    "plugins.audit.distribution": '[plugins.audit]\ndistribution = "evil"',
    "plugins.audit.deny": "[plugins.audit]\ndeny = []",
    "hooks.breaker": '[hooks]\nbreaker = "off"',
    "hooks.timeout_s": "[hooks]\ntimeout_s = 0.001",
    "hooks.disabled": '[hooks]\ndisabled = ["audit.*"]',
    "security.paths.read": '[security.paths]\nread = ["/"]',
    "security.paths.write": '[security.paths]\nwrite = ["/etc"]',
    "security.hosts.allow_private": "[security.hosts]\nallow_private = true",
    "security.environment": '[security]\nenvironment = ["*"]',
    "limits.depth": "[limits]\ndepth = 33",
    "limits.hops": "[limits]\nhops = 9",
    "scripts.memory_bytes": "[scripts]\nmemory_bytes = 500000000",
    "scripts.time_s": "[scripts]\ntime_s = 31",
    "scripts.callback_s": "[scripts]\ncallback_s = 1",
    "scripts.slices": '[scripts]\nslices = "loop"',
    "tools.time_s": "[tools]\ntime_s = 31",
    "tools.memory_bytes": "[tools]\nmemory_bytes = 9999999999",
    "tools.output_bytes": "[tools]\noutput_bytes = 9999999999",
    "tools.http_request.max_redirects": "[tools.http_request]\nmax_redirects = 99",
    "performance.sample_interval_s": "[performance]\nsample_interval_s = 60",
}


@pytest.mark.parametrize("key", LOOSENING)
def test_a_project_file_that_loosens_is_refused_with_key_line_and_remedy(layers: Layers, key: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        layers.load(project=f"# a project\n{LOOSENING[key]}\n")

    assert refusal.value.key == key or refusal.value.key.startswith(key)
    assert str(refusal.value).startswith(f"{layers.project_file}:3: {key}")
    assert f"llmspell trust {layers.project}" in str(refusal.value)
    assert str(layers.user_file) in str(refusal.value)


@pytest.mark.parametrize("key", LOOSENING)
def test_what_a_project_may_not_loosen_the_user_may(layers: Layers, key: str) -> None:
    loaded = layers.load(user=LOOSENING[key])

    assert any(origin.layer == "user" for origin in loaded.origins.values())


@pytest.mark.parametrize("key", LOOSENING)
def test_what_the_user_has_set_the_project_may_repeat(layers: Layers, key: str) -> None:
    loaded = layers.load(user=LOOSENING[key], project=LOOSENING[key])

    assert {origin.layer for origin in loaded.origins.values()} == {"project"}


STRICT_USER = """
default_language = "lua"
[plugins.audit]
required = true
[limits]
operation_time_s = 5
[scripts]
instructions = 1000
[security]
level = "restricted"
[security.hosts]
allowed = ["*.example.com", "example.org"]
[performance]
slow_operation_ms = 10
memory_high_bytes = 1000
cpu_high_percent = 50
"""


@pytest.mark.parametrize(
    "project",
    [
        "[plugins.audit]\nrequired = false",
        '[security]\nlevel = "privileged"',
        '[security.hosts]\nallowed = ["*"]',
        '[security.hosts]\nallowed = ["*.com"]',
        '[security.hosts]\nallowed = ["0.0.0.0/0"]',
        '[security.hosts]\nallowed = ["example.org", "evil.org"]',
        "[limits]\noperation_time_s = 6",
        "[scripts]\ninstructions = 0",
        "[scripts]\ninstructions = 1001",
        "[performance]\nslow_operation_ms = 11",
        "[performance]\nmemory_high_bytes = 1001",
        "[performance]\ncpu_high_percent = 51",
    ],
)
def test_a_project_file_may_not_undo_what_the_user_tightened(layers: Layers, project: str) -> None:
    with pytest.raises(SettingsError, match="loosens policy"):
        layers.load(user=STRICT_USER, project=project)


@pytest.mark.parametrize(
    "project",
    [
        "[plugins.audit]\nrequired = true",
        "[plugins.audit]\nenabled = true",
        "[plugins.other]\n[tools.mail]\n[limits]",
        '[plugins]\nrequired = ["other"]',
        '[security]\nlevel = "safe"',
        '[security.hosts]\nallowed = ["api.example.com", "*.eu.example.com"]',
        '[security.hosts]\nallowed = []\ndenied = ["example.org"]',
        '[security.paths]\nread = ["data"]\nwrite = []',
        '[security]\nenvironment = ["HOME", "LC_ALL"]',
        "[limits]\ndepth = 4\nhops = 0\noperation_time_s = 4.5",
        "[scripts]\ninstructions = 999",
        '[tools]\ntime_s = 1\ndisabled = ["http_request"]',
        "[performance]\nslow_operation_ms = 9",
        'default_language = "javascript"\n[logging]\nlevel = "debug"',
    ],
)
def test_a_project_file_may_tighten(layers: Layers, project: str) -> None:
    loaded = layers.load(user=STRICT_USER, project=project)

    assert "project" in {origin.layer for origin in loaded.origins.values()}


def test_what_a_project_denies_is_added_to_what_the_user_denies(layers: Layers) -> None:
    loaded = layers.load(
        user='[security.hosts]\ndenied = ["a"]\n[plugins]\nrequired = ["audit"]',
        project='[security.hosts]\ndenied = ["b"]\n[plugins]\nrequired = ["other"]\n[security.paths]\ndenied = ["x"]',
    )

    assert loaded.settings.security.hosts.denied == ("a", "b")
    assert loaded.settings.required_plugins() == ("audit", "other")
    assert set(Settings().security.paths.denied) < set(loaded.settings.security.paths.denied)


def test_a_project_file_may_not_reach_outside_through_a_link(layers: Layers) -> None:
    os.symlink("/etc", layers.project / "inside")

    with pytest.raises(SettingsError, match=r"security\.paths\.read"):
        layers.load(project='[security.paths]\nread = ["inside"]')


def test_a_project_file_may_not_switch_on_what_the_user_disabled(layers: Layers) -> None:
    with pytest.raises(SettingsError, match=r"plugins\.audit\.enabled = True"):
        layers.load(user='[plugins]\ndisabled = ["audit"]', project="[plugins.audit]\nenabled = true")


def test_a_trusted_project_file_may_loosen_until_it_changes(layers: Layers) -> None:
    text = "[limits]\ndepth = 36\n"
    layers.project_file.write_text(text)

    trust_project(layers.project_file, cwd=layers.project, environment=layers.environment)

    assert layers.load(project=text).settings.limits.depth == 36
    with pytest.raises(SettingsError):
        layers.load(project=text + "hops = 99\n")
    assert layers.load(project=text).settings.limits.depth == 36
    assert untrust(layers.project_file, layers.environment)
    with pytest.raises(SettingsError):
        layers.load(project=text)


def test_trust_is_for_one_folder(layers: Layers, tmp_path: Path) -> None:
    text = "[limits]\ndepth = 36\n"
    layers.project_file.write_text(text)
    other = tmp_path / "other"
    other.mkdir()
    (other / "llmspell.toml").write_text(text)

    trust_project(layers.project_file, cwd=layers.project, environment=layers.environment)

    assert layers.load(project=text).settings.limits.depth == 36
    with pytest.raises(SettingsError, match="nobody trusted this file"):
        load_settings(cwd=other, environment=layers.environment)
    assert not untrust(other / "llmspell.toml", layers.environment)


def test_a_file_named_by_a_person_is_trusted(layers: Layers, tmp_path: Path) -> None:
    named = tmp_path / "mine.toml"
    named.write_text("[limits]\ndepth = 35")

    loaded = layers.load(project="[limits]\ndepth = 34", config=named)

    assert loaded.settings.limits.depth == 35


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limits.depth", 36),
        ("security.paths.read", ["/"]),
        ("security", {"level": "safe", "environment": ["*"]}),
        ("plugins.audit", {"enabled": False}),
        ("plugins.audit.enabled", False),
        ("security.paths.denied", []),
        ("plugins.required", []),
        ("hooks.disabled", ["*"]),
    ],
)
def test_a_script_may_not_loosen(layers: Layers, key: str, value: Any) -> None:
    loaded = layers.load(user='[plugins]\nrequired = ["audit"]')

    with pytest.raises(SettingsError, match=r"^script: .* loosens policy"):
        change(loaded, key, value, "script")


def test_a_script_may_tighten_and_code_may_do_both(layers: Layers) -> None:
    loaded = layers.load()

    tightened = change(loaded, "limits.depth", 3, "script")
    loosened = change(tightened, "limits.depth", 34, "code")

    assert (loaded.settings.limits.depth, tightened.settings.limits.depth) == (32, 3)
    assert tightened.origin("limits.depth").layer == "script"
    assert loosened.settings.limits.depth == 34


def test_a_change_with_a_wrong_value_names_the_key(layers: Layers) -> None:
    with pytest.raises(SettingsError, match=r"code: limits\.depth is 'deep'; it should be a valid integer"):
        change(layers.load(), "limits.depth", "deep", "code")


def test_every_key_has_a_rule() -> None:
    def without_rule(model: type[BaseModel], above: str) -> list[str]:
        missing = []
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                missing += without_rule(field.annotation, f"{above}{name}.")
            elif not any(isinstance(item, Policy) for item in field.metadata):
                missing.append(above + name)
        return missing

    assert without_rule(Settings, "") + without_rule(PluginTable, "plugins.NAME.") == []


LIMITS = st.none() | st.floats(0.1, 100)


@given(LIMITS, LIMITS, st.floats(0.1, 200))
def test_a_lower_limit_never_lets_more_through(old: float | None, new: float | None, used: float) -> None:
    if not loosens(Policy.LOWER_ONLY, old, new) and (new is None or used <= new):
        assert old is None or used <= old


# One plugin under several names.


@pytest.mark.parametrize("spelled", ["audit", "plugin:audit", "plugins:audit"])
def test_a_table_under_another_name_hides_nothing_that_the_user_said(layers: Layers, spelled: str) -> None:
    user = '[plugins.audit]\nenabled = false\ndistribution = "ours"\nmode = "strict"'

    settings = layers.load(user=user, project=f'[plugins."{spelled}"]\nrequired = true').settings

    assert not settings.plugin("audit", "llmspell.plugins").enabled
    assert settings.plugin("audit", "llmspell.plugins").required
    assert settings.plugin("audit", "llmspell.plugins").distribution == "ours"
    assert settings.table("plugins", "audit", "llmspell.plugins") == {"mode": "strict"}


MACHINE = """
[policy]
locked = ["{}"]
[plugins]
disabled = ["audit"]
required = ["guard"]
[plugins.prefer]
audit = "ours"
[plugins.audit]
mode = "strict"
"""
AROUND = {
    "plugins.disabled": '[plugins."plugin:audit"]\nenabled = true',
    "plugins.required": '[plugins."plugin:guard"]\nrequired = false',
    "plugins.prefer": '[plugins."plugins:audit"]\ndistribution = "theirs"',
    "plugins.audit": '[plugins."plugin:audit"]\nmode = "lax"',
    "plugins.audit.mode": '[plugins."plugins:audit"]\nmode = "lax"',
    "plugins.audit.enabled": '[plugins."plugins:audit"]\nenabled = true',
    "plugins.guard.required": '[plugins."plugin:guard"]\nrequired = false',
    "plugins.audit.distribution": '[plugins.prefer]\n"plugin:audit" = "theirs"',
}


@pytest.mark.parametrize("key", AROUND)
def test_a_locked_key_is_changed_under_no_other_name(layers: Layers, tmp_path: Path, key: str) -> None:
    machine = tmp_path / "machine.toml"
    machine.write_text(MACHINE.format(key))

    with pytest.raises(SettingsError, match=f"{key} is locked by"):
        layers.load(user=AROUND[key], machine=machine)


# Links in the project.


@pytest.mark.parametrize("root", ["data", "deep/data", "data/sub", "data/../sub", "{project}/data"])
@pytest.mark.parametrize("layer", ["user", "machine", "command line", "code", "named"])
def test_a_folder_that_the_project_made_a_link_of_is_not_opened(
    layers: Layers, tmp_path: Path, root: str, layer: str
) -> None:
    (tmp_path / "secret" / "sub").mkdir(parents=True)
    (layers.project / "data").symlink_to(tmp_path / "secret")
    (layers.project / "deep").mkdir()
    (layers.project / "deep" / "data").symlink_to("../.git")
    root = root.format(project=layers.project)
    text = f'[security.paths]\nread = ["{root}"]'
    named = layers.project / "named.toml"
    named.write_text(text)
    ways: dict[str, dict[str, Any]] = {
        "user": {"user": text},
        "machine": {"machine": named},
        "named": {"config": named},
        "command line": {"command_line": {"security.paths.read": [root]}},
        "code": {"overrides": {"security": {"paths": {"read": [root]}}}},
    }

    loaded = layers.load(**ways[layer])

    assert loaded.judges.files.roots("read") == ()
    assert any("so it opens nothing" in warning for warning in loaded.warnings)


def test_a_folder_elsewhere_may_be_named_by_a_link(layers: Layers, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "way").symlink_to("disk")

    loaded = layers.load(user=f'[security.paths]\nread = ["{tmp_path}/way", "../way", "own"]')

    assert loaded.judges.files.roots("read") == (str(tmp_path / "disk"), str(layers.project / "own"))
    assert loaded.warnings == ()


class Weather:
    """A plugin that says what each of its keys permits where nobody is trusted."""

    name = "weather"

    class Settings(BaseModel):
        """What it may do."""

        calls: Annotated[int, Policy.LOWER_ONLY] = 100
        cities: Annotated[tuple[str, ...], Policy.SUBSET_ONLY] = ("bern", "rome")
        audit: Annotated[bool, Policy.ON_ONLY] = False
        detail: Annotated[Literal["little", "all"], Policy.LOWER_ONLY] = "all"
        unit: Annotated[str, Policy.FREE] = "metre"
        address: str = "127.0.0.1"

    def __init__(self, settings: Settings, services: Services) -> None:
        TAKEN.append(settings)


TAKEN: list[Weather.Settings] = []


@pytest.mark.parametrize("user", ["", "[plugins.weather]\ncalls = 50"])
@pytest.mark.parametrize(
    ("line", "may"),
    [
        ("calls = 7", True),
        ("calls = 101", False),
        ("calls = 'seven'", False),
        ("cities = ['rome']", True),
        ("cities = ['rome', 'oslo']", False),
        ("audit = true", True),
        ("detail = 'little'", True),
        ("unit = 'mile'", True),
        ("address = '10.0.0.1'", False),
        ("address = '127.0.0.1'", False),
        ("unknown = 1", False),
    ],
)
def test_a_plugins_own_keys_permit_what_its_model_says(layers: Layers, user: str, line: str, may: bool) -> None:
    project = f"[plugins.weather]\n{line}"

    if may:
        layers.load(project, user, models=TableModels([Weather]))
    else:
        with pytest.raises(SettingsError, match=r"plugins.weather.\w+ = .* loosens policy"):
            layers.load(project, user, models=TableModels([Weather]))
    with pytest.raises(SettingsError, match="loosens policy"):
        layers.load(project, user)  # nobody says what it permits


def test_a_project_may_not_go_back_above_what_the_user_has_set_for_a_plugin(layers: Layers) -> None:
    with pytest.raises(SettingsError, match="calls = 60 loosens policy, and here it may only be lowered"):
        layers.load("[plugins.weather]\ncalls = 60", "[plugins.weather]\ncalls = 50", models=TableModels([Weather]))


async def test_what_a_project_tightens_of_a_plugin_is_what_the_plugin_gets(
    layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers.project_file.write_text("[plugins.weather]\ncalls = 7")
    monkeypatch.chdir(layers.project)
    TAKEN.clear()

    async with Host.open({}, plugins=[Weather]):
        assert [settings.calls for settings in TAKEN] == [7]


def test_a_script_changes_no_key_of_a_plugin_that_is_made_already(layers: Layers) -> None:
    loaded = layers.load(models=TableModels([Weather]))

    with pytest.raises(SettingsError, match="not be changed"):
        change(loaded, "plugins.weather.calls", 7, "script")


def test_an_installed_plugin_is_imported_only_for_a_table_in_a_projects_file(
    layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
from typing import Annotated
from pydantic import BaseModel
from llmspell_hookspecs import Policy
class Plugin:
    name = "clouds"
    class Settings(BaseModel):
        calls: Annotated[int, Policy.LOWER_ONLY] = 9
"""
    site = tmp_path / "site"
    site.mkdir()
    marker = install(site, "clouds", name="clouds", code=code)
    monkeypatch.syspath_prepend(str(site))

    layers.load("[limits]\ndepth = 3", "[plugins.clouds]\ncalls = 8", models=TableModels())
    assert not marker.exists()
    layers.load("[plugins.clouds]\ncalls = 3", models=TableModels())
    assert marker.exists()
    with pytest.raises(SettingsError, match="calls = 10 loosens policy"):
        layers.load("[plugins.clouds]\ncalls = 10", models=TableModels())
    with pytest.raises(SettingsError, match="calls = 3 loosens policy"):
        layers.load("[plugins.clouds]\ncalls = 3", '[plugins]\ndisabled = ["clouds"]', models=TableModels())
