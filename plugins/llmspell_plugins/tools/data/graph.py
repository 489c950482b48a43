"""The graphs of graph-builder: read, changed, measured and drawn; runs in a child process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.spelling import told

__all__ = ["MAX_EDGES", "MAX_NODES", "Graph", "drawn", "graph_of", "measured"]

MAX_NODES: Final = 50_000
MAX_EDGES: Final = 200_000
_MOST_FOR_BETWEENNESS: Final = 2000
_MOST_TOLD: Final = 1000


class Graph:
    """A graph.

    Attributes:
        kind: ``directed`` or ``undirected``.
        nodes: ``{id, label, data}`` by id, in the order in which they came.
        edges: ``{from, to, label, weight, data}``.
        metadata: Whatever its maker keeps with it.
    """

    def __init__(self, kind: str = "directed", metadata: Any = None) -> None:
        self.kind = kind
        self.nodes: dict[str, dict[str, Any]] = {}
        self.edges: list[dict[str, Any]] = []
        self.metadata = metadata if metadata is not None else {}

    @property
    def directed(self) -> bool:
        """Whether an edge leads one way only."""
        return self.kind == "directed"

    def add_node(self, name: str, label: Any = None, data: Any = None) -> None:
        """Add a node.

        Raises:
            ToolError: It is there already.
        """
        if name in self.nodes:
            raise _wrong(f"there is a node {told(name, 80)} already", "take another node_id")
        self.nodes[name] = {"id": name, "label": name if label is None else label, "data": data}

    def add_edge(self, source: str, target: str, label: Any = None, weight: Any = None, data: Any = None) -> None:
        """Add an edge between nodes that are there.

        Raises:
            ToolError: One of them is not.
        """
        for name in (source, target):
            if name not in self.nodes:
                raise _wrong(f"there is no node {told(name, 80)}", "add it first")
        self.edges.append({"from": source, "to": target, "label": label, "weight": weight, "data": data})

    def plain(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        nodes = list(self.nodes.values())
        return {"graph_type": self.kind, "nodes": nodes, "edges": self.edges, "metadata": self.metadata}


def graph_of(given: Any) -> Graph:
    """Return the graph that JSON text or an object describes.

    Raises:
        ToolError: ``invalid_input`` or ``limit_exceeded``.
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise _wrong(
                f"the graph is no JSON: {line_of_error(error)[:80]!r}", "give one that create_graph returned"
            ) from None
    if not isinstance(given, Mapping):
        raise _wrong("the graph is no JSON object", "give one that create_graph returned")
    kind = given.get("graph_type", "directed")
    if kind not in ("directed", "undirected"):
        raise _wrong(f"graph_type is {told(kind, 80)}", "write directed or undirected")
    nodes, edges = (_rows(given, name, most) for name, most in (("nodes", MAX_NODES), ("edges", MAX_EDGES)))
    graph = Graph(kind, given.get("metadata"))
    for node in nodes:
        graph.add_node(_name(node, "id"), node.get("label"), node.get("data"))
    for edge in edges:
        weight = edge.get("weight")
        if weight is not None and not (isinstance(weight, int | float) and 0 <= weight <= 1e12):
            raise _wrong(f"an edge has the weight {told(weight, 80)}", "write a number from 0")
        graph.add_edge(_name(edge, "from"), _name(edge, "to"), edge.get("label"), weight, edge.get("data"))
    return graph


def _rows(given: Mapping[str, Any], name: str, most: int) -> list[Mapping[str, Any]]:
    rows = given.get(name) or []
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise _wrong(f"{name} is no array of objects", "give a graph that create_graph returned")
    if len(rows) > most:
        raise ToolError(f"graph-builder: {len(rows)} {name} are more than {most}; give less", code="limit_exceeded")
    return rows


def _name(row: Mapping[str, Any], field: str) -> str:
    name = row.get(field)
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    if not isinstance(name, str) or not name:
        raise _wrong(f"a node or edge has the {field} {told(name, 80)}", "write a text")
    return name


def measured(graph: Graph, operation: str, source: str | None, target: str | None) -> dict[str, Any]:
    """Return what networkx finds out about a graph.

    Raises:
        ToolError: ``not_found``, ``invalid_input`` or ``limit_exceeded``.
    """
    import networkx

    kind: Any = networkx.DiGraph if graph.directed else networkx.Graph
    net = kind()
    net.add_nodes_from(graph.nodes)
    for edge in graph.edges:
        weight = 1.0 if edge["weight"] is None else float(edge["weight"])
        held = net.get_edge_data(edge["from"], edge["to"])
        if held is None or weight < held["weight"]:  # of several edges between two nodes the lightest counts
            net.add_edge(edge["from"], edge["to"], weight=weight)
    match operation:
        case "analyze":
            return _analysis(networkx, graph, net)
        case "path":
            return _path(networkx, net, source or "", target or "")
        case "components":
            parts = networkx.weakly_connected_components(net) if graph.directed else networkx.connected_components(net)
            found = sorted((sorted(part) for part in parts), key=lambda part: (-len(part), part))
            strong = len(list(networkx.strongly_connected_components(net))) if graph.directed else len(found)
            return {"count": len(found), "strongly_connected_count": strong, "components": found[:_MOST_TOLD]}
        case "centrality":
            return _centrality(networkx, net)
    try:
        return {"order": list(networkx.lexicographical_topological_sort(net))}
    except networkx.NetworkXUnfeasible:
        raise _wrong("the graph has a cycle", "leave one of its edges out") from None
    except networkx.NetworkXError:
        raise _wrong("an undirected graph has no order", "give a directed one") from None


def _analysis(networkx: Any, graph: Graph, net: Any) -> dict[str, Any]:
    count = len(graph.nodes)
    degrees = dict.fromkeys(graph.nodes, 0)
    for edge in graph.edges:
        degrees[edge["from"]] += 1
        degrees[edge["to"]] += 1
    figures = list(degrees.values()) or [0]
    density = networkx.density(net)
    connected = count > 0 and (networkx.is_weakly_connected(net) if graph.directed else networkx.is_connected(net))
    acyclic = networkx.is_directed_acyclic_graph(net) if graph.directed else networkx.is_forest(net) if count else True
    loops = networkx.number_of_selfloops(net)
    return {
        "node_count": count,
        "edge_count": len(graph.edges),
        "graph_type": graph.kind,
        "density": density,
        "degree_statistics": {"max": max(figures), "min": min(figures), "average": sum(figures) / len(figures)},
        "properties": {
            "is_empty": count == 0,
            "is_complete": count > 1 and loops == 0 and density == 1,
            "is_connected": connected,
            "is_acyclic": acyclic,
            "self_loops": loops,
        },
    }


def _path(networkx: Any, net: Any, source: str, target: str) -> dict[str, Any]:
    for name in (source, target):
        if name not in net:
            raise _wrong(f"there is no node {told(name, 80)}", "name one that is there")
    try:
        length, path = networkx.single_source_dijkstra(net, source, target)
    except networkx.NetworkXNoPath:
        return {"found": False, "path": [], "length": None}
    return {"found": True, "path": path, "length": length}


def _centrality(networkx: Any, net: Any) -> dict[str, Any]:
    if len(net) > _MOST_FOR_BETWEENNESS:
        message = f"graph-builder: {len(net)} nodes are more than {_MOST_FOR_BETWEENNESS} for centrality; give less"
        raise ToolError(message, code="limit_exceeded")
    return {
        "degree": networkx.degree_centrality(net),
        "betweenness": networkx.betweenness_centrality(net),
        "closeness": networkx.closeness_centrality(net),
    }


def drawn(graph: Graph, kind: str) -> str:
    """Return the graph in the language of Graphviz (``dot``) or of Mermaid."""
    return _dot(graph) if kind == "dot" else _mermaid(graph)


def _dot(graph: Graph) -> str:
    word, arrow = ("digraph", "->") if graph.directed else ("graph", "--")
    lines = [f"  {_quoted(name)} [label={_quoted(node['label'])}];" for name, node in graph.nodes.items()]
    for edge in graph.edges:
        told = [f"{name}={_quoted(edge[name])}" for name in ("label", "weight") if edge[name] is not None]
        options = f" [{', '.join(told)}]" if told else ""
        lines.append(f"  {_quoted(edge['from'])} {arrow} {_quoted(edge['to'])}{options};")
    return "\n".join([f"{word} {{", *lines, "}", ""])


def _quoted(value: Any) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\0", "")
    return f'"{text}"'


def _mermaid(graph: Graph) -> str:
    numbers = {name: f"n{number}" for number, name in enumerate(graph.nodes)}
    lines = [f'  {numbers[name]}["{_escaped(node["label"])}"]' for name, node in graph.nodes.items()]
    arrow = "-->" if graph.directed else "---"
    for edge in graph.edges:
        label = "" if edge["label"] is None else f'|"{_escaped(edge["label"])}"|'
        lines.append(f"  {numbers[edge['from']]} {arrow}{label} {numbers[edge['to']]}")
    return "\n".join(["graph TD", *lines, ""])


def _escaped(value: Any) -> str:
    text = str(value).replace("#", "#35;").replace(chr(34), "#quot;")
    return "".join(f"#{ord(letter)};" if letter in "<>[]|\n" else letter for letter in text)


def _wrong(what: str, todo: str) -> ToolError:
    shown = "".join(letter if letter.isprintable() else "?" for letter in what)
    return ToolError(f"graph-builder: graph: {shown}; {todo}", code="invalid_input")
