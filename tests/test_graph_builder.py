"""The graph-builder, each operation against Graphviz's programs; malformed graphs and limits."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_plugins.tools.data.graph_builder import GraphBuilder
from oracles import oracle
from tool_caller import call

PARTS: dict[str, Any] = {
    "graph_type": "directed",
    "nodes": [{"id": name} for name in "abcdef"],
    "edges": [
        {"from": "a", "to": "b", "weight": 1},
        {"from": "b", "to": "c", "weight": 1},
        {"from": "a", "to": "c", "weight": 5},
        {"from": "c", "to": "d"},
        {"from": "e", "to": "f"},
    ],
}
RING: dict[str, Any] = {
    "graph_type": "undirected",
    "nodes": [{"id": name} for name in "abc"],
    "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}, {"from": "c", "to": "a"}],
}


def result(operation: str, graph: Any = None, **given: Any) -> Any:
    return call(GraphBuilder, operation=operation, **({} if graph is None else {"graph": graph}), **given).result


def dot(graph: Any) -> str:
    return str(result("export_dot", graph)["content"])


def test_a_graph_is_made_step_by_step() -> None:
    made = result("create_graph", graph_type="undirected")["graph"]
    made = result("add_node", made, node_id="a", label="First", data={"x": 1})["graph"]
    made = result("add_node", made, node_id="b")["graph"]
    made = result("add_edge", made, **{"from": "a", "to": "b", "label": "knows", "weight": 2})["graph"]

    assert json.loads(made) == {
        "graph_type": "undirected",
        "nodes": [{"id": "a", "label": "First", "data": {"x": 1}}, {"id": "b", "label": "b", "data": None}],
        "edges": [{"from": "a", "to": "b", "label": "knows", "weight": 2, "data": None}],
        "metadata": {},
    }


@pytest.mark.parametrize("graph", [PARTS, RING])
def test_analyze_counts_what_gc_counts(graph: Any) -> None:
    told = result("analyze", graph)

    counts = re.findall(r"\d+", oracle("gc", "-n", "-e", "-c", given=dot(graph)))
    assert [told["node_count"], told["edge_count"]] == [int(each) for each in counts[:2]]
    assert told["properties"]["is_connected"] == (int(counts[2]) == 1)
    assert told["degree_statistics"]["max"] == (3 if graph is PARTS else 2)
    assert told["density"] == pytest.approx(5 / 30 if graph is PARTS else 1)
    assert (told["properties"]["is_acyclic"], told["properties"]["is_complete"]) == (graph is PARTS, graph is RING)


def test_components_are_those_of_ccomps() -> None:
    told = result("components", PARTS)

    assert told["count"] == oracle("ccomps", "-x", codes=(0, 1), given=dot(PARTS)).count("digraph")
    assert told["components"] == [["a", "b", "c", "d"], ["e", "f"]]
    assert told["strongly_connected_count"] == 6


def test_the_shortest_path_has_the_smallest_sum_of_weights() -> None:
    assert result("path", PARTS, **{"from": "a", "to": "d"}) == {
        "found": True,
        "path": ["a", "b", "c", "d"],
        "length": 3,
    }
    assert result("path", PARTS, **{"from": "a", "to": "f"}) == {"found": False, "path": [], "length": None}


def test_the_order_is_one_that_every_edge_agrees_with() -> None:
    order = result("topological", PARTS)["order"]

    reduced = oracle("tred", given=dot(PARTS))
    edges = re.findall(r"(\w+)\s*->\s*(\w+)", reduced)
    assert len(edges) == 4
    assert all(order.index(first) < order.index(second) for first, second in edges)
    with pytest.raises(ToolError, match="has a cycle"):
        result("topological", {**RING, "graph_type": "directed"})
    with pytest.raises(ToolError, match="undirected"):
        result("topological", RING)


def test_centrality_of_a_star_is_known() -> None:
    star = {"graph_type": "undirected", "nodes": [{"id": n} for n in "abcd"], "edges": []}
    star["edges"] = [{"from": "a", "to": name} for name in "bcd"]

    told = result("centrality", star)

    assert (told["betweenness"], told["degree"]["b"]) == ({"a": 1, "b": 0, "c": 0, "d": 0}, pytest.approx(1 / 3))
    assert told["closeness"]["b"] == pytest.approx(3 / 5)


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4, unique=True))
def test_what_is_exported_as_json_comes_back(names: list[str]) -> None:
    edges = [{"from": names[0], "to": names[-1], "label": "x"}]
    graph = {"graph_type": "directed", "nodes": [{"id": name} for name in names], "edges": edges}

    text = result("export_json", graph)["json"]

    assert json.loads(result("import_json", text)["graph"]) == json.loads(text)


@pytest.mark.parametrize("label", ['"quoted"', "back\\slash", "a\nb", "[x]; evil -> y", "<b>&", "ä"])
def test_dot_holds_labels_whatever_they_are(label: str) -> None:
    graph = {"nodes": [{"id": "a", "label": label}, {"id": 'b"]; c'}], "edges": [{"from": "a", "to": 'b"]; c'}]}

    plain = oracle("dot", "-Tplain", given=dot(graph))

    assert len(re.findall("^node ", plain, re.MULTILINE)) == 2
    assert len(re.findall("^edge ", plain, re.MULTILINE)) == 1


def test_mermaid_names_no_node_by_what_somebody_wrote() -> None:
    graph = {"nodes": [{"id": 'a"] --> evil["'}], "edges": []}

    content = result("export_mermaid", graph)["content"]

    assert content == 'graph TD\n  n0["a#quot;#93; --#62; evil#91;#quot;"]\n'


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is no JSON object"),
        ({"nodes": [{"id": "a"}, {"id": "a"}]}, "already"),
        ({"nodes": [{}]}, "has the id None"),
        ({"nodes": [], "edges": [{"from": "a", "to": "b"}]}, "there is no node 'a'"),
        ({"nodes": [1]}, "no array of objects"),
        ({"graph_type": "both"}, "write directed or undirected"),
        ({"nodes": [{"id": "a"}], "edges": [{"from": "a", "to": "a", "weight": -1}]}, "weight -1"),
        ({"nodes": [{"id": str(n)} for n in range(50_001)]}, "more than 50000"),
    ],
)
def test_a_malformed_or_large_graph_is_refused_in_a_line(graph: Any, message: str) -> None:
    with pytest.raises(ToolError, match=message) as caught:
        result("analyze", graph)

    assert "\n" not in str(caught.value)


def test_what_an_operation_needs_is_said() -> None:
    for operation, needed in (("add_node", "graph"), ("path", "graph"), ("analyze", "graph")):
        with pytest.raises(InvalidInputError, match=f"needs {needed}"):
            result(operation)
    with pytest.raises(InvalidInputError, match="add_edge needs from and to"):
        result("add_edge", RING)
    with pytest.raises(ToolError, match="more than 2000 for centrality"):
        result("centrality", {"nodes": [{"id": str(n)} for n in range(2001)]})
