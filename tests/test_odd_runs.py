"""Durable runs of which something odd is kept, or something that a later version keeps: told in one line each."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs.errors import InvalidInputError, LlmspellError, StorageError, WorkflowError
from llmspell_hookspecs.fit import plain
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.storage.memory import Memory

MEMORY = {"storage": {"backend": "memory"}}
encode = msgspec.msgpack.encode
ODD = {
    "garbage": b"\xc1\xff\x00",
    "empty": b"",
    "number": encode(5),
    "list": encode([1]),
    "table": encode({"a": 1}),
    "nil": encode(None),
    "odd fields": encode({"name": 5, "status": 7, "path": 3, "hash": 2, "definition": 3, "key": {}, "details": 3}),
    "odd format": encode({"name": "w", "format": "x"}),
}
PLACES = ("head", "definition", "stage/a", "choice/x", "shared/k", "result")


async def share(context: Any) -> int:
    context.shared["k"] = 1
    return 1


async def fail(parameters: dict[str, Any], context: Any) -> Any:
    raise LlmspellError("not today")


async def leave(host: Host, *runs: str) -> None:
    """Leave runs that failed, and nothing of the workflow."""
    stages = [{"name": "a", "function": share, "repeatable": True}, {"name": "b", "tool": "fails"}]
    handle = await host.get(Workflows).create({"name": "w", "stages": stages})
    for run in runs:
        with pytest.raises(WorkflowError):
            await handle.run(durable=True, run_id=run)


async def kept(storage: Memory, run: str) -> dict[str, bytes]:
    return {key: entry.value async for key, entry in storage.scan(f"workflow/{run}/", limit=100)}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("odd", ODD)
async def test_a_run_with_an_odd_row_is_named_hides_no_other_and_can_be_forgotten(place: str, odd: str) -> None:
    storage, told = Memory(), list[str]()
    async with opened(storage, make_tool("fails", fail), settings=MEMORY) as host:
        workflows = host.get(Workflows)
        await leave(host, "odd-one", "sound")
        await storage.write({f"workflow/odd-one/{place}": ODD[odd]})

        listed = [await workflows.runs(), await workflows.runs(unfinished=True)]
        for act in (workflows.run_details, workflows.resume, workflows.cancel_run):
            try:
                await act("odd-one")
            except LlmspellError as error:
                told.append(str(error))
        with pytest.raises(WorkflowError, match="not today"):
            await workflows.resume("sound")
        deleted = await workflows.delete_run("odd-one")
        left = await kept(storage, "odd-one")

    assert all("sound" in [run.run_id for run in runs] for runs in listed)
    assert all("workflow run odd-one" in text or "not today" in text for text in told)
    assert "\n" not in "".join(told)
    if place in ("head", "definition", "stage/a") and odd != "odd format":
        assert all("llmspell workflow delete odd-one" in text for text in told[:2])
    assert (deleted, left) == (True, {})


async def test_an_odd_head_keeps_no_run_from_beginning() -> None:
    async with opened(make_tool("fails", fail), settings=MEMORY) as host:
        storage = await host.get(Storages).open()
        await storage.write({"workflow/odd-one/head": ODD["table"], "workflow-open/odd-one": b""})

        await leave(host, "new")
        found = await host.get(Workflows).run_details("new")

    assert found is not None
    assert found.info.status == "failed"


async def test_a_run_that_a_later_version_keeps_is_refused_and_left_as_it_is() -> None:
    storage = Memory()
    async with opened(storage, make_tool("fails", fail), settings=MEMORY) as host:
        workflows = host.get(Workflows)
        await leave(host, "later", "sound")
        head = msgspec.msgpack.decode((await kept(storage, "later"))["workflow/later/head"])
        await storage.write({"workflow/later/head": encode({**head, "format": 9, "fence": "of another type"})})
        before = await kept(storage, "later")

        for act in (workflows.run_details, workflows.resume, workflows.cancel_run, workflows.delete_run):
            with pytest.raises(StorageError, match=r"workflow run later: a later version keeps it \(format 9"):
                await act("later")
        listed = [run.run_id for run in await workflows.runs()]
        after = await kept(storage, "later")

    assert listed == ["sound"]
    assert after == before


@pytest.mark.parametrize(
    ("ahead_s", "text"),
    [(29.9, r"or did \d+ s ago; wait"), (900.0, "with a longer lease; wait"), (86_400.0, "a clock that is ahead")],
)
async def test_whose_run_it_is_is_told_sensibly_also_by_a_clock_that_was_ahead(ahead_s: float, text: str) -> None:
    storage = Memory()
    async with opened(storage, make_tool("fails", fail), settings=MEMORY) as host:
        now_s = host.get(Clock).now_s()
        await leave(host, "r")
        head = msgspec.msgpack.decode((await kept(storage, "r"))["workflow/r/head"])
        await storage.write({"workflow/r/head": encode({**head, "status": "running", "lease_s": now_s + ahead_s})})

        with pytest.raises(WorkflowError, match=text) as refused:
            await host.get(Workflows).resume("r")
        with pytest.raises(WorkflowError, match="not today"):
            await host.get(Workflows).resume("r", take_over=True)

    assert " -" not in str(refused.value)


class Shy:
    """Its own text fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no text of it")


async def test_what_has_no_text_of_its_own_is_refused_in_one_line_by_a_durable_run() -> None:
    async with opened(settings=MEMORY) as host:
        stages = [{"name": "a", "function": lambda context: 1, "input": {"shy": Shy()}}]
        handle = await host.get(Workflows).create({"name": "w", "stages": stages})
        output = await handle.run()
        with pytest.raises(InvalidInputError, match="its value cannot be kept: it has a Shy"):
            await handle.run(durable=True)

    assert output.status == "completed"


def test_plain_data_of_what_has_no_text_of_its_own_names_its_type() -> None:
    found = plain({"a": Shy(), Shy(): 1})

    assert "Shy" in found.pop("a")
    assert "Shy" in next(iter(found))
