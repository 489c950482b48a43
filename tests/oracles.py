"""Independent programs that results are held against, and how a tool is called through a host beside them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kernel import opened
from llmspell_hookspecs import ToolResult
from waiting import PATIENCE_S

__all__ = ["called", "oracle"]

_PACKAGES = {
    "bc": "bc",
    "convert": "imagemagick",
    "identify": "imagemagick",
    "compare": "imagemagick",
    "curl": "curl",
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    "sox": "sox",
    "soxi": "sox",
    "pdfinfo": "poppler-utils",
    "pdftotext": "poppler-utils",
    "pdftoppm": "poppler-utils",
    "qpdf": "qpdf",
    "pandoc": "pandoc",
    "jq": "jq",
    "lua5.4": "lua5.4",
    "lynx": "lynx",
    "mariadb": "mariadb-client",
    "munpack": "mpack",
    "node": "nodejs",
    "openssl": "openssl",
    "psql": "postgresql-client",
    "sh": "dash",
    "sqlite3": "sqlite3",
    "xmllint": "libxml2-utils",
    "dot": "graphviz",
    "gc": "graphviz",
    "tred": "graphviz",
    "ccomps": "graphviz",
    "dijkstra": "graphviz",
    "perl": "perl",
    "uuidparse": "uuid-runtime",
    "yq": "yq",
}
"""Which Debian package has the program; `.ci/run` installs them all."""


def oracle(program: str, *arguments: str | Path, codes: tuple[int, ...] = (0,), given: str | bytes = "") -> str:
    """Run a program and return what it printed; skips the test where there is no such program."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"there is no {program}; apt-get install {_PACKAGES.get(program, 'it')}")
    stdin = given.encode() if isinstance(given, str) else given
    done = subprocess.run(
        [found, *map(str, arguments)], input=stdin, capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode in codes, done.stderr
    return (done.stdout + (done.stderr if program == "compare" else b"")).decode()


async def called(
    folder: Path, name: str, settings: Mapping[str, Any] | None = None, /, **parameters: Any
) -> ToolResult:
    """Call a tool in the box through a host that may touch this folder only."""
    security = {"paths": {"read": [str(folder)], "write": [str(folder)]}}
    async with opened(settings={"security": security, **(settings or {})}) as host:
        result: ToolResult = await host.call(f"tool:{name}", parameters)
    return result
