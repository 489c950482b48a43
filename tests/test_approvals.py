"""Approvals through a host: what waits for a person, what exactly runs when it is allowed, and how often."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs.approvals import Approval, Approvals
from llmspell_hookspecs.errors import InvalidInputError, OperationCancelledError
from llmspell_hookspecs.results import Cancel
from llmspell_hookspecs.workflows import Workflows

ASK = Cancel("somebody looks first", "approval_required")


class Desk:
    """A host with a tool that writes down what it does, and a guard that wants a person asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: list[Any] = []

    async def act(self, parameters: dict[str, Any], context: Any) -> Any:
        self.done.append(parameters.get("name"))
        return {"result": parameters.get("name")}

    @asynccontextmanager
    async def host(self, match: str = "risky") -> AsyncIterator[Host]:
        tools = [make_tool(name, self.act, repeatable=False) for name in ("risky", "plain", "other")]
        storage = {"backend": "sqlite", "sqlite": {"path": str(self.folder / "kept.db")}}
        async with opened(*tools, settings={"storage": storage}) as host:
            host.hooks.register("before_tool_execution", lambda context: ASK, kind="guard", match=match, name="ask")
            yield host


async def pending(host: Host) -> list[Approval]:
    return list(await host.get(Approvals).list(status="pending"))


async def test_a_plain_call_waits_and_runs_once_when_it_is_allowed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.host() as host:
        with pytest.raises(OperationCancelledError, match="llmspell approval allow") as refused:
            await host.call("tool:risky", {"name": "a"})
        (asked,) = await pending(host)
    async with desk.host() as host:
        await host.get(Approvals).allow(asked.id, by="Ada")
        await host.call("tool:risky", {"name": "a"})
        with pytest.raises(OperationCancelledError):
            await host.call("tool:risky", {"name": "a"})

    assert refused.value.code == "approval_required"
    assert (asked.address, asked.call["parameters"]) == ("tool:risky", {"name": "a"})
    assert desk.done == ["a"]


async def test_another_call_is_another_question(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.host() as host:
        for name in ("a", "b", "a"):
            with pytest.raises(OperationCancelledError):
                await host.call("tool:risky", {"name": name})
        asked = await pending(host)
        await host.get(Approvals).allow(asked[0].id)
        with pytest.raises(OperationCancelledError):
            await host.call("tool:risky", {"name": "b"})

    assert len(asked) == 2
    assert desk.done == []


async def test_what_is_denied_stays_denied_and_is_answered_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.host() as host:
        with pytest.raises(OperationCancelledError):
            await host.call("tool:risky", {"name": "a"})
        (asked,) = await pending(host)
        await host.get(Approvals).deny(asked.id, by="Ada", note="never")
        with pytest.raises(OperationCancelledError, match="denied by Ada: never") as refused:
            await host.call("tool:risky", {"name": "a"})
        with pytest.raises(InvalidInputError, match="it is denied"):
            await host.get(Approvals).allow(asked.id)
        with pytest.raises(InvalidInputError, match="there is none"):
            await host.get(Approvals).allow("0" * 32)

    assert refused.value.code == "denied"
    assert desk.done == []


async def test_an_answer_is_taken_back_and_given_otherwise(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.host() as host:
        with pytest.raises(OperationCancelledError):
            await host.call("tool:risky", {"name": "a"})
        (asked,) = await pending(host)
        with pytest.raises(InvalidInputError, match="it is open; answer it"):
            await host.get(Approvals).reopen(asked.id)
        await host.get(Approvals).deny(asked.id)
        with pytest.raises(InvalidInputError, match=f"'llmspell approval reopen {asked.id}' takes that back"):
            await host.get(Approvals).allow(asked.id)
        reopened = await host.get(Approvals).reopen(asked.id, by="Ada")
        await host.get(Approvals).allow(asked.id)
        await host.call("tool:risky", {"name": "a"})
        with pytest.raises(InvalidInputError, match="it was allowed and is used up; make the call again"):
            await host.get(Approvals).reopen(asked.id)

    assert (reopened.status, reopened.by) == ("pending", "Ada")
    assert desk.done == ["a"]


async def test_what_was_allowed_is_taken_back_before_it_is_used(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.host() as host:
        with pytest.raises(OperationCancelledError):
            await host.call("tool:risky", {"name": "a"})
        (asked,) = await pending(host)
        await host.get(Approvals).allow(asked.id)
        await host.get(Approvals).reopen(asked.id)
        with pytest.raises(OperationCancelledError):
            await host.call("tool:risky", {"name": "a"})

    assert desk.done == []


async def test_every_other_guard_judges_what_was_allowed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.host() as host:
        with pytest.raises(OperationCancelledError):
            await host.call("tool:risky", {"name": "a"})
        (asked,) = await pending(host)
        await host.get(Approvals).allow(asked.id)
        strict = host.hooks.register("before_tool_execution", lambda c: Cancel("no"), kind="guard", match="risky")
        with pytest.raises(OperationCancelledError, match="denied by hook code"):
            await host.call("tool:risky", {"name": "a"})
        strict.unregister()

    assert desk.done == []


async def test_of_many_that_ask_at_once_one_is_let_pass(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    refused: list[Exception] = []
    async with desk.host() as host:
        with pytest.raises(OperationCancelledError):
            await host.call("tool:risky", {"name": "a"})
        await host.get(Approvals).allow((await pending(host))[0].id)

        async def try_it() -> None:
            try:
                await host.call("tool:risky", {"name": "a"})
            except OperationCancelledError as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(try_it)

    assert desk.done == ["a"]
    assert len(refused) == 9


def acting(tool: str, name: str) -> dict[str, Any]:
    return {"name": name, "tool": tool, "input": {"name": name}}


async def test_a_durable_run_waits_and_finished_siblings_do_not_run_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    branches = [
        {"name": "x", "stages": [acting("plain", "x1"), acting("risky", "x2"), acting("plain", "x3")]},
        {"name": "y", "stages": [acting("risky", "y1"), acting("plain", "y2")]},
        {"name": "z", "stages": [acting("plain", "z1"), acting("plain", "z2")]},
    ]
    async with desk.host() as host:
        handle = await host.get(Workflows).create({"name": "w", "pattern": "parallel", "branches": branches})
        paused = await handle.run(run_id="r", durable=True)
        asked = {question.path: question for question in await pending(host)}
    async with desk.host() as host:
        await host.get(Approvals).allow(asked["branch.x/x2"].id)
        still = await host.get(Workflows).resume("r")
        between = sorted(desk.done)
        await host.get(Approvals).allow(asked["branch.y/y1"].id)
        output = await host.get(Workflows).resume("r")

    assert paused.status == still.status == "paused"
    assert sorted(asked) == ["branch.x/x2", "branch.y/y1"]
    assert {question.run_id for question in asked.values()} == {"r"}
    assert between == ["x1", "x2", "x3", "z1", "z2"]
    assert output.status == "completed"
    assert sorted(desk.done) == ["x1", "x2", "x3", "y1", "y2", "z1", "z2"]


async def test_a_guard_at_the_stage_and_one_at_its_tool_are_asked_one_after_the_other(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for _ in range(4):
        async with desk.host() as host:
            host.hooks.register("before_workflow_stage", lambda context: ASK, kind="guard", name="ask the stage")
            workflows = host.get(Workflows)
            if await workflows.run_details("r") is None:
                handle = await workflows.create({"name": "w", "stages": [acting("risky", "a")]})
                output = await handle.run(run_id="r", durable=True)
            else:
                output = await workflows.resume("r")
            for question in await pending(host):
                await host.get(Approvals).allow(question.id)
        if output.status == "completed":
            break

    assert output.status == "completed"
    assert desk.done == ["a"]


async def test_a_stage_that_is_denied_fails_its_run(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.host() as host:
        handle = await host.get(Workflows).create({"name": "w", "stages": [acting("plain", "a"), acting("risky", "b")]})
        await handle.run(run_id="r", durable=True)
        await host.get(Approvals).deny((await pending(host))[0].id, note="too much")
        with pytest.raises(OperationCancelledError, match="too much"):
            await host.get(Workflows).resume("r")

    assert desk.done == ["a"]


async def test_a_nested_run_waits_with_the_one_around_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.host() as host:
        workflows = host.get(Workflows)
        await workflows.create({"name": "inner", "stages": [acting("plain", "i1"), acting("risky", "i2")]})
        outer = await workflows.create(
            {"name": "outer", "stages": [{"name": "in", "workflow": "inner"}, acting("plain", "o")]}
        )
        paused = await outer.run(run_id="r", durable=True)
        await host.get(Approvals).allow((await pending(host))[0].id)
        output = await workflows.resume("r")

    assert (paused.status, output.status) == ("paused", "completed")
    assert desk.done == ["i1", "i2", "o"]


@pytest.mark.parametrize("answered", [False, True])
async def test_an_answer_counts_for_a_while_only(tmp_path: Path, answered: bool) -> None:
    desk, while_s = Desk(tmp_path), 0.2
    settings = {"plugins": {"approvals": {"time_s": while_s}}}
    async with opened(make_tool("risky", desk.act), settings=settings) as host:
        host.hooks.register("before_tool_execution", lambda context: ASK, kind="guard", match="risky")
        with pytest.raises(OperationCancelledError):
            await host.call("tool:risky", {"name": "a"})
        (asked,) = await pending(host)
        if answered:
            with suppress(InvalidInputError):  # on a busy machine its time may be over by now
                await host.get(Approvals).allow(asked.id)
        await trio.sleep(while_s + 0.01)
        if not answered:
            with pytest.raises(InvalidInputError, match="its time is over"):
                await host.get(Approvals).allow(asked.id)
        with pytest.raises(OperationCancelledError):
            await host.call("tool:risky", {"name": "a"})

    assert desk.done == []
