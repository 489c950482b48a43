"""What a streamed model call says, chunk by chunk, and who is asked about it.

Invariant: nobody gets a chunk before the hooks at ``model_chunk`` let it pass, nor, where transforms or guards stand at
``after_model_call``, before the whole response has passed those (see `Stream`). When the call is over, the chunks
handed on since the last ``restart`` say exactly what the response says. Hooks are shown each answer to its end: an
empty last chunk that is ``final``. What they leave empty is handed on to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import structs

from llmspell_hookspecs import InvalidInputError, ModelChunk, ModelResponse
from llmspell_hookspecs.model import ChunkSink, ToolUse
from llmspell_hookspecs.operation import Asker
from llmspell_plugins.kinds.hiding import hide_fields, reveal_fields
from llmspell_plugins.kinds.stream import Stream

__all__ = ["ModelStream"]


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
        given = asked = hide_fields(structs.replace(chunk, index=len(self._given), final=final))
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
        await self._sink(reveal_fields(structs.replace(chunk, index=self._sent)))
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


def _text(chunks: Sequence[ModelChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def _uses(chunks: Sequence[ModelChunk]) -> tuple[ToolUse, ...]:
    return tuple(chunk.tool_use for chunk in chunks if chunk.tool_use is not None)
