"""Sessions and artifacts of processes that are killed at any moment."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from waiting import PATIENCE_S

CHILD = str(Path(__file__).with_name("artifact_child.py"))


@pytest.mark.long
def test_what_was_acknowledged_outlives_kills_during_saves_and_stores(tmp_path: Path) -> None:
    seed = secrets.randbelow(1_000_000)
    command = [sys.executable, CHILD, str(tmp_path), "100", str(seed)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * PATIENCE_S)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["lost"] == "", f"seed {seed}: {found}"
    assert found["killed_writing"] == 100
    assert found["total"] >= 20
