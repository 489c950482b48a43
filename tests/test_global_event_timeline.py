"""What scripts ask of the timeline, in every spelling, what they may see, and events from language to language."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from kernel import Bench, opened, run
from llmspell import Host
from llmspell_hookspecs.errors import ScriptError

ON = {"plugins": {"timeline": {"enabled": True}}}
CASCADE = """
Event.on("user.created", function(event) Event.publish("user.greeted", {}, {tags = {"polite"}}) end)
Event.publish("user.created", {id = 1})
local waiting = Event.subscribe("never")
Event.receive(waiting, 20)
"""
FOUND = """
local function found(events)
    local types = {}
    for _, event in ipairs(events) do types[#types + 1] = event.event_type end
    return types
end
"""


def in_lua(source: str, *plugins: Any, settings: Any = None) -> Any:
    async def main() -> Any:
        async with opened(*plugins, settings=ON if settings is None else settings) as host:
            return await host.run_source(FOUND + source, "lua", name="a.lua")

    return run(main)


def test_a_script_sees_its_own_run_as_a_tree() -> None:
    source = """
    local tree = {}
    for _, event in ipairs(Event.timeline()) do
        tree[#tree + 1] = {event.event_type, event.depth, event.cause == tree.last, event.root == event.id}
    end
    return tree
    """

    tree = in_lua(CASCADE + source)

    assert [row[:2] for row in tree] == [["script.started", 0], ["user.created", 1], ["user.greeted", 2]]
    assert [row[3] for row in tree] == [True, False, False]


SPELLINGS = {
    'Event.timeline("user.*")': ["user.created", "user.greeted"],
    'Event.timeline({event_type = "user.*"})': ["user.created", "user.greeted"],
    'Event.timeline({event_types = {"user.created", "job.*"}})': ["user.created"],
    'Event.timeline({type = "user.*", filters = {tags = {"polite"}}})': ["user.greeted"],
    'Event.timeline({event_type = "user.*", start_time = 0, end_time = 1})': [],
    'Event.timeline({event_type = "user.*", start_time = "2020-01-01", end_time = "2100-01-01T00:00:00+00:00"})': [
        "user.created",
        "user.greeted",
    ],
    'Event.timeline({pattern = "user.*", last_seconds = 3600, limit = 1})': ["user.created"],
    'Event.timeline({pattern = "user.*", sort = "ChronologicalDesc"})': ["user.greeted", "user.created"],
    'Event.timeline({pattern = "user.*", order = "causality_depth_desc"})': [
        "user.greeted",
        "user.created",
    ],
    'Event.timeline({source = "script:*", language = "lua", depth = 1})': ["script.started", "user.created"],
    'Event.timeline({correlation_id = Event.timeline("user.greeted")[1].correlation_id, max_depth = 0})': [
        "script.started"
    ],
    "Event.queryTimeline({roots = true})": ["script.started"],
    "Event.root_causes()": ["script.started"],
    "Event.getRootCauses()": ["script.started"],
    "Event.leaf_effects()": ["user.greeted"],
    "Event.get_leaf_effects()": ["user.greeted"],
    "Event.longest_chain()": ["script.started", "user.created", "user.greeted"],
    "Event.longestCausalChain()": ["script.started", "user.created", "user.greeted"],
    'Event.causal_chain("user.*")': ["user.created", "user.greeted"],
    "Event.get_events_by_correlation_id(Event.timeline()[1].correlation_id)": [
        "script.started",
        "user.created",
        "user.greeted",
    ],
    'Event.by_correlation("none")': [],
}


@pytest.mark.parametrize("asked", SPELLINGS)
def test_every_spelling_of_a_question_is_answered(asked: str) -> None:
    assert list(in_lua(f"{CASCADE} return found({asked})")) == SPELLINGS[asked]


@pytest.mark.parametrize("asked", ["timeline_stats", "get_timeline_stats", "timelineStats"])
def test_the_statistics_count_what_the_script_sees(asked: str) -> None:
    stats = in_lua(f"{CASCADE} return Event.{asked}()")

    counts = {name: stats[name] for name in ("events", "roots", "leaves", "correlations", "longest_chain")}
    assert counts == {"events": 3, "roots": 1, "leaves": 1, "correlations": 1, "longest_chain": 3}
    assert {"total_events", "causal_chains", "max_depth", "root_causes", "leaf_effects", "dropped"} <= stats.keys()


WRONG = {
    "Event.timeline(1)": "Event.timeline: the query is a int; give a pattern, or a table of options",
    "Event.timeline({nonsense = 1})": "Event.timeline: there is no option 'nonsense'; there are components",
    'Event.timeline({start_time = "soon"})': "Event.timeline: start_time = 'soon' is wrong; give a time such as 2026",
    "Event.timeline({filters = 1})": "Event.timeline: filters is a int; give a table",
    "Event.timeline({roots = true, leaves = true})": "Event.timeline: roots and leaves exclude each other",
    'Event.timeline("{a")': "event pattern '{a'",
    "Event.timeline({limit = 1000000})": "Event.timeline: limit = 1000000 is wrong; give 10000 or less",
    'Event.timeline({sort = "size"})': "Event.timeline: sort = 'size' is wrong; use 'sequence', 'time'",
    "Event.by_correlation()": "Event.by_correlation",
}


@pytest.mark.parametrize("asked", WRONG)
def test_a_wrong_question_is_told(asked: str) -> None:
    with pytest.raises(ScriptError) as caught:
        in_lua(f"return {asked}")

    assert WRONG[asked] in str(caught.value)


def test_where_nobody_records_the_script_is_told_what_to_set() -> None:
    with pytest.raises(ScriptError, match=r"Event\.timeline: nobody records events here; set plugins\.timeline"):
        in_lua("return Event.timeline()", settings={})


def test_a_script_sees_nothing_of_what_others_did_before_it_began() -> None:
    source = "return found(Event.timeline())"

    async def main() -> Any:
        async with opened(*Bench().plugins, settings=ON) as host:
            host.events.publish_nowait("secret.before", {"key": 1})
            await host.run_source('Event.publish("secret.of.another")', "lua")
            return await host.run_source(FOUND + source, "lua", name="a.lua")

    assert list(run(main)) == ["script.started"]


def test_a_script_that_runs_within_an_operation_sees_what_led_to_it() -> None:
    async def main() -> Any:
        answers: list[Any] = []

        async with opened(settings=ON) as host:

            async def handle(event: Any) -> None:
                answers.append(await host.run_source(FOUND + "return found(Event.timeline())", "lua"))

            host.events.publish_nowait("other")
            host.events.on("user.created", handle)
            host.events.publish_nowait("user.created")
            while not answers:
                await trio.sleep(0.01)
            return answers[0]

    assert list(run(main)) == ["user.created", "script.started"]


# From language to language.

LANGUAGES = {
    "lua": {
        "subscribe": 'mine = Event.subscribe("from.*", {max_queue_size = 1000})',
        "publish": 'for number = 1, {count} do Event.publish("from.{name}", {{number = number}}) end',
        "receive": """
            local seen = {}
            local event = Event.receive(mine, 0)
            while event do
                seen[#seen + 1] = event.event_type .. " " .. event.data.number .. " " .. event.language
                event = Event.receive(mine, 0)
            end
            return seen
        """,
    },
}
"""How each language says it; JavaScript and Python are to stand here as soon as there are such languages."""


@pytest.mark.parametrize("publishing", LANGUAGES)
@pytest.mark.parametrize("receiving", LANGUAGES)
def test_events_of_one_session_reach_another_in_the_order_of_publishing(publishing: str, receiving: str) -> None:
    count = 200

    async def main() -> Any:
        async with (
            opened() as host,
            host.session(publishing, name="first") as first,
            host.session(receiving, name="second") as second,
        ):
            await second.evaluate(LANGUAGES[receiving]["subscribe"])
            await first.evaluate(LANGUAGES[publishing]["publish"].format(name="first", count=count))
            host.events.publish_nowait("from.code", {"number": 0})
            await first.evaluate(LANGUAGES[publishing]["publish"].format(name="first", count=1))
            return await second.evaluate(LANGUAGES[receiving]["receive"])

    own = [f"from.first {number} {publishing}" for number in range(1, count + 1)]
    assert list(run(main)) == [*own, "from.code 0 python", f"from.first 1 {publishing}"]


def test_two_sessions_that_publish_in_turn_are_seen_alike_by_both() -> None:
    async def turn(host: Host) -> Any:
        async with host.session("lua", name="a") as first, host.session("lua", name="b") as second:
            for session in (first, second):
                await session.evaluate(LANGUAGES["lua"]["subscribe"])
            for number in range(20):
                session, name = ((first, "a"), (second, "b"))[number % 2]
                await session.evaluate(f'Event.publish("from.{name}", {{number = {number}}})')
            return [await session.evaluate(LANGUAGES["lua"]["receive"]) for session in (first, second)]

    async def main() -> Any:
        async with opened() as host:
            return await turn(host)

    seen_by_first, seen_by_second = run(main)

    assert list(seen_by_first) == [f"from.{'ab'[number % 2]} {number} lua" for number in range(20)]
    assert list(seen_by_second) == list(seen_by_first)
