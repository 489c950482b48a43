"""Cassettes: a host of a test is recorded once, and served from the record ever after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernel import make_tool
from llmspell_hookspecs import ToolContext, ToolError
from llmspell_hookspecs.errors import StorageError
from llmspell_plugins.services.journal.cassette import read_cassette
from llmspell_testing import HostOpener, RecordedHosts
from scripted_model import ScriptedModel, asks, says

QUIET = {"storage": {"backend": "memory"}, "plugins": {"disabled": ["model_retry"]}}


class Counter:
    """A tool that answers otherwise each time."""

    def __init__(self) -> None:
        self.calls = 0

    async def count(self, parameters: Any, context: ToolContext) -> Any:
        self.calls += 1
        if parameters.get("torn"):
            raise ToolError("torn", code="torn")
        return {"n": self.calls, "raw": b"\x00\xff", "given": parameters}


def hosts(llmspell_open: HostOpener, path: Path, mode: str = "once") -> RecordedHosts:
    return RecordedHosts(llmspell_open, path, mode)


async def use(hosts: RecordedHosts, counter: Counter, question: str = "go on", *, torn: bool = True) -> list[Any]:
    """Ask an agent, and call a tool beside it."""
    model = ScriptedModel(asks(("count", {"by": 1})), says("counted"))
    seen: list[Any] = []
    async with hosts(settings=QUIET, plugins=[make_tool("count", counter.count), model]) as host:
        agent = await host.agents.create(name="w", model="scripted/play", tools=["count"])
        seen.append((await agent.run(question)).text)
        seen.append((await host.call("tool:count", {})).result)
        if torn:
            with pytest.raises(ToolError) as caught:
                await host.call("tool:count", {"torn": True})
            seen.append((str(caught.value), caught.value.code))
        seen.append(len(model.requests))
    return seen


async def test_a_host_is_recorded_once_and_served_ever_after(llmspell_open: HostOpener, tmp_path: Path) -> None:
    counter, path = Counter(), tmp_path / "deep" / "it.jsonl"

    first = await use(hosts(llmspell_open, path), counter)
    calls, text = counter.calls, path.read_text()
    again = await use(hosts(llmspell_open, path, "none"), counter)

    assert (calls, counter.calls) == (3, 3)
    assert again[:3] == first[:3]
    assert (first[3], again[3]) == (2, 0)
    assert path.read_text() == text
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0] == {"llmspell_cassette": 1}
    assert {"tool", "model", "agent"} <= {line["kind"] for line in lines[1:]}


async def test_what_differs_from_the_cassette_fails_the_test(llmspell_open: HostOpener, tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    await use(hosts(llmspell_open, path), Counter())

    with pytest.raises(AssertionError, match=r"agent:w is asked otherwise[^\n]*\n  /text: 'go on' -> 'stop'"):
        await use(hosts(llmspell_open, path), Counter(), "stop")


async def test_what_is_left_over_in_a_cassette_fails_the_test(llmspell_open: HostOpener, tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    await use(hosts(llmspell_open, path), Counter())

    with pytest.raises(AssertionError, match=r"1 operations of it were not asked for:\n  /tool:count#"):
        await use(hosts(llmspell_open, path), Counter(), torn=False)


async def test_no_cassette_is_made_where_none_may_be(llmspell_open: HostOpener, tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"

    with pytest.raises(AssertionError, match="there is no cassette; run once with LLMSPELL_CASSETTES=once, and add it"):
        await use(hosts(llmspell_open, path, "none"), Counter())

    assert not path.exists()


async def test_a_cassette_is_recorded_anew_if_that_is_wanted(llmspell_open: HostOpener, tmp_path: Path) -> None:
    counter, path = Counter(), tmp_path / "it.jsonl"
    await use(hosts(llmspell_open, path), counter)
    await use(hosts(llmspell_open, path, "all"), counter)

    assert counter.calls == 6


async def test_what_a_failing_test_recorded_is_not_kept(llmspell_open: HostOpener, tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"

    with pytest.raises(ZeroDivisionError):
        async with hosts(llmspell_open, path)(settings=QUIET):
            raise ZeroDivisionError

    assert not path.exists()


@pytest.mark.parametrize(
    "text", ["", "{}", '{"llmspell_cassette":1}\n{"kind":1}', '{"llmspell_cassette":2}', "no json\n"]
)
def test_what_is_no_cassette_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(StorageError, match=r"cassette it: it .*; .*record it anew"):
        read_cassette(text, "it")


async def test_what_json_has_no_word_for_comes_back_as_it_was(llmspell_open: HostOpener, tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"

    first = await use(hosts(llmspell_open, path), Counter())
    again = await use(hosts(llmspell_open, path), Counter())

    assert first[1]["raw"] == again[1]["raw"] == b"\x00\xff"
    assert '"msgpack"' in path.read_text()


def test_the_fixture_keeps_its_cassettes_beside_the_module(recorded_host: RecordedHosts) -> None:
    name = "test_the_fixture_keeps_its_cassettes_beside_the_module.jsonl"
    assert recorded_host.path == Path(__file__).parent / "cassettes" / "test_cassettes" / name
