"""A GraphQL subscription over server-sent events: what a server tells until it ends, or until it was enough.

Source: the GraphQL over SSE protocol, "distinct connections" mode: one POST, answered by events ``next`` and
``complete``. Invariant: events, time and bytes are bounded, and leaving closes the connection, which ends the
subscription on the server; whatever ends it, the events that came before are kept. Durations in seconds, sizes in
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
import trio
from msgspec import Struct

from llmspell_hookspecs import NetworkAccess, ToolContext, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, line_of_error
from llmspell_hookspecs.network import HttpStream
from llmspell_plugins.providers.event_stream import EventStream

from .credentials import redact_value, revealed
from .exchange import Request, without_query

__all__ = ["Heard", "listen"]

_SHOWN = "graphql_query: subscription"
Ended: TypeAlias = Literal["complete", "max_events", "timeout", "closed", "fault"]


class Heard(Struct):
    """What came.

    Attributes:
        events: Each is a GraphQL answer with ``data`` or ``errors``.
        ended: By whom: the server that said so, one of the bounds, the server without a word, or a fault.
        fault: What went wrong behind the events; None if nothing did.
        size_bytes: Of all events together.
    """

    events: list[dict[str, Any]] = []
    ended: Ended = "closed"
    fault: ToolError | ResourceLimitError | None = None
    size_bytes: int = 0


async def listen(request: Request, most: int, secrets: Sequence[bytes], context: ToolContext) -> Heard:
    """Return the events of a subscription.

    Args:
        request: What asks for it; its time and size bound the whole.
        most: How many events are waited for.
        secrets: What must not come back.
        context: The call's.

    Raises:
        ToolError: Before any event: ``http_status``, ``invalid_answer``, ``connection`` or ``timeout``: nothing began
            in time.
        SecurityError: The host is not allowed.
        ResourceLimitError: The first event is too large.
    """
    heard = Heard()
    try:
        await _listen(request, most, heard, secrets, context)
    except (ToolError, ResourceLimitError) as error:
        if not heard.events:
            raise
        heard.ended, heard.fault = "fault", error
    if heard.ended == "closed" and not heard.events:
        message = f"{_SHOWN}: the server closed the stream without an event; check that it speaks GraphQL over SSE"
        raise ToolError(message, code="invalid_answer")
    return heard


async def _listen(request: Request, most: int, heard: Heard, secrets: Sequence[bytes], context: ToolContext) -> None:
    began = False
    stream = context.services.get(NetworkAccess).stream(
        request.method,
        request.url,
        headers=revealed(request.headers),
        content=request.content or b"",
        read_timeout_s=request.timeout_s + 1,
        max_bytes=request.max_bytes,
    )
    with trio.move_on_after(request.timeout_s) as scope:
        async with stream as answer:
            await _check(answer, secrets)
            began = True
            await _gather(answer, heard, most, secrets, context)
    if scope.cancelled_caught:
        if not began:
            message = f"{_SHOWN}: {without_query(request.url)} did not answer within {request.timeout_s:g} s; try later"
            raise ToolError(message, code="timeout")
        heard.ended = "timeout"


async def _check(answer: HttpStream, secrets: Sequence[bytes]) -> None:
    """Refuse an answer that is no stream of events."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if answer.status == 200 and encoding not in ("", "identity"):
        message = (
            f"{_SHOWN}: the server packs its events ({encoding[:40]!r}), which was not asked for; let it send them bare"
        )
        raise ToolError(message, code="invalid_answer", details={"status": answer.status})
    if answer.status == 200 and kind == "text/event-stream":
        return
    said = _first_error(redact_value(_decoded((await answer.read())[:65_536]), secrets))
    what = f"the server answered {answer.status}{f' ({said})' if said else ''} and no stream of events"
    message = f"{_SHOWN}: {what}; check that it speaks GraphQL over SSE (WebSocket is not spoken here)"
    code = "http_status" if answer.status != 200 else "invalid_answer"
    raise ToolError(message, code=code, details={"status": answer.status})


def _first_error(told: Any) -> str:
    """The words of a GraphQL answer's first error; empty if it has none."""
    errors = told.get("errors") if isinstance(told, Mapping) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return (
        line_of_error(ValueError(str(first["message"])[:200]))
        if isinstance(first, Mapping) and "message" in first
        else ""
    )


async def _gather(answer: HttpStream, heard: Heard, most: int, secrets: Sequence[bytes], context: ToolContext) -> None:
    events = EventStream(bare=b"complete")
    async for piece in answer:
        try:
            fed = list(events.feed(piece))
        except ValueError as error:
            message = f"{_SHOWN}: {line_of_error(error)}; let the server send less at once"
            raise ToolError(message, code="invalid_answer") from None
        if await _take(fed, heard, most, secrets, context):
            return
    await _take(list(events.end()), heard, most, secrets, context)


async def _take(
    events: Sequence[tuple[bytes, bytes]], heard: Heard, most: int, secrets: Sequence[bytes], context: ToolContext
) -> bool:
    """Keep the events; return whether it was the last one."""
    for name, data in events:
        await trio.lowlevel.checkpoint()
        if name == b"complete":
            heard.ended = "complete"
            return True
        if name != b"next":
            continue
        context.charge(2 * len(data))
        told = redact_value(_decoded(data), secrets)
        if not (isinstance(told, dict) and ("data" in told or "errors" in told)):
            which = f"event {len(heard.events) + 1}"
            message = f"{_SHOWN}: {which} has neither data nor errors; check that the endpoint speaks GraphQL over SSE"
            raise ToolError(message, code="invalid_answer")
        heard.events.append(told)
        heard.size_bytes += len(data)
        if len(heard.events) >= most:
            heard.ended = "max_events"
            return True
    return False


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
