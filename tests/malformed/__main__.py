"""Tries malformed inputs and prints what they found; ends with 1 if that is anything."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Protocol, cast

from .mutation import Mutation
from .oracle import Case, Watch

KINDS = {
    "settings": 4000,
    "tools": 10_000,
    "lua": 3000,
    "answers": 3000,
    "packages": 1500,
    "command_lines": 1000,
    "workflows": 4000,
}
"""The kinds, and how many of each a complete run tries."""
_TESTS = str(Path(__file__).resolve().parents[1])


class Kind(Protocol):
    """A module that makes inputs of a kind, and tries them."""

    def make(self, draw: Mutation) -> object:
        """Return an input."""

    def run(self, cases: Iterable[Case], watch: Watch, project: Path) -> None:
        """Try them in this folder, which is the current one."""


def kind_of(name: str) -> Kind:
    """Return the kind of this name."""
    if _TESTS not in sys.path:  # as where pytest runs: what the tests share is found by its own name
        sys.path.insert(0, _TESTS)
    kind: Any = importlib.import_module(f"{__package__}.{name}")
    return cast("Kind", kind)


def cases(make: Callable[[Mutation], object], kind: str, seed: int, start: int, count: int) -> Iterator[Case]:
    """Yield the inputs of a seed; each depends on its own number only."""
    for number in range(start, start + count):
        yield Case(number, make(Mutation(Random(f"{kind}:{seed}:{number}"))))


def try_kind(kind: str, seed: int, start: int, count: int) -> Watch:
    """Try inputs of one kind in a scratch folder."""
    watch = Watch(kind, seed)
    before, environment = Path.cwd(), dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="malformed-", ignore_cleanup_errors=True) as scratch:
        root = Path(scratch).resolve()
        _isolate(root)
        try:
            module = kind_of(kind)
            module.run(cases(module.make, kind, seed, start, count), watch, root / "project")
        finally:
            os.chdir(before)
            os.environ.clear()
            os.environ.update(environment)
            tempfile.tempdir = None
    return watch


def main(arguments: list[str] | None = None) -> int:
    """Try what the command line asks for."""
    parser = argparse.ArgumentParser(prog="malformed")
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--count", type=int, help="how many of each kind; a complete run if left out")
    parser.add_argument("--share", type=int, default=1, help="a part of a complete run: one of so many")
    given = parser.parse_args(arguments)
    found = 0
    for kind in KINDS if given.kind == "all" else [given.kind]:
        began = time.monotonic()
        count = given.count if given.count is not None else KINDS[kind] // given.share
        watch = try_kind(kind, given.seed, given.start, count)
        found += len(watch.findings)
        took = f"{time.monotonic() - began:.1f} s"
        ended = ", ".join(f"{outcome} {times}" for outcome, times in watch.outcomes.most_common())
        print(f"{kind}: {watch.tried} tried, {len(watch.findings)} findings, {took} ({ended})", flush=True)
    return 1 if found else 0


def _isolate(root: Path) -> None:
    """Make the folders of a run, and let nothing of the person's or the machine's reach it."""
    for folder in ("project/.git", "home", "config", "data", "runtime", "tmp"):
        (root / folder).mkdir(parents=True)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ}
    os.environ.clear()
    os.environ.update(
        kept,
        HOME=str(root / "home"),
        LLMSPELL_CONFIG_HOME=str(root / "config"),
        LLMSPELL_DATA_HOME=str(root / "data"),
        XDG_RUNTIME_DIR=str(root / "runtime"),
        TMPDIR=str(root / "tmp"),
        LANG="C.UTF-8",
        PYTHONDONTWRITEBYTECODE="1",
    )
    tempfile.tempdir = None
    sys.dont_write_bytecode = True
    os.chdir(root / "project")


if __name__ == "__main__":
    sys.exit(main())
