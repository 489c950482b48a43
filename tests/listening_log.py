"""The plugin logging as tests see it: settings that enable it, the newest that a host made, and what was written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from kernel import make_plugin, make_tool
from llmspell_hookspecs import Cancel, Services, ToolContext
from llmspell_hookspecs.errors import ToolError
from llmspell_plugins.hooks.logging import Logging, LoggingSettings

__all__ = ["DENIES", "ECHO", "Watched", "child", "echo", "held", "lines_in", "logged", "rows"]

CHILD = str(Path(__file__).with_name("logging_child.py"))


async def echo(parameters: dict[str, Any], context: ToolContext) -> Any:
    if "fail" in parameters:
        raise ToolError(parameters["fail"], code="broken")
    return parameters.get("answer", parameters)


ECHO = make_tool("echo", echo)
DENIES = make_plugin(
    "denies",
    ("before_tool_execution", lambda context: Cancel("not today", "denied"), {"kind": "guard", "match": "denied"}),
    ("after_tool_execution", lambda context: Cancel("not that", "denied"), {"kind": "guard", "match": "withheld"}),
)


class Watched(Logging):
    """The plugin, as the newest host made it."""

    name = "watched"
    Settings = LoggingSettings
    newest: ClassVar[Watched]

    def __init__(self, settings: LoggingSettings, services: Services) -> None:
        super().__init__(settings, services)
        Watched.newest = self


def logged(folder: Path | str, **settings: Any) -> dict[str, Any]:
    """Return the settings of a host with the plugin `Watched`, which writes ``it.log`` in a folder."""
    return {"plugins": {"watched": {"path": f"{folder}/it.log", **settings}}}


def rows(folder: Path, *points: str) -> list[dict[str, Any]]:
    """Return what the log holds, of some points if they are named."""
    text = (folder / "it.log").read_text()
    assert text.endswith("\n")
    found = [json.loads(line) for line in text[:-1].split("\n")]
    return [row for row in found if not points or row["point"] in points]


@contextmanager
def child(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a child until it is ready; it is killed at the end."""
    command = [sys.executable, CHILD, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def held(path: Path) -> list[bytes]:
    """Return the lines of all files, the oldest first, without the blanks that fill pages."""
    full = sorted(path.parent.glob(f"{path.name}.*"), key=lambda each: -int(each.suffix[1:]))
    return [line for each in (*full, path) if each.exists() for line in lines_in(each)]


def lines_in(path: Path) -> list[bytes]:
    data = path.read_bytes()
    assert not data or data.endswith(b"\n"), f"{path.name} ends within a line: {data[-80:]!r}"
    return [line.rstrip(b" ") + b"\n" for line in data.split(b"\n")[:-1]]
