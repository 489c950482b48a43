"""The conformance kit of agent-hooks, run against a host: every vector that this host claims, and the report of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import trio

pytest.importorskip("agent_hooks", reason="the kit comes with the extra test")

from agent_hooks_report import NOT_YET, PAGE, VECTORS, conform, outcome, report
from llmspell_hookspecs import HookContext
from llmspell_plugins.hooks.agent_hooks import plugin as adapter
from llmspell_plugins.hooks.agent_hooks.emission import Emission, Emitter

CLAIMED = [id for id, vector in VECTORS.items() if NOT_YET not in vector["capabilities"]]
LATER = [id for id in VECTORS if id not in CLAIMED]


@pytest.mark.parametrize("id", CLAIMED)
def test_a_vector_passes(id: str) -> None:
    result = outcome(id)

    assert (result.status, result.failures) == ("pass", []), result.detail


@pytest.mark.parametrize("id", LATER)
def test_a_vector_of_streams_that_are_judged_as_they_come_is_left_for_later(id: str) -> None:
    assert outcome(id).status == "skip"
    pytest.skip(f"{id} needs {NOT_YET}: the whole of an answer is judged before any of it is handed on")


def test_the_kit_has_the_vectors_that_were_counted() -> None:
    assert (len(VECTORS), len(LATER)) == (75, 4)


def test_the_report_in_the_documents_is_what_comes_out() -> None:
    assert PAGE.read_text() == report(), "python tests/agent_hooks_report.py writes it anew"


@pytest.mark.parametrize(
    ("id", "change"),
    [
        ("AH-CTK-010", {"run_outcome": "blocked"}),
        ("AH-CTK-020", {"tool_invocations": [{"name": "http_get", "args": {"url": "https://evil.example"}}]}),
        ("AH-CTK-127", {"load": {"outcome": "accepted"}}),
    ],
)
def test_a_vector_that_expects_something_else_fails(id: str, change: dict[str, Any]) -> None:
    vector = copy.deepcopy(VECTORS[id])
    vector["expect"].update(change)

    assert trio.run(conform, vector).status == "fail"


@pytest.mark.parametrize("id", ["AH-CTK-010", "AH-CTK-011", "AH-CTK-012", "AH-CTK-061", "AH-CTK-070", "AH-CTK-100"])
def test_a_host_that_lets_everything_pass_fails(id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    emit = Emitter.emit

    async def lenient(self: Emitter, context: dict[str, Any], accepts: Any = None) -> Emission:
        emission = await emit(self, context, accepts)
        return Emission(emission.verdict, emission.target, True, emission.record)

    monkeypatch.setattr(Emitter, "emit", lenient)

    assert trio.run(conform, VECTORS[id]).status == "fail"


@pytest.mark.parametrize("id", ["AH-CTK-001", "AH-CTK-020", "AH-CTK-060"])
def test_a_host_that_misses_a_point_fails(id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(self: adapter.AgentHooks, context: HookContext[Any]) -> None:
        return None

    judge = adapter.AgentHooks._judge

    async def partly(self: adapter.AgentHooks, context: HookContext[Any]) -> Any:
        return None if context.point == "before_tool_execution" else await judge(self, context)

    monkeypatch.setattr(adapter.AgentHooks, "_fold", silent)
    monkeypatch.setattr(adapter.AgentHooks, "_judge", partly)

    assert trio.run(conform, VECTORS[id]).status == "fail"
