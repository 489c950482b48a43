"""Runs the vectors of the conformance kit of agent-hooks, and writes down what became of each.

``python tests/agent_hooks_report.py`` writes the page anew; a test compares it with what comes out.
"""

from __future__ import annotations

import functools
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import trio
from agent_hooks.ctk import VectorResult, load_vectors, run_vector

from agent_hooks_harness import CAPABILITIES, LlmspellHarness

__all__ = ["NOT_YET", "PAGE", "VECTORS", "conform", "outcome", "report"]

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "agent-hooks.md"
NOT_YET = "incremental_output"
"""The one capability of the kit that this host does not claim: it holds a stream back until the whole is judged."""
VECTORS: dict[str, dict[str, Any]] = {vector["id"]: vector for vector in load_vectors()}
_PROFILES = ("sequential/first_deny", "sequential/run_all", "parallel/strictest", "parallel/unanimous")


@functools.cache
def outcome(id: str) -> VectorResult:
    """Return what became of a vector."""
    return trio.run(conform, VECTORS[id])


async def conform(vector: dict[str, Any]) -> VectorResult:
    """Run a vector against a host of its own."""
    harness: Any = LlmspellHarness()
    return await run_vector(harness, vector)


def report() -> str:
    """Return the page."""
    results = [outcome(id) for id in VECTORS]
    counts = {word: sum(each.status == word for each in results) for word in ("pass", "fail", "skip")}
    lines = [
        "# Conformance with agent-hooks",
        "",
        "*Written by `python tests/agent_hooks_report.py`; a test holds it to what comes out.*",
        "",
        f"The kit of `agent-hooks-sdk` {version('agent-hooks-sdk')} drives an agent of a host with the plugin "
        "[agent_hooks](../built-in-hooks.md#agent_hooks), whose emitter is llmspell's own. "
        f"Of {len(results)} vectors {counts['pass']} pass, {counts['fail']} fail and {counts['skip']} are not run.",
        "",
        "| what the kit is told | |",
        "|---|---|",
        "| spec | agent-hooks/0.1, agent-hooks-declaration/1.0 |",
        f"| capabilities | {', '.join(sorted(each.value for each in CAPABILITIES))} |",
        f"| profiles | {', '.join(_PROFILES)}, with all of their knobs |",
        "| identity provider | jcs-sha256 |",
        "| buffered_output | true: nothing of an answer is handed on before its verdict |",
        "| after a host error at a tool | the agent goes on and is told that the tool was denied |",
        "",
        "| vector | part | what it is about | outcome |",
        "|---|---|---|---|",
    ]
    lines += [_row(each) for each in results]
    return "\n".join(lines) + "\n"


def _row(result: VectorResult) -> str:
    vector = VECTORS[result.id]
    words = {"pass": "passes", "fail": "**fails**", "skip": f"not run: needs {NOT_YET}"}
    title = result.title.replace("|", "\\|").replace("<", "&lt;")
    return f"| {result.id} | {vector.get('part', 'core')} | {title} | {words[result.status]} |"


if __name__ == "__main__":
    PAGE.write_text(report())
    sys.stdout.write(f"{PAGE}\n")
