"""What the storage crash tests run in processes of their own; prints JSON.

``kills KIND FOLDER COUNT SEED``: writers are forked, killed at a random moment (half of them not before they have
opened the storage, which a busy machine takes long for), and the next one first looks for all that was acknowledged.
``count KIND FOLDER TIMES TOGETHER``: counts up by compare-and-set, once so many processes are there.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

import sqlite_utils  # noqa: F401 - here, so that no child spends the time that it has on its import
import trio

from llmspell_hookspecs import Storage
from llmspell_plugins.storage.lmdb import Lmdb, LmdbSettings
from llmspell_plugins.storage.sqlite import SQLite, SQLiteSettings
from llmspell_plugins.storage.sqlite.connections import Durability

WRITERS = 4
LONGEST_S = 0.09


def make(kind: str, folder: Path) -> Storage:
    if kind == "lmdb":
        return Lmdb(LmdbSettings(path=folder / "lmdb"))
    durability: Durability = "normal" if kind == "sqlite-normal" else "full"
    return SQLite(SQLiteSettings(path=folder / "state.db", durability=durability, busy_s=30))


def kill_often(kind: str, folder: Path, count: int, seed: int) -> dict[str, int]:
    """Return how much was acknowledged, and lost, and how many writers were killed while writing."""
    source = random.Random(seed)
    acknowledged = [0] * WRITERS
    total = killed_writing = 0
    for number in range(count):
        lines = kill_once(kind, folder, acknowledged, source.uniform(0.0, LONGEST_S), opened=number % 2 == 1)
        if "LOST" in lines:
            return {"total": total, "lost": 1, "killed_writing": killed_writing}
        killed_writing += bool(lines)
        for line in lines.split():
            writer, number = map(int, line.split(":"))
            acknowledged[writer] = max(acknowledged[writer], number)
            total += 1
    lost = "LOST" in kill_once(kind, folder, acknowledged, 3.0, only_look=True)
    return {"total": total, "lost": int(lost), "killed_writing": killed_writing}


def kill_once(
    kind: str, folder: Path, acknowledged: list[int], after_s: float, *, opened: bool = False, only_look: bool = False
) -> str:
    """Fork a writer, kill it, and return what it said."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            trio.run(look_and_write, kind, folder, acknowledged, writer, only_look)
        except BaseException as error:
            os.write(writer, f" LOST {error!r}\n".encode())
        os._exit(0)
    os.close(writer)
    if not only_look:
        if opened:
            select.select([reader], [], [], 10)
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(reader, "rb") as said:
        content = said.read().decode()
    if "LOST" in content:
        sys.stderr.write(content)
        return content
    # The last line may have been cut by the kill; then it was not told.
    return content[: content.rfind("\n") + 1].removeprefix("opened\n")


async def look_and_write(kind: str, folder: Path, acknowledged: list[int], out: int, only_look: bool) -> None:
    async with make(kind, folder) as storage:
        numbers = [await look(storage, writer, acknowledged[writer]) for writer in range(WRITERS)]
        if not only_look:
            os.write(out, b"opened\n")
            async with trio.open_nursery() as nursery:
                for writer, number in enumerate(numbers):
                    nursery.start_soon(write_on, storage, writer, number, out)


async def look(storage: Storage, writer: int, at_least: int) -> int:
    """Return the number that the writer's batch holds; both of its keys hold the same."""
    left, right = await storage.get(f"{writer}/left"), await storage.get(f"{writer}/right")
    found = [0 if entry is None else int(entry.value[:8]) for entry in (left, right)]
    assert found[0] == found[1], f"writer {writer}: a batch was torn: {found}"
    assert found[0] >= at_least, f"writer {writer}: it holds {found[0]}, and {at_least} was acknowledged"
    return found[0]


async def write_on(storage: Storage, writer: int, number: int, out: int) -> None:
    while True:
        number += 1
        value = b"%08d" % number + b"x" * (number % 9000)
        await storage.write({f"{writer}/left": value, f"{writer}/gone": None, f"{writer}/right": value})
        os.write(out, b"%d:%d\n" % (writer, number))


def meet(folder: Path, together: int) -> None:
    """Wait until so many processes are here."""
    place = folder.with_name(f"{folder.name}-meeting")
    place.mkdir(parents=True, exist_ok=True)
    (place / str(os.getpid())).touch()
    latest_s = time.monotonic() + 60
    while len(list(place.iterdir())) < together and time.monotonic() < latest_s:
        time.sleep(0.001)


async def count_up(kind: str, folder: Path, times: int, together: int) -> dict[str, int]:
    """Return how many tries failed because the other process was there first."""
    meet(folder, together)
    refused = 0
    async with make(kind, folder) as storage:
        for _ in range(times):
            while True:
                entry = await storage.get("counter")
                value, version = (0, 0) if entry is None else (int(entry.value), entry.version)
                if await storage.write({"counter": b"%d" % (value + 1)}, expect={"counter": version}):
                    break
                refused += 1
    return {"refused": refused}


if __name__ == "__main__":
    if sys.argv[1] == "kills":
        answer = kill_often(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    else:
        answer = trio.run(count_up, sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    print(json.dumps(answer))
