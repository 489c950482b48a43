"""The command: ``python -m benchmarks GROUP... [--json]``, and ``compare [FILE]`` and ``journeys`` in their place."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from .comparison import BASELINE, TOLERANCE, find_slower, read_ratios, read_run, store
from .peers import find_peers
from .report import ratios, to_json, to_table
from .timing import Run

GROUPS: Final = {"hooks": 201, "operations": 201, "events": 51, "storage": 101, "turns": 51, "agents": 3, "startup": 11}
GROUPS.update(workflows=31, built_in=5, journal=51, sessions=31)
"""The groups and how often each is timed if nothing else is said."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run groups, or compare a run; answer the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    words: list[str] = options.what
    if words[0] == "compare":
        if len(words) > 2:
            parser.error("compare takes one file, or none")
        return _compare(words[1:], options)
    if words == ["journeys"]:
        from .journeys import walk_all

        for name, moves in walk_all().items():
            _write(f"{name}: {len(moves.files)} files, {moves.count} moves between them")
        return 0
    for word in words:
        if word not in GROUPS:
            parser.error(f"there is no group {word!r}; there are {', '.join(GROUPS)}")
    run = trio.run(_measure, list(dict.fromkeys(words)), options.rounds)
    _write(to_json(run) if options.json else to_table(run))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description="Time llmspell beside its peers.")
    parser.add_argument("what", nargs="+", help=f"{', '.join(GROUPS)}; or: compare [FILE], journeys")
    parser.add_argument("--json", action="store_true", help="print the run for programs")
    parser.add_argument("--rounds", type=_positive, help="how often each contender is timed")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="compare: by which part a ratio may grow")
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="compare: the stored ratios")
    parser.add_argument("--store", action="store_true", help="compare: store the run's ratios instead")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return number


async def _measure(groups: Sequence[str], rounds: int | None) -> Run:
    from . import agents, built_in, events, hooks, journal, operations, sessions, startup, storage, turns, workflows

    peers, absent = find_peers()
    run = Run(absent=tuple(absent))
    for group in groups:
        count = rounds or GROUPS[group]
        if group == "hooks":
            part = await hooks.measure_hooks(peers, count)
        elif group == "operations":
            part = await operations.measure_operations(peers, count)
        elif group == "events":
            part = await events.measure_events(count)
        elif group == "storage":
            part = await storage.measure_storage(count)
        elif group == "turns":
            part = await turns.measure_turns(count)
        elif group == "agents":
            part = await agents.measure_agents(count)
        elif group == "built_in":
            part = await built_in.measure_built_in(count)
        elif group == "journal":
            part = await journal.measure_journal(count)
        elif group == "sessions":
            part = await sessions.measure_sessions(count)
        elif group == "workflows":
            part = await workflows.measure_workflows(count)
        else:
            part = await startup.measure_startup(count)
        run = run.joined(part)
    return run


def _compare(files: Sequence[str], options: argparse.Namespace) -> int:
    if files:
        try:
            now = read_run(Path(files[0]))
        except (OSError, ValueError) as error:
            _write(f"compare: {error}")
            return 2
    else:
        now = ratios(trio.run(_measure, list(GROUPS), options.rounds).timings)
    if options.store:
        store(now, options.baseline)
        return 0
    slower = find_slower(now, read_ratios(options.baseline), options.tolerance)
    _write("\n".join(slower) or f"compare: nothing got slower by more than {options.tolerance:.0%}")
    return 1 if slower else 0


def _write(text: str) -> None:
    print(text)


if __name__ == "__main__":
    sys.exit(main())
