"""What is kept of a conversation: in the scope of its session, each turn under a key of its own.

Invariant: a turn is written once, when it has ended, whole. What is under way stands under ``chat.pending`` until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import msgspec
from msgspec import Struct

from llmspell_hookspecs import InvalidInputError, Message
from llmspell_hookspecs.fit import plain
from llmspell_hookspecs.model import ModelUsage
from llmspell_hookspecs.state import State

__all__ = ["Book", "Pending"]

_AGENT: Final = "chat.agent"
_PENDING: Final = "chat.pending"
_TURN: Final = "chat.turn."
_OPTIONS: Final = frozenset({"model", "tools", "system_prompt", "temperature", "max_tokens", "max_steps", "time_s"})
"""What is taken from what is kept: where its model is asked, say, no conversation may bring along."""
_READ: Final = 50
"""So many turns are taken up again: an agent remembers no more than 100 messages."""


class Pending(Struct, frozen=True):
    """A question that has no answer yet.

    Attributes:
        run_id: The durable run that answers it.
        text: The question.
    """

    run_id: str
    text: str


class _Turn(Struct, frozen=True):
    """A turn as it is kept.

    Attributes:
        messages: What was said.
        usage: What all turns so far used.
    """

    messages: tuple[Message, ...]
    usage: ModelUsage = ModelUsage()


class Book:
    """A conversation as it is kept.

    Args:
        state: Keeps it.
        session: The id of its session.

    Attributes:
        fields: What its agent is made from.
        messages: What was said last, whole turns.
        usage: What all of it used.
        turns: How many turns there are.
        pending: The question that has no answer yet.
    """

    def __init__(self, state: State, session: str) -> None:
        self.fields: Mapping[str, Any] = {}
        self.messages: Sequence[Message] = ()
        self.usage = ModelUsage()
        self.turns = 0
        self.pending: Pending | None = None
        self._state = state
        self._session = session
        self._scope = f"session:{session}"

    @classmethod
    async def open(cls, state: State, session: str) -> Self:
        """Return what is kept of a session's conversation.

        Raises:
            InvalidInputError: Something that is kept there is none of it.
        """
        book = cls(state, session)
        fields = await state.get(_AGENT, scope=book._scope)
        kept = fields if isinstance(fields, Mapping) else {}
        book.fields = {name: value for name, value in kept.items() if name in _OPTIONS}
        pending = await state.get(_PENDING, scope=book._scope)
        book.pending = None if pending is None else book._converted(_PENDING, pending, Pending)
        keys = await book._keys()
        book.turns = len(keys)
        messages: list[Message] = []
        for key in keys[-_READ:]:
            turn = book._converted(key, await state.get(key, scope=book._scope), _Turn)
            messages += turn.messages
            book.usage = turn.usage
        book.messages = messages
        return book

    async def keep_agent(self, fields: Mapping[str, Any]) -> None:
        """Keep what the agent is made from."""
        if plain(fields) != plain(self.fields):
            await self._state.set(_AGENT, plain(fields), scope=self._scope)

    async def begin(self, pending: Pending) -> None:
        """Keep a question before it is asked."""
        self.pending = pending
        await self._state.set(_PENDING, plain(pending), scope=self._scope)

    async def drop(self) -> None:
        """Forget the question that has no answer."""
        if self.pending is not None:
            self.pending = None
            await self._state.delete(_PENDING, scope=self._scope)

    async def add(self, messages: Sequence[Message], usage: ModelUsage) -> None:
        """Keep a turn, and what it used."""
        self.usage = self.usage + usage
        keys = await self._keys()
        number = int(keys[-1].removeprefix(_TURN)) + 1 if keys else 1
        kept = plain(_Turn(tuple(messages), self.usage))
        await self._state.set(f"{_TURN}{number:06}", kept, scope=self._scope)
        self.turns += 1

    async def forget(self) -> None:
        """Forget all turns."""
        for key in await self._keys():
            await self._state.delete(key, scope=self._scope)
        self.turns, self.messages = 0, ()

    async def _keys(self) -> list[str]:
        keys = await self._state.keys(self._scope, prefix=_TURN)
        return sorted(key for key in keys if key.removeprefix(_TURN).isdecimal())

    def _converted(self, key: str, value: Any, to: type[Any]) -> Any:
        try:
            return msgspec.convert(value, to)
        except msgspec.ValidationError as error:
            message = f"chat {self._session}: what is kept under {key} is none of a conversation's; begin another"
            raise InvalidInputError(message, field=key) from error
