"""Durable runs of agents: on the records of workflows, so that a pause, an approval and a kill are one mechanism."""

from __future__ import annotations

import re
import secrets
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, InvalidInputError, ToolContext
from llmspell_hookspecs.agent import AgentChunk
from llmspell_hookspecs.agents import AgentHandle
from llmspell_hookspecs.approvals import Approvals
from llmspell_hookspecs.errors import ComponentNotFoundError, ProviderError
from llmspell_hookspecs.workflows import Workflows
from scripted_model import WAITS, ScriptedModel, asks, says
from waiting import PATIENCE_S

CHILD = str(Path(__file__).with_name("agent_child.py"))


class Bench:
    """A host whose storage outlives it, and tools that note how they were called."""

    def __init__(self, folder: Path, *lines: Any) -> None:
        self.folder = folder
        self.model = ScriptedModel(*lines)
        self.calls: list[str] = []

    async def look(self, parameters: dict[str, Any], context: ToolContext) -> str:
        self.calls.append(str(parameters.get("what", "")))
        return f"saw {parameters.get('what', '')}"

    async def go(self, main: Callable[[Host], Awaitable[Any]]) -> Any:
        storage = {"backend": "sqlite", "sqlite": {"path": str(self.folder / "kept.db")}}
        tools = [make_tool("look", self.look), make_tool("write", self.look, repeatable=False)]
        async with opened(self.model, *tools, settings={"storage": storage, "plugins": {}}) as host:
            return await main(host)


async def made(host: Host, **fields: Any) -> AgentHandle:
    given = {"name": "writer", "model": "scripted/play", "tools": ["look", "write"], "durable": True}
    return await host.agents.create(**{**given, **fields})


async def test_a_durable_run_answers_as_any_run_and_remembers_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, asks(("look", {"what": "{{input.text}}"}), ("write", {"what": "b"})), says("done"))

    async def main(host: Host) -> tuple[Any, ...]:
        agent = await made(host)
        chunks: list[AgentChunk] = []

        async def take(chunk: AgentChunk) -> None:
            chunks.append(chunk)

        output = await agent.run("look", run_id="r1", sink=take)
        details = await (await host.enter(Workflows)).run_details("r1")
        assert details is not None
        return output, agent.conversation, details, [chunk.kind for chunk in chunks]

    output, conversation, details, kinds = await bench.go(main)

    assert (output.text, output.steps, output.metadata["run_id"]) == ("done", 2, "r1")
    assert sorted(bench.calls) == ["b", "{{input.text}}"]
    assert [record.text for record in output.tool_calls] == ["saw {{input.text}}", "saw b"]
    assert [message.role for message in conversation] == ["user", "assistant", "tool", "tool", "assistant"]
    assert details.info.status == "completed"
    paths = [stage.path for stage in details.stages]
    assert (paths[0], paths[-1]) == ("step.1/model", "step.2/model")
    assert sorted(paths[1:-1]) == ["step.1/tool.use-1", "step.1/tool.use-2"]
    assert sorted(kinds) == ["text", "tool_result", "tool_result", "tool_use", "tool_use"]


async def test_what_has_ended_does_not_run_again_on_another_host(tmp_path: Path) -> None:
    broken = ProviderError("scripted: it is overloaded", code="unavailable")
    bench = Bench(tmp_path, asks(("look", {"what": "a"}), ("write", {"what": "b"})), broken, says("done"))

    async def first(host: Host) -> None:
        agent = await made(host)
        agent.remember([])
        with pytest.raises(ProviderError, match="overloaded"):
            await agent.run("look", run_id="r1")
        assert agent.conversation == ()

    async def second(host: Host) -> tuple[str, int]:
        agent = await made(host)
        return (await agent.go_on("r1")).text, len(agent.conversation)

    await bench.go(first)
    assert await bench.go(second) == ("done", 5)
    assert (sorted(bench.calls), len(bench.model.requests)) == (["a", "b"], 3)


async def test_a_run_goes_on_by_the_workflows_too_without_the_agent_that_began_it(tmp_path: Path) -> None:
    broken = ProviderError("scripted: it is overloaded", code="unavailable")
    bench = Bench(tmp_path, asks(("write", {"what": "b"})), broken, says("done"))

    async def first(host: Host) -> None:
        agent = await made(host, system_prompt="Be kind.")
        with pytest.raises(ProviderError):
            await agent.run("look", run_id="r1")

    async def second(host: Host) -> tuple[Any, list[str]]:
        output = await (await host.enter(Workflows)).resume("r1")
        return output.output, [info.name for info in host.agents.list()]

    await bench.go(first)
    output, agents = await bench.go(second)
    assert (output["text"], agents) == ("done", [])
    assert bench.model.requests[-1].messages[0].content == "Be kind."
    assert bench.calls == ["b"]


async def test_what_waits_for_a_person_runs_once_it_is_allowed_exactly_as_it_was(tmp_path: Path) -> None:
    bench = Bench(tmp_path, asks(("look", {"what": "a"}), ("write", {"what": "b"})), says("done"))

    def ask(context: HookContext[Any]) -> Cancel:
        return Cancel("a person has to look at this", "approval_required")

    async def first(host: Host) -> Any:
        host.hooks.register("before_tool_execution", ask, kind="guard", match="write", name="ask", plugin="test")
        agent = await made(host)
        return await agent.run("look", run_id="r1")

    async def second(host: Host) -> Any:
        host.hooks.register("before_tool_execution", ask, kind="guard", match="write", name="ask", plugin="test")
        agent = await made(host)
        approvals = await host.enter(Approvals)
        again = await agent.go_on("r1")
        (asked,) = await approvals.list(status="pending")
        await approvals.allow(asked.id)
        return again.finish_reason, asked, await agent.go_on("r1")

    output = await bench.go(first)
    assert (output.finish_reason, output.metadata["waiting"]) == ("paused", ["step.1/tool.use-2"])
    assert bench.calls == ["a"]

    again, asked, ended = await bench.go(second)
    assert (again, asked.run_id, asked.path) == ("paused", "r1", "step.1/tool.use-2")
    assert asked.call["parameters"] == {"what": "b"}
    assert (ended.text, bench.calls, len(bench.model.requests)) == ("done", ["a", "b"], 2)


async def test_what_a_person_denies_is_told_to_the_model_and_the_run_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, asks(("write", {"what": "b"})), says("then not"))

    def ask(context: HookContext[Any]) -> Cancel:
        return Cancel("a person has to look at this", "approval_required")

    async def main(host: Host) -> Any:
        host.hooks.register("before_tool_execution", ask, kind="guard", match="write", name="ask", plugin="test")
        agent = await made(host)
        await agent.run("look", run_id="r1")
        approvals = await host.enter(Approvals)
        (asked,) = await approvals.list(status="pending")
        await approvals.deny(asked.id, note="too dear")
        return await agent.go_on("r1")

    output = await bench.go(main)

    assert (output.text, bench.calls) == ("then not", [])
    assert "too dear" in bench.model.requests[-1].messages[-1].content


async def test_what_a_run_was_told_is_the_same_when_it_goes_on(tmp_path: Path) -> None:
    broken = ProviderError("scripted: it is overloaded", code="unavailable")
    bench = Bench(tmp_path, asks(("look", {"what": "a"})), broken, says("done"))

    async def first(host: Host) -> None:
        agent = await made(host)
        agent.tell("and be brief")
        with pytest.raises(ProviderError):
            await agent.run("look", run_id="r1")

    async def second(host: Host) -> Any:
        agent = await made(host)
        agent.tell("in French")
        return await agent.go_on("r1")

    await bench.go(first)
    await bench.go(second)
    told = [message.content for message in bench.model.requests[-1].messages if message.role == "user"]
    assert told == ["look", "and be brief", "in French"]


async def test_a_cancelled_run_leaves_nothing_half_done_and_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, asks(("write", {"what": "b"})), WAITS, says("done"))

    async def main(host: Host) -> Any:
        agent = await made(host)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                await agent.run("look", run_id="r1")

            nursery.start_soon(ask)
            await bench.model.begun.wait()
            nursery.cancel_scope.cancel()
        assert agent.info.state == "ready"
        return await agent.go_on("r1")

    output = await bench.go(main)
    assert (output.text, bench.calls) == ("done", ["b"])


async def test_what_cannot_be_kept_or_taken_up_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, says("done"))

    async def main(host: Host) -> None:
        agent = await made(host)
        with pytest.raises(ComponentNotFoundError, match="r9"):
            await agent.go_on("r9")
        with pytest.raises(InvalidInputError, match="say durable"):
            await agent.run("x", durable=False, run_id="r2")
        basic = await host.agents.create(name="basic", kind="basic")
        with pytest.raises(InvalidInputError, match="keep nothing"):
            await basic.run("x", durable=True)
        await agent.run("x", run_id="r1")
        other = await made(host, name="other")
        with pytest.raises(ComponentNotFoundError, match="r1"):
            await other.go_on("r1")

    await bench.go(main)


async def test_a_run_that_is_not_durable_keeps_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, says("done"))

    async def main(host: Host) -> Any:
        agent = await made(host, durable=False)
        await agent.run("x")
        return await (await host.enter(Workflows)).runs()

    assert await bench.go(main) == []


# Killed.


def _kill_again_and_again(folder: Path, kills: int, seed: int) -> str:
    """Kill a run until it was killed so often, let it come to its end, and return what it printed."""
    random, steps = Random(seed), 4
    for _ in range(kills):
        before = len((folder / "log").read_text().splitlines()) if (folder / "log").exists() else 0
        process = subprocess.Popen(
            [sys.executable, CHILD, str(folder), "r1", str(steps)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        target = before + random.randint(1, 6)
        _await_lines(folder / "log", target, process)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
    ended = subprocess.run(
        [sys.executable, CHILD, str(folder), "r1", str(steps)], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert ended.returncode == 0, f"seed {seed}: {ended.stderr}"
    return ended.stdout


def _await_lines(log: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the log has so many lines, or the process has ended."""
    waiting = threading.Event()
    while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < count):
        waiting.wait(0.002)


@pytest.mark.parametrize("kills", [6, pytest.param(60, marks=pytest.mark.long)])
def test_a_run_that_is_killed_repeats_no_tool_that_has_ended(tmp_path: Path, kills: int) -> None:
    seed = secrets.randbelow(1_000_000)

    printed = _kill_again_and_again(tmp_path, kills, seed)

    lines = (tmp_path / "log").read_text().splitlines()
    begun = Counter(line.split()[1] for line in lines if line.startswith("begin"))
    allowed = Counter(re.sub(r"step\.(\d+)/tool\..*", r"\1", line.split()[1]) for line in lines if line[:5] == "again")
    assert printed.split(" ", 1)[0] == "12", f"seed {seed}"
    assert set(begun) == {f"{step}.{tool}" for step in range(1, 5) for tool in ("again", "once", "other")}
    for step in range(1, 5):
        repeated = sum(begun[f"{step}.{tool}"] - 1 for tool in ("once", "other"))
        assert repeated <= allowed[str(step)], f"seed {seed}: {lines}"  # nothing ran twice that nobody let run twice
    for name in begun:
        if name.endswith("again"):
            continue
        ends = [place for place, line in enumerate(lines) if line == f"end {name}"]
        model = next((place for place, line in enumerate(lines) if line == f"model {int(name[0]) + 1}"), len(lines))
        assert all(place < model for place in ends), f"seed {seed}: {lines}"  # once the model knew of it, never again


async def test_what_hands_over_to_others_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, says("done"))

    async def main(host: Host) -> None:
        await host.agents.create(name="other", kind="basic")
        agent = await made(host, handoffs=["other"])
        with pytest.raises(InvalidInputError, match="without durable"):
            await agent.run("x")

    await bench.go(main)
