"""What the state tests run in processes of their own: counts up by compare-and-set through a host; prints JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trio

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs.errors import StorageError
from storage_child import meet


async def count_up(folder: Path, backend: str, times: int, together: int) -> int:
    """Return how often the other process was there first."""
    refused = 0
    settings = load_settings({"storage": {"backend": backend}}, environment={}, cwd=folder)
    async with Host.open(settings, discover=False) as host:
        await host.state.entry("counter", scope="custom")  # opens the storage, which takes longer than counting
        meet(folder, together)
        for _ in range(times):
            while True:
                value, version = await host.state.entry("counter", scope="custom")
                try:
                    await host.state.set("counter", (value or 0) + 1, scope="custom", expect=version)
                    break
                except StorageError as error:
                    assert error.code == "conflict"
                    refused += 1
    return refused


if __name__ == "__main__":
    print(json.dumps(trio.run(count_up, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
