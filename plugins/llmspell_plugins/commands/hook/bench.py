"""Measure what hooks cost here, by kind and number, around an operation that does nothing.

Each row is timed in turn with all others, batch after batch, with the collector off. What one hook costs is what the
quickest batch took with that many beyond the quickest with none, divided: what else the machine does only adds to a
batch, so the quickest is nearest to what the code takes; the median and the slowest tell how busy the machine was.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
from collections.abc import Awaitable, Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["bench"]

_COUNTS: Final = (1, 10, 100)
_KINDS: Final = ("transform", "guard", "observe")
_POINT: Final = "before_model_call"
_BATCH_NS: Final = 1_000_000
_COLUMNS: Final = ("kind", "way", "hooks", "quickest_us", "median_us", "slowest_us", "a_hook_us")
Call = Callable[[], Awaitable[Any]]


@click.command()
@click.option(
    "--rounds", type=click.IntRange(3, 10_000), default=31, show_default=True, help="How often each row is timed."
)
@click.pass_obj
def bench(invocation: Invocation, rounds: int) -> None:
    """Measure what 0, 1, 10 and 100 hooks cost here, by kind, sync and async.

    The hooks do nothing, stand before a model that does nothing, and are there only for this command. The hooks of your
    settings that are asked about every model stand there, too, and are named.
    """

    async def use(host: CommandHost) -> dict[str, Any]:
        from llmspell_hookspecs.services import Hooks

        asked = [info for info in host.get(Hooks).list(_POINT) if info.enabled and info.match is None]
        names = sorted({f"{info.plugin}.{info.name}" for info in asked})
        return {"rows": await _measure(host, rounds), "rounds": rounds, "besides": names, **_machine()}

    found = invocation.run(use)
    if invocation.json:
        invocation.show(found)
        return
    invocation.show_rows(found["rows"], _COLUMNS)
    besides = f"; besides there stood {', '.join(found['besides'])}" if found["besides"] else ""
    load = "" if found["load"] is None else f", load {found['load']:.1f} on {found['processors']} processors"
    invocation.note(
        f"{rounds} batches of about 1 ms each, on {found['python']}{load}{besides}\n"
        "each: a model's call that asks no provider; a hook: what the quickest takes beyond none, by their number"
    )


async def _measure(host: CommandHost, rounds: int) -> list[dict[str, Any]]:
    import trio

    calls = _calls(host)
    sizes = {key: await _size(call) for key, call in calls.items()}
    samples: dict[tuple[str, str, int], list[float]] = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            samples[key].append(await _time(call, sizes[key]))
            await trio.lowlevel.checkpoint()
    none_ns = min(samples["none", "", 0])
    return [_row(key, took_ns, none_ns) for key, took_ns in samples.items()]


def _calls(host: CommandHost) -> dict[tuple[str, str, int], Call]:
    """Return an operation for each row, each of a component of its own at which its hooks stand."""
    from llmspell_hookspecs import Message, ModelRequest
    from llmspell_hookspecs.context import ComponentRef
    from llmspell_hookspecs.operation import OperationKind, Operations
    from llmspell_hookspecs.services import Hooks

    hooks, operations = host.get(Hooks), host.get(Operations)
    kind = OperationKind("bench", before=_POINT)

    async def answer(request: ModelRequest) -> int:
        return 4

    def call_of(name: str) -> Call:
        request = ModelRequest(name, (Message("user", "2 + 2"),), max_tokens=1)
        return operations.prepare(kind, ComponentRef("model", name), request, answer)

    calls = {("none", "", 0): call_of("bench/none")}
    for hook_kind in _KINDS:
        for way, function in (("sync", _nothing), ("async", _nothing_waiting)):
            for count in _COUNTS:
                name = f"bench/{hook_kind}-{way}-{count}"
                for number in range(count):
                    options: dict[str, Any] = {
                        "kind": hook_kind,
                        "match": name,
                        "name": f"{hook_kind}-{way}-{count}-{number}",
                    }
                    hooks.register(_POINT, function, plugin="bench", **options)
                calls[hook_kind, way, count] = call_of(name)
    return calls


def _nothing(context: Any) -> None:
    return None


async def _nothing_waiting(context: Any) -> None:
    return None


async def _size(call: Call) -> int:
    """Return how many calls make a batch; what is done only at the first call is done here."""
    size = 1
    await _time(call, size)
    while await _time(call, size) * size < _BATCH_NS and size < 1 << 16:
        size *= 2
    return size


async def _time(call: Call, size: int) -> float:
    gc.disable()
    try:
        started = perf_counter_ns()
        for _ in range(size):
            await call()
        return (perf_counter_ns() - started) / size
    finally:
        gc.enable()


def _row(key: tuple[str, str, int], took_ns: list[float], none_ns: float) -> dict[str, Any]:
    kind, way, count = key
    row: dict[str, Any] = {"kind": kind, "way": way, "hooks": count}
    for name, ns in (("quickest", min(took_ns)), ("median", statistics.median(took_ns)), ("slowest", max(took_ns))):
        row[f"{name}_us"] = _us(ns)
    return row | {"a_hook_us": _us((min(took_ns) - none_ns) / count) if count else None}


def _us(ns: float) -> float:
    return round(ns / 1000, 3)


def _machine() -> dict[str, Any]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {"python": python, "processors": os.cpu_count(), "load": load}
