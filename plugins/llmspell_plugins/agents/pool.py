"""The pool: members of one make, of which each takes one question at a time; questions wait in a queue, in their order.

``size`` members are made as they are needed and kept (``warm`` of them with the first question); while ``scale_at``
questions wait there may be up to ``max_size``, and those above ``size`` go when they are idle again. A member of whose
last runs too many failed is replaced.

Invariant: a member has one run at a time, and goes back or away however that ends. Whoever waits is served in order. A
pool that is shut down takes no more, lets runs end within ``agents.grace_s``, and shuts its members down.
"""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, Final

import trio
from msgspec import Struct, structs
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import AgentInput, AgentOutput, Calls, LlmspellError, OperationCancelledError, Services
from llmspell_hookspecs.agent import AgentConfig
from llmspell_hookspecs.agents import AgentContext, AgentHandle, Agents
from llmspell_hookspecs.errors import ResourceLimitError

from .members import Composite

__all__ = ["Pool", "PoolOptions"]

_JUDGED: Final = 3
"""So many runs a member has before it is judged by them."""
_GONE: Final = ("terminating", "terminated", "error")
_CLOSING_S: Final = 3.0


class PoolOptions(BaseModel):
    """What a pool takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    member: dict[str, Any] = Field(description="What each member is made from: fields of an agent, without a name.")
    size: int = Field(default=2, ge=1, le=1000, description="How many members are kept.")
    max_size: int | None = Field(default=None, ge=1, le=1000, description="How many there may be; size if left out.")
    warm: int = Field(default=0, ge=0, le=1000, description="How many are made with the first question.")
    scale_at: int = Field(default=1, ge=1, description="How many questions wait before there are more than size.")
    queue: int = Field(default=1000, ge=0, description="How many questions may wait.")
    max_error_rate: float = Field(default=0.5, ge=0, le=1, description="Above which share of failures one is replaced.")
    window: int = Field(default=10, ge=_JUDGED, le=1000, description="Of how many of its last runs that is the share.")

    @model_validator(mode="after")
    def _sizes_fit(self) -> PoolOptions:
        if self.max_size is not None and self.max_size < self.size:
            raise ValueError(f"max_size {self.max_size} is below size {self.size}")
        if "name" in self.member:
            raise ValueError("member has a name; leave it out, since each member has its own")
        return self


class _Member(Struct, eq=False):
    """A member, and how its last runs ended."""

    handle: AgentHandle
    ended: deque[bool]

    def is_sick(self, most: float) -> bool:
        """Return whether too many of its last runs failed."""
        return len(self.ended) >= _JUDGED and self.ended.count(False) > most * len(self.ended)


class _Waiter(Struct, eq=False):
    """Who waits for a member; with none it may look again."""

    called: trio.Event
    member: _Member | None = None


class Pool(Composite):
    """Answer by one of several members of the same make, each with one question at a time."""

    kind: ClassVar[str] = "pool"
    capabilities: ClassVar[tuple[str, ...]] = ("composite", "pool")
    Options: ClassVar[type[BaseModel] | None] = PoolOptions

    def __init__(self, config: AgentConfig, services: Services) -> None:
        super().__init__(config, services)
        self._given = given = PoolOptions.model_validate(dict(config.options))
        self._most = given.size if given.max_size is None else given.max_size
        self._agents = services.get(Agents)
        self._calls = services.get(Calls)
        self._members: list[_Member] = []
        self._idle: deque[_Member] = deque()
        self._waiting: deque[_Waiter] = deque()
        self._making = self._made = 0

    async def __aenter__(self) -> Pool:
        """Return itself; members are made when they are needed."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Shut the members down."""
        with trio.move_on_after(_CLOSING_S):
            for member in tuple(self._members):
                await self._drop(member)

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        """Have the next free member answer.

        Raises:
            ResourceLimitError: Too many wait.
            Exception: What became of the member's run.
        """
        if not self._made:
            await self._warm()
        member = await self._take()
        try:
            output = AgentOutput.of(await self._calls.call(f"agent:{member.handle.name}", input))
            member.ended.append(True)
        except OperationCancelledError:  # a denial is no fault of its
            raise
        except LlmspellError:
            member.ended.append(False)
            raise
        finally:
            with trio.CancelScope(shield=True):
                await self._give_back(member)
        told = {"member": member.handle.name, "members": len(self._members), "waiting": len(self._waiting)}
        return await self.answer(input, context, structs.replace(output, metadata={**output.metadata, **told}))

    async def _warm(self) -> None:
        for _ in range(min(self._given.warm, self._given.size)):
            if len(self._members) + self._making < self._given.size:
                self._release(await self._make())

    async def _take(self) -> _Member:
        while True:
            if self._idle and not self._waiting:
                member = self._idle.popleft()
                if member.handle.info.state not in _GONE:
                    return member
                await self._drop(member)  # somebody else shut it down, or it cannot go on
                continue
            count = len(self._members) + self._making
            many = len(self._waiting) + 1 >= self._given.scale_at
            if count < self._given.size or (many and count < self._most):
                return await self._make()
            if len(self._waiting) >= self._given.queue:
                message = f"agent {self.config.name}: {len(self._waiting)} questions wait, which is the most; ask later"
                raise ResourceLimitError(f"{message}, or raise queue", resource="queue", limit=self._given.queue)
            member_or_none = await self._wait()
            if member_or_none is not None:
                return member_or_none

    async def _wait(self) -> _Member | None:
        waiter = _Waiter(trio.Event())
        self._waiting.append(waiter)
        try:
            await waiter.called.wait()
        except trio.Cancelled:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.member is not None:
                self._release(waiter.member)
            else:
                self._call(None)
            raise
        return waiter.member

    async def _make(self) -> _Member:
        self._making += 1
        self._made += 1
        try:
            name = f"{self.config.name}.{self._made}"
            handle = await self._agents.create(scope=self.scope, **{**self._given.member, "name": name})
        except BaseException:
            self._making -= 1
            self._call(None)  # who waited for it looks for another way
            raise
        self._making -= 1
        member = _Member(handle, deque(maxlen=self._given.window))
        self._members.append(member)
        return member

    def _call(self, member: _Member | None) -> bool:
        """Give a member, or the word that there is room, to who waits longest; returns whether somebody does."""
        if not self._waiting:
            return False
        waiter = self._waiting.popleft()
        waiter.member = member
        waiter.called.set()
        return True

    def _release(self, member: _Member) -> None:
        if not self._call(member):
            self._idle.append(member)

    async def _give_back(self, member: _Member) -> None:
        """Give a member to the next who waits, keep it, or let it go: it is sick, or there are enough idle ones."""
        gone = member.handle.info.state in _GONE
        spare = not self._waiting and len(self._idle) >= self._given.size
        if gone or spare or member.is_sick(self._given.max_error_rate):
            await self._drop(member)
            self._call(None)
        else:
            self._release(member)

    async def _drop(self, member: _Member) -> None:
        if member in self._members:
            self._members.remove(member)
            try:
                await member.handle.close()
            except OperationCancelledError:
                return  # a hook keeps it: it is no member any more all the same
