"""The conformance suite over every tool that an entry point of ours names, and over one handed over in code."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from kernel import opened
from llmspell_hookspecs import InvalidInputError, ToolExample, tool
from llmspell_hookspecs.errors import ComponentNotFoundError, PluginError
from llmspell_hookspecs.services import Tools
from llmspell_testing import ToolConformance


@tool(examples=[ToolExample("twice", {"text": "a", "times": 2}, "aa")])
def repeat(text: str, times: int = 1) -> str:
    """Repeat a text.

    Args:
        text: What.
        times: How often, at most 9 times.
    """
    return text * min(times, 9)


class TestFunction(ToolConformance):
    plugins = (repeat,)
    name = "repeat"


def _class_of(name: str) -> type[ToolConformance]:
    title = "".join(part.title() for part in name.replace("-", "_").split("_"))
    return type(f"Test{title}", (ToolConformance,), {"name": name})


OURS = sorted(
    point.name
    for point in entry_points(group="llmspell.tools")
    if point.dist is not None and point.dist.name == "llmspell"
)
globals().update({kind.__name__: kind for kind in map(_class_of, OURS)})


async def test_an_example_that_the_tool_would_refuse_is_told_when_it_is_loaded() -> None:
    @tool(examples=[ToolExample("misspelt", {"txet": "a"})])
    def wrong(text: str) -> str:
        """Return a text."""
        return text

    async with opened(wrong) as host:
        with pytest.raises(
            (PluginError, ComponentNotFoundError),
            match=r"misspelt.*txet: there is none of this name; did you mean text?",
        ):
            host.get(Tools).describe("wrong")


async def test_examples_that_are_none_are_told_when_the_tool_is_loaded() -> None:
    @tool(examples=["twice"])  # type: ignore[list-item]
    def wrong(text: str) -> str:
        """Return a text."""
        return text

    async with opened(wrong) as host:
        with pytest.raises((PluginError, InvalidInputError), match="write a tuple of ToolExample"):
            host.get(Tools).describe("wrong")


def test_an_example_fits_what_has_its_fields_and_maybe_others() -> None:
    example = ToolExample("x", {}, {"a": [1, {"b": 2}]})

    assert example.fits({"a": [1, {"b": 2, "c": 3}], "d": 4})
    assert not example.fits({"a": [1, {"b": 3}]})
    assert not example.fits({"a": [1]})
    assert ToolExample("y").fits(object())


async def test_a_tool_without_an_example_is_told_to_write_one_whatever_else_is_asked() -> None:
    @tool
    def bare(text: str) -> str:
        """Return a text.

        Args:
            text: What.
        """
        return text

    async with opened(bare) as host:
        with pytest.raises(
            pytest.fail.Exception, match="tool bare has no example to call it with; write a ToolExample"
        ):
            type("Bare", (ToolConformance,), {"name": "bare"})()._sound(host)
