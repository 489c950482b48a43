"""Malformed inputs are refused in one line each: a sample of what ``python -m tests.malformed`` tries."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from malformed.__main__ import KINDS, cases, kind_of
from malformed.oracle import Case, Watch, faults_of_message, faults_of_process, shown
from tool_calls import OURS
from waiting import PATIENCE_S

ROOT = Path(__file__).parents[1]
SAMPLE = {
    "settings": 120,
    "tools": 400,
    "lua": 100,
    "answers": 60,
    "packages": 40,
    "command_lines": 30,
    "workflows": 150,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_inputs_and_another_gives_others(kind: str) -> None:
    def made(seed: int, start: int, count: int) -> list[str]:
        return [shown(case.value) for case in cases(kind_of(kind).make, kind, seed, start, count)]

    assert made(1, 0, 30) == made(1, 0, 30)
    assert made(1, 0, 30)[7:9] == made(1, 7, 2)
    assert made(1, 0, 30) != made(2, 0, 30)
    assert len(set(made(1, 0, 30))) > 20


def test_an_error_that_is_not_ours_is_a_finding_and_says_how_to_try_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch = Watch("tools", 7)
    for number, error in enumerate([ValueError("raw"), RecursionError(), SystemExit(3), KeyError("x")]):
        with watch.trying(Case(number, "input")):
            raise error

    assert len(watch.findings) == 4
    assert "--kind tools --seed 7 --start 1 --count 1: RecursionError left" in capsys.readouterr().out


def test_what_a_message_or_a_process_may_not_hold_is_found() -> None:
    messages = ["", "a\nb", "a\x1b[2J", "\u202e", "\ud800", "x" * 501, "a\x85b"]
    ends = [
        (-11, b"x"),
        (1, b""),
        (2, b"Traceback (most recent call last)"),
        (1, b"llmspell: internal error: x"),
        (0, b"a\n" * 9),
    ]

    assert [message for message in messages if not list(faults_of_message(message))] == []
    assert [end for end in ends if not list(faults_of_process(*end))] == []
    assert list(itertools.chain(faults_of_message("tool:x: no; try y"), faults_of_process(2, b"llmspell: no\n"))) == []


def test_every_tool_that_is_installed_is_among_the_inputs_as_often_as_others() -> None:
    drawn = [cast("Any", case.value)[0] for case in cases(kind_of("tools").make, "tools", 1, 0, 40 * len(OURS))]

    count = Counter(drawn)
    assert set(count) == set(OURS)
    assert min(count.values()) > 10


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_malformed_inputs_is_refused_in_one_line_each(kind: str) -> None:
    command = [sys.executable, "-m", "tests.malformed", "--kind", kind, "--seed", "7", "--count", str(SAMPLE[kind])]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10 * PATIENCE_S, check=False)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert f"{kind}: {SAMPLE[kind]} tried, 0 findings" in done.stdout
