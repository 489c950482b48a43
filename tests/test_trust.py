"""Trust is of a file's text and of what it names as it was; the host's own files are out of everybody's reach."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmspell.settings import LoadedSettings, load_settings
from llmspell.settings.layers import trust_project
from llmspell_hookspecs.errors import SecurityError, SettingsError
from packages import install, llmspell

TEXT = """
[security.paths]
read = ["data", "new/deep", "{outside}"]
[storage.sqlite]
path = "db/state.db"
[limits]
depth = 36
"""


class Project:
    """A project whose file a person trusted."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.outside = root, root / "project", root / "outside"
        for folder in (self.folder / ".git", self.folder / "data" / "sub", self.folder / "db", self.outside):
            folder.mkdir(parents=True)
        self.file = self.folder / "llmspell.toml"
        self.file.write_text(TEXT.format(outside=self.outside))
        self.environment = {"LLMSPELL_CONFIG_HOME": str(root / "user"), "LLMSPELL_DATA_HOME": str(root / "data")}
        self.trust()

    def trust(self) -> None:
        trust_project(self.file, cwd=self.folder, environment=self.environment)

    def load(self) -> LoadedSettings:
        return load_settings(cwd=self.folder, environment=self.environment)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def _relink(place: Path, target: Path) -> None:
    place.rename(place.with_name(f"{place.name}_before"))
    place.symlink_to(target)


SWAPS: dict[str, tuple[Callable[[Project], object], str]] = {
    "a folder became a link": (lambda it: _relink(it.folder / "data", Path("/var")), "'data' was a folder"),
    "a folder became a link to itself, moved": (
        lambda it: _relink(it.folder / "data", it.folder / "data_before"),
        "is a link to",
    ),
    "what was not there is a link": (lambda it: _relink_missing(it.folder / "new"), "'new/deep' was not there"),
    "a folder above the storage became a link": (lambda it: _relink(it.folder / "db", it.outside), "'db/state.db' was"),
    "a folder elsewhere became a link": (lambda it: _relink(it.outside, Path("/usr")), "is a link to /usr"),
    "a folder became a file": (lambda it: _replace_by_file(it.outside), "is a file"),
    "the file itself became a link": (lambda it: _relink(it.file, it.folder / "llmspell.toml_before"), "was a file"),
    "the text changed": (lambda it: it.file.write_text(it.file.read_text() + "hops = 99\n"), "has changed"),
}


def _relink_missing(place: Path) -> None:
    place.symlink_to("/var")


def _replace_by_file(place: Path) -> None:
    place.rmdir()
    place.touch()


@pytest.mark.parametrize("swap", SWAPS)
def test_a_trusted_file_is_not_trusted_for_what_its_places_became(project: Project, swap: str) -> None:
    change, told = SWAPS[swap]
    assert project.load().settings.limits.depth == 36

    change(project)

    with pytest.raises(SettingsError, match="loosens policy") as refused:
        project.load()
    assert told in str(refused.value)
    project.trust()
    assert project.load().settings.limits.depth == 36


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_that_is_somebody_elses_since_is_not_trusted(project: Project) -> None:
    os.chown(project.folder / "data", 4242, 4242)

    with pytest.raises(SettingsError, match="is a folder of user 4242 now"):
        project.load()


def test_a_folder_that_was_made_anew_is_what_it_was(project: Project) -> None:
    (project.folder / "data" / "sub").rmdir()
    (project.folder / "data").rmdir()
    (project.folder / "data").mkdir()

    assert project.load().settings.limits.depth == 36


def _refuses(loaded: LoadedSettings, path: Path | str) -> bool:
    try:
        loaded.judges.files.resolve(str(path), "write")
    except SecurityError as error:
        return "llmspell" in str(error)
    return False


@pytest.mark.parametrize("name", ["LLMSPELL_CONFIG_HOME", "LLMSPELL_DATA_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"])
def test_the_hosts_own_folders_are_out_of_reach_wherever_they_lie(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shared" / "deep"
    monkeypatch.setenv(name, str(folder))
    environment = {name: str(folder)} if name.startswith("LLMSPELL") else {}
    overrides = {"security": {"paths": {"read": ["/"], "write": ["/"]}}, "storage": {"sqlite": {"path": "../s.db"}}}
    (tmp_path / "project").mkdir()
    (tmp_path / "link").symlink_to("shared")

    loaded = load_settings(overrides, cwd=tmp_path / "project", environment=environment)

    own = folder if name.startswith("LLMSPELL") else folder / "llmspell"
    linked = tmp_path / "link" / own.relative_to(tmp_path / "shared")
    for path in (own, own / "trusted.json", own / "TRUSTED.json", linked / "trusted.json"):
        assert _refuses(loaded, path)
    home = Path.home()
    for path in (home / ".config/llmspell/llmspell.toml", home / ".local/share/llmspell/trusted.json"):
        assert _refuses(loaded, path)
    for name in ("s.db", "s.db-wal", "s.db-shm", "s.db-journal", "S.DB", "s\u200b.db", "project/.llmspell/state.db"):
        assert _refuses(loaded, tmp_path / name)


def test_a_folder_with_the_link_to_the_hosts_own_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "way").mkdir()
    (tmp_path / "way" / "data").symlink_to("../real")
    environment = {"LLMSPELL_DATA_HOME": str(tmp_path / "way" / "data"), "LLMSPELL_CONFIG_HOME": str(tmp_path / "c")}
    (tmp_path / "project").mkdir()

    loaded = load_settings(
        {"security": {"paths": {"read": ["/"], "write": ["/"]}}}, cwd=tmp_path / "project", environment=environment
    )

    for path in ("way", "way/data", "real/x", "c"):
        assert _refuses(loaded, tmp_path / path)
    assert not _refuses(loaded, tmp_path / "project" / "a")


def test_a_plugin_of_pydantics_is_not_imported_by_the_command_line_before_settings_could_keep_it_out(
    tmp_path: Path,
) -> None:
    marker = install(tmp_path, "watches-models", name="watches", code="plugin = None\n", group="pydantic")
    (tmp_path / "llmspell.toml").write_text('[plugins]\ntrust = "listed"\n')

    done = llmspell(tmp_path, "tool", "list")

    assert done.returncode == 0, done.stderr
    assert not marker.exists()
