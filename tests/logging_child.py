"""What the tests of the log run in processes of their own, to be killed, or to have no room.

``record FOLDER SETTINGS [BYTES COUNT]``: a host that logs calls of a tool, so many or until it is killed, whose files
may not become larger than BYTES; prints what it counted. ``lines PATH NAME COUNT ROTATE_BYTES``: writes numbered lines
of many lengths as fast as it can, without end if COUNT is 0. Each prints ``ready`` first.
"""

from __future__ import annotations

import itertools
import json
import random
import resource
import sys
from functools import partial
from pathlib import Path

import trio

TEXT = "x" * 4000


async def record(folder: str, settings: str, largest: str = "0", count: str = "0") -> None:
    from kernel import opened  # which takes a second, and who writes lines needs none of it
    from listening_log import ECHO, Watched, logged

    async with opened(ECHO, Watched, settings=logged(folder, **json.loads(settings))) as host:
        if int(largest):
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
        print("ready", flush=True)
        for number in itertools.count(1):
            await host.call("tool:echo", {"number": number, "text": "some more " * (number % 300)})
            if number % 50 == 0:
                await trio.sleep(0.001)
            if number == int(count):
                break
    problems = [str(problem) for problem in host.problems]
    print(json.dumps({**Watched.newest.stats(), "problems": problems}))


def lines(path: str, name: str, count: str, rotate_bytes: str) -> None:
    from llmspell_plugins.hooks.logging.file import RotatingFile

    file = RotatingFile(Path(path), int(rotate_bytes), 1000)
    source = random.Random(name)
    print("ready", flush=True)
    numbers = iter(range(int(count))) if int(count) else itertools.count()
    while batch := list(itertools.islice(numbers, source.randint(1, 300))):
        file.write([f'["{name}", {each}, "{TEXT[source.randint(0, 4000) :]}"]\n'.encode() for each in batch])


if __name__ == "__main__":
    _, what, *arguments = sys.argv
    if what == "lines":
        lines(*arguments)
    else:
        trio.run(partial(record, *arguments))
