"""The group hooks: what it costs to ask one hook point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import trio

from llmspell.operations import Chains, Course, Frame, Runner, propose
from llmspell_hookspecs.operation import Operation

from .peers import Peer
from .subject import CALL, COMPONENT, COUNTS, KIND, POINT, answer, make_runner, nothing, nothing_waiting
from .timing import OURS, Bar, Contender, Row, Run, measure

__all__ = ["measure_hooks"]

_NO_HOOK = Bar("60 ns over the floor", "floor: plain call", 1.0, 60.0)
_SYNC = Bar("half of strands-agents", "strands-agents", 0.5)
_WAITING = Bar("google-adk", "google-adk", 1.0)


async def measure_hooks(peers: Sequence[Peer], rounds: int) -> Run:
    """Time the rows of the group."""
    async with trio.open_nursery() as nursery:
        rows = [_no_hook(nursery, peers)]
        rows += [_sync(nursery, peers, count) for count in COUNTS]
        rows += [_waiting(nursery, peers, count) for count in COUNTS]
        return await measure(rows, rounds)


def _no_hook(nursery: trio.Nursery, peers: Sequence[Peer]) -> Row:
    runner = make_runner(nursery, nothing, 0)
    chain, name = runner.registry.chain, COMPONENT.name

    def body() -> None:
        return None

    def ours() -> None:
        if chain("tool_security_check", name) is None:
            body()

    contenders = [
        Contender("floor: plain call", lambda: body()),
        Contender(OURS, ours),
        Contender("llmspell, awaited ask", lambda: runner.ask("tool_security_check", CALL, COMPONENT), waits=True),
        *_entered(peers, 0, waits=False),
    ]
    return Row("hook point, no hook", contenders, _NO_HOOK)


def _sync(nursery: trio.Nursery, peers: Sequence[Peer], count: int) -> Row:
    hooks = (nothing,) * count

    def floor() -> None:
        for hook in hooks:
            hook(CALL)  # type: ignore[arg-type]  # the floor has no context

    contenders = [
        Contender("floor: loop over a tuple", floor),
        Contender(OURS, _dispatch(make_runner(nursery, nothing, count)), waits=True),
        *_entered(peers, count, waits=False),
    ]
    return Row(f"sync hooks, {count}", contenders, _SYNC)


def _waiting(nursery: trio.Nursery, peers: Sequence[Peer], count: int) -> Row:
    hooks = (nothing_waiting,) * count

    async def floor() -> None:
        for hook in hooks:
            await hook(CALL)  # type: ignore[arg-type]  # the floor has no context

    contenders = [
        Contender("floor: await in a loop", floor, waits=True),
        Contender(OURS, _dispatch(make_runner(nursery, nothing_waiting, count)), waits=True),
        *_entered(peers, count, waits=True),
    ]
    return Row(f"async hooks, {count}", contenders, _WAITING)


def _dispatch(runner: Runner) -> Callable[[], Any]:
    """Return the step of a running operation that asks its transforms: context, hooks, breaker, timing.

    An operation looks its chains up once, for all its points; timing all of it would hide what one point costs.
    """
    frame = Frame(runner, None, COMPONENT, 0, "python")
    operation = Operation(KIND, COMPONENT, CALL, answer)
    course = Course(runner, operation, frame, Chains(None, None, None, None), runner.as_of)
    chain = runner.registry.chain(POINT, COMPONENT.name)
    assert chain is not None
    return lambda: propose(course, chain, CALL)


def _entered(peers: Sequence[Peer], count: int, *, waits: bool) -> list[Contender]:
    calls = [(peer.name, peer.waiting(count) if waits else peer.sync(count)) for peer in peers]
    return [Contender(name, call, waits) for name, call in calls if call is not None]
