"""Deployments through a host: by address, from a script, and from the command line; guarded, and redirected to."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from llmspell_deploy import DeployKind, Folder
from llmspell_deploy.faces import DeployGlobal

from llmspell_hookspecs import Cancel, InvalidInputError, OperationCancelledError, Redirect
from llmspell_hookspecs.errors import DepthLimitError, ScriptError
from llmspell_testing import HostOpener, KindConformance

PLUGINS = [DeployKind, Folder, DeployGlobal]
INSTALLED = bool(entry_points(group="llmspell.commands", name="deploy"))


def settings(folder: Path) -> dict[str, Any]:
    """Return settings that let the target write there."""
    allowed = {"read": [str(folder)], "write": [str(folder)]}
    folder.mkdir(exist_ok=True)
    return {"plugins": {"Folder": {"path": str(folder)}}, "security": {"paths": allowed}}


async def test_it_deploys_by_its_address(llmspell_open: HostOpener, tmp_path: Path) -> None:
    async with llmspell_open(plugins=PLUGINS, settings=settings(tmp_path / "out")) as host:
        done = await host.call("deploy:Folder", {"version": "1.2.0"})

    assert (tmp_path / "out" / "1.2.0").read_text() == "1.2.0\n"
    assert done.place == str(tmp_path / "out" / "1.2.0")


async def test_a_guard_at_its_own_point_stops_a_script_too(llmspell_open: HostOpener, tmp_path: Path) -> None:
    async with llmspell_open(plugins=PLUGINS, settings=settings(tmp_path / "out")) as host:
        place = await host.run_source('return Deploy.run("Folder", "1").place')
        host.hooks.register("before_deploy", lambda context: Cancel("frozen"), kind="guard")
        with pytest.raises(OperationCancelledError, match="frozen"):
            await host.call("deploy:Folder", {"version": "2"})
        with pytest.raises((ScriptError, OperationCancelledError), match="frozen"):
            await host.run_source('return Deploy.run("Folder", "3").place')

    assert place == str(tmp_path / "out" / "1")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1"]


async def test_a_redirect_that_leads_back_to_itself_ends(llmspell_open: HostOpener, tmp_path: Path) -> None:
    async with llmspell_open(plugins=PLUGINS, settings=settings(tmp_path / "out")) as host:
        host.hooks.register("before_deploy", lambda context: Redirect("deploy:Folder"))
        with pytest.raises(DepthLimitError):
            await host.call("deploy:Folder", {"version": "1"})

    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("given", [None, {}, {"version": 3}, ""])
async def test_a_version_that_is_none_is_refused(llmspell_open: HostOpener, given: Any, tmp_path: Path) -> None:
    async with llmspell_open(plugins=PLUGINS, settings=settings(tmp_path / "out")) as host:
        with pytest.raises(InvalidInputError, match="deploy:Folder: version is"):
            await host.call("deploy:Folder", given)


async def test_it_writes_nowhere_but_where_settings_allow(llmspell_open: HostOpener, tmp_path: Path) -> None:
    async with llmspell_open(plugins=PLUGINS, settings=settings(tmp_path / "in")) as host:
        with pytest.raises(Exception, match="outside"):
            await host.call("deploy:Folder", {"version": "../../out"})


@pytest.mark.skipif(not INSTALLED, reason="a verb is found by its entry point: pip install this package")
def test_the_installed_package_brings_a_verb_that_help_lists(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    told = {}
    for arguments in (["--help"], ["deploy", "folder", "1.0"], ["deploy", "nowhere", "1.0"]):
        command = [sys.executable, "-m", "llmspell", *arguments]
        told[arguments[-2:][0]] = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True)

    assert "Deployments as a kind of component" in told["--help"].stdout
    assert told["folder"].stdout.strip() == str(tmp_path / "deployed" / "1.0")
    assert told["nowhere"].returncode == 2
    assert "deploy target 'nowhere': there is none" in told["nowhere"].stderr


class TestDeployKind(KindConformance):
    """What the one path promises, for deployments."""

    plugins = PLUGINS
    address = "deploy:Folder"
    before, after, error = "before_deploy", "after_deploy", "deploy_error"

    def given(self) -> Any:
        """Return a version."""
        return {"version": "1.0"}

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return settings that let the target write there."""
        return settings(folder / "out")
