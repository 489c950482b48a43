"""The group startup: whole processes, from nothing to their end, beside bare Python and the peers' imports."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Final

from .timing import OURS, Bar, Contender, Row, Run, measure

__all__ = ["heavy_imports", "measure_startup"]

_COMMAND: Final = "from llmspell.cli.main import main; main()"
_FLOOR: Final = "floor: python -c pass"
_HEAVY: Final = ("litellm", "lupa", "pydantic", "rich", "stevedore", "trio")
_PEERS: Final = (
    ("strands-agents", "strands", "from strands import Agent"),
    ("google-adk", "google.adk", "from google.adk.agents import LlmAgent"),
)


async def measure_startup(rounds: int) -> Run:
    """Time the rows of the group."""
    with tempfile.TemporaryDirectory() as folder:
        environment = _clean(folder)

        def python(*arguments: str) -> Callable[[], None]:
            return lambda: _run([sys.executable, *arguments], folder, environment)

        def row(name: str, contenders: Sequence[Contender], bar: Bar | None = None) -> Row:
            return Row(name, [Contender(_FLOOR, python("-c", "pass")), *contenders], bar)

        def ours(*arguments: str) -> list[Contender]:
            return [Contender(OURS, python("-c", _COMMAND, *arguments))]

        imports = [Contender(name, python("-c", code)) for name, module, code in _PEERS if _installed(module)]
        run = await measure(
            [
                row("llmspell --help", ours("--help"), Bar("80 ms", plus_ns=80e6)),
                row("llmspell version", ours("version")),
                row("script", ours("exec", "return 1"), Bar("400 ms", plus_ns=4e8)),
                row("import", [Contender(OURS, python("-c", "import llmspell.host")), *imports]),
            ],
            rounds,
        )
    heavy = ", ".join(heavy_imports())
    return run.joined(Run(notes=(f"llmspell --help imports {heavy or 'none'} of {', '.join(_HEAVY)}",)))


def heavy_imports() -> list[str]:
    """Return which heavy libraries ``llmspell --help`` imports; there should be none."""
    code = (
        "import sys\nfrom llmspell.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('imported:', *(name for name in {_HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1:]


def _clean(folder: str) -> dict[str, str]:
    """Return an environment without the user's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LLMSPELL_")}
    return {**kept, "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_CACHE_HOME": folder, "XDG_DATA_HOME": folder}


def _run(command: Sequence[str], folder: str, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: it exited with {done.returncode}: {done.stderr.strip()}")


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
