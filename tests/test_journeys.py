"""The ways that a newcomer reads along stay as short as they are: moves from file to file, counted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

MOST = {
    "call a tool with a guard": 48,
    "stream a turn": 294,
    "set state": 15,
    "open a host with a plugin": 780,
    "llmspell tool invoke": 895,
}
"""A tenth more than they have: who makes one longer had better know why."""


@pytest.mark.long
def test_no_journey_takes_more_moves_between_files_than_it_did() -> None:
    command = [sys.executable, "-m", "benchmarks", "journeys"]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)

    found = dict(re.findall(r"(?m)^(.+): \d+ files, (\d+) moves between them$", done.stdout))

    assert found.keys() == MOST.keys()
    assert {name: moves for name, moves in found.items() if int(moves) > MOST[name]} == {}
