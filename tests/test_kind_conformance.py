"""The kinds in the box: the conformance suite over each of them."""

from __future__ import annotations

from typing import Any

import trio

from kernel import Bench, MiniModel, make_tool
from llmspell_hookspecs import ToolContext
from llmspell_testing import KindConformance


async def echo(parameters: Any, context: ToolContext) -> Any:
    """Return what it is given."""
    return dict(parameters)


async def wait(parameters: Any, context: ToolContext) -> Any:
    """Wait."""
    await trio.sleep_forever()


class TestTools(KindConformance):
    plugins = (make_tool("echo", echo), make_tool("wait", wait))
    address = "tool:echo"
    before, after, error = "before_tool_execution", "after_tool_execution", "tool_error"
    slow = ("tool:wait", {})

    def given(self) -> Any:
        return {"text": "x", "rows": [{"a": 1}]}


class SlowModel(MiniModel):
    name = "slow"

    async def complete(self, *asked: Any) -> Any:
        """Wait."""
        await trio.sleep_forever()


class TestModels(KindConformance):
    plugins = (MiniModel(Bench()), SlowModel(Bench()))
    address = "model:mini/parrot"
    before, after, error = "before_model_call", "after_model_call", "model_error"
    unknown = "nobody_here/any"
    slow = ("model:slow/any", "hello")

    def given(self) -> Any:
        return "hello"
