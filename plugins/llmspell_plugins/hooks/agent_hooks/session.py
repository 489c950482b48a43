"""Sessions as the contract has them: an agent from when it is made until it is shut down, and who belongs to it.

Invariant: the numbers of a session's contexts only grow; each is given once. What belongs to no agent is a session of
its own, for as long as its outermost operation. How many are remembered is bounded, the ones used last stay.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from itertools import count
from typing import Any, Final

from llmspell_hookspecs import HookContext, ModelResponse
from llmspell_hookspecs.context import OperationRef
from llmspell_hookspecs.model import ToolUse
from llmspell_hookspecs.tool import ToolCall

__all__ = ["Session", "Sessions"]

_MOST: Final = 4096
_PENDING: Final = 1000


class Session:
    """One session.

    Attributes:
        id: Unique.
        agent: Whose.
        reason: How its last run ended.
    """

    def __init__(self, agent: str) -> None:
        self.id = secrets.token_hex(8)
        self.agent = agent
        self.reason = "completed"
        self._numbers = count()
        self._pending: deque[ToolUse] = deque(maxlen=_PENDING)

    def next_number(self) -> int:
        """Return the number of the next context."""
        return next(self._numbers)

    def asked_for(self, response: ModelResponse) -> None:
        """Note which tools a model asked for."""
        self._pending.extend(response.tool_uses)

    def call_id(self, call: ToolCall) -> str:
        """Return the id under which a model asked for a call, which is used up by that; empty if none did."""
        named = [use for use in self._pending if use.name == call.name]
        exact = [use for use in named if dict(use.parameters) == dict(call.parameters)]
        for use in exact or named:
            self._pending.remove(use)
            return use.id
        return ""


class Sessions:
    """The sessions of a host."""

    def __init__(self) -> None:
        self._agents: OrderedDict[str, Session] = OrderedDict()
        self._operations: OrderedDict[str, Session] = OrderedDict()

    def begin(self, agent: str) -> Session:
        """Return the session of an agent that is about to be made."""
        self._agents.pop(agent, None)
        return self._kept(self._agents, agent, Session(agent))

    def end(self, agent: str) -> Session:
        """Return the session of an agent that is shut down, which is forgotten here."""
        return self._agents.pop(agent, None) or Session(agent)

    def of(self, context: HookContext[Any]) -> Session:
        """Return the session that an operation belongs to: its own agent's, or that of the operation around it."""
        operation = context.operation
        found = self._operations.get(operation.id)
        if found is None:
            found = self._kept(self._operations, operation.id, self._around(context, operation))
        return found

    def _around(self, context: HookContext[Any], operation: OperationRef) -> Session:
        if context.component.kind == "agent":
            name = context.component.name
            return self._agents.get(name) or self._kept(self._agents, name, Session(name))
        for id in (operation.parent_id, operation.root_id):
            if id in self._operations:
                return self._operations[id]
        return self._kept(self._operations, operation.root_id or operation.id, Session("host"))

    @staticmethod
    def _kept(where: OrderedDict[str, Session], key: str, session: Session) -> Session:
        where[key] = session
        if len(where) > _MOST:
            where.popitem(last=False)
        return session
