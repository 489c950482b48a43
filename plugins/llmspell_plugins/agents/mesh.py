"""The mesh: members that send each other messages over the host's event bus, by topics.

A question is published as ``mesh.NAME.TOPIC`` (``entry``, if its parameters name no ``topic``). Each member whose
``topics`` fit is given it; what that says goes on to the topic that it ``sends`` to, or else is the answer to the
message (``mesh.NAME.TOPIC.response``, caused by it) and so the mesh's. All of it are events, so hooks see, change and
deny messages, and whoever subscribes can watch.

Invariant: a message goes ``hops`` members far at most, none is delivered ``ttl_s`` seconds after the question, and one
question makes ``messages`` of them at most. What goes no further is told by ``mesh.NAME.dead_letter`` with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal

import trio
from msgspec import Struct, structs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from llmspell_hookspecs import AgentInput, AgentOutput, Event, Events, OperationCancelledError, Services
from llmspell_hookspecs.agent import AgentConfig
from llmspell_hookspecs.agents import AgentContext
from llmspell_hookspecs.errors import CompositionError, InvalidInputError, text_of_error
from llmspell_hookspecs.event import Subscription
from llmspell_hookspecs.operation import Ended, Operations
from llmspell_hookspecs.payload import payload_text
from llmspell_hookspecs.selection import EventFilter
from llmspell_hookspecs.trie import Topics

from .members import Composite, Member, Members, together_of

__all__ = ["Mesh", "MeshOptions"]

_ODD: Final = re.compile(r"[^A-Za-z0-9_-]")
_TOPIC: Final = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){0,9}$"
_RESPONSE: Final = ".response"
_DEAD: Final = "dead_letter"


def _texts(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


class MeshMember(Member):
    """A member of a mesh."""

    topics: Annotated[tuple[str, ...], BeforeValidator(_texts)] = Field(
        min_length=1, max_length=100, description="The patterns of the topics that it is given."
    )
    sends: str = Field(default="", max_length=200, description="To which topic what it says goes; an answer if empty.")


class MeshOptions(BaseModel):
    """What a mesh takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: tuple[MeshMember, ...] = Field(min_length=1, max_length=1000, description="Its members.")
    entry: str = Field(default="ask", pattern=_TOPIC, max_length=200, description="To which topic questions go.")
    answers: Literal["first", "all"] = Field(default="all", description="Which answers are the mesh's.")
    hops: int = Field(default=8, ge=1, le=100, description="How many members far a message goes.")
    ttl_s: float = Field(default=60.0, gt=0, description="How long after the question a message is delivered.")
    messages: int = Field(default=100, ge=1, le=10_000, description="How many messages one question makes.")


class _Flow(Struct):
    """What comes of one question.

    Attributes:
        tag: What all of its messages bear.
        ends: When no message is delivered any more, on trio's clock.
        sent: How many messages there were.
        answers: What was answered, by which member.
        outputs: All that members said.
        dead: Why messages went no further.
    """

    tag: str
    ends: float
    sent: int = 0
    answers: list[tuple[str, str]] = []
    outputs: list[AgentOutput] = []
    dead: list[str] = []


class Mesh(Composite):
    """Let members send each other messages by topics, and answer what comes of the question."""

    kind: ClassVar[str] = "mesh"
    capabilities: ClassVar[tuple[str, ...]] = ("composite", "mesh")
    Options: ClassVar[type[BaseModel] | None] = MeshOptions

    def __init__(self, config: AgentConfig, services: Services) -> None:
        super().__init__(config, services)
        self._given = MeshOptions.model_validate(dict(config.options))
        self._members = Members(config, services, self._given.agents)
        self._events = services.get(Events)
        self._operations = services.get(Operations)
        self._root = f"mesh.{_ODD.sub('_', config.name)}"
        self._topics: Topics[tuple[str, str]] = Topics()
        for address, member in zip(self._members.all, self._given.agents, strict=True):
            try:
                self._topics.add(member.topics, (address, member.sends))
            except InvalidInputError as error:
                message = f"agent {config.name}: the topics of {address}: {error}"
                raise InvalidInputError(message, field="options.agents") from None

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        """Publish the question and deliver what comes of it, until nothing more does.

        Raises:
            CompositionError: Nobody answered.
            OperationCancelledError: A hook denied a message.
        """
        operation = context.operation.id
        flow = _Flow(f"mesh:{operation}", trio.current_time() + self._given.ttl_s)
        most = 2 * self._given.messages + 2
        where = EventFilter(tags=(flow.tag,))
        topic = str(input.parameters.get("topic") or self._given.entry)
        async with self._events.subscribe(
            f"{self._root}.**", capacity=most, as_published=True, where=where, owner=f"agent:{self.config.name}"
        ) as box:
            self._send(flow, topic, input.text, "", 0)
            while messages := [*self._received(box)]:
                await self._deliver(flow, messages, input)
        if not flow.answers:
            why = "; ".join(flow.dead)[:300] or "no message was delivered"
            message = f"agent {self.config.name}: nobody answered: {why}; subscribe a member that sends to no topic"
            raise CompositionError(message, details=flow.dead, component=self.config.name)
        texts = [text for _, text in flow.answers]
        told = {"answers": dict(flow.answers), "messages": flow.sent, "dead_letters": flow.dead}
        text = texts[0] if self._given.answers == "first" else "\n".join(texts)
        return await self.answer(input, context, together_of(flow.outputs, text, told))

    def _received(self, box: Subscription) -> Iterator[Event]:
        while (event := box.receive_nowait()) is not None:
            if not event.type.endswith((_RESPONSE, f".{_DEAD}")):
                yield event

    async def _deliver(self, flow: _Flow, messages: list[Event], input: AgentInput) -> None:
        """Give each message to those whose topics fit, beside each other, and send on what they say."""
        calls, targets = [], []
        for event in messages:
            topic = event.type.removeprefix(f"{self._root}.")
            fitting = self._topics.match(topic)
            left_s = flow.ends - trio.current_time()
            if not fitting or left_s <= 0:
                self._bury(flow, topic, "its time is over" if fitting else "nobody is subscribed to it")
                continue
            asked = structs.replace(input, text=payload_text(event.data))
            for address, sends in fitting:
                calls.append(partial(self._members.ask, address, asked, left_s))
                targets.append((event, address, sends))
        for (event, address, sends), ended in zip(
            targets, await self._operations.together(calls, self.config.max_parallel), strict=True
        ):
            self._take(flow, event, address, sends, ended)

    def _take(self, flow: _Flow, event: Event, address: str, sends: str, ended: Ended) -> None:
        topic = event.type.removeprefix(f"{self._root}.")
        if ended.error is not None:
            what = "was denied" if isinstance(ended.error, OperationCancelledError) else "failed"
            self._bury(flow, topic, f"{address} {what}: {text_of_error(ended.error)}")
            return
        output: AgentOutput = ended.value
        flow.outputs.append(output)
        hops = int(event.data.get("hops", 0)) + 1
        if not sends:
            flow.answers.append((address, output.text))
            told = {"text": output.text, "from": address, "hops": hops}
            self._events.respond(event, told, source=f"agent:{self.config.name}", tags=(flow.tag,))
        elif hops >= self._given.hops:
            self._bury(flow, sends, f"it came {hops} members far")
        else:
            self._send(flow, sends, output.text, address, hops)

    def _send(self, flow: _Flow, topic: str, text: str, sender: str, hops: int) -> None:
        if flow.sent >= self._given.messages:
            self._bury(flow, topic, f"there were {flow.sent} messages")
            return
        flow.sent += 1
        told = {"text": text, "from": sender, "hops": hops}
        source = f"agent:{self.config.name}"
        self._events.publish_nowait(f"{self._root}.{topic}", told, source=source, tags=(flow.tag,))

    def _bury(self, flow: _Flow, topic: str, reason: str) -> None:
        if len(flow.dead) < self._given.messages:
            flow.dead.append(f"{topic}: {reason}")
        told = {"topic": topic, "reason": reason}
        self._events.publish_nowait(f"{self._root}.{_DEAD}", told, source=f"agent:{self.config.name}", tags=(flow.tag,))
