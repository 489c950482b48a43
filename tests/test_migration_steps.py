"""Steps of a migration, compiled, against the plainest Python that says the same; versions, ways and checks."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.migration import (
    Convert,
    Copy,
    Custom,
    Default,
    Merge,
    Remove,
    Rename,
    Schema,
    SchemaField,
    SchemaVersion,
    Split,
    Transition,
)
from llmspell_plugins.services.migration.catalog import Known
from llmspell_plugins.services.migration.compile import ItemError, compile_steps
from llmspell_plugins.services.migration.version import order_of

NAMES = st.sampled_from("abc")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
PLAIN = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "x", "x y", "7", "true", "a b c"])
ITEMS = st.dictionaries(
    NAMES, st.recursive(PLAIN, lambda inner: st.dictionaries(NAMES, inner) | st.lists(inner, max_size=2), max_leaves=8)
)
STEPS = st.lists(
    st.builds(Copy, PATHS, PATHS)
    | st.builds(Rename, PATHS, PATHS)
    | st.builds(Remove, PATHS)
    | st.builds(Default, PATHS, PLAIN | st.just({"a": [1]}))
    | st.builds(Convert, PATHS, st.sampled_from(["int", "text", "bool"]))
    | st.builds(Split, PATHS, st.lists(PATHS, min_size=1, max_size=3).map(tuple))
    | st.builds(Merge, st.lists(PATHS, min_size=1, max_size=3).map(tuple), PATHS),
    max_size=6,
)


class Refused(Exception):
    """The plain way refuses an item."""


class Plain:
    """An item whose fields are read and written by paths, each step on a copy of all of it."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.item = copy.deepcopy(item)

    def has(self, path: str) -> bool:
        """Return whether the field is there."""
        there: Any = self.item
        for part in path.split("."):
            if not isinstance(there, dict) or part not in there:
                return False
            there = there[part]
        return True

    def get(self, path: str) -> Any:
        """Return the field."""
        there: Any = self.item
        for part in path.split("."):
            there = there[part]
        return copy.deepcopy(there)

    def set(self, path: str, value: Any) -> None:
        """Write the field."""
        there: Any = self.item
        *way, last = path.split(".")
        for part in way:
            there = there.setdefault(part, {})
            if not isinstance(there, dict):
                raise Refused
        there[last] = value

    def drop(self, path: str) -> None:
        """Take the field out."""
        there: Any = self.item
        *way, last = path.split(".")
        for part in way:
            there = there[part]
        del there[last]

    def step(self, step: Any) -> None:
        """Do what one step says."""
        match step:
            case Copy(source, target) if self.has(source):
                self.set(target, self.get(source))
            case Rename(source, target) if self.has(source) and source != target:
                value = self.get(source)
                self.drop(source)
                self.set(target, value)
            case Remove(field) if self.has(field):
                self.drop(field)
            case Default(field, value) if not self.has(field):
                self.set(field, copy.deepcopy(value))
            case Convert(field, type) if self.has(field):
                self.set(field, plainly_converted(self.get(field), type))
            case Split(field, into, separator) if self.has(field) and self.get(field) is not None:
                self.split(field, into, separator)
            case Merge(fields, into, separator):
                self.merge(fields, into, separator)

    def split(self, field: str, into: tuple[str, ...], separator: str) -> None:
        """Split a field."""
        text = self.get(field)
        if not isinstance(text, str):
            raise Refused
        self.drop(field)
        for number, path in enumerate(into):
            last = number == len(into) - 1
            part, text = (text, "") if last else (text.partition(separator)[0], text.partition(separator)[2])
            self.set(path, part)

    def merge(self, fields: tuple[str, ...], into: str, separator: str) -> None:
        """Merge fields."""
        there = [field for field in fields if self.has(field)]
        values = [self.get(field) for field in there]
        if any(isinstance(value, dict | list) for value in values):
            raise Refused
        for field in there:
            if self.has(field):
                self.drop(field)
        if there:
            words = [value if isinstance(value, str) else json.dumps(value) for value in values if value is not None]
            self.set(into, separator.join(words))


def plainly_converted(value: Any, type: str) -> Any:
    """Return what `Convert` makes of the values of these tests."""
    if value is None:
        return None
    if type == "text":
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    if isinstance(value, dict | list):
        raise Refused
    if type == "int":
        if isinstance(value, str) and value != "7":
            raise Refused
        return int(value)
    if value not in (0, 1, "true"):
        raise Refused
    return value != 0


@given(ITEMS, STEPS)
def test_compiled_steps_do_what_plain_python_does_and_leave_the_item_that_they_were_given(
    item: dict[str, Any], steps: list[Any]
) -> None:
    before = copy.deepcopy(item)
    plain = Plain(item)
    try:
        for step in steps:
            plain.step(step)
        expected: Any = plain.item
    except Refused:
        expected = Refused

    try:
        found: Any = compile_steps("here", steps)(item)
    except ItemError:
        found = Refused

    assert found == expected
    assert item == before


@pytest.mark.parametrize(
    ("type", "value", "expected"),
    [
        ("int", " 42 ", 42),
        ("int", 3.0, 3),
        ("int", True, 1),
        ("int", None, None),
        ("float", "2.5", 2.5),
        ("text", {"a": [1]}, '{"a":[1]}'),
        ("text", True, "true"),
        ("bool", "off", False),
        ("datetime", "2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05+00:00"),
        ("datetime", "2026-01-02", "2026-01-02T00:00:00+00:00"),
        ("datetime", 0, "1970-01-01T00:00:00+00:00"),
        ("json", '{"a": [1, null]}', {"a": [1, None]}),
    ],
)
def test_convert_makes_what_the_type_says(type: Any, value: Any, expected: Any) -> None:
    made = compile_steps("here", [Convert("f", type)])({"f": value})

    assert made == {"f": expected}
    assert made["f"].__class__ is expected.__class__


@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("int", "1.5"),
        ("int", 1.5),
        ("int", float("inf")),
        ("int", "9" * 50),
        ("int", "9" * 30),
        ("int", [1]),
        ("float", "nan"),
        ("bool", "perhaps"),
        ("bool", 2),
        ("datetime", "yesterday"),
        ("datetime", 1e300),
        ("datetime", True),
        ("json", "{"),
        ("json", 5),
    ],
)
def test_convert_names_the_field_that_it_refuses(type: Any, value: Any) -> None:
    with pytest.raises(ItemError, match=rf"^f: it cannot be made {type}: "):
        compile_steps("here", [Convert("f", type)])({"f": value})


def test_a_custom_step_runs_on_a_copy_and_may_take_what_is_no_table() -> None:
    def wrap(item: Any) -> Any:
        item.append(4)
        return {"numbers": item}

    given_item = [1, 2, 3]

    made = compile_steps("here", [Custom("wrap", wrap), Rename("numbers", "n")])(given_item)

    assert made == {"n": [1, 2, 3, 4]}
    assert given_item == [1, 2, 3]


def test_what_a_custom_step_raises_is_told_by_its_name_and_class() -> None:
    def fail(item: Any) -> Any:
        raise KeyError("password is hunter2")

    with pytest.raises(ItemError) as caught:
        compile_steps("here", [Custom("fail", fail)])({})

    assert str(caught.value) == "custom fail: KeyError in the function of that name"


def test_names_of_fields_never_become_code() -> None:
    odd = "x']; import os; item['"

    made = compile_steps("here", [Rename(odd, 'y"\\'), Default('"""', 1)])({odd: 5})

    assert made == {'y"\\': 5, '"""': 1}


# Versions and ways.


def known(*ways: tuple[str, str], versions: tuple[SchemaVersion, ...] = ()) -> Known:
    """Return a schema with transitions that do nothing."""
    return Known(
        Schema("notes", "custom:notes", transitions=tuple(Transition(*way) for way in ways), versions=versions)
    )


def test_versions_are_ordered_as_in_semver() -> None:
    ordered = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.10.0"
    shuffled = ordered.split()[::-1]

    assert sorted(shuffled, key=lambda each: order_of("here", each)) == ordered.split()


@pytest.mark.parametrize("version", ["1", "1.0", "01.0.0", "1.0.0-", "v1.0.0", "1.0.0-01", "1.0.0.0", "", "x" * 500])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(InvalidInputError, match="is no version as in SemVer"):
        known((version, "2.0.0"))


def test_the_way_is_the_shortest_one() -> None:
    schema = known(("1.0.0", "1.1.0"), ("1.1.0", "1.2.0"), ("1.2.0", "2.0.0"), ("1.1.0", "2.0.0"))

    assert schema.path("1.0.0", "2.0.0") == ("1.0.0", "1.1.0", "2.0.0")
    assert schema.targets("1.1.0") == ("1.2.0", "2.0.0")


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda way: way[0] < way[1]), min_size=1))
def test_no_way_is_shorter_than_the_one_that_is_found(ways: set[tuple[int, int]]) -> None:
    lengths = {(start, start): 0 for start in range(7)}
    for _ in range(7):
        for start, middle in list(lengths):
            for source, target in ways:
                if source == middle:
                    longer = lengths[start, middle] + 1
                    lengths[start, target] = min(longer, lengths.get((start, target), longer))
    schema = known(*((f"{source}.0.0", f"{target}.0.0") for source, target in ways))
    ends = sorted({end for way in ways for end in way})

    for start in ends:
        for end in ends:
            if (start, end) in lengths:
                assert len(schema.path(f"{start}.0.0", f"{end}.0.0")) == lengths[start, end] + 1
            else:
                with pytest.raises(InvalidInputError, match="no way leads"):
                    schema.path(f"{start}.0.0", f"{end}.0.0")


def test_cycles_and_gaps_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"a cycle, 1\.0\.0 -> 2\.0\.0 -> 3\.0\.0 -> 1\.0\.0"):
        known(("1.0.0", "2.0.0"), ("2.0.0", "3.0.0"), ("3.0.0", "1.0.0"))
    gap = known(("1.0.0", "2.0.0"), ("3.0.0", "4.0.0"))
    with pytest.raises(InvalidInputError, match=r"it ends after 1\.0\.0, 2\.0\.0; add a transition to 4\.0\.0"):
        gap.path("1.0.0", "4.0.0")
    with pytest.raises(InvalidInputError, match=r"it has no version 9\.0\.0; it has 1\.0\.0"):
        gap.path("1.0.0", "9.0.0")


# Checks.


def checked(validation: str, item: Any, **fields: SchemaField) -> str:
    """Return why an item does not pass; empty if it does."""
    schema = known(
        ("1.0.0", "2.0.0"), versions=(SchemaVersion("2.0.0", {k.replace("_", "."): f for k, f in fields.items()}),)
    )
    try:
        schema.transform(("1.0.0", "2.0.0"), validation)(item)
    except ItemError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"name": "x", "age": 3}, ""),
        ({"name": "x"}, ""),
        ({"age": 3}, "name: it is required and is not there"),
        ({"name": None}, "name: it is not something that is not null"),
        ({"name": "x", "age": True}, "age: it is not a whole number"),
        ({"name": "x", "age": None}, ""),
        ("x", "it is not a table"),
    ],
)
def test_basic_checks_types_and_what_is_required(item: Any, reason: str) -> None:
    fields = {"name": SchemaField("text", required=True), "age": SchemaField("int", null=True)}

    assert checked("basic", item, **fields) == reason
    assert checked("none", item, **fields) == ""


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"name": "ada", "age": 3, "at": {"city": "x"}}, ""),
        ({"name": "a"}, "name: it is shorter than 2"),
        ({"name": "adalovelace"}, "name: it is longer than 8"),
        ({"name": "Ada"}, "name: it does not match [a-z]+"),
        ({"age": 200}, "age: it is above 150"),
        ({"age": -1}, "age: it is below 0"),
        ({"nmae": "ada"}, "nmae: no such field is declared"),
        ({"at": {"town": "x"}}, "at.town: no such field is declared"),
        ({"kind": "c"}, "kind: it is none of the 2 values that it may be"),
    ],
)
def test_strict_checks_bounds_and_knows_no_other_field(item: Any, reason: str) -> None:
    fields = {
        "name": SchemaField("text", min_length=2, max_length=8, pattern="[a-z]+"),
        "age": SchemaField("int", min=0, max=150),
        "at_city": SchemaField("text"),
        "kind": SchemaField(values=("a", "b")),
    }

    assert checked("strict", item, **fields) == reason
    assert checked("basic", item, **fields) == ""


class Person(msgspec.Struct):
    """As msgspec declares it."""

    name: str


class Human(BaseModel):
    """As pydantic declares it."""

    name: str


@pytest.mark.parametrize("model", [Person, Human])
def test_a_version_may_be_a_model(model: Any) -> None:
    schema = known(("1.0.0", "2.0.0"), versions=(SchemaVersion("2.0.0", model=model),))
    bring = schema.transform(("1.0.0", "2.0.0"), "basic")

    assert bring({"name": "x"}) == {"name": "x"}
    with pytest.raises(ItemError, match=f"does not fit {model.__name__}"):
        bring({"name": 5})
