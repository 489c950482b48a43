"""``llmspell hook graph``: what depends on what, from what was really declared and registered, and its drawings."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import Bench, opened, run
from llmspell import Host
from llmspell.cli.main import main as command
from llmspell_hookspecs import HookContext
from llmspell_hookspecs.dependencies import AskedHook, ComponentCall, ComponentNode, Dependencies, DependencyGraph
from llmspell_hookspecs.errors import ComponentNotFoundError
from llmspell_hookspecs.kind import CallOptions, ComponentKind, Declared
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.commands.hook_graph.drawing import draw_dot, draw_mermaid, draw_text
from llmspell_plugins.services.dependencies import arrange
from waiting import PATIENCE_S

Run = Callable[..., tuple[int, str, str]]
SCRIPT = """
local clerk = Agent.create({name = "clerk", model = "offline/rules", tools = {"calculator"}})
Workflow.sequential({name = "report", steps = {
    {name = "ask", agent = clerk, input = "what is 2 + 2?"},
    {name = "add", tool = "calculator", input = {operation = "evaluate", input = "1 + 1"}},
}})
Hook.register("BeforeToolExecution", function() end, "high")
"""
TEXT = """
Components, each behind what it calls
  tool:calculator
  model:offline/rules
  agent:clerk
    calls tool:calculator
    calls model:offline/rules
  workflow:report
    calls agent:clerk  (ask)
    calls tool:calculator  (add)
"""


def ignore(context: HookContext[Any]) -> None:
    """Do nothing."""


async def graph_of(host: Host, **options: Any) -> DependencyGraph:
    return await (await host.enter(Dependencies)).graph(**options)


async def furnish(host: Host) -> None:
    """Make agents that may use tools, agents and workflows, and workflows with stages of all kinds."""
    flows = host.get(Workflows)
    await host.agents.create(name="clerk", model="mini/parrot", tools=["echo"])
    await flows.create({"name": "inner", "stages": [{"name": "say", "tool": "echo"}]})
    await host.agents.create(name="boss", model="mini/parrot", tools=["agent:clerk", "workflow:inner", "tool:echo"])
    undo = {"name": "take_back", "tool": "other"}
    stages = [
        {"name": "ask", "agent": "boss", "compensate": undo},
        {"name": "run", "workflow": "inner"},
        {"name": "again", "workflow": "inner"},
        {"name": "gone", "tool": "nothing"},
    ]
    await flows.create({"name": "outer", "stages": stages})
    branches = [{"name": "a", "stages": [{"name": "one", "tool": "echo"}]}]
    await flows.create({"name": "beside", "pattern": "parallel", "branches": branches})


CALLS = {
    ("agent:boss", "agent:clerk"),
    ("agent:boss", "model:mini/parrot"),
    ("agent:boss", "tool:echo"),
    ("agent:boss", "workflow:inner"),
    ("agent:clerk", "model:mini/parrot"),
    ("agent:clerk", "tool:echo"),
    ("workflow:beside", "tool:echo"),
    ("workflow:inner", "tool:echo"),
    ("workflow:outer", "agent:boss"),
    ("workflow:outer", "tool:nothing"),
    ("workflow:outer", "tool:other"),
    ("workflow:outer", "workflow:inner"),
}


def in_host(main: Callable[[Host], Any], **options: Any) -> Any:
    async def opening() -> Any:
        async with opened(*Bench().plugins, **options) as host:
            return await main(host)

    return run(opening)


# What calls what.


def test_the_tools_of_agents_and_the_stages_of_workflows_are_calls() -> None:
    async def main(host: Host) -> DependencyGraph:
        await furnish(host)
        return await graph_of(host)

    graph: DependencyGraph = in_host(main)

    assert {(call.caller, call.callee) for call in graph.calls} == CALLS
    places = {(call.caller, call.callee): call.places for call in graph.calls if call.places}
    assert places["workflow:outer", "workflow:inner"] == ("run", "again")
    assert places["workflow:outer", "tool:other"] == ("take_back",)
    assert [node.address for node in graph.components if node.missing] == ["tool:nothing"]
    order = [node.address for node in graph.components]
    assert all(order.index(call.callee) < order.index(call.caller) for call in graph.calls)
    assert graph.cycles == ()


def test_components_that_call_each_other_are_named_with_the_way() -> None:
    async def main(host: Host) -> DependencyGraph:
        await host.get(Workflows).create({"name": "report", "stages": [{"name": "ask", "agent": "clerk"}]})
        await host.agents.create(name="helper", model="mini/parrot", tools=["workflow:report"])
        await host.agents.create(name="clerk", model="mini/parrot", tools=["agent:helper"])
        return await graph_of(host)

    graph: DependencyGraph = in_host(main)

    assert graph.cycles == (("agent:clerk", "agent:helper", "workflow:report"),)
    lines = list(draw_text(graph))
    assert lines[-2:] == ["Rings of calls", "  agent:clerk -> agent:helper -> workflow:report -> agent:clerk"]


def test_one_component_is_shown_with_its_neighbours() -> None:
    async def main(host: Host) -> Any:
        await furnish(host)
        with pytest.raises(ComponentNotFoundError, match="component 'tool:none': there is none"):
            await graph_of(host, component="tool:none")
        return await graph_of(host, component="workflow:inner"), await graph_of(host, every=True)

    near, every = in_host(main)

    assert {node.address for node in near.components} == {
        "workflow:inner",
        "tool:echo",
        "agent:boss",
        "workflow:outer",
    }
    assert "tool:calculator" in {node.address for node in every.components}


class Deploys(Protocol):
    """What the kind below is as a service."""


class Deploy(ComponentKind):
    """A kind of a third party, whose components declare what the test says."""

    name = "deploy"
    provides = Deploys
    declares: ClassVar[Callable[[], Any]] = dict

    def __init__(self, settings: None, services: Any) -> None:
        pass

    async def run(self, name: str, input: Any, options: CallOptions, /) -> Any:
        return name

    def declared(self) -> Any:
        return type(self).declares()


def broken() -> Any:
    raise SystemExit(4)


def halfway() -> Iterator[Declared]:
    yield Declared("tool:echo")
    raise RuntimeError("no more")


def graph_with(declares: Callable[[], Any]) -> DependencyGraph:
    kind = type("Deploy", (Deploy,), {"declares": staticmethod(declares)})

    async def main() -> DependencyGraph:
        async with opened(*Bench().plugins, kind) as host:
            return await graph_of(host)

    return run(main)


def test_a_kind_of_a_third_party_is_in_the_graph() -> None:
    graph = graph_with(lambda: {"web": [Declared("deploy:db", "first"), Declared("tool:echo")], "db": ()})

    assert [node.address for node in graph.components] == ["deploy:db", "tool:echo", "deploy:web"]
    assert graph.calls[0] == ComponentCall("deploy:web", "deploy:db", ("first",))


@pytest.mark.parametrize(
    ("declares", "said"),
    [
        (broken, "SystemExit: 4"),
        (lambda: {"web": halfway()}, "RuntimeError: no more"),
        (lambda: {"web": ["tool:echo"]}, "of 'web' it answers 'tool:echo', which is no Declared"),
        (lambda: {1: ()}, "of 1 it answers 1, which is no Declared"),
        (lambda: ["web"], "AttributeError"),
    ],
)
def test_a_kind_that_declares_wrongly_is_named_and_harms_no_other(
    declares: Callable[[], Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    graph = graph_with(declares)

    told = [record.getMessage() for record in caplog.records if "declared()" in record.getMessage()]
    assert graph.components == ()
    assert len(told) == 1
    assert told[0].startswith("component kind deploy: its declared() failed: ")
    assert told[0].endswith("; repair it")
    assert said in told[0]


# What hooks are asked about.


def test_hooks_are_asked_about_what_their_point_and_pattern_fit_in_their_order() -> None:
    async def main(host: Host) -> DependencyGraph:
        await furnish(host)
        register = host.hooks.register
        register("before_tool_execution", ignore, name="late", priority="low", match="ec*")
        register("before_tool_execution", ignore, name="judge", kind="guard")
        register("before_tool_execution", ignore, name="early", priority="high", match="nobody")
        register("before_agent_execution", ignore, name="agents", match="b*")
        register("before_workflow_stage", ignore, name="stage", match="outer.run")
        register("before_workflow_start", ignore, name="flow", match="outer")
        register("workflow_error", ignore, name="either", match="*.one")
        register("before_tool_execution", ignore, name="off").enable(False)
        register("before_state_write", ignore, name="state")
        return await graph_of(host)

    graph: DependencyGraph = in_host(main)

    about = {hook.name: hook.components for hook in graph.hooks}
    assert about["late"] == ("tool:echo",)
    assert about["judge"] == ("tool:echo", "tool:nothing", "tool:other")
    assert about["early"] == about["state"] == ()
    assert about["agents"] == ("agent:boss",)
    assert about["stage"] == about["flow"] == ("workflow:outer",)
    assert about["either"] == ("workflow:beside",)
    at_tools = [(hook.name, hook.place) for hook in graph.hooks if hook.point == "before_tool_execution"]
    assert [name for name, place in at_tools if place] == ["early", "late", "judge"]
    assert dict(at_tools)["off"] == 0


def test_the_order_is_that_of_the_registry() -> None:
    async def main(host: Host) -> Any:
        for number, priority in enumerate(("low", "highest", "normal", "high")):
            host.hooks.register("before_tool_execution", ignore, name=f"h{number}", priority=priority)
        order = [info.name for info in host.hooks.list("before_tool_execution")]
        graph = await graph_of(host)
        return order, [hook.name for hook in graph.hooks if hook.point == "before_tool_execution"]

    order, shown = in_host(main)

    assert shown == order
    assert [name for name in order if name.startswith("h")] == ["h1", "h3", "h2", "h0"]


# Arranging, against networkx.

edges = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40)


@given(edges)
def test_the_arrangement_agrees_with_networkx(pairs: list[tuple[int, int]]) -> None:
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(str(number) for number in range(13))
    graph.add_edges_from((str(a), str(b)) for a, b in pairs)

    order, rings = arrange({node: list(graph.successors(node)) for node in graph})

    assert sorted(order) == sorted(graph)
    groups = [group for group in networkx.strongly_connected_components(graph) if len(group) > 1]
    groups += [{node} for node in graph if graph.has_edge(node, node) and not any(node in group for group in groups)]
    assert len(rings) == len(groups)
    assert not rings or {next(place for place, group in enumerate(groups) if set(ring) <= group) for ring in rings} == {
        *range(len(groups))
    }
    for ring in rings:
        assert len(set(ring)) == len(ring)
        assert all(graph.has_edge(a, b) for a, b in zip(ring, (*ring[1:], ring[0]), strict=True))
    places = {node: place for place, node in enumerate(order)}
    condensed = {
        node: number for number, group in enumerate(networkx.strongly_connected_components(graph)) for node in group
    }
    assert all(places[b] < places[a] for a, b in graph.edges if condensed[a] != condensed[b])


def test_a_long_chain_is_arranged_without_recursion() -> None:
    chain = {str(number): [str(number + 1)] for number in range(20_000)} | {"20000": []}

    order, rings = arrange(chain)

    assert (order[0], order[-1], rings) == ("20000", "0", [])


# Drawings.

ODD = ['a"b', "back\\slash", "new\nline", "ünï", "#{}<b>|", "->", "end", "\x1b[31m", "x" * 300, "\\"]


def odd_graph(cyclic: bool) -> DependencyGraph:
    addresses = [f"tool:{name}" for name in ODD]
    calls = [ComponentCall(a, b, (a, b)) for a, b in itertools.pairwise(addresses)]
    if cyclic:
        calls.append(ComponentCall(addresses[-1], addresses[0]))
    hooks = [
        AskedHook("point", place, name, name, "guard", 0, name, components=(addresses[0],))
        for place, name in enumerate(ODD)
    ]
    nodes = tuple(ComponentNode(address, address == addresses[2]) for address in addresses)
    return DependencyGraph(nodes, tuple(calls), tuple(hooks), (tuple(addresses),) if cyclic else ())


def graphviz(program: str, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *options], input=text, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("cyclic", [False, True])
def test_graphviz_accepts_what_is_drawn_for_it_and_agrees_about_rings(cyclic: bool) -> None:
    graph = odd_graph(cyclic)
    text = "\n".join(draw_dot(graph))

    plain = graphviz("dot", text, "-Tplain")
    acyclic = graphviz("acyclic", text, "-n")

    assert (plain.returncode, plain.stderr) == (0, "")
    kinds = [line.split()[0] for line in plain.stdout.splitlines()]
    assert kinds.count("node") == len(graph.components) + len(graph.hooks)
    assert kinds.count("edge") == len(graph.calls) + sum(len(hook.components) for hook in graph.hooks)
    assert (acyclic.returncode != 0) is cyclic


def test_no_drawing_breaks_a_line_or_moves_a_cursor() -> None:
    graph = odd_graph(cyclic=True)

    for draw in (draw_text, draw_dot, draw_mermaid):
        lines = list(draw(graph))
        assert all(line.isprintable() for line in lines), draw.__name__
    assert len(list(draw_mermaid(graph))) == 1 + len(graph.components) + len(graph.calls) + 2 * len(graph.hooks)


def test_mermaid_is_a_flowchart_with_a_node_for_each_and_an_arrow_for_each() -> None:
    graph = DependencyGraph(
        (ComponentNode("tool:a"), ComponentNode("agent:b", missing=True)),
        (ComponentCall("agent:b", "tool:a", ("one", "two")), ComponentCall("tool:a", "agent:b")),
        (AskedHook("before_tool_execution", 1, "acme", 'say "hi"', "guard", 0, components=("tool:a",)),),
    )

    assert list(draw_mermaid(graph)) == [
        "flowchart LR",
        '  c0["tool:a"]',
        '  c1["agent:b (not there)"]',
        '  c1 -->|"one, two"| c0',
        "  c0 --> c1",
        '  h0(["acme.say #quot;hi#quot;: before_tool_execution 1"])',
        "  h0 -.-> c0",
    ]


# The command.


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for variable in ("CONFIG", "DATA"):
        monkeypatch.setenv(f"LLMSPELL_{variable}_HOME", str(tmp_path / variable))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.lua").write_text(SCRIPT)

    def shell(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            command(arguments)
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return shell


def test_a_script_is_run_and_what_it_made_is_shown(shell: Run) -> None:
    code, out, err = shell("hook", "graph", "a.lua")

    assert (code, err) == (0, "")
    assert out.startswith(TEXT.lstrip())
    assert "  before_tool_execution\n" in out
    assert "transform script:" in out
    assert ", of a script: tool:calculator" in out


def test_programs_get_it_as_one_value(shell: Run) -> None:
    code, out, _ = shell("hooks", "graph", "a.lua", "--output", "json", "--component", "agent:clerk")

    graph = json.loads(out)
    assert code == 0
    assert [node["address"] for node in graph["components"]] == [
        "tool:calculator",
        "model:offline/rules",
        "agent:clerk",
        "workflow:report",
    ]
    assert {"caller": "workflow:report", "callee": "agent:clerk", "places": ["ask"]} in graph["calls"]


def test_without_a_script_it_is_what_plugins_bring(shell: Run) -> None:
    text, every, dot = (
        shell("hook", "graph"),
        shell("hook", "graph", "--all"),
        shell("hook", "graph", "--format", "dot"),
    )

    assert text[0] == every[0] == dot[0] == 0
    assert "none calls another, and no hook names one" in text[1]
    assert "  tool:calculator\n" in every[1]
    assert dot[1].startswith("digraph dependencies {\n")
    assert shell("hook", "graph", "--format", "mermaid")[1].startswith("flowchart LR\n")


@pytest.mark.parametrize(
    ("arguments", "exit", "said"),
    [
        (("--component", "tool:none"), 2, "component 'tool:none': there is none"),
        (("none.lua",), 2, "none.lua"),
        (("bad.lua",), 1, "bad.lua:1"),
    ],
)
def test_what_cannot_be_shown_is_told_on_one_line(arguments: tuple[str, ...], exit: int, said: str, shell: Run) -> None:
    Path("bad.lua").write_text("error('no')")

    code, out, err = shell("hook", "graph", *arguments)

    assert (code, out, err.count("\n")) == (exit, "", 1)
    assert said in err
