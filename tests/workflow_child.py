"""What the crash tests of durable runs run in processes of their own; prints JSON.

``kills FOLDER COUNT SEED``: a workflow of 50 stages in five branches is begun, its process is killed at a random
moment, the next one resumes it, until it has ended; then the next run begins, until so many processes were killed. What
a stage does is one line in a file, which is the oracle: it says what became of a stage that was interrupted, too. A
stage of the sort ``ours`` counts in the state as well.
``frozen FOLDER``: a process is stopped within a stage, another one takes the run over and ends it, the first goes on.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from kernel import make_tool, opened
from llmspell_hookspecs.errors import WorkflowError
from llmspell_hookspecs.runs import Verdict
from llmspell_hookspecs.state import State
from llmspell_hookspecs.workflows import Workflows

SORTS: dict[str, dict[str, Any]] = {
    "once": {"repeatable": False},
    "keyed": {"repeatable": False, "effects": "keyed"},
    "again": {"repeatable": True},
    "ours": {"repeatable": False, "effects": "transactional"},
}
STAGES, BRANCHES = 50, 5
GOES_ON = "goes_on"
LONGEST_S = 0.25


def sort_of(number: int) -> str:
    """Two of five stages may not run twice."""
    return ("once", "keyed", "ours", "again", "once")[number % 5]


def definition() -> dict[str, Any]:
    """Return five branches of ten stages."""
    stages = [{"name": f"s{n}", "tool": sort_of(n), "input": {"name": f"s{n}"}, "timeout_s": 60} for n in range(STAGES)]
    each = STAGES // BRANCHES
    branches = [{"name": f"b{b}", "stages": stages[b * each : (b + 1) * each]} for b in range(BRANCHES)]
    return {"name": "fifty", "pattern": "parallel", "branches": branches}


class Process:
    """One process that runs workflows: what it says of them goes into a pipe, what they do into a file."""

    def __init__(self, folder: Path, out: int, holds_at: str = "") -> None:
        self.folder, self.out, self.holds_at = folder, out, holds_at
        self.effects = os.open(folder / "effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.run_id = ""

    async def act(self, parameters: dict[str, Any], context: Any) -> Any:
        """Do what a stage does: write one line, which a kill cannot cut."""
        name = parameters["name"]
        if sort_of(int(name[1:])) == "ours":
            state = context.services.get(State)
            await state.set(f"{self.run_id}/{name}", (await state.get(f"{self.run_id}/{name}") or 0) + 1)
        await trio.sleep(0.0005)
        os.write(self.effects, f"{self.run_id} {name} {context.key}\n".encode())
        if name == self.holds_at:
            await self.hold()
        return {"result": name}

    async def hold(self) -> None:
        """Wait until the other branches have done all that they do, say so, and wait until the run was taken over.

        A stage that was frozen before it wrote its line would write it once it goes on: no fence keeps it from that.
        """
        others = STAGES - STAGES // BRANCHES
        branch = {f"s{n}" for n in range(STAGES // BRANCHES)}
        while sum(name not in branch for _, name, _ in effects_of(self.folder)) < others:
            await trio.sleep(0.001)
        os.write(self.out, b"reached\n")
        while not (self.folder / GOES_ON).exists():
            await trio.sleep(0.001)

    async def go(self, run_id: str, resumed: bool) -> None:
        """Begin a run, or resume it, and say how it ended."""
        self.run_id = run_id
        tools = [make_tool(name, self.act, **attributes) for name, attributes in SORTS.items()]
        async with opened(*tools, settings={"storage": storage_of(self.folder)}) as host:
            workflows = host.get(Workflows)
            os.write(self.out, b"opened\n")
            details = await workflows.run_details(run_id) if resumed else None
            if details is None:
                handle = await workflows.create(definition())
                output = await handle.run(run_id=run_id, durable=True)
            else:
                verdicts = self.verdicts(run_id, details)
                output = await workflows.resume(run_id, take_over=True, verdicts=verdicts)
        told = {"status": output.status, "done": len(output.outputs), "error": output.error}
        os.write(self.out, f"ended {json.dumps(told)}\n".encode())

    def verdicts(self, run_id: str, details: Any) -> dict[str, Verdict]:
        """Return what the file says of stages that were interrupted."""
        done = {name for id, name, _ in effects_of(self.folder) if id == run_id}
        return {
            stage.path: Verdict("done", {"result": stage.input["name"]})
            if stage.input["name"] in done
            else Verdict("again")
            for stage in details.stages
            if stage.status == "interrupted"
        }


def storage_of(folder: Path) -> dict[str, Any]:
    """Return the storage that all processes share."""
    return {"backend": "sqlite", "sqlite": {"path": str(folder / "kept.db"), "busy_s": 30}}


def effects_of(folder: Path) -> list[tuple[str, str, str]]:
    """Return what was done: run, stage, key."""
    lines = (folder / "effects").read_text().splitlines() if (folder / "effects").exists() else []
    return [(run_id, name, key) for run_id, name, key in (line.split() for line in lines)]


def forked(folder: Path, run_id: str, resumed: bool, holds_at: str = "") -> tuple[int, int]:
    """Fork a process that runs a workflow; returns its id and the pipe in which it says what happens."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            trio.run(Process(folder, writer, holds_at).go, run_id, resumed)
        except WorkflowError as error:
            os.write(writer, f"refused {error}\n".encode())
        except BaseException as error:
            os.write(writer, f"BROKEN {error!r}\n".encode())
        os._exit(0)
    os.close(writer)
    return child, reader


def said(child: int, reader: int) -> list[str]:
    """Wait for a process to end and return what it said."""
    os.waitpid(child, 0)
    with open(reader, "rb") as pipe:
        return pipe.read().decode().splitlines()


def until(reader: int, wanted: str) -> None:
    """Wait until a process has said something."""
    heard = b""
    while wanted.encode() not in heard:
        if not select.select([reader], [], [], 60)[0]:
            raise TimeoutError(wanted)
        part = os.read(reader, 4096)
        if not part:
            raise EOFError(f"{wanted}: {heard!r}")
        heard += part


def kill_often(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Kill and resume until so many processes were killed and the last run has ended."""
    source = random.Random(seed)
    kills = runs = interrupted = 0
    ended = True
    broken: list[str] = []
    while kills < count or not ended:
        runs += ended
        resumed, ended = not ended, False
        child, reader = forked(folder, f"r{runs}", resumed)
        if kills < count:
            until(reader, "opened")
            time.sleep(source.uniform(0, LONGEST_S))
            os.kill(child, signal.SIGKILL)
        lines = said(child, reader)
        broken += [line for line in lines if line.startswith(("BROKEN", "refused"))]
        results = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith("ended")]
        if broken:
            break
        if not results:
            kills += 1
        elif results[0]["status"] == "paused":
            interrupted += 1
        else:
            ended = True
            if results[0] != {"status": "completed", "done": STAGES, "error": ""}:
                broken.append(str(results[0]))
    return {"kills": kills, "runs": runs, "paused": interrupted, "broken": broken, **judged(folder, runs)}


async def counted(folder: Path) -> dict[str, Any]:
    """Return how often the state says that each stage of ours ran."""
    async with opened(settings={"storage": storage_of(folder)}) as host:
        return {key: await host.state.get(key) for key in await host.state.keys()}


def judged(folder: Path, runs: int) -> dict[str, Any]:
    """Return, of each sort of stage, how many there were and how many happened otherwise than promised."""
    effects = effects_of(folder)
    in_state = trio.run(counted, folder)
    counts = Counter((run_id, name) for run_id, name, _ in effects)
    keys: dict[tuple[str, str], set[str]] = {}
    for run_id, name, key in effects:
        keys.setdefault((run_id, name), set()).add(key)
    wrong: dict[str, Callable[[tuple[str, str]], bool]] = {
        "once": lambda stage: counts[stage] != 1,
        "keyed": lambda stage: len(keys.get(stage, ())) != 1,
        "again": lambda stage: counts[stage] < 1,
        "ours": lambda stage: counts[stage] < 1 or in_state.get("/".join(stage)) != 1,
    }
    judgement: dict[str, Any] = {}
    for sort, is_wrong in wrong.items():
        stages = [(f"r{run}", f"s{n}") for run in range(1, runs + 1) for n in range(STAGES) if sort_of(n) == sort]
        judgement[sort] = {
            "stages": len(stages),
            "wrong": sum(map(is_wrong, stages)),
            "twice": sum(counts[stage] > 1 for stage in stages),
        }
    return judgement


def stopped(process: int) -> bool:
    """Whether every thread of a process has stopped."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return all((thread / "stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


def stop(process: int, database: Path) -> None:
    """Stop a process while it does not hold the lock of its database: nobody could take anything over until it ends."""
    while True:
        os.kill(process, signal.SIGSTOP)
        while not stopped(process):  # a thread on the other core goes on for a moment
            time.sleep(0.001)
        connection = sqlite3.connect(database, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            return
        except sqlite3.OperationalError:
            os.kill(process, signal.SIGCONT)
            time.sleep(0.005)
        finally:
            connection.close()


def freeze(folder: Path) -> dict[str, Any]:
    """Stop a process within a stage, end its run in another, let it go on; returns what each said."""
    frozen, reader = forked(folder, "r1", False, holds_at="s3")
    until(reader, "reached")
    stop(frozen, folder / "kept.db")
    results = []
    for _ in range(2):  # the stages that were under way are decided about by the file
        results = said(*forked(folder, "r1", True))
        if '"paused"' not in results[-1]:
            break
    before = len(effects_of(folder))
    (folder / GOES_ON).touch()
    os.kill(frozen, signal.SIGCONT)
    late = said(frozen, reader)
    return {"taken": results, "late": late, "after": len(effects_of(folder)) - before, **judged(folder, 1)}


if __name__ == "__main__":
    place = Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    answer = kill_often(place, int(sys.argv[3]), int(sys.argv[4])) if sys.argv[1] == "kills" else freeze(place)
    print(json.dumps(answer))
