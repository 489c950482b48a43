"""What is read of durable runs: one of them whole, which there are, and how one is taken up by another owner.

Invariant: whoever takes a run up has written its head, so whoever had it before writes nothing more (see `records`).
"""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct, structs

from llmspell_hookspecs.errors import InvalidInputError, StorageError, WorkflowError
from llmspell_hookspecs.runs import StageInfo
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.storage import Storage
from llmspell_plugins.services.state_value import decode

from .records import DELETED, ENDED, FORMAT, PATIENCE_S, Head, Records

__all__ = ["Loaded", "check_id", "claim", "delete", "head_to_forget", "load", "open_runs", "read_head"]


ODD: Final = "odd"
"""The code of the error of a run that cannot be read."""
_LONGEST_LEASE_S: Final = 3600.0
_ID: Final = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_-]{1,64}")
"""What the setting lease_s may be; who is said to have a run for longer had another clock."""


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


class _Definition(Struct):
    """What a run runs, as it is kept."""

    definition: dict[str, Any]
    input: Any
    hash: str


class _Choice(Struct):
    """What was decided, as it is kept."""

    name: str
    value: Any


class _Shared(Struct):
    """What stages share, as it is kept; its value, if it has one, is left where it is."""

    key: str


class _Result(Struct):
    """What a run yielded, as it is kept."""

    output: Any = None
    details: dict[str, Any] = {}


async def read_head(storage: Storage, run_id: str) -> tuple[Head, int] | None:
    """Return what a run is, and the version of that."""
    entry = await storage.get(f"workflow/{run_id}/head")
    if entry is None:
        return None
    return _head(run_id, entry.value), entry.version


def _head(run_id: str, encoded: bytes) -> Head:
    """Return a run's head.

    Raises:
        StorageError: It is none of ours (its code is `ODD`), or one of a later version.
    """
    where = f"workflow run {run_id}"
    try:
        value = decode(where, encoded)
        format = value.get("format", FORMAT) if isinstance(value, dict) else FORMAT
        if type(format) is int and format > FORMAT:
            told = f"{where}: a later version keeps it (format {format}, and this one knows {FORMAT})"
            raise StorageError(f"{told}; use that version for it", code="later")
        return msgspec.convert(value, Head)
    except msgspec.ValidationError as error:
        raise _odd(run_id, "its head") from error
    except StorageError as error:
        if error.code == "later":
            raise
        raise _odd(run_id, "its head") from error


def _odd(run_id: str, what: str) -> StorageError:
    told = f"workflow run {run_id}: what is kept of it is none of ours ({what:.120})"
    return StorageError(f"{told}; restore the storage, or forget it: llmspell workflow delete {run_id}", code=ODD)


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
            raise WorkflowError(f"workflow run {run_id}: {_belongs(left, lease_s)}")
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


def _belongs(left_s: float, lease_s: float) -> str:
    """Return what is said of a run that belongs to somebody for so long."""
    if left_s > _LONGEST_LEASE_S:
        return "whoever ran it last had a clock that is ahead of this one; if nobody runs it, take it over"
    ago = f" {lease_s - left_s:.0f} s ago" if left_s <= lease_s else ", with a longer lease"
    return f"somebody runs it, or did{ago}; wait {left_s:.0f} s to see, or take it over"


async def load(storage: Storage, run_id: str) -> Loaded:
    """Read all that is kept of a run."""
    prefix = f"workflow/{run_id}/"
    loaded = Loaded({}, None, "", {}, {}, {}, {})
    where = f"workflow run {run_id}"
    async for key, entry in storage.scan(prefix, limit=sys.maxsize):
        what = key.removeprefix(prefix)
        try:
            _take(loaded, what.partition("/")[0], decode(where, entry.value))
        except (msgspec.ValidationError, StorageError) as error:
            raise _odd(run_id, what) from error
    return loaded


def _take(loaded: Loaded, what: str, value: Any) -> None:
    """Take one entry of a run.

    Raises:
        msgspec.ValidationError: It is none of ours.
    """
    if what == "definition":
        kept = msgspec.convert(value, _Definition)
        loaded.definition, loaded.input, loaded.print_ = kept.definition, kept.input, kept.hash
    elif what == "stage":
        info = msgspec.convert(value, StageInfo)
        loaded.stages[info.path] = info
    elif what == "choice":
        choice = msgspec.convert(value, _Choice)
        loaded.choices[choice.name] = choice.value
    elif what == "shared":
        loaded.shared[msgspec.convert(value, _Shared).key] = value
    elif what == "result":
        msgspec.convert(value, _Result)
        loaded.result = value


async def open_runs(
    storage: Storage, unfinished: bool, told: Callable[[Exception], None]
) -> AsyncIterator[tuple[str, Head]]:
    """Yield every run, in order of ids.

    Args:
        storage: Where they are kept.
        unfinished: Whether only those that have not ended for good.
        told: Called with the error of each that cannot be read; the others are.
    """
    if unfinished:
        ids = [key.partition("/")[2] async for key, _ in storage.scan("workflow-open/", limit=sys.maxsize)]
        for run_id in ids:
            found = await _readable(storage, run_id, told)
            if found is not None:
                yield run_id, found
        return
    after = ""
    while True:  # from one head to the next, past the stages between them
        found_id = ""
        async for key, _ in storage.scan("workflow/", after=after, limit=1):
            found_id = key.split("/")[1]
        if not found_id:
            return
        head = await _readable(storage, found_id, told)
        if head is not None:
            yield found_id, head
        after = f"workflow/{found_id}0"  # "0" follows "/"


async def _readable(storage: Storage, run_id: str, told: Callable[[Exception], None]) -> Head | None:
    try:
        found = await read_head(storage, run_id)
    except StorageError as error:
        if error.code not in (ODD, "later"):
            raise
        told(error)
        return None
    return None if found is None else found[0]


async def head_to_forget(storage: Storage, run_id: str) -> tuple[Head, int] | None:
    """Return what a run is, and the version of that; an odd one is nobody's."""
    try:
        return await read_head(storage, run_id)
    except StorageError as error:
        if error.code != ODD:
            raise
        entry = await storage.get(f"workflow/{run_id}/head")
        return None if entry is None else (Head(""), entry.version)


def check_id(run_id: Any) -> None:
    """Refuse an id that cannot stand in a key.

    Raises:
        InvalidInputError: It is no text, empty, too long, or has a slash in it.
    """
    if not isinstance(run_id, str) or _ID.fullmatch(run_id) is None:
        message = f"workflow run {told(run_id, 80)}: it is no id; write up to 64 letters, digits, - and _"
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
