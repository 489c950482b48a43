"""Processes that record events: until they are killed, or until there is no room.

``follow FOLDER ORACLE`` publishes and follows at once: it writes the number of each event that it was given to the file
ORACLE, durably, and then acknowledges it, or a few at once.
``record FOLDER ORACLE RUN`` writes ``RUN NUMBER`` to the file ORACLE, durably, once the event with that number is
acknowledged by the log. ``full FOLDER BYTES`` publishes 600 events that are acknowledged, then 600 while no file may
become larger than BYTES, then calls a tool; it prints what it counted, and what the flush said.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import sys
from functools import partial
from pathlib import Path
from typing import Any

import trio


def opened(folder: str) -> Any:
    """Return a host that records what users do."""
    from llmspell import Host
    from llmspell.settings import load_settings

    table = {"plugins": {"event_log": {"enabled": True, "patterns": ["user.*"], "max_events": 10**9}}}
    return Host.open(load_settings(table, environment={}, cwd=Path(folder)), discover=False)


async def full(folder: str, largest: str) -> None:
    """Go on while there is no room."""
    from llmspell_hookspecs.errors import StorageError
    from llmspell_hookspecs.event_log import EventLog

    async with opened(folder) as host:
        log = host.get(EventLog)
        for number in range(600):
            await host.events.publish("user.created", number)
        await log.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), resource.RLIM_INFINITY))
        problem = ""
        for number in range(600):
            await host.events.publish("user.created", [number, "x" * 3000])
        try:
            await log.flush()
        except StorageError as error:
            problem = str(error)
        result = await host.call("tool:calculator", {"operation": "evaluate", "input": "2 + 2"})
        stats = await log.stats()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await host.events.publish("user.created", "after")
        await log.flush()
    told = {"recorded": stats.recorded, "lost": stats.lost, "problem": problem, "result": result.result}
    print(json.dumps(told))


async def record(folder: str, oracle: str, run: str) -> None:
    """Publish, flush, and tell the oracle."""
    from llmspell_hookspecs.event_log import EventLog

    told = os.open(oracle, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    dice = random.Random(run)
    async with opened(folder) as host:
        log = host.get(EventLog)
        numbers = itertools.count(1)
        while True:
            for number in itertools.islice(numbers, dice.choice([1, 3, 50, 600])):
                await host.events.publish("user.created", [int(run), number])
            await log.flush()
            os.write(told, f"{run} {number}\n".encode())
            os.fsync(told)


async def follow(folder: str, oracle: str) -> None:
    """Publish and follow, and tell the oracle what was given and what is acknowledged."""
    from llmspell_hookspecs.event_log import EventLog

    told = os.open(oracle, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    dice = random.Random(os.path.getsize(oracle))

    async def publish(host: Any) -> None:
        while True:
            await host.events.publish("user.created", os.getpid())
            await trio.sleep(0.0005)

    async with opened(folder) as host, trio.open_nursery() as nursery:
        nursery.start_soon(publish, host)
        follower = await host.get(EventLog).follow("steady", "user.*", after=0)
        async for each in follower:
            os.write(told, f"given {each.number}\n".encode())
            if dice.random() < 0.4:
                await follower.acknowledge(each.number)
                os.write(told, f"acknowledged {each.number}\n".encode())


if __name__ == "__main__":
    _, what, *arguments = sys.argv
    verbs: dict[str, Any] = {"full": full, "record": record, "follow": follow}
    trio.run(partial(verbs[what], *arguments))
