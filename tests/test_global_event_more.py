"""The global Event: requests, filters, batches, priorities, percentiles, and what is on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel import run
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import Event, InvalidInputError
from llmspell_hookspecs.errors import NoResponseError
from puppet import Script
from test_global_event import run_lua, run_script


@pytest.mark.parametrize("names", [("request", "respond"), ("ask", "reply")])
async def test_a_script_asks_and_another_part_of_it_answers(names: tuple[str, str]) -> None:
    ask, answer = names

    async def body(script: Script) -> Any:
        async def double(event: Any) -> None:
            await script(f"Event.{answer}", event, event["data"]["n"] * 2)

        await script("Event.on", "double", double)
        first = await script(f"Event.{ask}", "double", {"n": 2}, {"timeout_ms": 900, "correlation_id": "c"})
        second = await script(f"Event.{ask}", {"event_type": "double", "payload": {"n": 3}, "timeout_ms": 900})
        return first, second

    async with Host.open(False, plugins=[puppet(body)], discover=False) as host:
        first, second = await host.run_source("main", "puppet", name="tour.puppet")

    assert (first["data"], first["type"], first["correlation_id"]) == (4, "double.response", "c")
    assert (first["source"], first["target"]) == ("script:tour.puppet", "script:tour.puppet")
    assert second["data"] == 6


def puppet(body: Any) -> Any:
    from puppet import Puppet

    return Puppet(main=body)


def test_a_request_of_a_script_that_nobody_answers_is_an_error_of_the_script() -> None:
    async def body(script: Script) -> Any:
        with pytest.raises(NoResponseError, match="event a: nobody is subscribed to it"):
            await script("Event.request", "a")
        await script("Event.subscribe", "a")
        with pytest.raises(NoResponseError, match=r"event a: nobody answered within 0.02 s"):
            await script("Event.request", "a", None, {"timeout_ms": 20})
        for wrong in (-1, "soon", True):
            with pytest.raises(InvalidInputError, match=r"Event\.request: timeout_ms is"):
                await script("Event.request", "a", None, {"timeout_ms": wrong})
        for none in (None, 1, {"id": ""}, {"event_type": "a"}):
            with pytest.raises(InvalidInputError, match=r"Event\.respond: the event is missing"):
                await script("Event.respond", none, 1)
        with pytest.raises(InvalidInputError, match=r"Event\.request: source"):
            await script("Event.request", "a", None, {"source": 3})

    run_script(body)


@pytest.mark.parametrize("name", ["filter", "filters", "where"])
def test_a_filter_is_applied_and_a_wrong_one_is_named(name: str) -> None:
    async def body(script: Script) -> Any:
        chosen = await script("Event.subscribe", "a", {name: {"tags": ["x"], "priority": 0}})
        everything = await script("Event.subscribe", "a", {name: {}})
        for number, (tags, priority) in enumerate(((["x"], 0), (["y"], 0), (["x"], 1), (["x", "y"], -1))):
            await script("Event.publish", "a", number, {"tags": tags, "priority": priority})
        taken = [
            [event["data"] for event in await script("Event.receive_batch", each, 10)] for each in (chosen, everything)
        ]
        with pytest.raises(InvalidInputError, match=r"Event\.subscribe: .*colour"):
            await script("Event.subscribe", "a", {name: {"colour": "red"}})
        return taken

    assert run_script(body) == [[3, 0], [3, 0, 1, 2]]


def test_a_batch_waits_for_more_as_long_as_it_may() -> None:
    async def body(script: Script) -> Any:
        chosen = await script("Event.subscribe", "a")
        for number in range(5):
            await script("Event.publish", "a", number)
        first = await script("Event.receive_batch", chosen, {"max_events": 3, "within_ms": 60_000})
        second = await script("Event.receive_batch", chosen, {"max_events": 3, "within_ms": 5})
        none = await script("Event.receive_batch", chosen, {"timeout_ms": 0})
        return [[event["data"] for event in batch] for batch in (first, second, none)]

    assert run_script(body) == [[0, 1, 2], [3, 4], []]


def test_stats_tell_percentiles_as_plain_tables() -> None:
    async def body(script: Script) -> Any:
        seen: list[Any] = []

        async def take(event: Any) -> None:
            seen.append(event)

        taken = await script("Event.on", "a", take)
        for _ in range(3):
            await script("Event.publish", "a")
        return await script("Event.subscription_stats", taken), await script("Event.get_stats"), len(seen)

    one, every, seen = run_script(body)

    assert one["handling"]["count"] == every["event_bus_stats"]["handling"]["count"] == seen
    assert set(one["delivery"]) == {"count", "p50_s", "p95_s", "p99_s", "max_s"}


def test_lua_asks_answers_filters_and_takes_batches() -> None:
    answer = run_lua(
        """
        Event.on("sum", function(event) Event.respond(event, {total = event.data.a + event.data.b}) end)
        local answer = Event.request("sum", {a = 1, b = 2}, {timeout_ms = 2000})
        local sub = Event.subscribe("job.*", {filter = {tags = {"keep"}}})
        for i = 1, 6 do
            Event.publish("job.done", {i = i}, {priority = i % 2, tags = i > 2 and {"keep"} or {}})
        end
        local order = {}
        for _, event in ipairs(Event.receive_batch(sub, {max_events = 10, timeout_ms = 100})) do
            order[#order + 1] = event.data.i
        end
        local ok, problem = pcall(Event.request, "nobody")
        return {total = answer.data.total, order = order, ok = ok, problem = tostring(problem)}
        """
    )

    assert answer["total"] == 3
    assert answer["order"] == [4, 6, 3, 5]
    assert answer["ok"] is False and "nobody is subscribed to it" in answer["problem"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (None, [0, 1, 2, 3, 4, 5]),
        ("job.*", [0, 2, 4]),
        ({"event_type": "other", "limit": 2}, [1, 3]),
        ({"patterns": ["job.done"], "filters": {"tags": ["late"]}}, [4]),
        ({"start_time": "2020-01-01T00:00:00", "end_time": "2020-01-02"}, []),
        ({"since": 1.0, "until": 1e11, "after": 4}, [4, 5]),
    ],
)
def test_a_script_finds_what_is_on_record(tmp_path: Path, query: Any, found: list[int]) -> None:
    async def body(script: Script) -> Any:
        return await script("Event.query", query) if query else await script("Event.query")

    async def main() -> Any:
        log = {"enabled": True, "patterns": ["job.*", "other"], "scripts": "all"}
        loaded = load_settings({"plugins": {"event_log": log}}, environment={}, cwd=tmp_path)
        async with Host.open(loaded, discover=False) as host:
            for number in range(6):
                tags = ["late"] if number > 3 else []
                await host.events.publish(("job.done", "other")[number % 2], number, tags=tags)
        async with Host.open(loaded, plugins=[puppet(body)], discover=False) as host:
            return await host.run_source("main", "puppet", name="tour.puppet")

    events = run(main)

    assert [event["data"] for event in events] == found
    assert [event["number"] for event in events] == [number + 1 for number in found]


async def test_a_script_finds_only_what_scripts_of_its_name_published_unless_settings_say_all(tmp_path: Path) -> None:
    async def body(script: Script) -> Any:
        await script("Event.publish", "job.done", 1)
        await script("Event.publish", "job.done", 2, {"source": "part"})
        return [event["data"] for event in await script("Event.query", "job.*")]

    found: dict[str, Any] = {}
    for scripts in ("own", "all"):
        log = {"enabled": True, "patterns": ["job.*"], "scripts": scripts}
        loaded = load_settings({"plugins": {"event_log": log}}, environment={}, cwd=tmp_path / scripts)
        (tmp_path / scripts).mkdir()
        async with Host.open(loaded, plugins=[puppet(body)], discover=False) as host:
            await host.events.publish("job.done", "theirs", source="script:tour.puppet.other")
            found[scripts] = await host.run_source("main", "puppet", name="tour.puppet")

    assert found == {"own": [1, 2], "all": ["theirs", 1, 2]}


@pytest.mark.parametrize("wrong", [{"event_type": "["}, {"start_time": "soon"}, {"limit": 0}, {"colour": 1}, 5])
def test_a_wrong_query_is_refused_by_name(wrong: Any) -> None:
    async def body(script: Script) -> Any:
        with pytest.raises(InvalidInputError, match=r"event|Event\.query"):
            await script("Event.query", wrong)

    run_script(body)


def test_a_script_answers_and_continues_only_what_it_was_shown() -> None:
    async def body(script: Script) -> Any:
        mine = await script("Event.subscribe", "a")
        await script("Event.publish", "a", 1)
        first = await script("Event.receive", mine)
        await script("Event.publish", "a", 2, {"causation_id": first["id"]})
        caused = (await script("Event.receive", mine))["causation_id"] == first["id"]
        unseen = "this script has received no event 'guessed'"
        with pytest.raises(InvalidInputError, match=rf"Event\.publish: causation_id: {unseen}"):
            await script("Event.publish", "a", 3, {"causation_id": "guessed"})
        with pytest.raises(InvalidInputError, match=rf"Event\.request: causation_id: {unseen}"):
            await script("Event.request", "a", 3, {"causation_id": "guessed"})
        with pytest.raises(InvalidInputError, match=rf"Event\.respond: {unseen}"):
            await script("Event.respond", {**first, "id": "guessed"}, 3)
        return caused

    assert run_script(body) is True


async def test_a_script_that_was_told_the_id_of_a_request_does_not_answer_it() -> None:
    asked: list[str] = []

    async def body(script: Script) -> Any:
        with pytest.raises(InvalidInputError, match="this script has received no event"):
            await script("Event.respond", {"id": asked[0], "event_type": "secret"}, "mine")
        with pytest.raises(InvalidInputError, match="this script has received no event"):
            await script("Event.publish", "secret.response", "mine", {"causation_id": asked[0]})

    async with Host.open(False, plugins=[puppet(body)], discover=False) as host:

        async def answers(event: Event) -> None:
            asked.append(event.id)
            await host.run_source("main", "puppet", name="hostile")
            host.events.respond(event, "theirs")

        host.events.on("secret", answers)
        answer = await host.events.request("secret", timeout_s=5)

    assert answer.data == "theirs"


async def test_scripts_are_told_apart_by_their_files_however_these_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(script: Script) -> Any:
        await script("Event.publish", "job.done", 1)
        found = await script("Event.query", "job.*")
        return [event["source"] for event in found]

    (tmp_path / "sub").mkdir()
    for place in ("main.puppet", "sub/main.puppet"):
        (tmp_path / place).write_text("main")
    loaded = load_settings(
        {"plugins": {"event_log": {"enabled": True, "patterns": ["job.*"]}}}, environment={}, cwd=tmp_path
    )
    found = []
    async with Host.open(loaded, plugins=[puppet(body)], discover=False) as host:
        for folder, name in ((".", "main.puppet"), ("sub", "main.puppet"), ("sub", str(tmp_path / "main.puppet"))):
            monkeypatch.chdir(tmp_path / folder)
            found.append(await host.run_script(name))

    first, second = "script:main.puppet", "script:sub/main.puppet"
    assert found == [[first], [second], [first, first]]
