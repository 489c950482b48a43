from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from llmspell import Host
from llmspell_hookspecs import script_method
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.language import ScriptObject
from llmspell_hookspecs.values import freeze
from llmspell_plugins.languages.lua.convert import Crossing, is_light
from llmspell_plugins.languages.lua.function import LuaFunction
from lua_fakes import Run, run
from waiting import PATIENCE_S

ATOMS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary().filter(lambda data: not is_text(data))
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner | st.none(), max_size=6) | st.dictionaries(st.text(), inner, max_size=6),
    max_leaves=40,
)


def is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Giver(ScriptObject):
    """Gives a value to a script and takes it back."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.taken: Any = None

    @script_method()
    def give(self) -> Any:
        return self.value

    @script_method()
    def take(self, value: Any = "nothing") -> None:
        self.taken = value


def there_and_back(value: Any, source: str = "Giver.take((Giver.give()))") -> Any:
    giver = Giver(value)
    run(source, globals={"Giver": giver}, slices="loop")
    return giver.taken


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_what_the_host_gives_comes_back_as_it_was(value: Any) -> None:
    assert typed(there_and_back(value)) == typed(value)


def typed(value: Any) -> Any:
    """Return the value so that 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return (type(value).__name__, value)


@settings(max_examples=30, deadline=None)
@given(st.lists(VALUES, min_size=2, max_size=4), st.integers(300, 600))
def test_large_values_go_in_pieces_and_come_back_as_they_were(values: list[Any], times: int) -> None:
    many = [{"values": values, "number": number, "text": "x" * 300} for number in range(times)]

    assert typed(there_and_back(many)) == typed(many)


def test_a_large_value_takes_the_slow_way_in_both_directions() -> None:
    value = {"rows": [[i, str(i), i / 2, None, True] for i in range(50_000)], "blob": b"\xff" * 200_000}

    assert not is_light(value)
    assert there_and_back(value) == value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{}", {}),
        ("{1, 2, 3}", [1, 2, 3]),
        ("{1, nil, 3}", [1, None, 3]),
        ("{[1] = 'a', [2] = 'b'}", ["a", "b"]),
        ("{a = 1, [2] = 'b', [1.5] = 'c'}", {"a": 1, "2": "b", "1.5": "c"}),
        ("{1, 2, x = 3}", {"1": 1, "2": 2, "x": 3}),
        ("{[1000] = 1}", {"1000": 1}),
        ("{[0] = 'zero', 'one'}", {"0": "zero", "1": "one"}),
        ("{{}, {{}}}", [{}, [{}]]),
        ("1e300 * 1e300", float("inf")),
        ("1.0", 1.0),
        ("math.maxinteger", 2**63 - 1),
        ("math.mininteger", -(2**63)),
        ("'\\xff\\xfe'", b"\xff\xfe"),
        ("{['\\xff'] = 1}", {b"\xff": 1}),
        ("'\\u{20AC}'", "€"),
        ("setmetatable({1, 2}, {__index = error, __len = error, __pairs = error})", [1, 2]),
    ],
)
def test_what_a_script_gives_arrives_as(source: str, value: Any) -> None:
    assert typed(there_and_back(None, f"Giver.take({source})")) == typed(value)


class Point(Struct):
    x: int
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (MappingProxyType({"a": (1, 2)}), {"a": [1, 2]}),
        (freeze({"a": [{"b": []}]}), {"a": [{"b": []}]}),
        (Point(1, ("a",)), {"x": 1, "names": ["a"]}),
        ({1}, [1]),
        (Path("a/b"), "a/b"),
        (ValueError("told"), "told"),
        (2**70, float(2**70)),
        (2**63, float(2**63)),
        ({"big": [10**400]}, {"big": [float("inf")]}),
        ("\ud800", b"\xed\xa0\x80"),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), "2024-01-02T03:04:05Z"),
        ([None, None], [None, None]),
        ([], []),
        ({"a": None}, {}),
    ],
)
def test_what_the_host_gives_arrives_as(value: Any, seen: Any) -> None:
    assert there_and_back(value if not isinstance(value, tuple) else list(value)) == seen


async def test_nothing_ends_neither_a_list_nor_the_arguments() -> None:
    made = Run("Host.echo(1, nil, {1, nil}, nil)")

    await made.start()

    assert made.host.seen == [(1, None, [1], None)]


def test_a_list_from_the_host_may_grow_and_shrink() -> None:
    assert there_and_back([], "local t = Giver.give() t[1] = 'a' t[2] = 'b' Giver.take(t)") == ["a", "b"]
    assert there_and_back([1, 2, 3], "local t = Giver.give() t[3] = nil Giver.take(t)") == [1, 2]
    assert there_and_back([], "local t = Giver.give() t.x = 1 Giver.take(t)") == {"x": 1}


@pytest.mark.parametrize("depth", [99, 100])
def test_a_hundred_levels_cross(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]

    assert there_and_back(value) == value


@pytest.mark.parametrize("depth", [101, 150, 5000])
def test_more_levels_are_an_error_in_both_directions(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    give = "local ok, e = pcall(Giver.give) Giver.take(e)"
    take = f"local t = 1 for i = 1, {depth} do t = {{t}} end local ok, e = pcall(Giver.take, t) Giver.take(e)"

    assert "deeper than 100" in there_and_back(value, give) or "recursion" in there_and_back(value, give)
    assert "deeper than 100" in there_and_back(None, take)


def test_a_cycle_is_an_error_in_both_directions() -> None:
    value: dict[str, Any] = {}
    value["self"] = value

    assert there_and_back(value, "local ok, e = pcall(Giver.give) Giver.take(e)").startswith("script: a value")
    assert "contains itself" in there_and_back(
        None, "local t = {} t[1] = t local _, e = pcall(Giver.take, t) Giver.take(e)"
    )


def test_a_table_that_stands_in_two_places_is_no_cycle() -> None:
    assert there_and_back(None, "local t = {1} Giver.take({t, t, {t}})") == [[1], [1], [[1]]]


async def test_functions_and_objects_cross_inside_tables() -> None:
    made = Run(
        "local t = {f = function(x) return x + 1 end, o = Host} local u = Host.same(t) return u.f(1), u.o == Host"
    )

    assert await made.start() == (2, True)
    given_table = made.host.seen[0][0]
    assert isinstance(given_table["f"], LuaFunction)
    assert given_table["o"] is made.host


async def test_a_function_of_another_script_is_refused() -> None:
    first = Run("Host.keep(function() end) Host.sleep(1000)")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.start)
        with trio.fail_after(PATIENCE_S):
            while not first.host.kept:
                await trio.sleep(0.001)
        giver = Giver(first.host.kept[0])
        ok, message = await Run("return pcall(Giver.give)", globals={"Giver": giver}).start()
        nursery.cancel_scope.cancel()

    assert (ok, "another script" in message) == (False, True)


@given(VALUES)
def test_light_values_are_those_of_few_parts(value: Any) -> None:
    assert is_light(value)
    assert not is_light([value] * 5000)
    assert not is_light("x" * 1_000_000)


@settings(deadline=None)
@given(
    st.text(alphabet="ab(){}.%", max_size=12),
    st.text(alphabet="ab()", max_size=12),
    st.text(alphabet="ab%1", max_size=4),
)
def test_nothing_that_is_written_at_random_crashes(pattern: str, subject: str, by: str) -> None:
    source = """
        local p, s, r = P, S, R
        local found = {pcall(string.find, s, p)}
        local replaced = {pcall(string.gsub, s, p, r)}
        return {type(found[1]), type(replaced[1]), not replaced[1] or type(replaced[2]) == "string"}
    """

    answer = run(source, globals={"P": pattern, "S": subject, "R": by}, slices="loop")

    assert answer == ["boolean", "boolean", True]


def test_a_crossing_gives_back_what_it_holds() -> None:
    crossing = Crossing(lambda number: None)  # type: ignore[arg-type, return-value]
    giver = Giver()
    number, _ = crossing.objects.send(giver)
    crossing.objects.send(giver)

    crossing.objects.release(number, 1)
    assert crossing.objects.find(number) is giver

    crossing.objects.release(number, 1)
    assert len(crossing.objects) == 0


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("local t = {} for i = 1, 2000 do t[i] = i end", "more than 1000 values"),
        ("local t = {} for i = 1, 600 do t['k' .. i] = {i} end", "more than 1000 values"),
        ("local t = string.rep('x', 20000)", "more than 10000 bytes"),
        ("local t = {[string.rep('x', 20000)] = 1}", "more than 10000 bytes"),
        ("local t = {} for i = 1, 200 do t[i] = string.rep('x', 100) end", "more than 10000 bytes"),
    ],
)
@pytest.mark.parametrize(
    "call",
    ["Tool.invoke('calculator', {x = t})", "Event.publish('a.b', t)", "State.set('k', t)", "Hook.fire('x', t)"],
)
def test_what_is_too_large_is_refused_by_its_size_before_anybody_works_on_it(given: str, what: str, call: str) -> None:
    settings = {"storage": {"backend": "memory"}, "scripts": {"value_items": 1000, "value_bytes": 10_000}}
    asked: list[Any] = []

    async def main() -> Any:
        async with Host.open(settings, discover=False) as host:
            host.hooks.register("before_tool_execution", asked.append, kind="observe")
            host.hooks.register("before_state_write", asked.append, kind="observe")
            return await host.run_source(f"{given} return pcall(function() {call} end)", "lua")

    done, message = trio.run(main)

    assert not done
    assert what in message
    assert asked == []


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("{operation = 'encode', input = function() end}", "a function cannot be handed over here; give plain values"),
        (
            "{operation = 'encode', input = '\\xff\\xfe'}",
            "it holds bytes that are no text in UTF-8; give a text, or Base64",
        ),
    ],
)
async def test_what_a_tool_cannot_take_is_told_in_words_that_a_script_knows(parameters: str, said: str) -> None:
    async with Host.open(settings=False, discover=False) as host:
        with pytest.raises(ScriptError, match=said):
            await host.run_source(f"return Tool.invoke('base64_encoder', {parameters})", "lua")
