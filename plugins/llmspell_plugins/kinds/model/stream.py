"""What of one streamed model call was handed on, and what is held back.

Invariant: nobody gets a chunk before the hooks at ``model_chunk`` let it pass, nor, where transforms or guards stand at
``after_model_call``, before the whole response has passed those. When the call is over, the chunks handed on since the
last ``restart`` say exactly what the response says. Hooks are shown each answer to its end: an empty last chunk that is
``final``. What they leave empty is handed on to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import structs

from llmspell_hookspecs import Asker, ChunkSink, InvalidInputError, ModelChunk, ModelResponse, ToolUse
from llmspell_plugins.kinds.hiding import hide_fields, reveal_fields

__all__ = ["ModelStream"]


class ModelStream:
    """The chunks of one call, over all of its attempts.

    Args:
        sink: Takes what is handed on.
        holds: Returns whether chunks are to be held back; asked as the call begins, since those who stand there then
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
        self._given: list[ModelChunk] = []
        self._left: list[ModelChunk] = []
        self._next = 0
        self._sent = 0
        self._ended = False

    @property
    def begun(self) -> bool:
        """Whether an attempt has begun; on the straight path none does."""
        return self._asker is not None

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
        if self._ended and _text(self._left) == response.text and _uses(self._left) == uses:
            return response
        shown = _uses(self._given)
        if self._ended or _text(self._given) != response.text or shown != uses[: len(shown)]:
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
        self._holding = False
        await self._hand_on()

    async def _ask(self, chunk: ModelChunk, *, final: bool = False) -> None:
        index = len(self._given)
        given = hide_fields(structs.replace(chunk, index=index, final=final))
        self._holding = self._holding or self._holds()
        asked = given
        if self._asker is not None:
            asked = await self._asker.ask("model_chunk", given, withheld=self._holding)
        if asked.kind == "restart":
            message = "model_chunk: a hook made a restart of a chunk; leave its text empty to hold it back"
            raise InvalidInputError(message, field="kind")
        self._given.append(given)
        self._left.append(asked)
        self._holding = self._holding or self._holds()
        if not self._holding:
            await self._hand_on()

    async def _hand_on(self) -> None:
        while self._next < len(self._left):
            chunk = self._left[self._next]
            self._next += 1
            if chunk.text or chunk.tool_use is not None:
                self._sent += 1
                await self._sink(reveal_fields(structs.replace(chunk, index=self._sent - 1)))

    async def _void(self) -> None:
        if self._given and self._asker is not None:
            self._asker.forget_held()
        self._given.clear()
        self._left.clear()
        self._next = 0
        self._ended = False
        if self._sent:
            self._sent = 0
            await self._sink(ModelChunk("restart"))


def _text(chunks: Sequence[ModelChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def _uses(chunks: Sequence[ModelChunk]) -> tuple[ToolUse, ...]:
    return tuple(chunk.tool_use for chunk in chunks if chunk.tool_use is not None)
