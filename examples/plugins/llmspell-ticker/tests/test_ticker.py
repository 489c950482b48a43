"""The service with a real server on loopback: connected, listening, required, and closed in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from llmspell_ticker import Ticker, TickerService

from llmspell_hookspecs.errors import PluginRequiredError
from llmspell_testing import HostOpener


class Feed:
    """A server that sends what it is told, and keeps what clients said."""

    def __init__(self) -> None:
        self.port = 0
        self.heard: list[bytes] = []
        self.streams: list[trio.SocketStream] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        """Keep what one client says until it hangs up."""
        self.streams.append(stream)
        async for piece in stream:
            self.heard.append(bytes(piece))


@asynccontextmanager
async def feed() -> AsyncIterator[Feed]:
    """Open a feed for the block."""
    served = Feed()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, served.serve, 0, host="127.0.0.1"))
        served.port = listeners[0].socket.getsockname()[1]
        yield served
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()


def settings(port: int, **more: Any) -> dict[str, Any]:
    """Return the settings of the plugin."""
    return {"plugins": {"ticker": {"port": port, **more}}}


async def test_it_connects_publishes_each_line_and_says_goodbye(llmspell_open: HostOpener) -> None:
    async with feed() as served:
        async with llmspell_open(plugins=[TickerService], settings=settings(served.port)) as host:
            async with host.events.subscribe("ticker.*") as events:
                await served.streams[0].send_all(b"one\ntw")
                await served.streams[0].send_all(b"o\n")
                texts = []
                async for event in events:
                    texts.append(event.data["text"])
                    if len(texts) == 2:
                        break
            last = host.get(Ticker).last
            assert served.heard == []

        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (texts, last) == (["one", "two"], "two")
        assert b"".join(served.heard) == b"bye\n"


async def test_a_cancelled_host_hangs_up_in_order_too(llmspell_open: HostOpener) -> None:
    async with feed() as served:
        with trio.CancelScope() as scope:
            async with llmspell_open(plugins=[TickerService], settings=settings(served.port)):
                scope.cancel()
                await trio.sleep_forever()

        await trio.testing.wait_all_tasks_blocked(0.05)
        assert b"".join(served.heard) == b"bye\n"


async def free_port() -> int:
    """Return a port where nobody listens."""
    with trio.socket.socket() as socket:
        await socket.bind(("127.0.0.1", 0))
        port: int = socket.getsockname()[1]
        return port


async def test_without_a_feed_the_host_goes_on(llmspell_open: HostOpener) -> None:
    async with llmspell_open(plugins=[TickerService], settings=settings(await free_port())) as host:
        assert "ticker" in host.plugins.failed
        assert (await host.call("tool:calculator", {"input": "1 + 1"})).result["result"] == 2


async def test_where_it_is_required_operations_are_refused_without_a_feed(llmspell_open: HostOpener) -> None:
    async with llmspell_open(plugins=[TickerService], settings=settings(await free_port(), required=True)) as host:
        with pytest.raises(PluginRequiredError, match=r"ticker is not loaded: .*cannot be opened"):
            await host.call("tool:calculator", {"input": "1 + 1"})
