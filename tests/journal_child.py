"""A process that records until it is killed: ``FOLDER ORACLE RUN``.

It runs operations, flushes the journal, and writes ``RUN NUMBER`` to the file ORACLE, durably, once the operation with
that number is acknowledged.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
from pathlib import Path

import trio


async def record(folder: str, oracle: str, run: str) -> None:
    """Run, flush, and tell the oracle."""
    from llmspell import Host
    from llmspell.settings import load_settings
    from llmspell_hookspecs.context import ComponentRef
    from llmspell_hookspecs.journal import Journal
    from llmspell_hookspecs.operation import Operation, OperationKind, Operations

    async def body(subject: object) -> object:
        return {"number": subject, "text": "x" * dice.choice([1, 500, 5000])}

    told = os.open(oracle, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    dice = random.Random(run)
    kind, component = OperationKind("visit"), ComponentRef("visit", "it")
    loaded = load_settings({"journal": {"record": "all"}}, environment={}, cwd=Path(folder))
    async with Host.open(loaded, discover=False) as host:
        journal, operations = host.get(Journal), host.get(Operations)
        numbers = itertools.count(1)
        while True:
            for number in itertools.islice(numbers, dice.choice([1, 3, 50, 600])):
                visit = Operation(kind, component, [int(run), number], body, baggage={"session": "one"})
                await operations.execute(visit)
            await journal.flush()
            os.write(told, f"{run} {number}\n".encode())
            os.fsync(told)


if __name__ == "__main__":
    _, folder, oracle, run = sys.argv
    trio.run(record, folder, oracle, run)
