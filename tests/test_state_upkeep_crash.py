"""What moves all of state, in processes that are killed at any moment: it goes on, and is never seen half-done."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from waiting import PATIENCE_S

CHILD = str(Path(__file__).with_name("state_upkeep_child.py"))


def killed(work: str, folder: Path, rounds: int) -> Any:
    """Run a work whose processes are killed; return what it tells."""
    seed = secrets.randbelow(1_000_000)
    command = [sys.executable, CHILD, work, str(folder), str(rounds), str(seed)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=8 * PATIENCE_S)
    assert child.returncode == 0, f"seed {seed}: {child.stderr}"
    return json.loads(child.stdout)


@pytest.mark.long
def test_a_killed_migration_goes_on_and_is_undone_byte_for_byte(tmp_path: Path) -> None:
    told = killed("migration", tmp_path, 7)

    assert told == {"forward": 7, "back": 7}


@pytest.mark.long
def test_killed_backups_are_whole_or_not_there_and_a_killed_restore_is_all_or_refused(tmp_path: Path) -> None:
    told = killed("backup", tmp_path, 5)

    assert told == {"made": 5, "restored": 5, "abandoned": 5}


@pytest.mark.long
def test_a_killed_move_of_a_scope_leaves_each_value_in_one_of_the_two(tmp_path: Path) -> None:
    told = killed("scopes", tmp_path, 5)

    assert told["cut"] == 5


@pytest.mark.long
def test_a_killed_encrypting_anew_leaves_every_value_readable_and_goes_on_to_one_key(tmp_path: Path) -> None:
    told = killed("rekey", tmp_path, 4)

    assert told["cut"] == 8


@pytest.mark.long
def test_a_hundred_kills_during_saves_of_a_session_lose_no_save_and_leave_none_half_made(tmp_path: Path) -> None:
    told = killed("session", tmp_path, 100)

    assert told["cut"] == 100


@pytest.mark.long
def test_a_hundred_kills_during_writes_of_a_journal_lose_no_operation_that_was_flushed(tmp_path: Path) -> None:
    told = killed("journal", tmp_path, 100)

    assert told["cut"] == 100
