"""The service: its protocol, its settings, its lifespan. Durations in seconds."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import trio
from pydantic import BaseModel, Field

from llmspell_hookspecs import Events, Services

__all__ = ["Ticker", "TickerService", "TickerSettings"]


@runtime_checkable
class Ticker(Protocol):
    """The feed, as other plugins ask for it: ``services.get(Ticker)``."""

    @property
    def last(self) -> str:
        """The newest line; empty before the first."""


class TickerSettings(BaseModel):
    """``[plugins.ticker]``."""

    host: str = Field(default="127.0.0.1", description="Where the feed is.")
    port: int = Field(ge=1, le=65535, description="On which port.")
    topic: str = Field(default="ticker.line", description="Of the events.")


class TickerService:
    """Implements `Ticker`."""

    name: ClassVar[str] = "ticker"
    provides: ClassVar[type[Any]] = Ticker
    Settings = TickerSettings
    eager = True
    """Opened as the host starts, whether or not somebody asks for it."""

    def __init__(self, settings: TickerSettings, services: Services) -> None:
        self._settings, self._events = settings, services.get(Events)
        self._stream: trio.SocketStream | None = None
        self.last = ""

    async def __aenter__(self) -> Self:
        """Connect; what is raised here is why the plugin is not loaded."""
        self._stream = await trio.open_tcp_stream(self._settings.host, self._settings.port)
        return self

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish each line, from the host's start to its end."""
        assert self._stream is not None
        task_status.started()
        left = b""
        async for piece in self._stream:
            *lines, left = (left + piece).split(b"\n")
            for line in lines:
                self.last = line.decode(errors="replace")
                await self._events.publish(self._settings.topic, {"text": self.last})

    async def __aexit__(self, *error: object) -> None:
        """Say goodbye and hang up; the task has ended by now."""
        assert self._stream is not None
        with trio.move_on_after(1):
            await self._stream.send_all(b"bye\n")
        await self._stream.aclose()
