"""The peers' graphs: ten functions one after the other, beside each other, and kept in SQLite.

Invariant: every node is an async function that adds one, and every run yields the same number, which is checked. What
is kept waits for the disk at each step (``synchronous=FULL``). Each peer runs the cheapest way that it offers:

- langgraph: a compiled graph over a typed dict; with its SQLite saver, ``durability="sync"`` and a thread for each run.
- pydantic-graph: a graph of steps, whose inputs are numbers; it keeps nothing.
- strands-agents: a graph of nodes that are no agents; it keeps nothing.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count, pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Protocol, TypedDict

__all__ = ["STAGES", "Flow", "WorkflowPeer", "find_workflow_peers"]

STAGES: Final = 10
Flow = Callable[[], Awaitable[int]]
"""Runs the stages and answers how many of them ran."""


class WorkflowPeer(Protocol):
    """A library with graphs."""

    name: str

    def sequence(self) -> Flow | None:
        """Return the stages one after the other; None if it cannot."""

    def beside(self) -> Flow | None:
        """Return the stages beside each other; None if it cannot."""

    async def kept(self, stack: AsyncExitStack, folder: Path) -> Flow | None:
        """Return the stages one after the other, each step kept on disk; None if it cannot."""


def find_workflow_peers() -> tuple[list[WorkflowPeer], list[str]]:
    """Return the peers that are installed, and the names of those that are not."""
    found: list[WorkflowPeer] = []
    absent: list[str] = []
    for kind in (_Langgraph, _PydanticGraph, _Strands):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(kind())
        except ImportError:
            absent.append(kind.name)
    return found, absent


class _Total(TypedDict):
    n: int


class _Sum(TypedDict):
    n: Annotated[int, operator.add]


class _Langgraph:
    name = "langgraph"

    def __init__(self) -> None:
        import langgraph.checkpoint.sqlite.aio
        import langgraph.graph

        self._graph: Any = langgraph.graph
        self._saver: Any = langgraph.checkpoint.sqlite.aio.AsyncSqliteSaver

    def sequence(self) -> Flow:
        """Return the compiled graph."""
        graph = self._chain().compile()

        async def run() -> int:
            return int((await graph.ainvoke({"n": 0}))["n"])

        return run

    def beside(self) -> Flow:
        """Return the compiled graph."""

        async def one(state: _Sum) -> dict[str, int]:
            return {"n": 1}

        made = self._graph.StateGraph(_Sum)
        for number in range(STAGES):
            made.add_node(f"s{number}", one)
            made.add_edge(self._graph.START, f"s{number}")
            made.add_edge(f"s{number}", self._graph.END)
        graph = made.compile()

        async def run() -> int:
            return int((await graph.ainvoke({"n": 0}))["n"])

        return run

    async def kept(self, stack: AsyncExitStack, folder: Path) -> Flow:
        """Return the compiled graph over its saver."""
        saver = await stack.enter_async_context(self._saver.from_conn_string(str(folder / "langgraph.db")))
        graph, threads = self._chain().compile(checkpointer=saver), count()

        async def run() -> int:
            place = {"configurable": {"thread_id": str(next(threads))}}
            return int((await graph.ainvoke({"n": 0}, place, durability="sync"))["n"])

        return run

    def _chain(self) -> Any:
        async def step(state: _Total) -> dict[str, int]:
            return {"n": state["n"] + 1}

        made, before = self._graph.StateGraph(_Total), self._graph.START
        for number in range(STAGES):
            made.add_node(f"s{number}", step)
            made.add_edge(before, f"s{number}")
            before = f"s{number}"
        made.add_edge(before, self._graph.END)
        return made


class _PydanticGraph:
    name = "pydantic-graph"

    def __init__(self) -> None:
        from pydantic_graph import GraphBuilder  # older versions have none

        self._builder: Any = GraphBuilder

    def sequence(self) -> Flow:
        """Return the built graph."""

        async def step(context: Any) -> int:
            return int(context.inputs) + 1

        made = self._builder(input_type=int, output_type=int)
        steps = [made.step(step, node_id=f"s{number}") for number in range(STAGES)]
        ends = [made.start_node, *steps, made.end_node]
        made.add(*(made.edge_from(one).to(other) for one, other in pairwise(ends)))
        graph = made.build()

        async def run() -> int:
            return int(await graph.run(inputs=0))

        return run

    def beside(self) -> Flow | None:
        """Return nothing: its fork needs a join that is written by hand."""
        return None

    async def kept(self, stack: AsyncExitStack, folder: Path) -> Flow | None:
        """Return nothing: it keeps none."""
        return None


class _Strands:
    name = "strands-agents"

    def __init__(self) -> None:
        import strands.multiagent
        import strands.multiagent.base

        self._builder: Any = strands.multiagent.GraphBuilder
        self._base: Any = strands.multiagent.base

    def sequence(self) -> Flow:
        """Return the built graph."""
        return self._built(chained=True)

    def beside(self) -> Flow:
        """Return the built graph."""
        return self._built(chained=False)

    async def kept(self, stack: AsyncExitStack, folder: Path) -> Flow | None:
        """Return nothing: it keeps none."""
        return None

    def _built(self, *, chained: bool) -> Flow:
        base = self._base

        class Node(base.MultiAgentBase):  # type: ignore[name-defined,misc]
            """Is no agent."""

            id = "node"

            async def invoke_async(self, task: Any, invocation_state: Any = None, **more: Any) -> Any:
                """Say that it is done."""
                return base.MultiAgentResult(status=base.Status.COMPLETED, execution_count=1)

            def serialize_state(self) -> dict[str, Any]:
                """Return none."""
                return {}

            def deserialize_state(self, payload: dict[str, Any]) -> None:
                """Take none."""

        made = self._builder()
        for number in range(STAGES):
            made.add_node(Node(), f"s{number}")
            if chained and number:
                made.add_edge(f"s{number - 1}", f"s{number}")
            elif not chained:
                made.set_entry_point(f"s{number}")
        if chained:
            made.set_entry_point("s0")
        graph = made.build()

        async def run() -> int:
            return int((await graph.invoke_async("go")).completed_nodes)

        return run
