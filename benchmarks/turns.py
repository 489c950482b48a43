"""The group turns: what an agent takes for a turn around a model that answers at once, and what a hook adds to it.

Invariant: every turn is checked for what it says at the end, which it can only say if the model was asked and, in a
turn with a tool, if the tool ran. The floor and ours run in trio; each peer runs in an asyncio loop of its own, where
it is timed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from .timing import OURS, Bar, Contender, Difference, Row, Run, measure
from .turn_peers import ANSWERS, TEXT, USE, Turn, TurnPeer, add, find_turn_peers
from .turn_subject import open_agent

__all__ = ["measure_turns"]

_FLOOR: Final = "floor: loop over messages"
_HOOKS: Final = 100
_TEXT_TURN: Final = "text turn"
_ONE_HOOK: Final = "text turn, 1 hook"
_MORE_HOOKS: Final = f"text turn, {1 + _HOOKS} hooks"
_TEXT_BAR: Final = Bar("a quarter of strands-agents", "strands-agents", 0.25)
_TOOL_BAR: Final = Bar("a fifth of strands-agents", "strands-agents", 0.2)
_HOOK_BAR: Final = Bar("0.2 us", plus_ns=200.0)
_DIFFERENCES: Final = [Difference("one hook more inside a turn", _MORE_HOOKS, _ONE_HOOK, _HOOKS, _HOOK_BAR)]


async def measure_turns(rounds: int) -> Run:
    """Time the rows of the group, beside the peers that are installed."""
    peers, absent = find_turn_peers()
    async with AsyncExitStack() as stack:
        loops = {peer.name: stack.enter_context(asyncio.Runner()) for peer in peers}
        rows = [
            Row(_TEXT_TURN, await _contenders(stack, peers, loops, TEXT), _TEXT_BAR),
            Row("one-tool turn", await _contenders(stack, peers, loops, USE), _TOOL_BAR),
            Row(_ONE_HOOK, await _contenders(stack, peers, loops, TEXT, 1)),
            Row(_MORE_HOOKS, await _contenders(stack, peers, loops, TEXT, 1 + _HOOKS)),
        ]
        run = await measure(rows, rounds, _DIFFERENCES)
    return run.joined(Run(absent=tuple(absent)))


async def _contenders(
    stack: AsyncExitStack, peers: Sequence[TurnPeer], loops: dict[str, asyncio.Runner], text: str, hooks: int = 0
) -> list[Contender]:
    ours = await stack.enter_async_context(open_agent(hooks, tool=text == USE))
    contenders = [
        Contender(_FLOOR, _checked(_loop(hooks), text), waits=True),
        Contender(OURS, _checked(ours, text), waits=True),
    ]
    for peer in peers:
        turn = peer.agent(hooks, tool=text == USE)
        if turn is not None:
            contenders.append(Contender(peer.name, _checked(turn, text), True, loops[peer.name]))
    return contenders


def _checked(turn: Turn, text: str) -> Callable[[], Any]:
    expected = ANSWERS[text]

    async def call() -> None:
        answer = await turn(text)
        if answer != expected:
            raise RuntimeError(f"turn: it said {answer!r} instead of {expected!r}")

    return call


def _nothing(messages: list[dict[str, Any]]) -> None:
    return None


def _loop(hooks: int) -> Turn:
    """Return the least that is an agent: a list of messages, a model, a table of tools."""
    tools = {"add": add}
    asked = (_nothing,) * hooks

    async def model(messages: list[dict[str, Any]]) -> dict[str, Any]:
        last = messages[-1]
        if last["role"] == "tool":
            return {"role": "assistant", "content": f"tool said: {last['content']}"}
        if last["content"] == USE:
            return {"role": "assistant", "content": "", "calls": [("add", {"a": 2, "b": 2})]}
        return {"role": "assistant", "content": last["content"]}

    async def turn(text: str) -> str:
        messages: list[dict[str, Any]] = [{"role": "user", "content": text}]
        while True:
            for hook in asked:
                hook(messages)
            answer = await model(messages)
            messages.append(answer)
            if "calls" not in answer:
                said: str = answer["content"]
                return said
            for name, arguments in answer["calls"]:
                messages.append({"role": "tool", "content": await tools[name](**arguments)})

    return turn
