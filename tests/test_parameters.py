from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, ValidationError

from kernel import opened
from llmspell_hookspecs import Agent, AgentInput, AgentOutput, InvalidInputError, Tool, ToolContext
from llmspell_hookspecs.agents import AgentContext
from llmspell_hookspecs.parameters import first_problem, unknown_keys, validate, without_keys


class Inner(BaseModel):
    deep: int = 1


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    plain: int = 1
    old: int = Field(default=1, validation_alias=AliasChoices("new", AliasPath("list", 0)))
    renamed: int = Field(default=1, alias="other")
    inner: Inner = Inner()
    maybe: Annotated[Inner | None, "either"] = None
    either: Inner | Open = Inner()
    open: Open = Open()
    table: dict[str, Any] = {}


class ByName(BaseModel):
    model_config = ConfigDict(validate_by_name=True)

    old: int = Field(default=1, validation_alias="new")


@pytest.mark.parametrize(
    ("given", "unknown"),
    [
        ({"plain": 1, "new": 2, "list": [1], "other": 3}, []),
        ({"old": 2, "renamed": 2}, ["old", "renamed"]),
        ({"inner": {"deep": 1, "deeper": 2}, "maybe": {"x": 1}}, ["inner.deeper", "maybe.x"]),
        ({"open": {"x": 1}, "table": {"x": {"y": 1}}, "either": {"x": 1}, "inner": 3}, []),
    ],
)
def test_a_key_is_unknown_if_no_name_of_any_field_takes_it(given: dict[str, Any], unknown: list[str]) -> None:
    assert [key.dotted for key in unknown_keys(Outer, given)] == unknown


def test_a_model_that_takes_field_names_beside_aliases_knows_both() -> None:
    assert unknown_keys(ByName, {"old": 1, "new": 1}) == []


def test_the_nearest_key_is_named() -> None:
    assert [key.nearest for key in unknown_keys(Outer, {"plane": 1, "qqq": 1})] == ["plain", ""]


def test_unknown_keys_are_left_out_and_the_table_stays_as_it_is() -> None:
    given = {"plain": 1, "x": 2, "inner": {"deep": 1, "y": 2}}

    kept = without_keys(given, unknown_keys(Outer, given))

    assert kept == {"plain": 1, "inner": {"deep": 1}}
    assert given == {"plain": 1, "x": 2, "inner": {"deep": 1, "y": 2}}


class Lax(BaseModel):
    """Says nothing of keys that it does not know."""

    inner: Inner = Inner()
    open: Open = Open()
    either: Inner | Open = Inner()
    many: list[Inner] = []


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, None),
        ({"inner": {"deep": 2}}, None),
        ({"open": {"x": 1}}, None),
        ({"x": 1}, ("x",)),
        ({"inner": {"deeper": 2}}, ("inner", "deeper")),
        ({"many": [{"deeper": 2}]}, ("many", 0, "deeper")),
        ({"open": {"x": 1}, "iner": {}}, ("iner",)),
    ],
)
def test_a_key_that_no_model_takes_is_refused_whatever_the_model_says_but_allow(
    given: dict[str, Any], wrong: tuple[str | int, ...] | None
) -> None:
    if wrong is None:
        assert validate(Lax, given).model_dump(exclude_unset=True) == given
        return
    with pytest.raises(ValidationError) as caught:
        validate(Lax, given)
    assert wrong in [each["loc"] for each in caught.value.errors()]


class Lookup(Tool[Lax]):
    """Looks nothing up."""

    name = "lookup"

    async def run(self, parameters: Lax, context: ToolContext) -> int:
        """Return how deep."""
        return parameters.inner.deep


class Choosy(Agent):
    """Has options."""

    kind = "choosy"
    Options = Inner

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        return AgentOutput("ran")


class Mixed(BaseModel):
    to: str | list[str] = ""
    lines: tuple[str, ...] = ()
    count: int = 1
    on: bool = True
    word: Literal["yes", "no"] = "yes"
    inner: Inner = Inner()
    either: Annotated[Inner | None, "or"] | ByName = None


@pytest.mark.parametrize(
    ("given", "where", "words"),
    [
        ({"to": 5}, "to", "it should be a text"),
        ({"lines": "a"}, "lines", "it should be a list"),
        ({"count": "many"}, "count", "it should be a whole number"),
        ({"on": "perhaps"}, "on", "it should be true or false"),
        ({"inner": 5}, "inner", "it should be a table, or an object in JSON"),
        ({"word": 10**5000}, "word", "it should be one of yes, no"),
        ({"word": "Yess"}, "word", "it should be one of yes, no; did you mean yes?"),
        ({"either": 5}, "either", "it should be a table, or an object in JSON"),
    ],
)
def test_what_does_not_fit_is_told_in_words_of_people_who_know_no_python(given: Any, where: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Mixed.model_validate(given)
    problem = first_problem(Mixed, caught.value)

    assert (problem.where, problem.words) == (where, words)


async def test_what_a_tool_or_an_agent_does_not_take_is_refused_with_what_it_takes() -> None:
    async with opened(Lookup, Choosy) as host:
        assert (await host.call("tool:lookup", {"inner": {"deep": 7}})).result == 7
        with pytest.raises(InvalidInputError, match=r"tool:lookup: parameter iner: .*; it takes inner, open, either"):
            await host.call("tool:lookup", {"iner": {}})
        with pytest.raises(InvalidInputError, match=r"parameter inner\.dep: .*did you mean deep\?; inner takes deep$"):
            await host.call("tool:lookup", {"inner": {"dep": 1}})
        with pytest.raises(InvalidInputError, match=r"agent a: options\.depth: .*; kind choosy takes deep"):
            await host.agents.create(name="a", kind="choosy", options={"depth": 1})
        await host.agents.create(name="a", kind="choosy", options={"deep": 1})
