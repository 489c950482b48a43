"""Lines of standard input, for chunks and for scripts that read; without a terminal, all that the prompt has.

Invariant: no byte is lost between those who ask, whose turns come one after the other; whoever waits for a line can be
told to stop.
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from typing import Protocol

import trio

from llmspell_hookspecs import InvalidInputError

__all__ = ["Lines", "Partner"]

_PIECE_BYTES = 65536
_LINE_BYTES = 16 * 1024 * 1024
"""How long a line may be: what never ends one, such as /dev/zero, would fill the memory."""


class Partner(Protocol):
    """Whom what is typed is for: a console of scripts, or somebody to talk to."""

    @property
    def language(self) -> str:
        """What the prompt names."""

    async def is_incomplete(self, source: str, /) -> bool:
        """Return whether another line belongs to a text."""

    async def complete(self, text: str, /) -> Sequence[str]:
        """Return what the end of a text may become."""


class Lines:
    """Reads a descriptor line by line.

    Attributes:
        history: The chunks that `ask` answered, the oldest first.
    """

    def __init__(self, descriptor: int) -> None:
        self.history: list[str] = []
        self._descriptor = descriptor
        self._pending = bytearray()
        self._ended = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)

    async def ask(self, session: Partner) -> str | None:
        """Return the next chunk, or a line that begins with a dot; None at the end."""
        text = await self._next_line()
        if text is None:
            return None
        while not text.startswith(".") and await session.is_incomplete(text):
            line = await self._next_line()
            if line is None:
                break
            text = f"{text}\n{line}"
        if text.strip():
            self.history.append(text)
        return text

    async def _next_line(self) -> str | None:
        return await trio.to_thread.run_sync(self.read_line, abandon_on_cancel=True)

    def read_line(self) -> str | None:
        """Return the next line without its end; None at the end, or when told to stop. Blocks."""
        self._forget_stop()
        while b"\n" not in self._pending and not self._ended:
            ready, _, _ = select.select([self._descriptor, self._wake_read], [], [])
            if self._wake_read in ready:
                return None
            piece = os.read(self._descriptor, _PIECE_BYTES)
            self._pending += piece
            if len(self._pending) > _LINE_BYTES:
                self._pending.clear()
                self._ended = True
                raise InvalidInputError(f"standard input: a line of more than {_LINE_BYTES} bytes; end it earlier")
            if not piece:
                self._ended = not os.isatty(self._descriptor)
                break
        return self._take()

    def _take(self) -> str | None:
        if not self._pending:
            return None
        line, _, rest = self._pending.partition(b"\n")
        self._pending = rest
        return line.decode("utf-8", "replace").removesuffix("\r")

    def _forget_stop(self) -> None:
        try:
            os.read(self._wake_read, _PIECE_BYTES)
        except BlockingIOError:
            return

    def stop(self) -> None:
        """Let whoever waits for a line have none."""
        os.write(self._wake_write, b"x")

    def close(self) -> None:
        """Stop whoever waits, and close what told it; the descriptor is somebody else's."""
        os.close(self._wake_write)
