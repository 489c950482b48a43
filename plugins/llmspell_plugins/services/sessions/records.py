"""What is kept of a session: entries of a storage.

::

    session/ID/head               what it is now: status, owner, fence, lease
    session/ID/checkpoint/NUMBER  which values a checkpoint holds, by what they hold
    session/ID/value/HASH         such a value
    session-by/CREATED/ID         there as long as it is

Invariant: every change of a session expects the head as it was read, so of two hosts one comes later and looks again.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct

from llmspell_hookspecs.errors import ComponentNotFoundError, InvalidInputError, StorageError
from llmspell_hookspecs.sessions import SessionDraft, SessionInfo
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.storage import Storage
from llmspell_plugins.services.state_value import encode

__all__ = [
    "DELETED",
    "ENDED",
    "Head",
    "begin",
    "change",
    "check_id",
    "forget",
    "head_of",
    "index_of",
    "missing",
    "place_of",
    "read_head",
    "read_ids",
]

DELETED: Final = "deleted"
"""What a session is while it is being deleted; if that was cut off, it is deleted again."""
ENDED: Final = frozenset({"completed", "failed", "archived", DELETED})
FORMAT: Final = 1
"""Of what is kept; what a later version keeps is left as it is."""
PATIENCE_S: Final = 0.002
"""Longer than a storage may miss what another process wrote."""
_NAME: Final = 255
_TEXT: Final = 10_000
_TAGS: Final = 64
_CUSTOM_BYTES: Final = 65_536


class Head(Struct, frozen=True, omit_defaults=True):
    """What a session is now.

    Attributes:
        name: As in `SessionInfo`; likewise the rest that is not named here.
        max_duration_s: As in `SessionDraft`.
        max_operations: As in `SessionDraft`.
        owner: Which host holds it; empty for none.
        lease_s: Until when that is taken for alive, in seconds since the epoch.
        format: Of what is kept.
    """

    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    status: str = "active"
    created_by: str = ""
    parent: str = ""
    custom: dict[str, Any] = {}
    created_s: float = 0.0
    updated_s: float = 0.0
    started_s: float = 0.0
    ended_s: float = 0.0
    operations: int = 0
    checkpoints: int = 0
    fence: int = 0
    error: str = ""
    max_duration_s: float | None = None
    max_operations: int | None = None
    owner: str = ""
    lease_s: float = 0.0
    format: int = FORMAT

    def info(self, id: str, now_s: float) -> SessionInfo:
        """Return it as others are told of it."""
        status: Any = self.status
        return SessionInfo(
            id,
            status,
            self.name,
            self.description,
            self.tags,
            self.created_by,
            self.parent,
            self.custom,
            self.created_s,
            self.updated_s,
            self.started_s,
            self.ended_s,
            self.operations,
            self.checkpoints,
            bool(self.owner) and self.lease_s > now_s,
            self.fence,
            self.error,
        )


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Head).decode


def head_of(draft: SessionDraft, now_s: float) -> Head:
    """Return the head of a session that begins now.

    Raises:
        InvalidInputError: A field of the draft is wrong.
    """
    for field, most in (("name", _NAME), ("description", _TEXT), ("created_by", _NAME), ("parent", 64)):
        text = getattr(draft, field)
        if not isinstance(text, str) or len(text) > most:
            raise _wrong(field, text, f"give a text of at most {most} characters")
    tags = tuple(draft.tags) if isinstance(draft.tags, tuple | list) else None
    if tags is None or len(tags) > _TAGS or not all(isinstance(tag, str) and 0 < len(tag) <= 64 for tag in tags):
        raise _wrong("tags", draft.tags, f"give at most {_TAGS} texts, each of 1 to 64 characters")
    for field in ("max_duration_s", "max_operations"):
        limit = getattr(draft, field)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0):
            raise _wrong(field, limit, "give a number above 0")
    if not isinstance(draft.custom, Mapping):
        raise _wrong("custom", draft.custom, "give a table")
    custom = msgspec.msgpack.decode(encode("session custom", draft.custom, _CUSTOM_BYTES)) if draft.custom else {}
    seconds, operations = draft.max_duration_s, draft.max_operations
    return Head(
        draft.name,
        draft.description,
        tags,
        created_by=draft.created_by,
        parent=draft.parent,
        custom=custom,
        created_s=now_s,
        updated_s=now_s,
        started_s=now_s,
        max_duration_s=None if seconds is None or math.isinf(seconds) else float(seconds),
        max_operations=None if operations is None or math.isinf(operations) else int(operations),
    )


def _wrong(field: str, value: Any, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"session {field}: {told(value)} does not do; {remedy}", field=field)


def check_id(id: str) -> str:
    """Return an id as it may stand in a key.

    Raises:
        InvalidInputError: It is empty, too long, or has something else in it than letters, digits, - and _.
    """
    plain = isinstance(id, str) and 0 < len(id) <= 64 and id.isascii()
    if plain and id.replace("-", "").replace("_", "").isalnum():
        return id
    raise InvalidInputError(f"session {told(id)}: it is no id; 'llmspell session list' shows them", field="id")


def missing(id: str) -> ComponentNotFoundError:
    """Return the error of a session that there is not."""
    message = f"session {id}: there is none; 'llmspell session list' names those that there are"
    return ComponentNotFoundError(message, address=f"session:{id}")


def place_of(id: str, what: str = "head") -> str:
    """Return a key of a session's."""
    return f"session/{id}/{what}"


def index_of(id: str, head: Head) -> str:
    """Return the key under which it is listed."""
    return f"session-by/{int(head.created_s * 1e6):017d}/{id}"


def begin(id: str, head: Head) -> dict[str, bytes | None]:
    """Return what is written of a session that begins."""
    return {place_of(id): _encode(head), index_of(id, head): b""}


async def read_head(storage: Storage, id: str) -> tuple[Head, int]:
    """Return what a session is, and the version of that.

    Raises:
        ComponentNotFoundError: There is none.
        StorageError: It is none of ours, or a later version keeps it.
    """
    entry = await storage.get(place_of(check_id(id)))
    if entry is None:
        raise missing(id)
    try:
        head = _decode(entry.value)
        if head.format <= FORMAT and not head.created_s:  # what has no field of ours is read as one without any
            raise msgspec.DecodeError
    except (msgspec.DecodeError, RecursionError) as error:
        told_ = f"session {id}: what is kept of it is none of ours"
        raise StorageError(f"{told_}; restore the storage, or delete it: llmspell session delete {id}") from error
    if head.format > FORMAT:
        later = f"session {id}: a later version keeps it (format {head.format}, and this one knows {FORMAT})"
        raise StorageError(f"{later}; use that version for it", code="later")
    if head.status == DELETED:
        raise missing(id)
    return head, entry.version


async def change(storage: Storage, id: str, step: Callable[[Head], Head]) -> Head:
    """Let a session become what a function makes of it, and return that; the function may be called again.

    Raises:
        ComponentNotFoundError: There is none.
    """
    while True:
        head, version = await read_head(storage, id)
        changed = step(head)
        if changed is head:
            return head
        place = place_of(id)
        with trio.CancelScope(shield=True):
            written = await storage.write({place: _encode(changed)}, expect={place: version})
        if written is not None:
            return changed
        await trio.sleep(PATIENCE_S)


async def write_with(
    storage: Storage,
    id: str,
    head: Head,
    version: int,
    batch: Mapping[str, bytes | None],
    expect: Mapping[str, int],
) -> bool:
    """Write a head together with something else; False if the head or something expected was changed."""
    place = place_of(id)
    whole = {**batch, place: _encode(head)}
    with trio.CancelScope(shield=True):
        written = await storage.write(whole, expect={**expect, place: version})
    return written is not None


async def read_ids(storage: Storage, since_s: float | None, until_s: float | None) -> list[str]:
    """Return the ids of sessions in the order in which they were made, from a time on, up to a time."""
    after = "" if since_s is None else f"session-by/{max(int(since_s * 1e6) - 1, 0):017d}/~"
    last = "~" if until_s is None else f"{max(int(until_s * 1e6), 0):017d}"
    ids: list[str] = []
    async for key, _ in storage.scan("session-by/", after=after, limit=sys.maxsize):
        _, created, id = key.split("/", 2)
        if created > last:
            break
        ids.append(id)
    return ids


async def forget(storage: Storage, id: str, prefixes: tuple[str, ...]) -> None:
    """Take out all that is kept of a session whose head says that it is deleted, and what belongs to it."""
    entry = await storage.get(place_of(id))
    for prefix in (*prefixes, place_of(id, "")):
        keys = [key async for key, _ in storage.scan(prefix, limit=sys.maxsize)]
        places = [key for key in keys if key != place_of(id)]
        for start in range(0, len(places), 500):
            await storage.write(dict.fromkeys(places[start : start + 500]))
    last: dict[str, bytes | None] = {place_of(id): None}
    if entry is not None:
        try:
            last[index_of(id, _decode(entry.value))] = None
        except msgspec.DecodeError:
            last.update(
                {key: None async for key, _ in storage.scan("session-by/", limit=sys.maxsize) if key.endswith(id)}
            )
    await storage.write(last)
