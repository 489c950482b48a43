"""The plugin logging: what it writes is what happened, line by line, whatever becomes of the disk and of the host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kernel import make_tool, opened
from llmspell_hookspecs import ToolContext
from llmspell_hookspecs.errors import ToolError


def logged(folder: Path, **settings: Any) -> dict[str, Any]:
    return {"plugins": {"logging": {"enabled": True, "path": str(folder / "it.log"), **settings}}}


def rows(folder: Path, name: str = "it.log") -> list[dict[str, Any]]:
    text = (folder / name).read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


async def _echo(parameters: dict[str, Any], context: ToolContext) -> Any:
    if parameters.get("fail"):
        raise ToolError("it broke", code="broken")
    return parameters


ECHO = make_tool("echo", _echo)


async def test_a_call_of_a_tool_is_a_line_with_what_was_asked_and_what_came_of_it(tmp_path: Path) -> None:
    async with opened(ECHO, settings=logged(tmp_path)) as host:
        await host.call("tool:echo", {"text": "hello"})

    print((tmp_path / "it.log").read_text())
    (row,) = [row for row in rows(tmp_path) if row["point"] == "after_tool_execution"]
    assert (row["level"], row["component"], row["status"]) == ("info", "tool:echo", "completed")
