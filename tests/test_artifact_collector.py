"""Large results of tools and outputs of workflows become artifacts of their session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernel import make_tool
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs.artifacts import Artifacts
from llmspell_hookspecs.sessions import Sessions
from llmspell_hookspecs.workflows import Workflows

LARGE = {"rows": [{"number": number} for number in range(2000)]}


async def give(given: Any, context: Any) -> Any:
    return {"large": LARGE, "text": "x" * 20_000, "small": "x"}[given["what"]]


async def collected(folder: Path, what: str, *, within: bool = True, **own: Any) -> tuple[Any, list[tuple[str, Any]]]:
    """Return what a tool answers, and what was stored of that."""
    plugins = {"artifact_collector": {"enabled": True, **own}}
    table = {"storage": {"backend": "memory"}, "plugins": plugins}
    loaded = load_settings(table, environment={}, cwd=folder)
    async with Host.open(loaded, plugins=[make_tool("give", give)], discover=False) as host:
        sessions, artifacts = await host.enter(Sessions), await host.enter(Artifacts)
        session = (await sessions.create()).id
        call = host.call, "tool:give", {"what": what}
        answer = await (sessions.within(session, *call) if within else call[0](*call[1:]))
        found = await artifacts.query()
        assert list(host.problems) == []
        assert {info.id.session_id for info in found} <= {session if within else "host"}
        return answer.result, [(info.type, await artifacts.read(*_place(info))) for info in found]


def _place(info: Any) -> tuple[str, int]:
    return info.id.session_id, info.id.sequence


@pytest.mark.parametrize(
    ("what", "within", "own", "stored"),
    [
        ("large", True, {}, json.dumps(LARGE, separators=(",", ":")).encode()),
        ("text", True, {}, b"x" * 20_000),
        ("small", True, {}, None),
        ("small", True, {"min_bytes": 0}, b"x"),
        ("large", False, {}, None),
        ("text", False, {"outside": True}, b"x" * 20_000),
        ("text", True, {"match": ["workflow:*"]}, None),
    ],
)
async def test_what_is_large_is_stored_and_answered_as_it_is(
    what: str, within: bool, own: dict[str, Any], stored: bytes | None, tmp_path: Path
) -> None:
    answer, found = await collected(tmp_path, what, within=within, **own)

    assert answer == {"large": LARGE, "text": "x" * 20_000, "small": "x"}[what]
    assert found == ([] if stored is None else [("tool_result", stored)])


async def test_the_output_of_a_workflow_is_stored(tmp_path: Path) -> None:
    plugins = {"artifact_collector": {"enabled": True, "match": ["workflow:*"]}}
    table = {"storage": {"backend": "memory"}, "plugins": plugins}
    loaded = load_settings(table, environment={}, cwd=tmp_path)
    async with Host.open(loaded, plugins=[make_tool("give", give)], discover=False) as host:
        sessions, artifacts = await host.enter(Sessions), await host.enter(Artifacts)
        session = (await sessions.create()).id
        stages = [{"name": "one", "tool": "give", "input": {"what": "text"}}]
        made = await host.get(Workflows).create({"name": "report", "pattern": "sequential", "stages": stages})

        await sessions.within(session, made.run, None)

        [info] = await artifacts.query()
        assert (info.name, info.type, info.created_by) == ("report", "workflow_output", "workflow:report")
        assert b"x" * 20_000 in await artifacts.read(session, 1)
