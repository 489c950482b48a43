"""The machine's file is read first, and what it locks nobody below changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from llmspell.settings import LoadedSettings, change, load_settings
from llmspell_hookspecs.errors import SettingsError


class Machine:
    """A machine's, a user's and a project's file, written by the test."""

    def __init__(self, root: Path) -> None:
        self.machine, self.user = root / "etc" / "llmspell.toml", root / "user" / "llmspell.toml"
        self.project = root / "project"
        for folder in (self.machine.parent, self.user.parent, self.project / ".git"):
            folder.mkdir(parents=True)
        self.environment = {"LLMSPELL_CONFIG_HOME": str(root / "user"), "LLMSPELL_DATA_HOME": str(root / "data")}

    def load(self, overrides: Any = None, *, environment: Any = (), **options: Any) -> LoadedSettings:
        options.setdefault("cwd", self.project)
        known = {**self.environment, **dict(environment)}
        return load_settings(overrides, machine=self.machine, environment=known, **options)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


LOCKED = """
[policy]
locked = ["security.level", "plugins.audit", "limits"]
[security]
level = "restricted"
[plugins.audit]
required = true
"""


def test_the_machines_file_is_read_first_and_the_user_may_change_what_it_does_not_lock(machine: Machine) -> None:
    machine.machine.write_text("[limits]\ndepth = 20\nhops = 3\n")
    machine.user.write_text("[limits]\nhops = 4\n")

    loaded = machine.load()

    assert (loaded.settings.limits.depth, loaded.settings.limits.hops) == (20, 4)
    assert loaded.origin("limits.depth").layer == "machine"
    assert str(loaded.origin("limits.depth")) == f"{machine.machine}:2"


WAYS: dict[str, dict[str, Any]] = {
    "a user's file": {"user": "[security]\nlevel = 'safe'"},
    "a user's file, by a list": {"user": "[plugins]\ndisabled = ['audit']"},
    "a user's file, by a section": {"user": "[limits]\nhops = 1"},
    "a project's file": {"project": "[security]\nlevel = 'safe'"},
    "a named file": {"config": "[plugins.audit]\nenabled = false"},
    "a variable": {"environment": {"LLMSPELL_SECURITY__LEVEL": "privileged"}},
    "an option": {"command_line": {"limits.depth": "3"}},
    "code": {"overrides": {"plugins": {"audit": {"required": False}}}},
    "a lock of its own": {"user": "[policy]\nlocked = []"},
}


@pytest.mark.parametrize("way", WAYS)
def test_nobody_below_changes_what_is_locked(machine: Machine, way: str) -> None:
    options = dict(WAYS[way])
    machine.machine.write_text(LOCKED)
    machine.user.write_text(options.pop("user", ""))
    (machine.project / "llmspell.toml").write_text(options.pop("project", ""))
    if "config" in options:
        named = machine.project / "other.toml"
        named.write_text(options["config"])
        options["config"] = named

    with pytest.raises(SettingsError) as refused:
        machine.load(**options)

    assert str(machine.machine) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_locked_may_be_repeated_and_counts_for_the_defaults_too(machine: Machine) -> None:
    machine.machine.write_text(LOCKED)
    machine.user.write_text("[security]\nlevel = 'restricted'\n")

    assert machine.load().settings.security.level == "restricted"
    assert machine.load(False).settings.security.level == "restricted"


@pytest.mark.parametrize("origin", ["code", "user", "command line", "script"])
def test_a_running_host_changes_nothing_that_is_locked(machine: Machine, origin: str) -> None:
    machine.machine.write_text(LOCKED)

    with pytest.raises(SettingsError, match="is locked by"):
        change(machine.load(), "limits.depth", 3, origin)


def test_a_lock_of_what_is_not_there_is_named(machine: Machine) -> None:
    machine.machine.write_text("[policy]\nlocked = ['security.levle']\n")

    with pytest.raises(SettingsError, match=r"toml:2: policy\.locked names 'security\.levle'.*mean security\.level"):
        machine.load()


@pytest.mark.parametrize("what", ["folder", "pipe", "dangling link"])
def test_what_is_no_file_is_not_passed_over(machine: Machine, what: str) -> None:
    if what == "folder":
        machine.machine.mkdir()
    elif what == "pipe":
        os.mkfifo(machine.machine)
    else:
        machine.machine.symlink_to("/nowhere/x")

    with pytest.raises(SettingsError, match=str(machine.machine)):
        machine.load()


def test_the_root_of_the_file_system_is_a_project_only_if_a_person_names_it(machine: Machine) -> None:
    by_itself, named = machine.load(cwd=Path("/")), machine.load(cwd=Path("/"), project=machine.project)

    assert by_itself.project_dir != Path("/")
    assert "give --project DIR" in by_itself.warnings[0]
    assert (named.project_dir, named.warnings) == (machine.project, ())


def test_a_named_project_is_its_own_folder(machine: Machine) -> None:
    (machine.project / "llmspell.toml").write_text("[limits]\ndepth = 3\n")
    inner = machine.project / "inner"
    inner.mkdir()

    assert machine.load(project=machine.project, cwd=inner).settings.limits.depth == 3
    assert machine.load(project=inner).settings.limits.depth == 32
    with pytest.raises(SettingsError, match="--project /no/such: No such file"):
        machine.load(project=Path("/no/such"))


@pytest.mark.parametrize("home", [None, "", ".", "~"])
def test_without_a_home_nothing_of_the_project_is_taken_for_the_users(
    machine: Machine, home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(uid)))
    monkeypatch.chdir(machine.project)
    for folder in (".config", "~/.config"):
        place = machine.project / folder / "llmspell" / "llmspell.toml"
        place.parent.mkdir(parents=True)
        place.write_text("[limits]\ndepth = 999\n")

    loaded = load_settings(environment={}, machine=machine.machine)

    assert loaded.settings.limits.depth == 32
    assert any("set HOME" in warning for warning in loaded.warnings)
