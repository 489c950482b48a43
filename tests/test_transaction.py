"""Transactions: a storage as it will be, for those who joined, and what of it a durable workflow commits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs import State, ToolContext
from llmspell_hookspecs.errors import OperationCancelledError, ResourceLimitError, WorkflowError
from llmspell_hookspecs.results import Cancel, Redirect, Retry
from llmspell_hookspecs.runs import Verdict
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.transaction import MAX_TRANSACTION_BYTES, Transaction, joined
from llmspell_hookspecs.workflow import WorkflowOutput
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.storage.memory import Memory
from llmspell_testing.storage_model import STEPS, Reopen, Step, StorageModel, take_step


@hypothesis_settings(max_examples=200, deadline=None)
@given(before=STEPS, within=STEPS)
def test_it_reads_as_it_writes_and_its_commit_leaves_the_same(before: Sequence[Step], within: Sequence[Step]) -> None:
    async def main() -> None:
        model = StorageModel()
        async with Memory() as storage:
            for step in before:
                if not isinstance(step, Reopen):
                    await take_step(storage, model, step)
            model.highest = {key: entry.version for key, entry in model.entries.items()}
            transaction = Transaction(storage)
            for step in within:
                if not isinstance(step, Reopen):
                    await take_step(transaction, model, step)
            batch, expect = transaction.commitment()

            assert await storage.write(batch, expect=expect) is not None
            found = [(key, entry.value) async for key, entry in storage.scan("", limit=10_000)]
            assert found == [(key, entry.value) for key, entry in model.scan("", "", 10_000)]

    trio.run(main)


async def test_only_what_joins_within_is_kept_back() -> None:
    async with Memory() as storage, Memory() as other:
        transaction = Transaction(storage)
        with transaction.around():
            await joined(storage).write({"key": b"within"})
            await joined(other).write({"key": b"elsewhere"})
            read = await joined(storage).get("key")

        assert read is not None
        assert read.value == b"within"
        assert await storage.get("key") is None
        assert await other.get("key") is not None
        assert joined(storage) is storage, "what is called later, in whatever task, writes at once"


async def test_what_it_keeps_back_is_bounded() -> None:
    async with Memory() as storage:
        transaction = Transaction(storage)
        await transaction.write({"key": bytes(MAX_TRANSACTION_BYTES - 10)})

        with pytest.raises(ResourceLimitError, match="it would keep back"):
            await transaction.write({"other": bytes(100)})
        await transaction.write({"key": b"", "other": bytes(100)})

        assert transaction.commitment()[0] == {"key": b"", "other": bytes(100)}


class Ledger:
    """A tool that counts in the state, and what is done to it on the way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = 0
        self.dies = False
        self.fails = 0
        self.scope = trio.CancelScope()
        self.seen: Any = None
        self.meanwhile: Any = None

    async def count(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        self.runs += 1
        state = context.services.get(State)
        value, version = await state.entry("count")
        await state.set("count", (value or 0) + 1, expect=version)
        await context.services.get(State).set("last", parameters.get("name"))
        self.seen = await state.get("count"), await state.keys()
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.dies:
            self.scope.cancel()
            await trio.sleep_forever()
        if self.runs <= self.fails:
            raise ValueError("not yet")
        return {"result": self.seen[0]}

    @asynccontextmanager
    async def host(self) -> AsyncIterator[Host]:
        tool = make_tool("count", self.count, effects="transactional", repeatable=True)
        plain = make_tool("plain", self.plain)
        storage = {"backend": "sqlite", "sqlite": {"path": str(self.folder / "kept.db")}}
        async with opened(tool, plain, settings={"storage": storage}) as host:
            yield host

    async def plain(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        return {"result": "plain"}

    async def run(self, host: Host, **stage: Any) -> WorkflowOutput:
        stages = [{"name": "a", "tool": "count", "input": {"name": "a"}, **stage}]
        handle = await host.get(Workflows).create({"name": "w", "stages": stages})
        return await handle.run(run_id="r", durable=True)


async def counted(host: Host) -> Any:
    return await host.state.get("count")


async def test_a_stage_that_was_cut_off_after_it_wrote_has_written_nothing_and_runs_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.dies = True
    async with ledger.host() as host:
        with ledger.scope:
            await ledger.run(host)
    ledger.dies = False
    async with ledger.host() as host:
        between = await counted(host)
        output = await host.get(Workflows).resume("r", take_over=True)

        assert (between, ledger.seen) == (None, (1, ["count", "last"]))
        assert (output.status, await counted(host), ledger.runs) == ("completed", 1, 2)


async def test_the_record_and_what_was_written_are_one_batch(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    batches: list[set[str]] = []
    async with ledger.host() as host:
        storage = await host.get(Storages).open()
        write = storage.write

        async def noted(batch: Any, /, *, expect: Any = None) -> Any:
            batches.append(set(batch))
            return await write(batch, expect=expect)

        storage.write = noted  # type: ignore[method-assign]
        await ledger.run(host)

    stage = next(batch for batch in batches if "workflow/r/stage/a" in batch)
    assert {"state:global\ncount", "state:global\nlast"} <= stage
    assert sum(any(key.startswith("state:") for key in batch) for batch in batches) == 1


async def test_an_attempt_that_failed_leaves_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.fails = 2
    async with ledger.host() as host:
        output = await ledger.run(host, retry={"attempts": 3, "delay_s": 0})

        assert (output.status, ledger.runs, await counted(host)) == ("completed", 3, 1)


async def test_what_a_guard_withholds_leaves_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    async with ledger.host() as host:
        host.hooks.register("AfterWorkflowStage", lambda context: Cancel("no"), kind="guard")
        with pytest.raises(OperationCancelledError, match="no"):
            await ledger.run(host)

        assert (ledger.runs, await counted(host)) == (1, None)


@pytest.mark.parametrize("point", ["AfterWorkflowStage", "AfterToolExecution"])
async def test_a_retry_writes_once(tmp_path: Path, point: str) -> None:
    ledger = Ledger(tmp_path)

    def again(context: Any) -> Any:
        return Retry(0, max_attempts=2) if ledger.runs == 1 else None

    async with ledger.host() as host:
        host.hooks.register(point, again)
        output = await ledger.run(host, repeatable=True)

        assert (output.status, ledger.runs) == ("completed", 2)
        assert await counted(host) == (1 if point == "AfterWorkflowStage" else 2), (
            "a tool's own attempts are one stage's"
        )


async def test_what_runs_instead_commits_its_own(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    async with ledger.host() as host:
        host.hooks.register("BeforeToolExecution", lambda context: Redirect("tool:plain"), match="count")
        output = await ledger.run(host)

        assert (output.status, output.output, await counted(host)) == ("completed", {"result": "plain"}, None)


async def test_a_write_that_somebody_overtook_fails_its_stage_and_writes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    async with ledger.host() as host, ledger.host() as other:
        ledger.meanwhile = lambda: other.state.set("count", 10)
        with pytest.raises(WorkflowError, match="stage a: somebody else wrote meanwhile"):
            await ledger.run(host)
        ledger.meanwhile = None
        resumed = await host.get(Workflows).resume("r")

        assert (resumed.status, await counted(host), await host.state.get("last")) == ("completed", 11, "a")


async def test_a_run_that_was_taken_over_commits_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    async with ledger.host() as host, ledger.host() as other:

        async def take_over() -> None:
            ledger.meanwhile = None
            await other.get(Workflows).resume("r", take_over=True)

        ledger.meanwhile = take_over
        with pytest.raises(WorkflowError, match="somebody else has taken it over"):
            await ledger.run(host)

        assert (ledger.runs, await counted(other)) == (2, 1)


async def test_a_stage_that_may_not_run_twice_is_asked_about_all_the_same(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.dies = True
    async with ledger.host() as host:
        with ledger.scope:
            await ledger.run(host, repeatable=False)
    ledger.dies = False
    async with ledger.host() as host:
        paused = await host.get(Workflows).resume("r", take_over=True)
        output = await host.get(Workflows).resume("r", verdicts={"a": Verdict("again")})

        assert (paused.status, output.status, ledger.runs) == ("paused", "completed", 2)


async def test_a_workflow_that_is_not_durable_writes_at_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.fails = 1
    async with ledger.host() as host:
        handle = await host.get(Workflows).create({"name": "w", "stages": [{"name": "a", "tool": "count"}]})
        with pytest.raises(WorkflowError, match="not yet"):
            await handle.run()

        assert await counted(host) == 1


async def test_the_state_of_the_box_is_written_with_its_record(tmp_path: Path) -> None:
    async with Ledger(tmp_path).host() as host:
        given = {"operation": "set", "key": "seen", "value": [1]}
        stages = [{"name": "s", "tool": "tool-state", "input": given}]
        handle = await host.get(Workflows).create({"name": "w", "stages": stages})
        output = await handle.run(run_id="r", durable=True)

        assert output.output == {"tool_id": "shared", "key": "seen", "version": 1}
        assert await host.state.entry("seen", scope="tool:shared") == ([1], 1)
