"""The terminal of the prompt is given back as it was, however the prompt ends."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from packages import install
from terminal import CONTROL_C, CONTROL_Z, Terminal

HANGS = (
    "import os, time\nfrom llmspell_hookspecs import hookimpl\n@hookimpl(kind='observe')\n"
    "def system_shutdown(context):\n    os.write(2, b'blocked\\n')\n    time.sleep(60)\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "site").mkdir()
    return tmp_path


@pytest.fixture
def terminal(folder: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    if getattr(request, "param", ""):
        install(folder / "site", "hanging", name="hanging", code=request.param)
    places = {"LLMSPELL_CONFIG_HOME": str(folder / "user"), "LLMSPELL_DATA_HOME": str(folder / "data")}
    known = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(folder / "site"), **places}
    load = ("--set", "performance.cpu_high_percent=0.0001", "--set", "performance.sample_interval_s=4")
    opened = Terminal(
        "repl", *(load if "cpu_usage" in getattr(request, "param", "") else ()), folder=folder, environment=known
    )
    yield opened
    opened.close()


def is_raw(terminal: Terminal) -> bool:
    return not termios.tcgetattr(terminal.slave)[3] & termios.ICANON


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)])
def test_a_signal_at_the_prompt_gives_the_terminal_back(number: int, code: int, terminal: Terminal) -> None:
    terminal.prompt()
    assert is_raw(terminal)

    terminal.process.send_signal(number)

    assert terminal.wait() == code
    assert not is_raw(terminal)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGRTMIN])
def test_a_signal_that_no_command_answers_gives_the_terminal_back_and_ends_it_as_ever(
    number: int, terminal: Terminal
) -> None:
    terminal.prompt()
    assert is_raw(terminal)

    terminal.process.send_signal(number)

    assert terminal.wait() == -number
    assert not is_raw(terminal)


@pytest.mark.skipif(not shutil.which("bash"), reason="only a shell with jobs can stop one and go on with it")
def test_control_z_stops_the_prompt_and_fg_goes_on_with_it(folder: Path) -> None:
    places = {"LLMSPELL_CONFIG_HOME": str(folder / "user"), "LLMSPELL_DATA_HOME": str(folder / "data")}
    known = {"PATH": os.environ["PATH"], "HOME": str(folder), "PS1": "shell> ", **places}
    shell = Terminal("--norc", "--noprofile", "-i", folder=folder, environment=known, program=["bash"])
    try:
        shell.expect("shell> ")
        shell.enter(f"{sys.executable} -m llmspell repl")
        shell.prompt()
        shell.type("return 20 +")
        shell.type(CONTROL_Z)
        shell.expect("Stopped")
        shell.expect("shell> ")
        assert termios.tcgetattr(shell.slave)[3] & termios.ISIG

        shell.enter("fg")
        shell.expect("20 +")

        shell.answer(" 22", "42")
    finally:
        shell.close()


@pytest.mark.parametrize("terminal", [HANGS], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_second_signal_gives_it_back_at_once(number: int, terminal: Terminal) -> None:
    terminal.prompt()
    terminal.process.send_signal(signal.SIGTERM)
    terminal.expect("blocked")

    terminal.process.send_signal(number)

    assert terminal.wait() == 143
    assert not is_raw(terminal)


@pytest.mark.parametrize("terminal", [HANGS.replace("system_shutdown", "cpu_usage_high")], indirect=True)
def test_a_second_signal_gives_back_a_prompt_that_still_waits(terminal: Terminal) -> None:
    terminal.expect("blocked")
    assert is_raw(terminal)

    terminal.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)  # what comes at once would be taken together
    terminal.process.send_signal(signal.SIGINT)

    assert terminal.wait() == 143
    assert not is_raw(terminal)


def test_control_c_twice_in_a_row_clears_the_line_and_ends_nothing(terminal: Terminal) -> None:
    terminal.prompt()

    terminal.type("x = 1" + CONTROL_C + CONTROL_C)
    terminal.prompt()
    terminal.prompt()

    terminal.answer("return x == nil", "true")
