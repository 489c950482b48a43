"""The fixtures, for pytest.

::

    def test_it_refuses_deletes(llmspell_host, recorded_hooks):
        async def main(host):
            with pytest.raises(OperationCancelledError):
                await host.call("tool:file_operations", {"operation": "delete", "path": "notes.txt"})

        llmspell_host(main, plugins=[MyPlugin], settings={"plugins": {"my_plugin": {"strict": True}}})

        recorded_hooks.assert_fired("tool_error", component="file_operations", status="cancelled")

Invariant: importing this module imports pytest alone; it is loaded in every test run of whoever installs llmspell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .host_runner import HostRunner
    from .isolation import TemporarySettings
    from .output import ScriptOutput
    from .recorder import HookRecorder

__all__ = ["llmspell_host", "llmspell_output", "llmspell_settings", "recorded_hooks"]


@pytest.fixture
def llmspell_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TemporarySettings:
    """Settings of this test's own; it runs in an empty project folder, and child processes see the same.

    ``project``, ``user_file`` and ``data`` say where; ``write_project(toml)`` and ``write_user(toml)`` write.
    """
    from .isolation import isolate

    return isolate(tmp_path, monkeypatch)


@pytest.fixture
def llmspell_output() -> ScriptOutput:
    """What the scripts of `llmspell_host` write: ``text`` and ``lines``."""
    from .output import ScriptOutput

    return ScriptOutput()


@pytest.fixture
def llmspell_host(
    llmspell_settings: TemporarySettings,
    llmspell_output: ScriptOutput,
) -> HostRunner:
    """Runs an async function with an open host: ``llmspell_host(main, plugins=[...], settings={...})``.

    Answers what ``main(host)`` answers. See `HostRunner` for the rest.
    """
    from .host_runner import HostRunner

    return HostRunner(llmspell_output)


@pytest.fixture
def recorded_hooks(llmspell_host: HostRunner) -> HookRecorder:
    """What fired in the hosts of `llmspell_host`: ``rows``, ``assert_fired(...)``, ``assert_order([...])``."""
    from .recorder import HookRecorder

    recorder = HookRecorder()
    llmspell_host.always.append(recorder)
    return recorder
