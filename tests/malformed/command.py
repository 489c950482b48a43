"""Runs a command line, within this process or in one of its own, and judges how it ended."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from llmspell.cli.main import main

from .oracle import PATIENCE_S, Case, Watch, faults_of_process

__all__ = ["run_here", "run_process", "spoken"]


def run_here(case: Case, watch: Watch, arguments: Sequence[str], given: bytes = b"") -> int:
    """Run a command line in this process, and return its exit code."""
    errors = io.BytesIO()
    before = sys.stdin, sys.stdout, sys.stderr
    questions = tempfile.TemporaryFile()  # noqa: SIM115 - a real one, as a process has, closed with stdin
    questions.write(given)
    questions.seek(0)
    sys.stdin = io.TextIOWrapper(questions, "utf-8", "surrogateescape")
    sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(errors, "utf-8")
    code: object = None
    try:
        main(list(arguments))
    except SystemExit as leaving:
        code = leaving.code
    finally:
        sys.stderr.flush()
        said = errors.getvalue()
        sys.stdin.close()
        sys.stdin, sys.stdout, sys.stderr = before
    return _judge(case, watch, code if isinstance(code, int) else -1, said, arguments)


def run_process(case: Case, watch: Watch, arguments: Sequence[str], given: bytes = b"") -> int:
    """Run a command line in a process of its own, and return its exit code; the system takes no NUL in it."""
    words = [word.replace("\0", "").encode("utf-8", "surrogateescape") for word in map(spoken, arguments)]
    command = [os.fsencode(sys.executable), b"-m", b"llmspell", *words]
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=PATIENCE_S - 10, check=False)
    except subprocess.TimeoutExpired:
        watch.complain(case, "HANG: the process did not end")
        return -1
    return _judge(case, watch, done.returncode, done.stderr, arguments)


def _judge(case: Case, watch: Watch, code: int, errors: bytes, arguments: Sequence[str]) -> int:
    watch.outcomes[str(code)] += 1
    report = tuple(arguments[:2]) == ("config", "validate")  # says all that is wrong, a line each
    verbose = report or any(word.startswith(("-v", "--verb")) for word in arguments)
    for fault in faults_of_process(code, errors, verbose=verbose):
        watch.complain(case, fault)
    return code


def spoken(word: str) -> str:
    """Return the word as a process may be given it: bytes that are no UTF-8, but no half of a pair."""
    try:
        word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return word.encode("utf-8", "replace").decode()
    return word
