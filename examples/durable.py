"""A workflow whose process dies in the middle, and what the next process makes of it.

Run it with ``python examples/durable.py``; it needs no key and no network. The first process counts words, begins to
charge somebody, and dies. The second one does not count again, and does not charge again either: whether that happened
nobody can know but a person, who looks and says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import trio
from pydantic import BaseModel

from llmspell import Host
from llmspell_hookspecs import Tool, ToolContext
from llmspell_hookspecs.runs import Verdict
from llmspell_hookspecs.workflows import Workflows

ORDER = {
    "name": "order",
    "stages": [
        {"name": "count", "tool": "calculator", "input": {"operation": "evaluate", "input": "{{input.price}} * 3"}},
        {"name": "charge", "tool": "charge", "input": {"amount": "{{step:count:output.result}}"}},
        {"name": "thank", "tool": "text_manipulator", "input": {"operation": "uppercase", "input": "thank you"}},
    ],
}


def write(amount: float) -> None:
    """Write a line into the ledger."""
    with Path("ledger").open("a") as ledger:
        ledger.write(f"{amount:g}\n")


def read() -> list[str]:
    """Return the lines of the ledger."""
    return Path("ledger").read_text().split()


class Charging(BaseModel):
    """What the tool takes."""

    amount: float


class Charge(Tool[Charging]):
    """Take money, which must not happen twice."""

    name = "charge"

    async def run(self, parameters: Charging, context: ToolContext) -> Any:
        """Write it into the ledger, and die before anybody is told."""
        write(parameters.amount)
        os._exit(1)


async def begin() -> None:
    """Run the workflow in a process that dies within it."""
    async with Host.open(plugins=[Charge]) as host:
        workflow = await host.get(Workflows).create(ORDER)
        await workflow.run({"price": 14}, run_id="order-1", durable=True)


async def go_on() -> None:
    """Resume it, look at what waits, and say what became of that."""
    async with Host.open(plugins=[Charge]) as host:
        workflows = host.get(Workflows)
        paused = await workflows.resume("order-1", take_over=True)
        print(f"resumed: {paused.status}")
        details = await workflows.run_details("order-1")
        for stage in details.stages if details else ():
            print(f"  {stage.path}: {stage.status}")
        ledger = read()
        print(f"the ledger says: {', '.join(ledger)}")
        verdict = Verdict("done", {"charged": float(ledger[0])})
        output = await workflows.resume("order-1", verdicts={"charge": verdict})
        print(f"resumed: {output.status}, charged {len(read())} time")


if __name__ == "__main__":
    if sys.argv[1:] == ["begin"]:
        trio.run(begin)
    else:
        with tempfile.TemporaryDirectory() as folder:
            script = str(Path(__file__).resolve())
            died = subprocess.run([sys.executable, script, "begin"], cwd=folder, check=False)  # noqa: S603 - itself
            print(f"the first process ended with {died.returncode}")
            os.chdir(folder)
            trio.run(go_on)
            os.chdir("/")
