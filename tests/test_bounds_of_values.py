"""Values of any breadth and depth, shared and circular: refused in one line before work is done with them."""

from __future__ import annotations

from collections import OrderedDict, UserDict, UserList, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from kernel import MiniLanguage, make_tool, opened
from llmspell import Host
from llmspell_hookspecs import (
    InvalidInputError,
    LlmspellError,
    Message,
    ModelRequest,
    ModelResponse,
    Modified,
    Replace,
    SecurityLevel,
    Tool,
    ToolContext,
)
from llmspell_hookspecs.bounds import LARGEST, check_bounds
from llmspell_hookspecs.model import ToolSpec, ToolUse
from llmspell_hookspecs.values import canonical, freeze, restore, thaw
from scripted_model import ScriptedModel
from values_of_all_types import circle, nested


@dataclass
class Two:
    left: Any
    right: Any


class TwoOfModel(BaseModel):
    left: Any
    right: Any


class TwoOfStruct(msgspec.Struct):
    left: Any
    right: Any


class TwoFixed(msgspec.Struct, frozen=True):
    left: Any
    right: Any


class OwnList(list[Any]):
    """A list."""


PAIRS: dict[str, Callable[[Any], Any]] = {
    "list": lambda v: [v, v],
    "tuple": lambda v: (v, v),
    "dict": lambda v: {"a": v, "b": v},
    "own list": lambda v: OwnList([v, v]),
    "user's list": lambda v: UserList([v, v]),
    "user's dict": lambda v: UserDict({"a": v, "b": v}),
    "ordered dict": lambda v: OrderedDict(a=v, b=v),
    "deque": lambda v: deque([v, v]),
    "dataclass": lambda v: Two(v, v),
    "model": lambda v: TwoOfModel.model_construct(left=v, right=v),
    "struct": lambda v: TwoOfStruct(v, v),
    "frozen struct": lambda v: TwoFixed(v, v),
    "frozen list": lambda v: freeze([v, v]) if type(v) is int else tuple.__new__(type(freeze([1])), (v, v)),
}
"""What holds one value twice."""


def shared(levels: int = 30, pair: Callable[[Any], Any] = PAIRS["list"]) -> Any:
    """Return a value of few parts that has two to the power of the levels of them for whoever walks it."""
    value: Any = 1
    for _ in range(levels):
        value = pair(value)
    return value


def circular(pair: Callable[[Any], Any]) -> Any:
    """Return a value of this kind that holds itself, if one can be."""
    inner: list[Any] = []
    inner.append(pair(inner))
    return inner


@pytest.mark.parametrize("walk", [freeze, canonical, check_bounds])
@pytest.mark.parametrize("name", PAIRS)
def test_what_is_shared_or_circular_ends_at_once_whatever_its_type(name: str, walk: Callable[[Any], Any]) -> None:
    for value in (shared(pair=PAIRS[name]), shared(190, PAIRS[name]), circular(PAIRS[name])):
        with pytest.raises(InvalidInputError, match=r"it (holds more than|is nested more than)"):
            walk(value)


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_shared_a_little_goes_through(name: str) -> None:
    value = shared(8, PAIRS[name])

    check_bounds(value)
    assert canonical(restore(freeze(value))) == canonical(value)


def test_what_was_frozen_in_parts_counts_as_a_whole() -> None:
    part: Any = 1
    with pytest.raises(InvalidInputError, match="holds more than"):
        for _ in range(30):
            part = freeze([part, part])
    with pytest.raises(InvalidInputError, match="nested more than"):
        for _ in range(30):
            part = freeze(nested_in(part, 10))


def nested_in(value: Any, levels: int) -> Any:
    """Return the value in a list in a list and so on."""
    for _ in range(levels):
        value = [value]
    return value


def test_levels_of_any_type_are_made_once_each_when_they_are_checked() -> None:
    """Checking each level with all that is in it would take as many steps as levels times parts."""
    made = 0

    class Counted(deque[Any]):
        def __new__(cls, *given: Any) -> Any:
            nonlocal made
            made += 1
            return super().__new__(cls)

    value: Any = 1
    for _ in range(80):
        value = Counted([value])
    made = 0
    freeze(value)

    assert made <= 160


# Wherever values come in.

SHAPES: dict[str, Callable[[], Any]] = {
    "deep": lambda: nested(50_000),
    "a little too deep": lambda: nested(300),
    "shared": shared,
    "shared mappings": lambda: shared(pair=PAIRS["dict"]),
    "circular": circle,
    "wide": lambda: [[1] * 1000] * (LARGEST // 1000),
}


class Family(BaseModel):
    model_config = {"extra": "allow"}
    child: Family | None = None


class Parents(Tool[Family]):
    """Takes families."""

    name = "parents"
    level = SecurityLevel.SAFE

    async def run(self, parameters: Family, context: ToolContext) -> Any:
        return 1


async def fired(host: Host, value: Any) -> Any:
    return await host.hooks.fire("x", {"v": value})


async def published(host: Host, value: Any) -> Any:
    async with host.events.subscribe("**"):
        return host.events.publish_nowait("a.b", {"v": value})


async def published_with_fields(host: Host, value: Any) -> Any:
    return await host.events.publish("a.b", {"v": value}, source="test")


async def kept(host: Host, value: Any) -> Any:
    return await host.state.set("k", {"v": value})


async def given_to_a_tool(host: Host, value: Any) -> Any:
    return await host.call("tool:echo", {"v": value})


async def given_to_an_unknown_parameter(host: Host, value: Any) -> Any:
    family: dict[str, Any] = {}
    family["child"] = family if isinstance(value, list) and value[0] is value else {"child": {"other": value}}
    host.tools.unknown_parameters("parents", family)
    return await host.call("tool:parents", family)


async def answered_by_a_tool(host: Host, value: Any) -> Any:
    return await host.call("tool:answer", {})


async def asked_of_a_model(host: Host, value: Any) -> Any:
    use = ToolUse("u1", "echo", {"v": value})
    return await host.models.complete(ModelRequest("scripted/play", (Message("assistant", "", (use,)),)))


async def given_to_a_model_as_options(host: Host, value: Any) -> Any:
    return await host.models.complete(ModelRequest("scripted/play", (Message("user", "a"),), options={"v": value}))


async def answered_by_a_model(host: Host, value: Any) -> Any:
    return await host.models.complete(ModelRequest("scripted/answers", (Message("user", "a"),)))


async def given_to_an_agent(host: Host, value: Any) -> Any:
    agent = await host.agents.create(name="a", model="scripted/play")
    return await agent.run({"text": "hi", "v": value})


async def made_of(host: Host, value: Any) -> Any:
    return await host.agents.create(name="b", model="scripted/play", options={"v": value})


async def given_to_a_script(host: Host, value: Any) -> Any:
    return await host.run_source("give", language="mini", arguments=[value])


async def changed_by_a_hook(host: Host, value: Any) -> Any:
    host.hooks.register("before_tool_execution", lambda context: Modified({"parameters": {"v": value}}), name="m")
    return await host.call("tool:echo", {})


async def replaced_by_a_hook(host: Host, value: Any) -> Any:
    host.hooks.register("before_tool_execution", lambda context: Replace({"v": value}), name="r")
    return await host.call("tool:echo", {})


WAYS: dict[str, Callable[[Host, Any], Awaitable[Any]]] = {
    way.__name__: way
    for way in (
        fired,
        published,
        published_with_fields,
        kept,
        given_to_a_tool,
        given_to_an_unknown_parameter,
        answered_by_a_tool,
        asked_of_a_model,
        given_to_a_model_as_options,
        answered_by_a_model,
        given_to_an_agent,
        made_of,
        given_to_a_script,
        changed_by_a_hook,
        replaced_by_a_hook,
    )
}


@pytest.mark.parametrize("hooked", [False, True], ids=["without hooks", "with hooks"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS)
async def test_a_value_of_any_shape_is_refused_in_one_line_wherever_it_comes_in(
    way: str, shape: str, hooked: bool
) -> None:
    value = SHAPES[shape]()

    async def echo(parameters: dict[str, Any], context: ToolContext) -> Any:
        return parameters

    async def answer(parameters: dict[str, Any], context: ToolContext) -> Any:
        return {"v": value}

    def respond(request: ModelRequest) -> ModelResponse:
        if request.model.endswith("answers"):
            return ModelResponse("", (ToolUse("u1", "echo", {"v": value}),))
        return ModelResponse("ok")

    plugins = [make_tool("echo", echo), make_tool("answer", answer), Parents, ScriptedModel(respond), MiniLanguage()]
    async with opened(*plugins, trace=hooked) as host:
        if hooked:
            for point in POINTS:
                host.hooks.register(point, lambda context: None, kind="guard")
        with pytest.raises(LlmspellError) as told:
            await WAYS[way](host, value)

    message = str(told.value)
    assert len(message) <= 500 and "\n" not in message and ("nested" in message or "holds" in message), message


ERRORS: dict[str, Callable[[], Any]] = {
    "an error": lambda: ValueError("secret frames"),
    "one in a list": lambda: [{"a": KeyError("secret frames")}],
    "one in an object": lambda: Two(1, OSError("secret frames")),
    "a group": lambda: ExceptionGroup("all", [LookupError("secret frames")]),
}


@pytest.mark.parametrize("what", ERRORS)
@pytest.mark.parametrize("way", WAYS)
async def test_an_error_as_a_value_reaches_no_hook_wherever_it_comes_in(way: str, what: str) -> None:
    value, shown = ERRORS[what](), []

    async def echo(parameters: dict[str, Any], context: ToolContext) -> Any:
        return 1

    async def answer(parameters: dict[str, Any], context: ToolContext) -> Any:
        return {"v": value}

    def respond(request: ModelRequest) -> ModelResponse:
        if request.model.endswith("answers"):
            return ModelResponse("", (ToolUse("u1", "echo", {"v": value}),))
        return ModelResponse("ok")

    plugins = [make_tool("echo", echo), make_tool("answer", answer), Parents, ScriptedModel(respond), MiniLanguage()]
    async with opened(*plugins) as host:
        for point in POINTS:
            host.hooks.register(point, lambda context: shown.append(context.subject), kind="guard")
        with pytest.raises(LlmspellError, match="is an error: hand on its text, or raise it") as told:
            await WAYS[way](host, value)

    assert len(str(told.value)) <= 500
    assert "\n" not in str(told.value)
    assert "secret frames" not in repr(shown)


POINTS = (
    "custom:x",
    "before_event_emit",
    "before_state_write",
    "before_tool_execution",
    "after_tool_execution",
    "before_model_call",
    "after_model_call",
    "before_agent_init",
    "before_agent_execution",
    "before_script_run",
)


@pytest.mark.parametrize("wrong", [["x"], {"a": 1}, (["x"],), ({"a": []},)], ids=repr)
def test_a_message_that_holds_what_it_should_not_is_read_only_all_the_same(wrong: Any) -> None:
    message = Message("user", wrong)

    frozen = freeze(message)

    assert frozen is message
    assert restore(frozen) is message
    assert thaw(frozen.content) == thaw(wrong)
    for held in (frozen.content, *frozen.content) if type(wrong) is tuple else (frozen.content,):
        assert type(held) not in (list, dict)


def test_a_message_of_ones_own_that_freezes_nothing_is_frozen_like_any_struct() -> None:
    class Loose(Message, frozen=True):
        def __post_init__(self) -> None:
            pass

    message = Loose("user", extra={"a": [1]})

    frozen = freeze(message)

    assert frozen is not message
    assert restore(frozen) == message
    assert type(frozen.extra["a"]) is not list


def test_what_was_frozen_when_it_was_made_is_walked_no_more() -> None:
    given = {"rows": [1, [2]]}
    use = ToolUse("1", "add", given)
    message = Message("assistant", "x", (use,), extra={"model": {"thought": ["a"]}})
    given["rows"].append(3)

    assert freeze(message) is message
    assert restore(message) is message
    assert freeze(ToolSpec("add", "", {"type": "object"})) == ToolSpec("add", "", {"type": "object"})
    assert thaw(message.tool_uses[0].parameters) == {"rows": [1, [2]]}
    for held in (use.parameters, use.extra, message.extra, message.extra["model"]):
        with pytest.raises(TypeError):
            held["new"] = 1  # type: ignore[index]
