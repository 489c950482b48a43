"""Signals to a real process: the first ends it in order, the second at once, whatever it does; one line, one code."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import waiting
from packages import install
from waiting import PATIENCE_S

NOTE = "import os, time\ndef note(): os.write(2, b'blocked\\n')\n"
BLOCKED = {
    "an import": NOTE + "note()\ntime.sleep(60)\n",
    "a constructor": NOTE + "class Plugin:\n    def __init__(self):\n        note()\n        time.sleep(60)\n",
    "a subprocess": NOTE + "import subprocess\nnote()\nsubprocess.run('exec sleep 20 >&- 2>&-', shell=True)\n",
    "a lock": NOTE + "import threading\nnote()\nheld = threading.Lock()\nheld.acquire()\nheld.acquire()\n",
    "a hook": NOTE
    + "from llmspell_hookspecs import hookimpl\n@hookimpl\n"
    + "def before_script_run(context):\n    note()\n    time.sleep(60)\n",
    "an observer of the end": NOTE
    + "from llmspell_hookspecs import hookimpl\n@hookimpl(kind='observe')\n"
    + "def system_shutdown(context):\n    note()\n    time.sleep(60)\n",
    "C code that keeps the GIL": NOTE + "import itertools\nnote()\nsum(itertools.repeat(0))\n",
    "somebody's own handler of KeyboardInterrupt": NOTE
    + "note()\nwhile True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        pass\n",
}
ROOT = Path(__file__).parent.parent
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command line in a project of its own."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "site").mkdir()
    places = {"LLMSPELL_CONFIG_HOME": str(tmp_path / "user"), "LLMSPELL_DATA_HOME": str(tmp_path / "data")}
    known = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path / "site"), **places}
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "llmspell", *arguments],
            cwd=tmp_path,
            env=known,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], line: str) -> None:
    assert process.stderr is not None
    for told in process.stderr:
        if told == line + "\n":
            return
    raise AssertionError(f"{line} was never told")


def spent_s(process: subprocess.Popen[str]) -> float:
    """Return how much of the processor's time a process has had."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def handles(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal."""
    caught = Path(f"/proc/{process.pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("place", BLOCKED)
def test_a_second_interrupt_ends_the_process_at_once_whatever_blocks_it(
    place: str, start: Start, tmp_path: Path
) -> None:
    install(tmp_path / "site", "blocker", name="blocker", code=BLOCKED[place])
    process = start("exec", "return 1")
    until(process, "blocked")
    if "GIL" in place:
        time.sleep(0.3)  # it says so shortly before it takes it

    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)

    # Where no Python code can run the kernel ends it, and nobody is left to write the line.
    assert (process.returncode, err) in [(130, "llmspell: interrupted\n"), (-signal.SIGINT, "")]
    assert process.returncode == 130 or "GIL" in place


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "llmspell: interrupted\n"),
        (signal.SIGTERM, 143, "llmspell: terminated\n"),
        (signal.SIGHUP, 129, "llmspell: hung up\n"),
        (signal.SIGQUIT, 131, "llmspell: quit\n"),
    ],
)
def test_a_signal_at_any_moment_is_one_line_and_its_code(
    number: signal.Signals, code: int, line: str, start: Start
) -> None:
    chance = random.Random(number)

    for _ in range(4):
        process = start("exec", "io.stderr:write('') while true do end")
        moment_s = chance.uniform(0.15, 0.6)  # before that Python itself begins
        waiting.until(lambda: spent_s(process) >= moment_s)  # noqa: B023 - asked at once
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE_S)
        if process.returncode != -number:  # it had not begun
            assert (process.returncode, err) == (code, line)


def test_nothing_that_takes_long_is_imported_before_signals_are_answered() -> None:
    code = (
        f"import os, sys; sys.path[:0] = {[str(ROOT / 'host')]!r}; "
        "known = {*sys.modules, *sys.builtin_module_names}; import llmspell.cli.main; "
        "print(*sorted(name for name in set(sys.modules) - known if not name.startswith('llmspell')))"
    )

    told = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout == "__future__\n"


def test_who_is_told_to_go_on_without_a_terminal_goes_on(start: Start) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start("event", "tail", "--pattern", "nothing.*")
    finally:
        signal.signal(signal.SIGHUP, before)
    waiting.until(lambda: handles(process, signal.SIGTERM))

    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=PATIENCE_S) == 143
