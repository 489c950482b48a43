"""The figures as Prometheus reads them, written by its own client, and the page that serves them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import trio

__all__ = ["CONTENT_TYPE", "render", "serve"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_REQUEST_S: Final = 10.0
_LARGEST: Final = 65_536


def render(families: Iterable[Any]) -> bytes:
    """Return families of ``prometheus_client`` in its text format."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    made = list(families)

    class Once(Collector):
        def collect(self) -> Iterable[Any]:
            return made

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    return generate_latest(registry)


async def serve(page: Callable[[], bytes], stream: trio.SocketStream) -> None:
    """Answer the requests of one connection: ``GET /metrics`` with the page, 404 otherwise."""
    import h11

    connection = h11.Connection(h11.SERVER)
    async with stream:
        with trio.move_on_after(_REQUEST_S) as patience:
            while True:
                try:
                    event = connection.next_event()
                except h11.RemoteProtocolError:
                    return
                if event is h11.NEED_DATA:
                    if connection.trailing_data[0] and len(connection.trailing_data[0]) > _LARGEST:
                        return
                    connection.receive_data(await stream.receive_some(_LARGEST))
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.EndOfMessage):
                    await _answer(connection, stream, request, page)
                    if connection.our_state is h11.MUST_CLOSE:
                        return
                    connection.start_next_cycle()
                    patience.deadline = trio.current_time() + _REQUEST_S
                elif isinstance(event, h11.ConnectionClosed):
                    return


async def _answer(connection: Any, stream: trio.SocketStream, request: Any, page: Callable[[], bytes]) -> None:
    import h11

    path = request.target.partition(b"?")[0]
    if path != b"/metrics":
        status, body = 404, b"there is /metrics\n"
    elif request.method not in (b"GET", b"HEAD"):
        status, body = 405, b"GET it\n"
    else:
        status, body = 200, page()
    headers = [("content-type", CONTENT_TYPE), ("content-length", str(len(body)))]
    data = connection.send(h11.Response(status_code=status, headers=headers))
    if request.method != b"HEAD":
        data += connection.send(h11.Data(data=body))
    await stream.send_all(data + connection.send(h11.EndOfMessage()))
