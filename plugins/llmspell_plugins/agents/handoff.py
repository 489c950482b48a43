"""Handing over: a model that may gives the conversation to another agent, whose answer is then the run's.

Each agent in ``handoffs`` is a tool of the model's, ``transfer_to_NAME``; of more than eight there is one tool,
``transfer_to``, that takes the name. What the other agent is given is what ``agent_handoff`` leaves: all that was said,
a summary, or the last question.

Invariant: a hand-off that is denied, fails, or goes beyond a bound is told to the model, which goes on itself. Within
the outermost run one agent hands over to the same other one three times at most, and all of them together
``agents.handoffs`` times, whatever tries again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from msgspec import structs

from llmspell_hookspecs import AgentInput, AgentOutput, InvalidInputError, Message, Services
from llmspell_hookspecs.agent import AgentChunk, AgentConfig, AgentSink, Handoff, ToolRecord
from llmspell_hookspecs.agents import Agents
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import HookError
from llmspell_hookspecs.model import ModelUsage, ToolSpec, ToolUse
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.services import SettingsAccess

from .toolbox import Own, Status

__all__ = ["Handoffs", "Transfer"]

_SAME_PAIR: Final = 3
_OWN_TOOLS: Final = 8
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]")
_CARRIES: Final = ("all", "summary", "last")


_CHAIN: ContextVar[Counter[tuple[str, str]] | None] = ContextVar("llmspell_handoffs", default=None)
"""The hand-offs within the outermost run, by who handed over to whom: one for all that runs within it."""


class Handoffs:
    """Whom an agent may hand over to.

    Args:
        config: The agent's.
        services: What it may use of the host.

    Attributes:
        source: The agent itself.
        carry: What another one is given if neither model nor hook says so.
        specs: What its model is told of them.
        targets: Whom each tool hands over to.
    """

    def __init__(self, config: AgentConfig, services: Services) -> None:
        self.source, self.carry = config.name, config.handoff_carry
        self._agents = services.get(Agents)
        self._operations = services.get(Operations)
        self._settings = services.get(SettingsAccess)
        names = tuple(dict.fromkeys(name.removeprefix("agent:") for name in config.handoffs))
        if config.name in names:
            message = f"agent {config.name}: it would hand over to itself; name another agent"
            raise InvalidInputError(message, field="handoffs")
        self.targets: dict[str, str] = {}
        if len(names) <= _OWN_TOOLS:
            self.targets = {_ODD.sub("_", f"transfer_to_{name}")[:64]: name for name in names}
            if len(self.targets) < len(names):
                message = f"agent {config.name}: two of its handoffs have one name for its model; rename one"
                raise InvalidInputError(message, field="handoffs")
            self.specs = tuple(
                ToolSpec(tool, f"Hand the conversation over to the agent {name}.", _schema())
                for tool, name in self.targets.items()
            )
        else:
            told = "Hand the conversation over to another agent."
            self.specs = (ToolSpec("transfer_to", told, _schema({"agent": {"type": "string", "enum": [*names]}})),)
        self._names = names

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Return a block in which one run goes: the outermost of them counts for all within it."""
        if not self.specs or _CHAIN.get() is not None:
            yield
            return
        token = _CHAIN.set(Counter())
        try:
            yield
        finally:
            _CHAIN.reset(token)

    def begin(self, input: AgentInput, said: Callable[[], Sequence[Message]], sink: AgentSink | None) -> Transfer:
        """Return what takes the hand-offs of one run.

        Args:
            input: What the run was asked.
            said: Returns the conversation so far, the question included.
            sink: Takes what the other agent says as it comes.
        """
        return Transfer(self, input, said, sink)

    async def approved(self, handoff: Handoff) -> Handoff:
        """Return a hand-off as hooks leave it.

        Raises:
            OperationCancelledError: One denied it.
            InvalidInputError: One made something of it that cannot be.
        """
        component = ComponentRef("agent", self.source, f"agent:{self.source}")
        asked: Handoff = await self._operations.ask("agent_handoff", handoff, component)
        if asked.carry not in _CARRIES:
            message = f"agent_handoff: a hook says carry {asked.carry!r:.80}; give one of {', '.join(_CARRIES)}"
            raise InvalidInputError(message, field="carry")
        return asked

    def target_of(self, use: ToolUse) -> str:
        """Return whom a model hands over to.

        Raises:
            InvalidInputError: Nobody whom it may.
        """
        target = self.targets.get(use.name) or str(use.parameters.get("agent", "")).removeprefix("agent:")
        if target not in self._names:
            message = f"there is no agent {target!r:.80} to hand over to; there are {', '.join(self._names)[:300]}"
            raise InvalidInputError(message, field="agent")
        return target

    def count(self, target: str) -> str:
        """Count a hand-off, and return why it may not be; an empty text if it may."""
        chain = _CHAIN.get()
        assert chain is not None
        most = self._settings.section("agents").handoffs
        if chain[self.source, target] >= _SAME_PAIR:
            return f"{self.source} has handed over to {target} {_SAME_PAIR} times; answer yourself"
        if chain.total() >= most:
            return f"there were {most} hand-offs, which is the most (agents.handoffs); answer yourself"
        chain[self.source, target] += 1
        return ""

    async def ask(self, handoff: Handoff, given: AgentInput, sink: AgentSink | None) -> AgentOutput:
        """Ask the other agent.

        Raises:
            InvalidInputError: There is none of this name.
            Exception: Whatever became of its run.
        """
        found = self._agents.get(handoff.target)
        if found is None or not self._operations.reaches(found.info.scope):
            message = f"there is no agent {handoff.target!r:.80} to hand over to; answer yourself, or name another"
            raise InvalidInputError(message, field="agent")
        return await found.run(given, sink=sink)


class Transfer:
    """The hand-offs of one run: at most one of them is taken.

    Attributes:
        tools: What runs the hand-off, by the name of the tool.
        output: What the other agent answered, once one has.
        handoff: The hand-off that was taken.
    """

    def __init__(
        self,
        handoffs: Handoffs,
        input: AgentInput,
        said: Callable[[], Sequence[Message]],
        sink: AgentSink | None,
    ) -> None:
        self.tools: Own = {spec.name: self._take for spec in handoffs.specs}
        self.output: AgentOutput | None = None
        self.handoff: Handoff | None = None
        self._handoffs, self._input, self._said, self._sink = handoffs, input, said, sink
        self._step, self._first = 0, ""

    def expect(self, uses: Sequence[ToolUse], step: int) -> Own:
        """Return what runs the hand-offs of one answer of the model, of which the first counts."""
        self._first = next((use.id for use in uses if use.name in self.tools), "")
        self._step = step
        return self.tools

    def answered(self, records: Sequence[ToolRecord], usage: ModelUsage, steps: int) -> AgentOutput:
        """Return the other agent's answer as that of the run.

        Args:
            records: The tools of the run so far, the hand-off included.
            usage: What its own calls of the model used.
            steps: How many there were.
        """
        assert self.output is not None
        assert self.handoff is not None
        output, handoff = self.output, self.handoff
        taken = {"from": handoff.source, "to": handoff.target, "carry": handoff.carry, "reason": handoff.reason}
        return structs.replace(
            output,
            tool_calls=(*records, *output.tool_calls),
            usage=usage + output.usage,
            steps=steps + output.steps,
            metadata={**output.metadata, "handoffs": [taken, *output.metadata.get("handoffs", ())]},
        )

    async def _take(self, use: ToolUse) -> tuple[Status, str]:
        """Hand over, and return what the model is told."""
        if use.id != self._first:
            return "failed", "error: you hand over to another agent already; hand over to one at once"
        counted = False
        try:
            handoff = await self._handoffs.approved(self._wanted(use))
            refusal = self._handoffs.count(handoff.target)
            if refusal:
                return "failed", f"error: {refusal}"
            counted = True
            self.output = await self._handoffs.ask(handoff, self._given(handoff), self._forward())
        except HookError as error:
            if not counted:
                raise
            return "failed", f"error: {error}"  # of a hook within the other agent's run
        self.handoff = handoff
        return "completed", f"handed over to {handoff.target}"

    def _wanted(self, use: ToolUse) -> Handoff:
        given = use.parameters
        summary, text = str(given.get("summary", "")), str(given.get("question", "")) or self._input.text
        return Handoff(
            source=self._handoffs.source,
            target=self._handoffs.target_of(use),
            carry="summary" if summary else self._handoffs.carry,
            text=text,
            summary=summary,
            reason=str(given.get("reason", "")),
        )

    def _given(self, handoff: Handoff) -> AgentInput:
        """Return what the other agent is asked."""
        if handoff.carry == "all":
            return structs.replace(self._input, text=handoff.text, messages=_flat(self._said()))
        text = f"{handoff.summary}\n\n{handoff.text}" if handoff.carry == "summary" else handoff.text
        return structs.replace(self._input, text=text, messages=None)

    def _forward(self) -> AgentSink | None:
        if self._sink is None:
            return None
        sink, before = self._sink, self._step

        async def forward(chunk: AgentChunk) -> None:
            await sink(structs.replace(chunk, step=before + chunk.step))

        return forward


def _schema(more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {
            **(more or {}),
            "question": {**text, "description": "What it is asked; what you were asked if left out."},
            "summary": {**text, "description": "What it needs to know, in place of the whole conversation."},
            "reason": {**text, "description": "Why you hand over."},
        },
        "required": [*(more or {})],
    }


def _flat(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return what was said without the tools, which the other agent may not have; the last question aside."""
    kept = [
        Message("assistant", f"[{message.name}: {message.content}]") if message.role == "tool" else message
        for message in messages
        if message.content and message.role in ("user", "assistant", "tool")
    ]
    flat = [structs.replace(each, tool_uses=()) if each.tool_uses else each for each in kept]
    last = next((place for place in reversed(range(len(flat))) if flat[place].role == "user"), len(flat))
    return tuple(flat[:last] + flat[last + 1 :])
