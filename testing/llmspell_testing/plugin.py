"""The fixtures, for pytest, and trio for ``async def`` tests.

::

    async def test_it_refuses_deletes(llmspell_open, recorded_hooks):
        async with llmspell_open(plugins=[MyPlugin], settings={"plugins": {"my_plugin": {"strict": True}}}) as host:
            with pytest.raises(OperationCancelledError):
                await host.call("tool:file_operations", {"operation": "delete", "path": "notes.txt"})

        recorded_hooks.assert_fired("tool_error", component="file_operations", status="cancelled")

An async test runs under trio if it uses one of these fixtures, itself or through another, or if the project's
configuration of pytest says ``llmspell_trio = true``, then each does. A test that is marked for another plugin
(``asyncio``, ``anyio``, ``trio``, ...) or that another plugin turned into a sync one is left to it.
``llmspell_trio_timeout_s`` ends such a test after so many seconds of real time (default: never).

A fixture that is a trio clock is the clock of the test: with `autojump_clock` time passes at once.

Invariant: importing this module imports pytest alone; it is loaded in every test run of whoever installs llmspell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from .cassette import RecordedHosts
    from .host_runner import HostOpener, HostRunner
    from .isolation import TemporarySettings
    from .output import ScriptOutput
    from .recorder import HookRecorder

__all__ = [
    "autojump_clock",
    "llmspell_host",
    "llmspell_open",
    "llmspell_output",
    "llmspell_settings",
    "recorded_hooks",
    "recorded_host",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the settings of the project's configuration of pytest."""
    parser.addini("llmspell_trio", "run every async test that nobody else claims under trio", type="bool")
    parser.addini("llmspell_cassettes", "what becomes of cassettes: once, none or all", default="")
    parser.addini("llmspell_trio_timeout_s", "end such a test after so many seconds of real time", default="0")


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test of ours; returns None for others."""
    ours = pyfuncitem.config.getini("llmspell_trio") or not _FIXTURES.isdisjoint(pyfuncitem.fixturenames)
    if not ours:
        return None

    from .async_test import FOREIGN_MARKERS, is_async, run_async_test

    foreign = "anyio_backend" in pyfuncitem.fixturenames or any(map(pyfuncitem.get_closest_marker, FOREIGN_MARKERS))
    if foreign or not is_async(pyfuncitem.obj):
        return None
    run_async_test(pyfuncitem, float(pyfuncitem.config.getini("llmspell_trio_timeout_s")))
    return True


@pytest.fixture
def llmspell_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TemporarySettings:
    """Settings of this test's own; it runs in an empty project folder, and child processes see the same.

    ``project``, ``user_file`` and ``data`` say where; ``write_project(toml)`` and ``write_user(toml)`` write.
    """
    from .isolation import isolate

    return isolate(tmp_path, monkeypatch)


@pytest.fixture
def llmspell_output() -> ScriptOutput:
    """What the scripts of this test's hosts write: ``text`` and ``lines``."""
    from .output import ScriptOutput

    return ScriptOutput()


@pytest.fixture
def llmspell_open(
    llmspell_settings: TemporarySettings,
    llmspell_output: ScriptOutput,
) -> HostOpener:
    """What opens a host in an async test.

    As in ``async with llmspell_open(plugins=[...], settings={...}) as host``.
    """
    from .host_runner import HostOpener

    return HostOpener(llmspell_output)


@pytest.fixture
def llmspell_host(llmspell_open: HostOpener) -> HostRunner:
    """What runs an async function with an open host, in a sync test.

    As in ``llmspell_host(main, plugins=[...], settings={...})``, which returns what ``main(host)`` returns.
    """
    from .host_runner import HostRunner

    return HostRunner(llmspell_open)


@pytest.fixture
def recorded_hooks(llmspell_open: HostOpener) -> HookRecorder:
    """What fired in this test's hosts: ``rows``, ``assert_fired(...)``, ``assert_order([...])``."""
    from .recorder import HookRecorder

    recorder = HookRecorder()
    llmspell_open.always.append(recorder)
    return recorder


@pytest.fixture
def recorded_host(request: pytest.FixtureRequest, llmspell_open: HostOpener) -> RecordedHosts:
    """What opens a host that is recorded once, and served from its cassette ever after.

    As in ``async with recorded_host(plugins=[...]) as host``, once in a test; see `cassette`.
    """
    import os
    import re

    from .cassette import MODES, RecordedHosts

    default = "none" if os.environ.get("CI") else "once"
    mode = os.environ.get("LLMSPELL_CASSETTES") or request.config.getini("llmspell_cassettes") or default
    if mode not in MODES:
        raise pytest.UsageError(f"llmspell_cassettes: {mode!r} is none of {', '.join(MODES)}; give one of them")
    name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    return RecordedHosts(llmspell_open, request.path.parent / "cassettes" / request.path.stem / f"{name}.jsonl", mode)


@pytest.fixture
def autojump_clock() -> MockClock:
    """The clock of this async test: whenever every task waits, it jumps to where the first of them goes on.

    It does not wait for threads or processes, so it suits hooks and tools that use none.
    """
    from trio.testing import MockClock

    return MockClock(autojump_threshold=0)


_FIXTURES = frozenset(__all__)
