"""One agent's turns with built-in hooks on: ``python -m benchmarks.built_in_turns PLUGINS TURNS TOOL [URL]``.

PLUGINS is a list with commas, or ``none``. With a URL the model is behind a chat server there, without one it is in the
process and answers at once. TOOL is 1 if each turn uses a tool. Prints JSON: how many turns, how long they took and
how long they kept processors busy, with all that the plugins do beside them: the time runs until their files and
ledgers are written.

Invariant: each plugin has settings under which its hooks stand and answer nothing that changes a turn, and writes to a
folder of its own: what is timed is what it costs to have it, not what it does for a call that it refuses.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any, Final

import trio

from llmspell import Host

from .turn_peers import ANSWERS, TEXT, USE
from .turn_subject import Add, Fake

__all__ = ["EIGHT", "settings_of"]

EIGHT: Final = ("caching", "cost", "debugging", "logging", "metrics", "rate_limit", "retry", "security")
_WARM: Final = 50
_USE_BY_WIRE: Final = 'use add {"a": 2, "b": 2}'
"""What the rule of the chat server takes for a call."""


def settings_of(names: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """Return the settings of a host with these plugins."""
    free = {"input_usd": 1.0, "output_usd": 1.0, "max_output_tokens": 100}
    budgets = [{"usd": 1e6}, {"match": "*", "calls": 10**9}]
    tables: dict[str, dict[str, Any]] = {
        "caching": {"rules": [{"match": "tool:nothing"}, {"match": "model:nothing/*"}]},
        "cost": {"budgets": budgets, "prices": {"*": free}, "price_list": "none"},
        "debugging": {},
        "logging": {"path": str(folder / "operations.log")},
        "metrics": {"path": str(folder / "metrics.prom")},
        "rate_limit": {"limits": [{"match": "*", "rate": 10**9}]},
        "retry": {},
        "security": {"rules": [{"name": "no", "action": "deny", "tools": ["nothing"]}]},
    }
    return {
        "plugins": {name: {"enabled": True, **tables[name]} for name in names},
        "storage": {"backend": "sqlite", "sqlite": {"path": str(folder / "state.db")}},
        "security": {"paths": {"write": [str(folder)], "read": [str(folder)]}},
    }


async def _take(names: tuple[str, ...], turns: int, tool: bool, url: str, folder: Path) -> tuple[int, int]:
    settings = settings_of(names, folder)
    if url:
        settings["providers"] = {"fake": {"type": "openai_compatible", "base_url": url}}
    text = (_USE_BY_WIRE if url else USE) if tool else TEXT
    answer = ANSWERS[USE if tool else TEXT]
    async with Host.open(settings, plugins=[Add] if url else [Add, Fake], discover=False) as host:
        if problems := [info.name for info in host.plugins.infos if info.error]:
            raise RuntimeError(f"not loaded: {', '.join(problems)}")
        agent = await host.agents.create(name="writer", model="fake/echo", tools=["add"] if tool else [])
        for number in range(turns + _WARM):
            if number == _WARM:
                started, busy = perf_counter_ns(), process_time_ns()
            agent.forget()
            said = (await agent.run(text)).text
            if said != answer:
                raise RuntimeError(f"turn: it said {said!r} instead of {answer!r}")
    return perf_counter_ns() - started, process_time_ns() - busy


def main(arguments: list[str]) -> None:
    """Take the turns and print what came of it."""
    plugins, turns, tool, *url = arguments
    names = () if plugins == "none" else tuple(plugins.split(","))
    with tempfile.TemporaryDirectory() as folder:
        took_ns, busy_ns = trio.run(_take, names, int(turns), tool == "1", "".join(url), Path(folder))
    print(json.dumps({"turns": int(turns), "took_ns": took_ns, "busy_ns": busy_ns}))


if __name__ == "__main__":
    main(sys.argv[1:])
