"""A function is a tool: its schema, its calls, its settings, and what cannot be one."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio
from pydantic import BaseModel, Field

from kernel import opened
from llmspell import Host
from llmspell_hookspecs import (
    Calls,
    InvalidInputError,
    Retry,
    SecurityLevel,
    ToolContext,
    ToolError,
    ToolResult,
    hookimpl,
    tool,
)
from llmspell_hookspecs.errors import PluginError
from packages import install


class Units(BaseModel):
    """The settings of a tool."""

    unit: str = "C"


@tool(name="weather", category="web", level=SecurityLevel.RESTRICTED, aliases=("forecast",), settings=Units)
async def tell_weather(
    city: str, settings: Units, context: ToolContext, days: Annotated[int, Field(ge=1)] = 1
) -> dict[str, Any]:
    """Tell the weather of a city.

    It is always fine.

    Args:
        city: Where, as people write it:
            with its country.
        days: How many days ahead.

    Returns:
        city: This is no parameter.
    """
    await trio.sleep(0)
    return {"city": city, "days": days, "unit": settings.unit, "call": context.call.name}


@tool
def add(left: int, right: int = 2) -> int:
    """Add two numbers."""
    return left + right


async def call(address: str, parameters: Any = None, *plugins: Any, **tools: Any) -> ToolResult:
    async with Host.open({"tools": tools}, plugins=plugins) as host:
        result: ToolResult = await host.call(address, parameters)
        return result


async def test_a_function_is_called_as_a_tool_and_stays_a_function() -> None:
    assert (await call("tool:add", {"left": 40}, add)).result == 42
    assert add(1) == 3


async def test_it_gets_context_and_settings_by_annotation() -> None:
    result = (await call("tool:forecast", {"city": "Rome, Italy"}, tell_weather, weather={"unit": "F"})).result

    assert result == {"city": "Rome, Italy", "days": 1, "unit": "F", "call": "weather"}


async def test_signature_and_docstring_become_the_schema() -> None:
    async with Host.open({}, plugins=[tell_weather]) as host:
        told = host.tools.describe("weather")

    assert (told["description"], told["category"], told["level"]) == (
        "Tell the weather of a city.",
        "web",
        "restricted",
    )
    assert list(told["schema"]["properties"]) == ["city", "days"]
    assert told["schema"]["properties"]["city"]["description"] == "Where, as people write it: with its country."
    assert told["schema"]["properties"]["days"]["minimum"] == 1
    assert told["schema"]["required"] == ["city"]


@pytest.mark.parametrize("parameters", [{}, {"left": "x"}])
async def test_wrong_parameters_are_refused(parameters: Any) -> None:
    with pytest.raises(InvalidInputError, match="tool:add: parameter left"):
        await call("tool:add", parameters, add)


async def test_unknown_settings_of_a_function_are_refused() -> None:
    with pytest.raises(PluginError, match=r"tools\.weather\.units"):
        await call("tool:weather", {"city": "x"}, tell_weather, weather={"units": "F"})


async def test_a_package_brings_a_function_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    code = "from llmspell_hookspecs import tool\n@tool\ndef Plugin() -> str:\n    return 'hi'\n# class Plugin\n"
    install(tmp_path, "greeting-package", name="Plugin", code=code, group="llmspell.tools")

    assert (await call("tool:Plugin")).result == "hi"

    del sys.modules["greeting_package_module"]


def positional(x: int, /) -> None: ...
def variadic(*x: int) -> None: ...
def keywords(**x: int) -> None: ...
def bare(x) -> None: ...  # type: ignore[no-untyped-def]
def unknown(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def generator(x: int) -> Any:
    yield x


def unschemed(x: Callable[..., trio.Event] | trio.Event) -> None: ...
def private(_x: int) -> None: ...


@pytest.mark.parametrize(
    "function", [positional, variadic, keywords, bare, unknown, generator, unschemed, private, lambda: None, 3, Units]
)
def test_what_cannot_be_a_tool_is_refused_in_one_line(function: Any) -> None:
    with pytest.raises(PluginError) as caught:
        tool(function)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize("name", sorted({*dir(BaseModel), "self", "context", "settings"} - {*dir(object)}))
async def test_a_parameter_of_any_name_is_given_what_is_given_or_refused(name: str) -> None:
    if name.startswith("_"):
        return
    source = f"def odd({name}: int = 1) -> Any:\n    return [{name}]"
    namespace: dict[str, Any] = {"Any": Any}
    exec(source, namespace)
    try:
        odd = tool(namespace["odd"])
    except PluginError as error:
        assert f"its parameter {name} is called as something of pydantic's" in str(error)
        return

    assert (await call("tool:odd", {name: 7}, odd)).result == [7]


@pytest.mark.parametrize(
    "options",
    [{"name": "a b"}, {"nam": "x"}, {"aliases": "one"}, {"level": "safe"}, {"settings": int}],
)
def test_a_wrong_option_is_refused(options: Any) -> None:
    with pytest.raises(PluginError, match=r"^tool "):
        tool(**options)(add)


async def test_a_hook_sees_what_the_function_is_given() -> None:
    seen: list[Any] = []

    class Watch:
        @hookimpl(kind="observe")
        def before_tool_execution(self, context: Any) -> None:
            seen.append(dict(context.subject.parameters))

    await call("tool:add", {"left": 1}, add, Watch)

    assert seen == [{"left": 1, "right": 2}]


async def test_the_tool_of_the_how_to_works() -> None:
    text = (Path(__file__).parent.parent / "docs" / "how-to.md").read_text()
    source = text.partition("## Tools")[2].partition("```python\n")[2].partition("```")[0]
    module = types.ModuleType("how_to")
    exec(source, vars(module))

    result = await call("tool:forecast", {"city": "Rome"}, module.weather, weather={"unit": "F"})

    assert result.result == "Rome in 1 days: 20 F"


async def test_a_call_has_a_key_that_is_the_same_at_every_attempt_and_may_be_given() -> None:
    seen: list[str] = []

    @tool(effects="keyed", repeatable=True)
    async def pay(amount: int, context: ToolContext) -> str:
        """Pay once."""
        seen.append(context.key)
        if len(seen) == 1:
            raise ToolError("cut off")
        return context.key

    async with opened(pay) as host:
        host.hooks.register("tool_error", lambda context: Retry(max_attempts=2))
        await host.call("tool:pay", {"amount": 1})
        await host.call("tool:pay", {"amount": 1})
        given = await host.get(Calls).call("tool:pay", {"amount": 1}, key="k" * 32)

    assert seen[0] == seen[1] != seen[2]
    assert all(len(key) == 32 for key in seen)
    assert given.result == "k" * 32


def test_effects_that_there_are_not_are_refused() -> None:
    with pytest.raises(PluginError, match="its effects are 'often'; use '', 'transactional' or 'keyed'"):

        @tool(effects="often")
        def pay(amount: int) -> None:
            """Pay."""


async def test_a_parameter_that_a_function_does_not_take_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"tool:add: parameter rihgt: .*; it takes left, right"):
        await call("tool:add", {"left": 40, "rihgt": 3}, add)


@tool
async def doze() -> None:
    """Sleep as programs on asyncio do."""
    await asyncio.sleep(1)


async def test_a_tool_that_awaits_what_is_asyncio_s_is_told_what_to_await() -> None:
    with pytest.raises(ToolError, match=r"tool:doze: .*no running event loop; the host runs on trio: await that, or "):
        await call("tool:doze", {}, doze)
