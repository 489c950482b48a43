"""The chunks of one streamed call or run: handed on as they come, or held back until its result may leave.

What a model's stream says, what an agent's says, and what both have in common stand together: each chunk goes through
all of it.

Invariant: chunks are handed on in order, and none while somebody stands behind the call who may still change or
withhold its result: transforms or guards at ``after_model_call`` or ``after_agent_execution``. What was handed on of an
attempt that is void is followed by one ``restart``. Nobody gets a model's chunk before the hooks at ``model_chunk`` let
it pass; when a call is over, the chunks handed on since the last ``restart`` say exactly what its result says. Hooks
are shown each answer of a model to its end: an empty last chunk that is ``final``. What they leave empty is handed on
to nobody. If they changed an agent's answer, its stream is one text: that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from msgspec import structs

from llmspell_hookspecs import AgentOutput, InvalidInputError, ModelChunk, ModelResponse
from llmspell_hookspecs.agent import AgentChunk, AgentSink
from llmspell_hookspecs.model import ChunkSink, ToolUse
from llmspell_hookspecs.operation import Asker, Operations
from llmspell_plugins.kinds.hiding import hide_fields, reveal_fields

__all__ = ["AgentStream", "ModelStream", "Stream", "Watch"]

Chunk = TypeVar("Chunk")


class Watch:
    """Who stands somewhere: asked anew only when somebody has come or gone, so that a chunk need not ask.

    Args:
        operations: Tell when that is.
        question: Returns whether somebody stands there.
    """

    def __init__(self, operations: Operations, question: Callable[[], bool]) -> None:
        self._operations = operations
        self._question = question
        self._as_of: object = None
        self._answer = False

    def __call__(self) -> bool:
        """Return whether somebody stands there now."""
        as_of = self._operations.as_of
        if as_of is not self._as_of:
            self._as_of, self._answer = as_of, self._question()
        return self._answer


class Stream(Generic[Chunk]):
    """What of one call was handed on, over all of its attempts, and what is held back.

    Args:
        sink: Takes what is handed on; returns whether it was something.
        restart: Tells that what was handed on is void.
        holds: Returns whether chunks are to be held back; asked as the call begins, since those who stand there then
            judge it, and again for those who come while it goes on.

    Attributes:
        holding: Whether they are held back by now.
    """

    def __init__(
        self,
        sink: Callable[[Chunk], Awaitable[bool]],
        restart: Callable[[], Awaitable[None]],
        holds: Callable[[], bool],
    ) -> None:
        self._sink = sink
        self._restart = restart
        self._holds = holds
        self._waiting: deque[Chunk] = deque()
        self._begun = False
        self.holding = holds()

    async def put(self, chunk: Chunk) -> None:
        """Take the next chunk, and hand on what may be."""
        self._waiting.append(chunk)
        if not self.looks():
            await self._hand_on()

    def looks(self) -> bool:
        """Return whether chunks are held back, by those who stand there now, too."""
        self.holding = self.holding or self._holds()
        return self.holding

    async def void(self) -> None:
        """Forget what is held back, and tell that what was handed on is void."""
        self._waiting.clear()
        if self._begun:
            self._begun = False
            await self._restart()

    async def finish(self) -> None:
        """Hand on what was held back."""
        self.holding = False
        await self._hand_on()

    async def _hand_on(self) -> None:
        while self._waiting:
            self._begun = await self._sink(self._waiting.popleft()) or self._begun


class ModelStream:
    """The chunks of one call, over all of its attempts.

    Args:
        sink: Takes what is handed on.
        holds: Returns whether chunks are to be held back, see `Stream`.
        asks: Returns whether anybody stands at ``model_chunk``; asked on the straight path, where nobody did at first.
            Who comes there while the call runs is shown the whole of it as it leaves.

    Attributes:
        failure: Why a chunk of this attempt was not taken: a hook's, or the sink's own. It ends the call, whatever the
            provider makes of it.
    """

    def __init__(self, sink: ChunkSink, holds: Callable[[], bool], asks: Callable[[], bool]) -> None:
        self.failure: Exception | None = None
        self._sink = sink
        self._asks = asks
        self._stream = Stream(self._send, self._restart, holds)
        self._asker: Asker | None = None
        self._given: list[ModelChunk] = []
        self._left: list[ModelChunk] = []
        self._sent = 0
        self._ended = False
        self._unasked = False

    async def begin(self, asker: Asker) -> None:
        """Begin an attempt; what an earlier one handed on is void."""
        self._asker = asker
        self.failure = None
        await self._void()

    async def take(self, chunk: ModelChunk) -> None:
        """Take the next chunk from the provider.

        Raises:
            OperationCancelledError: A hook cancelled the call.
        """
        try:
            await self._ask(chunk)
        except Exception as error:
            self.failure = error
            raise

    async def leave(self, response: ModelResponse, asker: Asker | None = None) -> ModelResponse:
        """Show the hooks what of a response they have not seen yet, and return it as they leave it.

        Raises:
            OperationCancelledError: A hook cancelled the call.
        """
        if asker is not None:
            self._asker = asker
        response = hide_fields(response)
        uses = tuple(response.tool_uses)
        unasked = self._unasked and self._asker is not None
        if self._ended and not unasked and _text(self._left) == response.text and _uses(self._left) == uses:
            return response
        shown = _uses(self._given)
        if self._ended or unasked or _text(self._given) != response.text or shown != uses[: len(shown)]:
            await self._void()
            shown = ()
            if response.text:
                await self._ask(ModelChunk(text=response.text))
        for use in uses[len(shown) :]:
            await self._ask(ModelChunk("tool_use", tool_use=use))
        await self._ask(ModelChunk(), final=True)
        self._ended = True
        if self._left == self._given:
            return response
        return structs.replace(response, text=_text(self._left), tool_uses=_uses(self._left))

    async def finish(self) -> None:
        """Hand on what was held back."""
        await self._stream.finish()

    async def _ask(self, chunk: ModelChunk, *, final: bool = False) -> None:
        given = structs.replace(chunk, index=len(self._given), final=final)
        if given.tool_use is not None:  # a text is as it is
            given = hide_fields(given)
        asked = given
        if self._asker is not None:
            asked = await self._asker.ask("model_chunk", given, withheld=self._stream.looks())
        elif self._asks():
            self._unasked = self._stream.holding = True
        if asked.kind == "restart":
            message = "model_chunk: a hook made a restart of a chunk; leave its text empty to hold it back"
            raise InvalidInputError(message, field="kind")
        self._given.append(given)
        self._left.append(asked)
        await self._stream.put(asked)

    async def _send(self, chunk: ModelChunk) -> bool:
        if not chunk.text and chunk.tool_use is None:
            return False
        sent = structs.replace(chunk, index=self._sent)
        await self._sink(sent if sent.tool_use is None else reveal_fields(sent))
        self._sent += 1
        return True

    async def _restart(self) -> None:
        self._sent = 0
        await self._sink(ModelChunk("restart"))

    async def _void(self) -> None:
        if self._given and self._asker is not None:
            self._asker.forget_held()
        self._given.clear()
        self._left.clear()
        self._ended = self._unasked = False
        await self._stream.void()


class AgentStream:
    """The chunks of one run, over all of its attempts.

    Args:
        sink: Takes what is handed on.
        holds: Returns whether chunks are to be held back, see `Stream`.
    """

    def __init__(self, sink: AgentSink, holds: Callable[[], bool]) -> None:
        self._sink = sink
        self._stream = Stream(self._send, self._restart, holds)
        self._last = ""
        self._step = 1

    async def begin(self) -> None:
        """Begin an attempt; what an earlier one handed on is void."""
        self._last = ""
        await self._stream.void()

    async def take(self, chunk: AgentChunk) -> None:
        """Take the next chunk from the agent."""
        if chunk.kind == "restart" or (chunk.kind == "text" and chunk.step != self._step):
            self._step, self._last = chunk.step, ""
        if chunk.kind == "text":
            self._last += chunk.text
        await self._stream.put(chunk)

    async def finish(self, output: AgentOutput) -> None:
        """Hand on what is left, so that the last step's texts are the answer."""
        told = "" if self._step < output.steps else self._last  # a last step without a text says nothing
        if told != output.text:
            await self.begin()
            if output.text:
                await self._stream.put(AgentChunk(text=output.text, step=max(1, output.steps)))
        await self._stream.finish()

    async def _send(self, chunk: AgentChunk) -> bool:
        await self._sink(chunk)
        return True

    async def _restart(self) -> None:
        await self._sink(AgentChunk("restart", step=self._step))


def _text(chunks: Sequence[ModelChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def _uses(chunks: Sequence[ModelChunk]) -> tuple[ToolUse, ...]:
    return tuple(chunk.tool_use for chunk in chunks if chunk.tool_use is not None)
