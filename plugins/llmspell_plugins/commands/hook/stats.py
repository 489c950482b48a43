"""Show how often hooks were called, how they answered and how long they took: in processes that run, or in a trace.

A running process counts calls, failures and time for each hook, and knows its breaker; what each call answered, and
how long it took, only a trace tells, since to note it costs every call. So percentiles and results are there for a
trace, and what a running process does not know is left out, not guessed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    import trio

    from llmspell_hookspecs import Event
    from llmspell_hookspecs.commands import CommandHost, Invocation
    from llmspell_plugins.services.event_tail import Process

__all__ = ["of_trace", "stats"]

_LIVE: Final = ("process", "point", "hook", "kind", "calls", "failures", "mean_us", "breaker")
_TRACE: Final = ("point", "hook", "kind", "calls", "failures", "results", "p50_us", "p95_us", "p99_us")
_HOW: Final = "give a trace, as 'llmspell run --explain --output json SCRIPT' writes it, or start one and ask meanwhile"


@click.command()
@click.argument("trace", default="")
@click.option("--point", default="", help="Only the hooks at this point, by its name.")
@click.option("--plugin", default="", help="Only the hooks of this plugin.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0.1, 60), default=3.0, show_default=True, help="For processes, seconds."
)
@click.pass_obj
def stats(invocation: Invocation, trace: str, point: str, plugin: str, wait_s: float) -> None:
    """Show what became of hooks: calls, failures, times and breakers.

    Without TRACE those of your llmspell processes that run now, each with what it has counted so far. With TRACE (a
    file, or - for standard input) those of a run: 'llmspell run --explain --output json SCRIPT > TRACE'; then also what
    they answered, and percentiles of how long they took.
    """
    rows = of_trace(_read(invocation, trace)) if trace else _of_processes(invocation, wait_s)
    chosen = [row for row in rows if point in ("", row["point"]) and plugin in ("", row["plugin"])]
    invocation.show_rows(chosen, _TRACE if trace else _LIVE, empty="no hook was called")


def _read(invocation: Invocation, trace: str) -> list[Mapping[str, Any]]:
    """Return the rows of a trace.

    Raises:
        UsageError: There are none in it.
    """
    text = invocation.read(trace if trace == "-" else f"@{trace}")
    try:
        found = json.loads(text)
        rows: list[Mapping[str, Any]] = found["trace"]
        for row in rows:
            row["point"], row["hook"], row["plugin"], row["kind"], row["result"], row["elapsed_ns"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise click.UsageError(f"{trace}: this is no trace; {_HOW}") from None
    return rows


def of_trace(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what became of each hook at each point by the rows of a trace, those that took longest first."""
    calls: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["hook"]:  # else it tells what the host itself did
            calls.setdefault((row["point"], row["plugin"], row["hook"], row["kind"]), []).append(row)
    found = [_summed(*key, each) for key, each in calls.items()]
    return sorted(found, key=lambda row: -row["total_us"])


def _summed(point: str, plugin: str, hook: str, kind: str, calls: list[Mapping[str, Any]]) -> dict[str, Any]:
    took = sorted(float(call["elapsed_ns"]) for call in calls)
    results = Counter(str(call["result"]) for call in calls)
    return {
        "point": point,
        "plugin": plugin,
        "hook": f"{plugin}.{hook}",
        "kind": kind,
        "calls": len(calls),
        "failures": results["error"],
        "results": dict(results.most_common()),
        **{f"p{part}_us": round(took[-(-len(took) * part // 100) - 1] / 1000, 3) for part in (50, 95, 99)},
        "total_us": round(sum(took) / 1000, 3),
    }


def _of_processes(invocation: Invocation, wait_s: float) -> list[dict[str, Any]]:
    """Return what the user's other processes have counted.

    Raises:
        CommandError: None told it in time.
    """
    from llmspell_hookspecs.commands import CommandError

    gathered = _Gathered(invocation)

    async def use(host: CommandHost) -> None:
        import trio

        from llmspell_hookspecs.services import ProjectFolder
        from llmspell_plugins.commands.event.tail import show_others
        from llmspell_plugins.services.event_tail import HOOK_STATS, Request

        gathered.full = trio.Event()
        request = Request((HOOK_STATS,), capacity=16, beside=os.getpid())
        with trio.move_on_after(wait_s):
            await show_others(request, host.get(ProjectFolder).runtime(), gathered)

    invocation.run(use)
    if not gathered.by_process:
        raise CommandError(f"no llmspell process of yours told of its hooks within {wait_s:g} s; {_HOW}")
    return [row for rows in gathered.by_process.values() for row in rows]


class _Gathered:
    """Takes what processes tell; the last that each told counts."""

    full: trio.Event

    def __init__(self, invocation: Invocation) -> None:
        self.by_process: dict[str, list[dict[str, Any]]] = {}
        self._invocation = invocation

    async def show(self, events: Iterable[Event], process: Process | None = None) -> None:
        """Take events."""
        if process is None:
            return
        name = f"{process.name}[{process.pid}]"
        for event in events:
            rows = event.data["hooks"] if isinstance(event.data, Mapping) and "hooks" in event.data else ()
            self.by_process[name] = [{"process": name, **row} for row in rows]

    def warn(self, process: Process, message: str) -> None:
        """Say nothing: a process that ends meanwhile has told what it had to tell."""
