from __future__ import annotations

import json
import math
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.scripting import Scope
from llmspell_hookspecs import InvalidInputError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.language import ScriptObject
from llmspell_hookspecs.script import ScriptRun
from llmspell_plugins.globals.json import Json
from llmspell_plugins.json_text import LARGEST_TEXT, is_small, parse_text, write_text


class Processor:
    """Stands for the runner: answers as the tool json_processor does."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def get(self, protocol: type) -> Any:
        return self

    async def call(self, address: str, input: Any = None, /, *, deadline_s: float | None = None) -> Any:
        self.calls.append((address, input))
        return ToolResult(result=(1, 2))


def make() -> tuple[Json, Processor]:
    services = Processor()
    return Json(services, Scope("s", ScriptRun("", "lua"), None)), services  # type: ignore[arg-type]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    async def main() -> tuple[Any, Any]:
        return await parse_text(await write_text(value)), await parse_text(await write_text(value, pretty=True))

    assert trio.run(main) == (value, value)


@settings(max_examples=15, deadline=None)
@given(VALUES)
def test_the_patient_way_says_the_same_as_the_quick_one(value: Any) -> None:
    padded = [value, "x" * 70_000, list(range(20_000))]

    text = trio.run(write_text, padded)

    assert not is_small(padded)
    assert text == json.dumps(padded, ensure_ascii=False, separators=(",", ":"))
    assert trio.run(parse_text, text) == padded


@given(VALUES)
def test_pretty_text_is_the_same_the_quick_way(value: Any) -> None:
    assert trio.run(partial(write_text, value, pretty=True)) == json.dumps(value, ensure_ascii=False, indent=2)


@pytest.mark.timing
async def test_a_large_text_leaves_the_loop_free() -> None:
    text = json.dumps([{"id": number, "name": f"n{number}"} for number in range(60_000)])
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            before = trio.current_time()
            await trio.sleep(0.001)
            worst = max(worst, trio.current_time() - before)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        value = await parse_text(text)
        await write_text(value)
        nursery.cancel_scope.cancel()

    assert worst < 0.1  # the C scanner alone would hold every thread for as long as it takes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "null"),
        ([math.inf, -math.inf, 1.5], "[null,null,1.5]"),
        ({}, "{}"),
        ({1: "a", "b": 2, 1.5: "dropped", False: "dropped"}, '{"1":"a","b":2}'),
        ((1, (2,)), "[1,[2]]"),
        ("é", '"é"'),
    ],
)
async def test_values_are_written_by_the_originals_rules(value: Any, text: str) -> None:
    assert await make()[0].stringify(value) == text


async def test_an_object_is_written_as_its_fields() -> None:
    class Entry(ScriptObject):
        def script_fields(self) -> dict[str, Any]:
            return {"name": "calculator", "run": print}

    assert await make()[0].stringify([Entry()]) == '[{"name":"calculator"}]'


async def test_pretty_is_asked_for_in_three_ways() -> None:
    made, _ = make()

    texts = {await made.stringify({"a": 1}, wanted) for wanted in (True, 2, {"pretty": True})}

    assert texts == {'{\n  "a": 1\n}'}


async def test_functions_circles_and_bytes_are_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)

    for value, words in ((print, "a function"), (circle, "holds itself"), (b"x", "a bytes")):
        with pytest.raises(InvalidInputError, match=words):
            await make()[0].stringify(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "JSON parse error: Expecting value at line 1 column 1"),
        ('{"a": }', "JSON parse error: Expecting value at line 1 column 7"),
        ("[1,\n 2", "at line 2 column 3"),
        ("NaN", "NaN is no JSON"),
        ("[" * 60_000, "nested too deeply"),
        ("[" * 90_000, "nested too deeply"),
    ],
)
async def test_wrong_json_says_where(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await make()[0].parse(text)

    assert message in str(caught.value)


async def test_a_text_above_the_limit_is_refused() -> None:
    with pytest.raises(ResourceLimitError, match="at most"):
        await make()[0].parse(" " * (LARGEST_TEXT + 1))


async def test_query_runs_the_tool() -> None:
    made, processor = make()

    answer = await made.query({"items": [1, 2]}, ".items[]")

    assert answer == [1, 2]
    assert processor.calls == [
        ("tool:json_processor", {"operation": "query", "input": {"items": [1, 2]}, "query": ".items[]"})
    ]
    with pytest.raises(InvalidInputError, match=r"JSON\.query: the program is empty"):
        await made.query({}, " ")
