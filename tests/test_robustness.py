"""The command line where the machine is odd, as real processes: no traceback, no hang, a code that is documented."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from llmspell.cli.failure import EXIT_CODES
from packages import install
from waiting import PATIENCE_S

COMMANDS = {
    "failing": ["exec", "error('x')", "--output", "json"],
    "tool": ["tool", "invoke", "calculator", '{"operation": "evaluate", "input": "1 + 1"}', "-v"],
    "state": ["state", "set", "a", "1"],
    "repl": ["repl"],
    "reading": ["exec", "return io.read('l')"],
}
Odd = tuple[Sequence[str], dict[str, str | None], Callable[[], object] | None]


def closed(number: int) -> Callable[[], None]:
    return lambda: os.close(number)


def full(number: int) -> Callable[[], None]:
    def fill() -> None:
        os.dup2(os.open("/dev/full", os.O_RDWR), number)

    return fill


def all_closed() -> None:
    for number in range(3):
        os.close(number)


def gone() -> None:
    folder = os.path.join(os.getcwd(), "gone")
    os.mkdir(folder)
    os.chdir(folder)
    os.rmdir(folder)


ODD: dict[str, Odd] = {
    "-OO": (["-OO"], {}, None),
    "-W error": (["-W", "error"], {}, None),
    "-X dev": (["-X", "dev"], {}, None),
    "no home": ([], {"HOME": None}, None),
    "no environment at all": ([], {"HOME": None, "PATH": None}, None),
    "an empty home": ([], {"HOME": ""}, None),
    "a home that is a file": ([], {"HOME": "/dev/null"}, None),
    "a home that cannot be written": ([], {"HOME": "/proc/self"}, None),
    "XDG folders that cannot be written": ([], {"XDG_CONFIG_HOME": "/proc/1/x", "XDG_DATA_HOME": "/proc/1/x"}, None),
    "a narrow dumb terminal": ([], {"COLUMNS": "1", "TERM": "dumb", "LINES": "0"}, None),
    "no number of columns": ([], {"COLUMNS": "-x", "TERM": "\x1b"}, None),
    "unbuffered": ([], {"PYTHONUNBUFFERED": "1"}, None),
    "a strict encoding": ([], {"PYTHONIOENCODING": "ascii:strict"}, None),
    "an unknown locale": ([], {"LC_ALL": "xx_XX.UTF-9", "LANG": "C"}, None),
    "standard input closed": ([], {}, closed(0)),
    "standard output closed": ([], {}, closed(1)),
    "standard error closed": ([], {}, closed(2)),
    "all closed": ([], {}, all_closed),
    "standard input full": ([], {}, full(0)),
    "standard output full": ([], {}, full(1)),
    "standard error full": ([], {}, full(2)),
    "standard output full, unbuffered": ([], {"PYTHONUNBUFFERED": "1"}, full(1)),
    "a current folder that is gone": ([], {}, gone),
}


def run(
    folder: Path, arguments: Sequence[str], odd: Odd = ([], {}, None), *, timeout_s: float = 60
) -> subprocess.CompletedProcess[bytes]:
    options, changed, prepare = odd
    known = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(folder), **changed}
    return subprocess.run(
        [sys.executable, *options, "-m", "llmspell", *arguments],
        cwd=folder,
        env={name: value for name, value in known.items() if value is not None},
        input=b"return 2\n",
        capture_output=True,
        preexec_fn=prepare,
        timeout=timeout_s,
        check=False,
    )


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_machine_is_told_about_and_never_with_a_traceback(odd: str, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    problems = []

    for name, arguments in COMMANDS.items():
        ended = run(tmp_path, arguments, ODD[odd])
        said = (ended.stdout + ended.stderr).decode(errors="replace")
        if ended.returncode not in EXIT_CODES or any(
            word in said for word in ("Traceback", "internal error", "Exception ignored")
        ):
            problems.append((name, ended.returncode, said[-600:]))

    assert problems == []


@pytest.mark.parametrize(
    "arguments", [["exec"], ["run"], ["tool", "info"], ["state", "get"], ["hook", "order"], [], ["--set"]]
)
def test_an_argument_of_100_kB_is_told_in_one_short_line(arguments: list[str], tmp_path: Path) -> None:
    ended = run(tmp_path, [*arguments, "x" * 100_000])

    assert ended.returncode in (1, 2)
    assert ended.stderr.count(b"\n") == 1
    assert len(ended.stderr) <= 501


RAISED = ["KeyboardInterrupt", "SystemExit(4)", "SystemExit", "GeneratorExit", "__import__('asyncio').CancelledError()"]
RAISED += [
    "BaseException('odd')",
    "__import__('trio').Cancelled._create(source='deadline')",
    "EOFError",
    "BrokenPipeError",
]
PLACES = {
    "import": "raise {}\n",
    "constructor": "class Plugin:\n    def __init__(self, settings, services):\n        raise {}\n",
    "hook": "from llmspell_hookspecs import hookimpl\n@hookimpl\ndef before_script_run(context):\n    raise {}\n",
    "async hook": "from llmspell_hookspecs import hookimpl\n@hookimpl\n"
    "async def before_script_run(context):\n    raise {}\n",
    "observer": "from llmspell_hookspecs import hookimpl\n@hookimpl(kind='observe')\n"
    "def after_script_run(context):\n    raise {}\n",
    "close": "class Plugin:\n    def __init__(self, settings, services): pass\n"
    "    async def __aenter__(self):\n        return self\n    async def __aexit__(self, *error):\n        raise {}\n",
}


@pytest.mark.parametrize("place", PLACES)
def test_whatever_a_plugin_raises_is_told_as_its_own_failure(place: str, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    for number, raised in enumerate(RAISED):
        install(tmp_path, f"bad{number}", name=f"bad{number}", code=PLACES[place].format(raised))

    ended = run(tmp_path, ["exec", "return 1"])

    lines = ended.stderr.decode().splitlines()
    assert (ended.returncode, ended.stdout) == (0, b"1\n"), ended.stderr.decode()
    assert [sum(f"bad{number}" in line for line in lines) for number in range(len(RAISED))] == [1] * len(RAISED), lines
    assert not [line for line in lines if "Traceback" in line]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs an input without end")
@pytest.mark.parametrize("arguments", [["agent", "run", "-"], ["tool", "invoke", "calculator", "-"]])
def test_a_standard_input_without_end_is_refused_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    with Path("/dev/zero").open("rb") as endless:
        ended = subprocess.run(
            [sys.executable, "-m", "llmspell", *arguments],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            stdin=endless,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )

    told = ended.stderr.decode()
    assert ended.returncode == 2
    assert told == "llmspell: standard input: it is longer than 67108864 characters; pipe in less\n"
