"""What scripts of rs-llmspell get from each of its tools: every name, every parameter of theirs, in real Lua.

The cases lie in ``compatibility/tools``, written as those of `test_compatibility`; they share a host, whose files and
server are those of `tool_calls`, and each has a folder of its own. ``URL`` in what is expected stands for the server.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio

from llmspell import Host
from llmspell.settings import load_settings
from test_compatibility import CASE, FOLDER, PRELUDE
from tool_calls import EXTRAS, Person, filled, lay_out, site, tools_settings


@cache
def cases() -> dict[str, tuple[str, Any]]:
    found = CASE.finditer((FOLDER / "tools" / "values.lua").read_text(encoding="utf-8"))
    return {case["name"]: (case["source"], json.loads(case["expected"])) for case in found}


@cache
def answers() -> dict[str, tuple[Any, Any]]:
    """Return of each case what it returned, or the error that it ended with, and what it should."""
    told: dict[str, tuple[Any, Any]] = {}
    with site() as server:
        for name in cases():
            with TemporaryDirectory() as folder:
                lay_out(Path(folder))
                trio.run(_run, Path(folder), server.url, name, told)
    return told


async def _run(folder: Path, url: str, name: str, told: dict[str, tuple[Any, Any]]) -> None:
    source, expected = cases()[name]
    paths = {"read": [str(folder)], "write": [str(folder)]}
    settings = {
        "security": {
            "level": "privileged",
            "paths": paths,
            "hosts": {"allowed": ["127.0.0.1"], "private": ["127.0.0.1"]},
        },
        "storage": {"backend": "memory"},
        "tools": tools_settings(folder, url),
    }
    loaded = load_settings(settings, environment={}, cwd=folder)
    prelude = PRELUDE.replace("...", json.dumps(str(folder)), 1)
    async with Host.open(loaded, plugins=[Person], discover=False) as host:
        try:
            answer = await host.run_source(f"{prelude} local url = {json.dumps(url)} {source}", "lua", name="old.lua")
        except Exception as error:
            answer = error
    told[name] = answer, filled(expected, url)


@pytest.mark.long
@pytest.mark.parametrize("name", list(cases()))
def test_an_old_call_brings_what_it_did(name: str) -> None:
    if (library := EXTRAS.get(name.partition(":")[0])) is not None:
        pytest.importorskip(library)

    answer, expected = answers()[name]

    assert answer == expected


def test_no_case_is_lost_by_the_way_that_they_are_written() -> None:
    text = (FOLDER / "tools" / "values.lua").read_text(encoding="utf-8")

    assert len(cases()) == len(re.findall(r"^--- ", text, re.MULTILINE)) == text.count("\n--> ")
