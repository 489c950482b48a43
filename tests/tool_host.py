"""How the tests of tools call one through a host, and hold its answers against other programs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kernel import opened
from llmspell_hookspecs import Tool, ToolResult
from waiting import PATIENCE_S

__all__ = ["ask", "oracle", "settings_of"]


def settings_of(folder: Path, **more: Any) -> dict[str, Any]:
    """Return settings under which the folder may be read and written, and nothing else."""
    security = {"paths": {"read": [str(folder)], "write": [str(folder)]}, **more.pop("security", {})}
    return {"security": security, "storage": {"backend": "memory"}, **more}


async def ask(
    tool: type[Tool[Any]], folder: Path, settings: Mapping[str, Any] | None = None, /, **parameters: Any
) -> ToolResult:
    """Call a tool through a host of its own; ``settings`` are those of the tool."""
    given = settings_of(folder, tools={tool.name: dict(settings)} if settings else {})
    async with opened(tool, settings=given) as host:
        result: ToolResult = await host.call(f"tool:{tool.name}", parameters)
    return result


def oracle(*command: str, given: bytes | str = b"", folder: Path | None = None, ok: tuple[int, ...] = (0,)) -> bytes:
    """Return what another program prints; the test is skipped where it is not installed, and says so."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed; .ci/run installs it")
    data = given.encode() if isinstance(given, str) else given
    done = subprocess.run(command, input=data, cwd=folder, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode in ok, done.stderr
    return done.stdout
