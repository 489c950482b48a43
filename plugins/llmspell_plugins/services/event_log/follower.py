"""Followers of the log: who reads it in its order under a name, and goes on where it was, also after a kill.

A position is one entry of the log's storage, written when something is acknowledged, by compare-and-set: it names who
opened the follower last, so that whoever followed before is told that it was taken over and moves nothing any more.

Invariant: what is given out is durable, in the order of its numbers, and stands behind the position; a position never
goes back. Durations and times in seconds.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, Self

import msgspec
import trio
from msgspec import Struct, structs

from llmspell_hookspecs import Event, InvalidInputError, Storage
from llmspell_hookspecs.errors import ResourceLimitError, StorageError
from llmspell_hookspecs.event_log import EventSelection, FollowerInfo, RecordedEvent
from llmspell_plugins.services.hash_chain import ChainEntry

from .selection import Chosen

__all__ = ["Follower", "Positions", "ReadPage"]

_PREFIX: Final = "event-follower/"
_NAME_BYTES: Final = 400
_MOST: Final = 1000
_TRIES: Final = 100
_LOOK_S: Final = 0.5
"""So often is looked for what other processes record."""
_PASSED: Final = 1000
"""So many entries that it does not follow are passed over before the position moves on without an acknowledgement."""

ReadPage = Callable[[int], Awaitable[tuple[int, list[ChainEntry]]]]
"""Takes a number; returns the one behind which the log begins, and the next entries behind both."""


class _Position(Struct, frozen=True):
    """What is kept of a follower; see `FollowerInfo`."""

    owner: str
    patterns: tuple[str, ...]
    acknowledged: int
    missed: int = 0
    since_s: float = 0.0
    acknowledged_s: float = 0.0


class Positions:
    """The positions of all followers, in the log's storage.

    Args:
        storage: Keeps them.
        now_s: Tells the time.
    """

    def __init__(self, storage: Storage, now_s: Callable[[], float]) -> None:
        self._storage = storage
        self._now_s = now_s

    async def open(self, name: str, patterns: tuple[str, ...], begin: Callable[[], Awaitable[int]]) -> _Position:
        """Take a follower over, or begin a new one behind the number that ``begin`` returns."""
        check_name(name)
        owner, start = secrets.token_hex(8), None
        for _ in range(_TRIES):
            version, found = await self._read(name)
            if found is None:
                if len(await self._all()) >= _MOST:
                    message = f"event log: there are {_MOST} followers, which is the most; forget some"
                    raise ResourceLimitError(message, resource="followers", limit=_MOST)
                start = await begin() if start is None else start
                found = _Position(owner, patterns, start, since_s=self._now_s())
            found = structs.replace(found, owner=owner, patterns=patterns)
            if await self._write(name, found, version):
                return found
        raise StorageError(f"event log: follower {name!r:.60}: others open it all the time; try again")

    async def check(self, name: str, owner: str) -> None:
        """Raise unless this owner has it still."""
        await self._owned(name, owner)

    async def move(self, name: str, owner: str, number: int, missed: int) -> None:
        """Have everything up to a number acknowledged."""
        for _ in range(_TRIES):
            version, found = await self._owned(name, owner)
            acknowledged = max(found.acknowledged, number)
            moved = structs.replace(found, acknowledged=acknowledged, missed=missed, acknowledged_s=self._now_s())
            if await self._write(name, moved, version):
                return
        raise StorageError(f"event log: follower {name!r:.60}: others write to it all the time; try again")

    async def infos(self, base: int, last: int) -> list[FollowerInfo]:
        """Return how far each is of a log that has the entries behind one number and up to another."""
        return [
            FollowerInfo(
                name,
                each.patterns,
                each.acknowledged,
                max(0, last - max(each.acknowledged, base)),
                each.missed + max(0, base - each.acknowledged),
                each.since_s,
                each.acknowledged_s,
            )
            for name, each in await self._all()
        ]

    async def forget(self, name: str) -> bool:
        """Remove a follower; return whether there was one."""
        check_name(name)
        found = await self._storage.get(_PREFIX + name)
        await self._storage.write({_PREFIX + name: None})
        return found is not None

    async def _all(self) -> list[tuple[str, _Position]]:
        found = []
        async for key, entry in self._storage.scan(_PREFIX, limit=_MOST):
            name = key.removeprefix(_PREFIX)
            found.append((name, _decode(name, entry.value)))
        return found

    async def _owned(self, name: str, owner: str) -> tuple[int, _Position]:
        version, found = await self._read(name)
        if found is None:
            raise StorageError(f"event log: follower {name!r:.60}: it was forgotten; open it anew", code="forgotten")
        if found.owner != owner:
            message = f"event log: follower {name!r:.60}: another goes on under its name; give each its own"
            raise StorageError(message, code="taken_over")
        return version, found

    async def _read(self, name: str) -> tuple[int, _Position | None]:
        entry = await self._storage.get(_PREFIX + name)
        return (0, None) if entry is None else (entry.version, _decode(name, entry.value))

    async def _write(self, name: str, position: _Position, version: int) -> bool:
        key = _PREFIX + name
        return await self._storage.write({key: msgspec.json.encode(position)}, expect={key: version}) is not None


class Follower:
    """Implements the contract's `EventFollower`.

    Args:
        name: Its own.
        position: Where it stands.
        positions: Keeps that.
        read: Reads the log.
        progress: Returns an event that is set when this host has recorded more.
        accepts: Says which events are wanted of those that match; None for all.
    """

    def __init__(
        self,
        name: str,
        position: _Position,
        positions: Positions,
        read: ReadPage,
        progress: Callable[[], trio.Event],
        accepts: Callable[[Event], bool] | None,
    ) -> None:
        self.name = name
        self.acknowledged = self._read_to = self._given = position.acknowledged
        self.missed = position.missed
        self._owner = position.owner
        self._positions = positions
        self._read = read
        self._progress = progress
        self._accepts = accepts
        self._chosen = Chosen(EventSelection(patterns=position.patterns))
        self._waiting: deque[RecordedEvent] = deque()
        self._turn = trio.Lock()

    @property
    def pending(self) -> int:
        """How many were read and not given out yet."""
        return len(self._waiting)

    async def receive(self, timeout_s: float | None = None, /) -> RecordedEvent | None:
        """Return the next event; see the contract's `EventFollower`."""
        end_s = trio.current_time() + (inf if timeout_s is None else timeout_s)
        async with self._turn:
            await trio.lowlevel.checkpoint()
            while not self._waiting:
                progress = self._progress()
                if await self._fill():
                    is_over = trio.current_time() >= end_s and not self._waiting
                else:
                    is_over = trio.current_time() >= end_s
                    with trio.move_on_at(min(end_s, trio.current_time() + _LOOK_S)):
                        await progress.wait()
                if is_over:
                    return None
            found = self._waiting.popleft()
            self._given = found.number
            return found

    async def acknowledge(self, number: int, /) -> None:
        """Have everything up to a number done with; see the contract's `EventFollower`."""
        if isinstance(number, bool) or not isinstance(number, int) or number > self._given:
            message = (
                f"event log: follower {self.name!r:.60}: {number!r:.40} cannot be acknowledged; give the number of an"
                f" event that it was given, {self._given} at most"
            )
            raise InvalidInputError(message, field="number")
        if number > self.acknowledged:
            await self._move(number)
        else:
            await trio.lowlevel.checkpoint()

    def __aiter__(self) -> Self:
        """Return itself: no generator, which would have to be closed by whoever leaves a loop."""
        return self

    async def __anext__(self) -> RecordedEvent:
        """Return the next event, once there is one."""
        while (found := await self.receive()) is None:
            pass
        return found

    async def _fill(self) -> bool:
        """Read the next page; return whether there was one."""
        base, entries = await self._read(self._read_to)
        if base > self._read_to:
            self.missed += base - self._read_to
            self._read_to = base
        if not entries:
            await self._positions.check(self.name, self._owner)
            return False
        found = await trio.to_thread.run_sync(self._wanted, entries)
        self._read_to = entries[-1].number
        self._waiting += found
        if not found and self._given <= self.acknowledged and self._read_to >= self.acknowledged + _PASSED:
            await self._move(self._read_to)
            self._given = max(self._given, self._read_to)
        return True

    def _wanted(self, entries: list[ChainEntry]) -> list[RecordedEvent]:
        found = self._chosen.of(entries)
        return found if self._accepts is None else [each for each in found if self._accepts(each.event)]

    async def _move(self, number: int) -> None:
        await self._positions.move(self.name, self._owner, number, self.missed)
        self.acknowledged = max(self.acknowledged, number)


def check_name(name: str) -> None:
    """Refuse what is no name of a follower.

    Raises:
        InvalidInputError: It is empty, too long, or cannot be printed.
    """
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name.encode()) <= _NAME_BYTES:
        message = f"event log: {name!r:.60} is no name of a follower; give 1 to {_NAME_BYTES} bytes that can be printed"
        raise InvalidInputError(message, field="name")


def _decode(name: str, value: bytes) -> _Position:
    try:
        return msgspec.json.decode(value, type=_Position)
    except msgspec.DecodeError as error:
        message = f"event log: follower {name!r:.60}: its position cannot be read; use 'llmspell event forget'"
        raise StorageError(message) from error
