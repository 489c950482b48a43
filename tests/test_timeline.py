"""The timeline: what the host's own causes make of its events, held against a naive graph, and its bounds."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import networkx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kernel import Bench, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import Event, InvalidInputError
from llmspell_hookspecs.errors import ComponentNotFoundError, SettingsError
from llmspell_hookspecs.timeline import Timeline, TimelineEntry, TimelineQuery
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.services.timeline import Record, Selection
from llmspell_plugins.services.timeline.record import size_within
from scripted_model import ScriptedModel, asks, says


def with_timeline(main: Callable[[Host, Timeline], Awaitable[Any]], *plugins: Any, **settings: Any) -> Any:
    async def opening() -> Any:
        wanted = {"plugins": {"timeline": {"enabled": True, **settings}}}
        async with opened(*plugins, settings=wanted) as host:
            return await main(host, host.get(Timeline))

    return run(opening)


# What a host records.


def test_an_agents_turn_with_a_tool_inside_a_workflow_is_one_tree_whose_root_is_the_workflow() -> None:
    bench = Bench()
    model = ScriptedModel(asks(("echo", {"text": "a"})), says("done"))

    async def main(host: Host, timeline: Timeline) -> Any:
        await host.agents.create(name="clerk", model="scripted/model", tools=["echo"])
        stages = [{"name": "ask", "agent": "clerk", "input": "go"}]
        flow = await host.get(Workflows).create({"name": "report", "stages": stages})
        await flow.run("go")
        return await timeline.entries(TimelineQuery(patterns=("*.started",)))

    entries = with_timeline(main, *bench.plugins, model)

    named = {entry.event.id: entry.event.source for entry in entries}
    tree = [(entry.event.source, named.get(entry.cause, "")) for entry in entries]
    assert tree == [
        ("workflow:report", ""),
        ("workflow_stage:report.ask", "workflow:report"),
        ("agent:clerk", "workflow_stage:report.ask"),
        ("model:scripted/model", "agent:clerk"),
        ("tool:echo", "agent:clerk"),
        ("model:scripted/model", "agent:clerk"),
    ]
    assert {named[entry.root] for entry in entries} == {"workflow:report"}
    assert len({entry.event.correlation_id for entry in entries}) == 1


def test_causes_lead_from_an_operation_through_a_handler_to_what_it_sets_off() -> None:
    bench = Bench()

    async def main(host: Host, timeline: Timeline) -> Any:
        async def handle(event: Event) -> None:
            await host.call("tool:echo", {})
            host.events.publish_nowait("user.greeted")

        host.events.on("user.created", handle)
        host.events.publish_nowait("user.created")
        await trio.testing.wait_all_tasks_blocked()
        return await timeline.entries(), await timeline.longest_chain(), await timeline.stats()

    entries, chain, stats = with_timeline(main, *bench.plugins)

    created = entries[0].event
    assert [(entry.event.type, entry.depth) for entry in entries] == [
        ("user.created", 0),
        ("tool.started", 1),
        ("tool.completed", 2),
        ("user.greeted", 1),
    ]
    assert [entry.event.type for entry in chain] == ["user.created", "tool.started", "tool.completed"]
    assert entries[0].effects == (entries[1].event.id, entries[3].event.id)
    assert {entry.root for entry in entries} == {created.id}
    assert (stats.events, stats.roots, stats.leaves, stats.longest_chain, stats.correlations) == (4, 1, 2, 3, 1)


def test_operations_beside_each_other_are_told_from_those_in_a_row() -> None:
    async def nap(parameters: dict[str, Any], context: Any) -> str:
        await trio.sleep(0.01)
        return "rested"

    async def main(host: Host, timeline: Timeline) -> Any:
        await host.call("tool:nap", {})
        await host.call("tool:nap", {})
        before = (await timeline.stats()).concurrent_groups
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(host.call, "tool:nap", {})
        return before, (await timeline.stats()).concurrent_groups

    assert with_timeline(main, make_tool("nap", nap)) == (0, 1)


def test_what_one_asks_for_is_found_by_correlation_topic_component_time_and_tag() -> None:
    async def main(host: Host, timeline: Timeline) -> Any:
        first = host.events.publish_nowait("user.created", source="code:a", tags=("new", "vip"))
        host.events.publish_nowait("user.deleted", target="code:a", language="lua")
        host.events.publish_nowait("job.done", correlation_id=first.correlation_id)

        async def found(**query: Any) -> list[str]:
            return [entry.event.type for entry in await timeline.entries(TimelineQuery(**query))]

        return [
            await found(correlation_ids=(first.correlation_id,)),
            await found(patterns=("user.*", "nothing")),
            await found(components=("code:*",)),
            await found(since_s=first.timestamp + 1e6),
            await found(until_s=first.timestamp + 1e6, limit=1),
            await found(languages=("lua",)),
            await found(tags=("vip",)),
            await found(tags=("vip", "old")),
            await found(after=first.sequence),
            await found(sort="time", descending=True, limit=2),
        ]

    assert with_timeline(main) == [
        ["user.created", "job.done"],
        ["user.created", "user.deleted"],
        ["user.created", "user.deleted"],
        [],
        ["user.created"],
        ["user.deleted"],
        ["user.created"],
        [],
        ["user.deleted", "job.done"],
        ["job.done", "user.deleted"],
    ]


def test_urgent_and_old_events_stand_where_they_were_published() -> None:
    async def main(host: Host, timeline: Timeline) -> Any:
        host.events.publish_nowait("first")
        host.events.publish_nowait("old", ttl_s=0.0)
        host.events.publish_nowait("urgent", priority=-10)
        return [entry.event.type for entry in await timeline.entries()]

    assert with_timeline(main) == ["first", "old", "urgent"]


def test_a_pattern_that_is_none_is_refused() -> None:
    async def main(host: Host, timeline: Timeline) -> Any:
        with pytest.raises(InvalidInputError, match=r"event pattern '\{a'"):
            await timeline.entries(TimelineQuery(patterns=("{a",)))

    with_timeline(main)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"patterns": "user.*"}, "timeline query: patterns is 'user.*'; give a tuple of texts"),
        ({"only": "root"}, "timeline query: only is 'root'; give roots, leaves or an empty text"),
        ({"sort": "size"}, "timeline query: sort is 'size'; give sequence, time, depth, correlation"),
        ({"limit": -1}, "timeline query: limit is -1; give 0 or more, or None"),
    ],
)
def test_a_question_that_would_ask_for_something_else_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        TimelineQuery(**wrong)

    assert str(caught.value) == said


def test_others_run_while_many_events_are_looked_through() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async def main(host: Host, timeline: Timeline) -> int:
        for number in range(9_000):
            host.events.publish_nowait("tick", number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await timeline.entries()
            nursery.cancel_scope.cancel()
        return turns

    assert with_timeline(main) > 9_000 // 64


# Off, and its bounds.


def test_it_is_off_by_default_and_then_nobody_listens() -> None:
    async def main() -> None:
        async with opened() as host:
            with pytest.raises(ComponentNotFoundError, match="service Timeline: nothing offers it"):
                host.get(Timeline)
            assert not host.events.listens("tool.started")
            assert host.events.subscriptions() == []

    run(main)


def test_the_oldest_events_go_and_are_counted() -> None:
    async def main(host: Host, timeline: Timeline) -> Any:
        for number in range(25):
            host.events.publish_nowait("tick", number)
        return [entry.event.data for entry in await timeline.entries()], await timeline.stats()

    kept, stats = with_timeline(main, events=10)

    assert kept == list(range(15, 25))
    assert (stats.events, stats.recorded, stats.evicted, stats.dropped) == (10, 25, 15, 0)


def test_what_comes_faster_than_it_is_recorded_is_dropped_and_counted() -> None:
    async def main(host: Host, timeline: Timeline) -> Any:
        for number in range(10_500):
            host.events.publish_nowait("tick", number)
        return await timeline.stats()

    stats = with_timeline(main)

    assert (stats.recorded, stats.dropped) == (10_000, 500)


def test_data_that_is_too_large_or_not_plain_is_left_out_and_counted() -> None:
    async def main(host: Host, timeline: Timeline) -> Any:
        for data in ("x" * 5000, [1] * 5000, {"a": {"b": object()}}, "short"):
            host.events.publish_nowait("tick", data)
        host.events.publish_nowait("tick", tags=("long",) * 1000)
        return await timeline.entries(), await timeline.stats()

    entries, stats = with_timeline(main, event_bytes=1000)

    left = [{"left_out": "str"}, {"left_out": "list"}, {"left_out": "dict"}]
    assert [entry.event.data for entry in entries] == [*left, "short", None]
    assert stats.without_data == 4


def test_an_operation_whose_data_is_left_out_still_has_its_place() -> None:
    bench = Bench()

    async def main(host: Host, timeline: Timeline) -> Any:
        await host.call("tool:echo", {})
        return await timeline.entries()

    started, completed = with_timeline(main, *bench.plugins, event_bytes=0)

    assert started.event.data.keys() == {"left_out", "operation_id", "parent_id"}
    assert completed.cause == started.event.id


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"patterns": ["{a"]}, "event pattern '{a'"),
        ({"patterns": []}, "patterns"),
        ({"size_bytes": 65536, "event_bytes": 65536}, "event_bytes is more than a quarter of size_bytes, 65536"),
        ({"events": 0}, "events"),
        ({"event": 1}, "events"),
    ],
)
def test_a_wrong_setting_is_told(setting: dict[str, Any], said: str) -> None:
    async def main() -> list[str]:
        try:
            async with opened(settings={"plugins": {"timeline": {"enabled": True, **setting}}}) as host:
                return [info.error for info in host.plugins.infos if info.name == "timeline"]
        except SettingsError as error:
            return [str(error)]

    assert said in " ".join(run(main))


texts = st.text(max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(values, max_size=40), st.integers(1, 10), st.integers(500, 5000))
def test_no_bound_of_a_record_is_ever_exceeded(data: list[Any], events: int, size_bytes: int) -> None:
    record = Record(events, size_bytes, 600)

    for number, each in enumerate(data):
        record.add(Event("tick", each, id=str(number)))
        kept = record.events()
        assert len(kept) <= events
        assert 0 <= record.size_bytes <= size_bytes
        assert [event.id for event in kept] == [str(place) for place in range(number + 1 - len(kept), number + 1)]
        assert record.recorded - record.evicted == len(kept)


@given(values, st.integers(0, 2000))
def test_a_value_has_one_size_or_is_larger_than_asked(value: Any, most: int) -> None:
    whole = size_within(value, 1 << 40)

    assert whole is not None
    assert size_within(value, most) == (whole if whole <= most else None)


# Against a naive oracle.


class Forest:
    """What happened, as a strategy made it up: plain events and operations, each within one before it."""

    def __init__(self, things: list[tuple[bool, int, bool]], gone: set[int]) -> None:
        self.graph: networkx.DiGraph[str] = networkx.DiGraph()
        rows: list[tuple[Event, str]] = []
        names: list[str] = []
        for number, (is_operation, within, ends) in enumerate(things):
            cause = names[within % len(names)] if names and within >= 0 else ""
            name = f"operation-{number}" if is_operation else f"event-{number}"
            names.append(name)
            if is_operation:
                rows.append((self._told(f"start-{number}", "tool.started", name, cause), cause))
                if ends:
                    rows.append((self._told(f"end-{number}", "tool.completed", name, cause), name))
            else:
                rows.append((Event("plain", id=name, causation_id=cause), cause))
        self.events = [event for place, (event, _) in enumerate(rows) if place not in gone]
        self._join([(event, cause) for place, (event, cause) in enumerate(rows) if place not in gone])

    def _told(self, id: str, type: str, operation: str, parent: str) -> Event:
        return Event(type, {"operation_id": operation, "parent_id": parent}, id=id, causation_id=operation)

    def _join(self, rows: list[tuple[Event, str]]) -> None:
        ids = {event.id for event, _ in rows}
        self.graph.add_nodes_from(event.id for event, _ in rows)
        for event, cause in rows:
            number = cause.rpartition("-")[2]
            above = cause
            if cause.startswith("operation"):
                above = next((id for id in (f"start-{number}", f"end-{number}") if id in ids), "")
            if above == event.id:  # the start is gone, and this end stands for the operation
                within = event.data["parent_id"]
                above = within
                if within.startswith("operation"):
                    number = within.rpartition("-")[2]
                    above = next((id for id in (f"start-{number}", f"end-{number}") if id in ids), "")
            if above in ids:
                self.graph.add_edge(above, event.id)


things = st.lists(st.tuples(st.booleans(), st.integers(-2, 30), st.booleans()), max_size=30)
gone = st.sets(st.integers(0, 40), max_size=8)


def ids(entries: list[TimelineEntry]) -> list[str]:
    return [entry.event.id for entry in entries]


@given(things, gone)
def test_roots_leaves_depths_and_the_longest_chain_are_those_of_a_naive_graph(
    things: list[tuple[bool, int, bool]], gone: set[int]
) -> None:
    forest = Forest(things, gone)
    graph = forest.graph

    found = Selection(forest.events, TimelineQuery())
    roots = Selection(forest.events, TimelineQuery(only="roots"))
    leaves = Selection(forest.events, TimelineQuery(only="leaves"))
    chain = ids(found.longest_chain)

    assert set(ids(roots.entries)) == {node for node, degree in graph.in_degree() if degree == 0}
    assert set(ids(leaves.entries)) == {node for node, degree in graph.out_degree() if degree == 0}
    assert {(entry.cause, entry.event.id) for entry in found.entries if entry.cause} == set(graph.edges)
    for entry in found.entries:
        assert entry.depth == len(networkx.ancestors(graph, entry.event.id))
        assert set(entry.effects) == set(graph.successors(entry.event.id))
        assert entry.root in networkx.ancestors(graph, entry.event.id) | {entry.event.id}
    assert len(chain) == len(networkx.dag_longest_path(graph))
    assert all(graph.has_edge(*pair) for pair in itertools.pairwise(chain))
    assert found.causes.rings == []


@given(things, st.sets(st.integers(0, 30), max_size=12))
def test_the_longest_chain_of_what_is_asked_for_skips_what_is_not(
    things: list[tuple[bool, int, bool]], tagged: set[int]
) -> None:
    forest = Forest(things, set())
    events = [
        Event(event.type, event.data, id=event.id, causation_id=event.causation_id, tags=("t",) if n in tagged else ())
        for n, event in enumerate(forest.events)
    ]
    wanted = [event.id for event in events if event.tags]
    reduced = networkx.transitive_closure_dag(forest.graph).subgraph(wanted)

    chain = ids(Selection(events, TimelineQuery(tags=("t",))).longest_chain)

    assert len(chain) == len(networkx.dag_longest_path(reduced))
    assert all(reduced.has_edge(*pair) for pair in itertools.pairwise(chain))


@given(st.lists(st.integers(0, 14), max_size=15))
def test_rings_that_a_file_claims_are_cut_once_each_and_told(claimed: list[int]) -> None:
    events = [Event("plain", id=str(n), causation_id=str(cause)) for n, cause in enumerate(claimed)]
    graph: networkx.DiGraph[str] = networkx.DiGraph(
        [(str(cause), str(n)) for n, cause in enumerate(claimed) if cause < len(claimed)]
    )
    graph.remove_edges_from(networkx.selfloop_edges(graph))

    selection = Selection(events, TimelineQuery())
    rings = [tuple(map(int, ring)) for ring in selection.stats().cycles]

    assert {frozenset(ring) for ring in rings} == {frozenset(map(int, ring)) for ring in networkx.simple_cycles(graph)}
    uncaused = {int(entry.event.id) for entry in selection.entries if not entry.cause}
    for ring in rings:
        assert ring[0] == min(ring)
        assert uncaused.intersection(ring) == {ring[0]}
        assert all(graph.has_edge(str(a), str(b)) for a, b in zip(ring, (*ring[1:], ring[0]), strict=True))
    forest: networkx.DiGraph[str] = networkx.DiGraph(
        [(entry.cause, entry.event.id) for entry in selection.entries if entry.cause]
    )
    assert networkx.is_directed_acyclic_graph(forest)
    assert len(selection.causes.order) == len(events)


@given(things, st.integers(0, 5), st.sampled_from(["sequence", "time", "depth", "correlation"]), st.booleans())
def test_a_query_is_the_same_as_asking_each_event(
    things: list[tuple[bool, int, bool]], depth: int, sort: Any, descending: bool
) -> None:
    events = [
        Event(e.type, e.data, id=e.id, causation_id=e.causation_id, correlation_id=e.id[-1], timestamp=float(n % 3))
        for n, e in enumerate(Forest(things, set()).events)
    ]
    every = Selection(events, TimelineQuery()).entries
    keys: dict[str, Callable[[TimelineEntry], Any]] = {
        "sequence": lambda entry: entry.position,
        "time": lambda entry: (entry.event.timestamp, entry.position),
        "depth": lambda entry: (entry.depth, entry.position),
        "correlation": lambda entry: (entry.event.correlation_id, entry.position),
    }

    query = TimelineQuery(patterns=("tool.*",), since_s=1.0, depth=depth, sort=sort, descending=descending, limit=7)
    found = Selection(events, query).entries

    fitting = [e for e in every if e.event.type != "plain" and e.event.timestamp >= 1 and e.depth <= depth]
    assert found == sorted(fitting, key=keys[sort], reverse=descending)[:7]


def test_a_record_shows_no_text_under_the_name_of_a_secret() -> None:
    record = Record(10, 100_000, 10_000)

    record.add(Event("tick", {"password": "hunter2hunter2", "rows": [{"api_key": "swordfish"}], "note": "kept"}))

    shown = repr(record.events())
    assert "hunter2" not in shown and "swordfish" not in shown
    assert "kept" in shown
