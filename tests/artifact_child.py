"""What the crash tests of sessions and artifacts run in a process of its own; prints JSON.

``FOLDER COUNT SEED``: writers are forked, which save a session, and store, delete and collect artifacts; each is killed
at a random moment, so many of them while they write, and the next one first looks for all that was acknowledged.
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
from typing import Any

import sqlite_utils  # noqa: F401 - here, so that no child spends the time that it has on its import
import trio

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs.artifacts import ArtifactDraft, Artifacts
from llmspell_hookspecs.sessions import SessionDraft, Sessions
from llmspell_plugins.services.artifacts import service as _artifacts  # noqa: F401
from llmspell_plugins.services.sessions import service as _sessions  # noqa: F401

LONGEST_S = 0.12
PATIENCE_S = 60.0


def content_of(number: int) -> bytes:
    """Return a content that its number settles, small or large."""
    return random.Random(number % 7).randbytes([10, 20_000, 70_000][number % 3]) + b"%d" % (number % 7)


def kill_often(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Return how much was acknowledged, what was lost, and how many writers were killed while writing."""
    source = random.Random(seed)
    known: dict[str, Any] = {"session": "", "saved": {}, "kept": {}, "next": 1}
    total = killed = 0
    longest_s = LONGEST_S
    while killed < count:
        lines = kill_once(folder, known, source.uniform(0.0, longest_s))
        if "LOST" in lines:
            return {"total": total, "killed_writing": killed, "lost": lines}
        if "\n" in lines.partition("ready\n")[2]:
            killed += 1
        else:  # a machine that is this slow needs more time to get to writing
            longest_s *= 1.1
        total += take(known, lines)
    lines = kill_once(folder, known, 0.0)
    return {"total": total, "killed_writing": killed, "lost": lines if "LOST" in lines else ""}


def take(known: dict[str, Any], lines: str) -> int:
    """Take in what a writer acknowledged, but for a line that was cut off."""
    whole = lines.rpartition("\n")[0].splitlines()
    for line in whole:
        word, *numbers = line.split()
        match word:
            case "session":
                known["session"] = numbers[0]
            case "saved":
                known["saved"][int(numbers[0])] = int(numbers[1])
            case "put":
                known["kept"][int(numbers[0])] = int(numbers[1])
            case "deleting":  # from here on it may be gone
                known["kept"].pop(int(numbers[0]), None)
            case "next":
                known["next"] = int(numbers[0])
    return len(whole)


def kill_once(folder: Path, known: dict[str, Any], after_s: float) -> str:
    """Fork a writer, kill it so long after it was ready, and return what it said."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            trio.run(write, folder, known, writer)
        except BaseException as error:
            os.write(writer, f"LOST {type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os.close(writer)
    said, until = b"", time.monotonic() + PATIENCE_S
    ready_s: float | None = None
    while True:
        now_s = time.monotonic()
        wait_s = until - now_s if ready_s is None else ready_s + after_s - now_s
        if wait_s <= 0:
            break
        readable, _, _ = select.select([reader], [], [], wait_s)
        if not readable:
            break
        part = os.read(reader, 65_536)
        if not part:
            break
        said += part
        if ready_s is None and b"ready\n" in said:
            ready_s = time.monotonic()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while part := os.read(reader, 65_536):
        said += part
    os.close(reader)
    return said.decode()


async def write(folder: Path, known: dict[str, Any], out: int) -> None:
    """Look for what was acknowledged, then write until killed."""

    def say(line: str) -> None:
        os.write(out, f"{line}\n".encode())

    settings = {"plugins": {"sessions": {"keep_checkpoints": 10_000}, "artifacts": {"max_artifacts": 100_000}}}
    loaded = load_settings(settings, environment={}, cwd=folder)
    async with Host.open(loaded, discover=False) as host:
        sessions, artifacts = await host.enter(Sessions), await host.enter(Artifacts)
        id = known["session"]
        if not id:
            id = (await sessions.create(SessionDraft("crash"))).id
            say(f"session {id}")
        problem = await look(host, sessions, artifacts, id, known)
        if problem:
            say(f"LOST {problem}")
        say("ready")
        number = known["next"]
        while True:
            number += 1
            say(f"next {number}")
            await host.state.set("a", number, scope=f"session:{id}")
            await host.state.set(f"b{number % 5}", content_of(number), scope=f"session:{id}")
            saved = await sessions.save(id)
            say(f"saved {saved.number} {number}")
            made = await artifacts.put(ArtifactDraft(f"n{number % 4}", id, tags=("t",)), content_of(number))
            say(f"put {made.id.sequence} {number}")
            if number % 3 == 0:
                say(f"deleting {made.id.sequence}")
                await artifacts.delete(id, made.id.sequence)
            if number % 4 == 0:
                await artifacts.sweep(0)


async def look(host: Host, sessions: Sessions, artifacts: Artifacts, id: str, known: dict[str, Any]) -> str:
    """Return what is not as it was acknowledged."""
    there = {each.number for each in await sessions.checkpoints(id)}
    if not set(known["saved"]) <= there:
        return f"checkpoints {sorted(set(known['saved']) - there)}"
    for number in sorted(there)[-3:]:
        await sessions.restore(id, number)
        value = await host.state.get("a", scope=f"session:{id}")
        if value != known["saved"].get(number, value):
            return f"checkpoint {number} holds {value}"
    for sequence, number in known["kept"].items():
        if await artifacts.read(id, sequence) != content_of(number):
            return f"artifact {sequence}"
    report = await artifacts.verify()
    return "" if report.is_whole else f"verify: {report}"


if __name__ == "__main__":
    print(json.dumps(kill_often(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
