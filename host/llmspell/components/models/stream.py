"""What of one streamed model call was handed on, and what is held back.

Invariant: nobody gets a chunk before the hooks at ``model_chunk`` let it pass, nor, where transforms or guards stand at
``after_model_call``, before the whole response has passed those. When the call is over, the chunks handed on since the
last ``restart`` say exactly what the response says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec import structs

from llmspell.operations import Asker
from llmspell_hookspecs import ChunkSink, ModelChunk, ModelResponse, ToolUse

__all__ = ["ModelStream"]

Ask = Callable[[ModelChunk], Awaitable[ModelChunk]]


class ModelStream:
    """The chunks of one call, over all of its attempts.

    Args:
        sink: Takes what is handed on.
        holds: Answers whether chunks are to be held back; asked as the call begins, since those who stand there then
            judge it, and again for those who come while it runs.

    Attributes:
        failure: Why a chunk of this attempt was not taken: a hook's, or the sink's own. It ends the call, whatever the
            provider makes of it.
    """

    def __init__(self, sink: ChunkSink, holds: Callable[[], bool]) -> None:
        self.failure: Exception | None = None
        self._sink = sink
        self._holds = holds
        self._holding = holds()
        self._asker: Asker | None = None
        self._sent: list[ModelChunk] = []
        self._held: list[ModelChunk] = []
        self._changed = False

    async def begin(self, asker: Asker) -> None:
        """Begin an attempt; what an earlier one handed on is void."""
        self._asker = asker
        self.failure = None
        await self._void()
        self._held.clear()
        self._changed = False

    async def take(self, chunk: ModelChunk) -> None:
        """Take the next chunk from the provider.

        Raises:
            OperationCancelledError: A hook cancelled the call.
        """
        try:
            await self._take(chunk)
        except Exception as error:
            self.failure = error
            raise

    async def _take(self, chunk: ModelChunk) -> None:
        index = len(self._sent) + len(self._held)
        given = chunk if chunk.index == index else structs.replace(chunk, index=index)
        asked: ModelChunk = given if self._asker is None else await self._asker.ask("model_chunk", given)
        self._changed = self._changed or asked.text != given.text
        self._holding = self._holding or self._holds()
        if self._holding:
            self._held.append(asked)
        else:
            await self._send(asked)

    def heard(self, response: ModelResponse) -> ModelResponse:
        """Answer the response as the hooks at ``model_chunk`` made it."""
        if not self._changed:
            return response
        return structs.replace(response, text=_text(self._sent + self._held))

    async def finish(self, response: ModelResponse, ask: Ask) -> None:
        """Hand on what is left, so that the stream says what the response says.

        Args:
            response: As it leaves the operation.
            ask: Asks the hooks about chunks that no provider sent.
        """
        chunks, uses = self._sent + self._held, tuple(response.tool_uses)
        streamed = _uses(chunks)
        if _text(chunks) != response.text or streamed != uses[: len(streamed)]:
            await self._void()
            streamed = ()
            self._held = [await ask(ModelChunk(text=response.text))] if response.text else []
        first = len(self._sent) + len(self._held)
        for index, use in enumerate(uses[len(streamed) :], first):
            self._held.append(await ask(ModelChunk("tool_use", tool_use=use, index=index)))
        held, self._held = self._held, []
        for chunk in held:
            await self._send(chunk)

    async def _send(self, chunk: ModelChunk) -> None:
        self._sent.append(chunk)
        await self._sink(chunk)

    async def _void(self) -> None:
        if self._sent:
            self._sent.clear()
            await self._sink(ModelChunk("restart"))


def _text(chunks: Sequence[ModelChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def _uses(chunks: Sequence[ModelChunk]) -> tuple[ToolUse, ...]:
    return tuple(chunk.tool_use for chunk in chunks if chunk.tool_use is not None)
