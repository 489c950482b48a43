"""Storage backends among processes that are killed, and among processes that compete."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from storage_child import make
from waiting import PATIENCE_S

CHILD = str(Path(__file__).with_name("storage_child.py"))
PIPES: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def answers(*commands: Sequence[object]) -> list[Any]:
    """Run them at once; answer what each printed."""
    started = [subprocess.Popen([sys.executable, CHILD, *map(str, command)], **PIPES) for command in commands]
    try:
        ended = [(child, *child.communicate(timeout=PATIENCE_S)) for child in started]
    finally:
        for child in started:
            child.kill()
            child.communicate()
    for child, _, errors in ended:
        assert child.returncode == 0, errors
    return [{**json.loads(out), "errors": errors} for _, out, errors in ended]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "sqlite-normal", "lmdb"])
def test_every_acknowledged_write_outlives_two_hundred_kills(tmp_path: Path, kind: str) -> None:
    seed = secrets.randbelow(1_000_000)

    (found,) = answers(["kills", kind, tmp_path, 200, seed])

    assert found["lost"] == 0, f"seed {seed}: {found['errors']}"
    assert found["killed_writing"] >= 50
    assert found["total"] >= 200


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "lmdb"])
async def test_processes_that_compare_and_set_lose_no_update(tmp_path: Path, kind: str) -> None:
    times = 200

    refused = [answer["refused"] for answer in answers(*[["count", kind, tmp_path, times, 3]] * 3)]

    async with make(kind, tmp_path) as storage:
        entry = await storage.get("counter")
        assert entry is not None
        assert (int(entry.value), entry.version) == (3 * times, 3 * times)
    assert sum(refused) > 0, "the processes never met, so nothing was tried"


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "lmdb"])
async def test_many_processes_make_a_new_storage_at_once(tmp_path: Path, kind: str) -> None:
    answers(*[["count", kind, tmp_path / "new", 3, 6]] * 6)

    async with make(kind, tmp_path / "new") as storage:
        entry = await storage.get("counter")
        assert entry is not None
        assert int(entry.value) == 18
