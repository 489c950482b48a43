"""The graph-builder tool: makes, changes and examines graphs of nodes and edges that travel as JSON.

A graph is ``{graph_type, nodes: [{id, label, data}], edges: [{from, to, label, weight, data}], metadata}``; between
calls it is kept by the caller. Invariant: an edge joins nodes that are there; an undirected one is the same either way.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.tool import ToolLimits
from llmspell_plugins.tools.library import require

from .graph import MAX_NODES, Graph, drawn, graph_of, measured

__all__ = ["GraphBuilder", "GraphParameters"]

_DRAWN = ("export_dot", "export_mermaid")
_MEASURED = ("analyze", "path", "components", "centrality", "topological")
Operation = Literal[
    "create_graph",
    "add_node",
    "add_edge",
    "analyze",
    "export_json",
    "import_json",
    "path",
    "components",
    "centrality",
    "topological",
    "export_dot",
    "export_mermaid",
]


class GraphParameters(BaseModel):
    """What the graph-builder takes."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    operation: Operation = Field(default="create_graph", description="What to do.")
    input: str | dict[str, JsonValue] | None = Field(
        default=None, description="The graph, as JSON text or as an object; graph means the same."
    )
    graph: str | dict[str, JsonValue] | None = Field(default=None, description="The graph to work on.")
    graph_type: Literal["directed", "undirected"] = Field(default="directed", description="For create_graph.")
    node_id: str | None = Field(default=None, min_length=1, max_length=1000, description="For add_node.")
    label: str | None = Field(default=None, max_length=10_000, description="Of the node or edge that is added.")
    data: JsonValue = Field(default=None, description="Anything to keep with the node or edge that is added.")
    source: str | None = Field(
        default=None, alias="from", min_length=1, max_length=1000, description="For add_edge and path: where it starts."
    )
    target: str | None = Field(
        default=None, alias="to", min_length=1, max_length=1000, description="For add_edge and path: where it ends."
    )
    weight: float | None = Field(
        default=None, ge=0, le=1e12, description="Of the edge that is added; the shortest path has the smallest sum."
    )

    @model_validator(mode="after")
    def _complete(self) -> GraphParameters:
        if self.input is not None and self.graph is not None:
            raise ValueError("give input or graph, not both")
        if self.operation != "create_graph" and self.input is None and self.graph is None:
            raise ValueError(f"{self.operation} needs graph")
        if self.operation == "add_node" and self.node_id is None:
            raise ValueError("add_node needs node_id")
        if self.operation in ("add_edge", "path") and (self.source is None or self.target is None):
            raise ValueError(f"{self.operation} needs from and to")
        return self


class GraphBuilder(Tool[GraphParameters]):
    """Make graphs, add nodes and edges, measure them, find paths, components and an order, write DOT or Mermaid."""

    name = "graph-builder"
    aliases = ("graph_builder", "graph-builder-tool")
    category = "data"
    level = SecurityLevel.SAFE
    limits = ToolLimits(time_s=30, output_bytes=16 * 1024 * 1024)
    repeatable = True
    examples = (
        ToolExample("an empty graph", {"operation": "create_graph"}, {"node_count": 0, "graph_type": "directed"}),
        ToolExample(
            "an edge",
            {
                "operation": "add_edge",
                "graph": {"nodes": [{"id": "a"}, {"id": "b"}]},
                "from": "a",
                "to": "b",
            },
            {"node_count": 2, "edge_count": 1},
        ),
        ToolExample(
            "a drawing for Mermaid",
            {
                "operation": "export_mermaid",
                "graph": {"nodes": [{"id": "a"}, {"id": "b"}], "edges": [{"from": "a", "to": "b"}]},
            },
            {"format": "mermaid", "content": 'graph TD\n  n0["a"]\n  n1["b"]\n  n0 --> n1\n'},
        ),
    )

    async def run(self, parameters: GraphParameters, context: ToolContext) -> ToolResult:
        """Return the graph as it is then, or what was found out about it.

        Raises:
            ToolError: ``invalid_input``, ``limit_exceeded``, ``not_found`` or ``missing_library``.
        """
        operation = parameters.operation
        if operation in _MEASURED:
            require(self.name, "graph", "networkx")
        job = parameters.model_dump(exclude={"input", "graph"})
        given = parameters.graph if parameters.graph is not None else parameters.input
        result: dict[str, Any] = await context.run_process(_worked, job, given)
        return ToolResult(operation=operation, result=result, text=result.get("graph") or result.get("content"))


def _worked(job: dict[str, Any], given: Any) -> dict[str, Any]:
    """Return the result; runs in a child process."""
    operation = job["operation"]
    graph = Graph(job["graph_type"]) if given is None else graph_of(given)
    if operation in _MEASURED:
        return measured(graph, operation, job["source"], job["target"])
    if operation in _DRAWN:
        kind = operation.removeprefix("export_")
        return {"format": kind, "content": drawn(graph, kind)}
    if operation == "add_node":
        graph.add_node(job["node_id"], job["label"], job["data"])
    elif operation == "add_edge":
        graph.add_edge(job["source"], job["target"], job["label"], job["weight"], job["data"])
    if len(graph.nodes) > MAX_NODES:
        raise ToolError(f"graph-builder: more than {MAX_NODES} nodes; make a smaller graph", code="limit_exceeded")
    text = json.dumps(graph.plain(), ensure_ascii=False)
    counts = {"graph_type": graph.kind, "node_count": len(graph.nodes), "edge_count": len(graph.edges)}
    if operation == "export_json":
        return {"format": "json", "json": text, "content": text, **counts}
    return {"graph": text, **counts}
