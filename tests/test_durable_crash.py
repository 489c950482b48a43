"""Durable runs among processes that are killed, and one that is frozen while another takes its run over."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from waiting import PATIENCE_S

CHILD = str(Path(__file__).with_name("workflow_child.py"))


def told(*arguments: object, patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Return what a process prints that kills others, or freezes one."""
    command = [sys.executable, CHILD, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience_s)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def check_promise(found: dict[str, Any], seed: int) -> None:
    assert found["broken"] == [], f"seed {seed}"
    assert [found[sort]["wrong"] for sort in ("once", "keyed", "again", "ours")] == [0, 0, 0, 0], (
        f"seed {seed}: {found}"
    )
    assert found["once"]["twice"] == 0, f"seed {seed}: {found}"


def test_ten_kills_break_no_promise(tmp_path: Path) -> None:
    seed = secrets.randbelow(1_000_000)

    found = told("kills", tmp_path, 10, seed)

    check_promise(found, seed)
    assert found["kills"] == 10


@pytest.mark.long
def test_a_hundred_kills_break_no_promise(tmp_path: Path) -> None:
    seed = secrets.randbelow(1_000_000)

    found = told("kills", tmp_path, 100, seed, patience_s=8 * PATIENCE_S)  # each starts processes, as nothing else does

    check_promise(found, seed)
    assert found["kills"] == 100
    assert found["runs"] >= 2


def test_a_frozen_process_whose_run_was_taken_over_cannot_write(tmp_path: Path) -> None:
    found = told("frozen", tmp_path)

    assert '"completed"' in found["taken"][-1]
    assert "somebody else has taken it over" in found["late"][-1]
    assert [found[sort]["wrong"] for sort in ("once", "keyed", "again", "ours")] == [0, 0, 0, 0]
    assert found["after"] == 0
