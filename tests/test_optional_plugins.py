"""The plugins that are off by default, alone and by two: what a caller gets is the same, whatever the value is."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs import LlmspellError
from llmspell_hookspecs.values import canonical
from values_of_all_types import REFUSED, VALUES

PLUGINS: dict[str, dict[str, Any]] = {
    "caching": {"rules": [{"match": "tool:give", "ttl_s": 60.0}]},
    "retry": {"attempts": 2, "base_s": 0.0},
    "rate_limit": {"limits": [{"match": "tool:*", "rate": 1_000_000, "per_s": 1.0}]},
    "security": {"audit": "all", "secrets": "off", "injection": "off"},
    "cost": {"budgets": [{"name": "all", "window": "day", "calls": 1_000_000}]},
    "logging": {"level": "trace"},
    "metrics": {},
    "debugging": {},
    "approval_gate": {},
    "event_log": {},
    "timeline": {},
}
COMBINATIONS = [*[(name,) for name in PLUGINS], *itertools.combinations(PLUGINS, 2), tuple(PLUGINS)]


async def answers(plugins: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return what a tool that gives a value of each sort is answered with, the first time and again."""
    given: dict[str, Any] = {**VALUES, **REFUSED}

    async def give(parameters: Any, context: Any) -> Any:
        return given[parameters["name"]]()

    on = {name: {"enabled": True, **PLUGINS[name]} for name in plugins}
    found: dict[str, list[Any]] = {}
    async with opened(make_tool("give", give), settings={"plugins": on}) as host:
        active = {info.name for info in host.plugins.infos}
        assert set(plugins) <= active
        for name in given:
            found[name] = [await answer(host, name) for _ in range(2)]
        assert [str(problem) for problem in host.problems] == []
    return found


async def answer(host: Host, name: str) -> Any:
    try:
        result = (await host.call("tool:give", {"name": name})).result
    except LlmspellError as error:
        text = str(error)
        assert "\\n" not in text
        assert len(text) <= 500
        return type(error).__name__, error.code
    return type(result).__name__, canonical(result)


@pytest.mark.long
@pytest.mark.parametrize("plugins", COMBINATIONS, ids="+".join)
async def test_they_change_nothing_that_a_caller_gets(plugins: tuple[str, ...]) -> None:
    bare = await answers(())

    assert await answers(plugins) == bare
