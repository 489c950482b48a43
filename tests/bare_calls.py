"""Runs the sound calls of every tool with whatever is installed, and prints how each ended; a program of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import trio

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import LlmspellError
from tool_calls import CALLS, OURS, Person, filled, lay_out, site, tools_settings

__all__ = ["main"]


async def main(url: str) -> dict[str, list[list[str]]]:
    """Return for each tool what became of each call: nothing, or code and text of an error."""
    ended: dict[str, list[list[str]]] = {}
    for name in OURS:
        for call in CALLS[name]:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch).resolve()
                lay_out(folder)
                settings = {
                    "security": {
                        "paths": {"read": [str(folder)], "write": [str(folder)]},
                        "hosts": {"allowed": ["127.0.0.1"], "private": ["127.0.0.1"]},
                    },
                    "storage": {"backend": "memory"},
                    "tools": tools_settings(folder, url),
                }
                loaded = load_settings(settings, environment={}, cwd=folder)
                async with Host.open(loaded, plugins=[Person], discover=False) as host:
                    try:
                        await host.call(f"tool:{name}", filled(dict(call), url))
                        ended.setdefault(name, []).append([])
                    except LlmspellError as error:
                        ended.setdefault(name, []).append([error.code, str(error)])
    return ended


if __name__ == "__main__":
    with site() as server:
        json.dump(trio.run(main, server.url), sys.stdout)
