"""What is read of durable runs: one of them whole, which there are, and how one is taken up by another owner.

Invariant: whoever takes a run up has written its head, so whoever had it before writes nothing more (see `records`).
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import trio
from msgspec import Struct, structs

from llmspell_hookspecs.errors import InvalidInputError, WorkflowError
from llmspell_hookspecs.runs import StageInfo
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.storage import Storage
from llmspell_plugins.services.state_value import decode

from .records import DELETED, ENDED, PATIENCE_S, Head, Records

__all__ = ["Loaded", "check_id", "claim", "delete", "load", "open_runs", "read_head"]


class Loaded(Struct):
    """What is kept of a run, as it was read.

    Attributes:
        definition: What it runs, as plain data.
        input: What it was given.
        print_: The definition's hash.
        stages: What became of its stages, by path.
        choices: What was decided.
        shared: What its stages share; what is gone is missing a value.
        result: What it yielded, and what its pattern counted.
    """

    definition: dict[str, Any]
    input: Any
    print_: str
    stages: dict[str, StageInfo]
    choices: dict[str, Any]
    shared: dict[str, dict[str, Any]]
    result: dict[str, Any]


async def read_head(storage: Storage, run_id: str) -> tuple[Head, int] | None:
    """Return what a run is, and the version of that."""
    entry = await storage.get(f"workflow/{run_id}/head")
    if entry is None:
        return None
    return _head(run_id, entry.value), entry.version


def _head(run_id: str, encoded: bytes) -> Head:
    return msgspec.convert(decode(f"workflow run {run_id}", encoded), Head)


async def claim(
    storage: Storage, run_id: str, clock: Clock, lease_s: float, *, take_over: bool, status: str = ""
) -> Records | None:
    """Take a run up, so that nobody else writes it any more; None if there is none or it has ended for good.

    Raises:
        WorkflowError: Somebody runs it.
    """
    while True:
        found = await read_head(storage, run_id)
        if found is None or found[0].status in ENDED:
            return None
        head, version = found
        now_s = clock.now_s()
        if head.lease_s > now_s and not take_over:
            left = head.lease_s - now_s
            told = f"workflow run {run_id}: somebody runs it, or did {lease_s - left:.0f} s ago"
            raise WorkflowError(f"{told}; wait {left:.0f} s to see, or take it over")
        becomes = status or ("compensating" if head.status == "compensating" else "running")
        changes = {"status": becomes, "owner": secrets.token_hex(8), "fence": head.fence + 1, "waiting": ()}
        lease = 0.0 if status else now_s + lease_s
        head = structs.replace(head, error="" if not status else head.error, lease_s=lease, **changes)
        place = f"workflow/{run_id}/head"
        with trio.CancelScope(shield=True):
            versions = await storage.write({place: msgspec.msgpack.encode(head)}, expect={place: version})
        if versions is not None:
            return Records(storage, run_id, head, versions[place], clock, lease_s)
        await trio.sleep(PATIENCE_S)


async def load(storage: Storage, run_id: str) -> Loaded:
    """Read all that is kept of a run."""
    prefix = f"workflow/{run_id}/"
    loaded = Loaded({}, None, "", {}, {}, {}, {})
    where = f"workflow run {run_id}"
    async for key, entry in storage.scan(prefix, limit=sys.maxsize):
        what = key.removeprefix(prefix).partition("/")[0]
        value = decode(where, entry.value)
        if what == "definition":
            loaded.definition, loaded.input, loaded.print_ = value["definition"], value["input"], value["hash"]
        elif what == "stage":
            loaded.stages[value["path"]] = msgspec.convert(value, StageInfo)
        elif what == "choice":
            loaded.choices[value["name"]] = value["value"]
        elif what == "shared":
            loaded.shared[value["key"]] = value
        elif what == "result":
            loaded.result = value
    return loaded


async def open_runs(storage: Storage, unfinished: bool) -> AsyncIterator[tuple[str, Head]]:
    """Yield every run, in order of ids; only those that have not ended for good, if that is asked."""
    if unfinished:
        ids = [key.partition("/")[2] async for key, _ in storage.scan("workflow-open/", limit=sys.maxsize)]
        for run_id in ids:
            found = await read_head(storage, run_id)
            if found is not None:
                yield run_id, found[0]
        return
    after = ""
    while True:  # from one head to the next, past the stages between them
        found_id = ""
        async for key, _ in storage.scan("workflow/", after=after, limit=1):
            found_id = key.split("/")[1]
        if not found_id:
            return
        head = await read_head(storage, found_id)
        if head is not None:
            yield found_id, head[0]
        after = f"workflow/{found_id}0"  # "0" follows "/"


def check_id(run_id: str) -> None:
    """Refuse an id that cannot stand in a key.

    Raises:
        InvalidInputError: It is empty, too long, or has a slash in it.
    """
    if not 0 < len(run_id) <= 64 or not run_id.isascii() or not run_id.replace("-", "").replace("_", "").isalnum():
        message = f"workflow run {run_id!r:.80}: it is no id; write up to 64 letters, digits, - and _"
        raise InvalidInputError(message, field="run_id")


async def delete(storage: Storage, run_id: str, head: Head, version: int) -> bool:
    """Forget what is kept of a run; False if somebody has taken it up since it was read.

    Args:
        storage: Where it is kept.
        run_id: Its id.
        head: What it is.
        version: Of the head, as it was read.
    """
    prefix = f"workflow/{run_id}/"
    gone = msgspec.msgpack.encode(structs.replace(head, status=DELETED, fence=head.fence + 1, lease_s=0.0))
    with trio.CancelScope(shield=True):  # from here on nobody takes it up, and whoever has it writes nothing more
        if await storage.write({f"{prefix}head": gone}, expect={f"{prefix}head": version}) is None:
            return False
    keys = [key async for key, _ in storage.scan(prefix, limit=sys.maxsize)]
    places = [f"workflow-open/{run_id}", *(key for key in keys if not key.endswith("/head"))]
    for start in range(0, len(places), 1000):
        await storage.write(dict.fromkeys(places[start : start + 1000]))
    await storage.write({f"{prefix}head": None})
    return True
