"""graphql_query: against a server of graphql-core on loopback."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from graphql import ExecutionResult, build_schema, graphql_sync, parse, print_schema, subscribe, validate

from kernel import opened
from llmspell_hookspecs import ToolError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_plugins.tools.api.graphql_query import GraphqlQuery
from loopback import LOOPBACK, serve
from waiting import PATIENCE_S

SCHEMA = build_schema(
    "type Query { add(a: Int!, b: Int = 1): Int! self: Query } type Mutation { set(to: String): String } "
    "type Subscription { count(to: Int!): Int! }"
)


class Root:
    """What the server's schema resolves to."""

    def add(self, info: Any, a: int, b: int) -> int:
        return a + b

    def set(self, info: Any, to: str) -> str:
        return to.upper()

    async def count(self, info: Any, to: int) -> AsyncIterator[dict[str, int]]:
        for number in range(1, to + 1):
            yield {"count": number}


def answer(handler: Any, count: int) -> None:
    asked = json.loads(handler.server.seen[-1].body)
    told = graphql_sync(SCHEMA, asked["query"], Root(), None, asked.get("variables"), asked.get("operationName"))
    handler.reply(json.dumps(told.formatted).encode(), 200, "application/graphql-response+json")


async def _call(settings: dict[str, Any] | None = None, /, **parameters: Any) -> ToolResult:
    tables = {**LOOPBACK, "tools": {"graphql_query": settings}} if settings else LOOPBACK
    async with opened(GraphqlQuery, settings=tables) as host:
        result: ToolResult = await host.call("tool:graphql_query", parameters)
        return result


async def test_a_query_and_a_mutation_are_answered() -> None:
    two = "query A($n: Int!) { x: add(a: $n, b: 2) } query B { add(a: 5) }"
    with serve(answer) as server:
        first = await _call(endpoint=f"{server.url}/?k=s3cret", input=two, variables={"n": 40}, operation_name="A")
        second = await _call(endpoint=server.url, operation="mutation", input='mutation { set(to: "a") }')
    told = {"operation": "query", "endpoint": f"{server.url}/", "result": {"data": {"x": 42}}}
    assert first.result == told
    assert second.result["result"] == {"data": {"set": "A"}}


async def test_introspection_tells_the_schema() -> None:
    with serve(answer) as server:
        result = (await _call(endpoint=server.url, operation="introspection")).result["result"]
    assert result["sdl"] == print_schema(SCHEMA)
    assert result["schema"]["__schema"]["queryType"]["name"] == "Query"


async def test_errors_of_the_server_are_no_success() -> None:
    with serve(answer) as server:
        result = await _call(endpoint=server.url, input="{ nothing }")
    assert not result.success
    assert result.error is not None
    assert result.error["message"] == "Cannot query field 'nothing' on type 'Query'."


async def test_a_document_is_checked_by_a_schema_without_being_sent() -> None:
    sound = (await _call(operation="validate", input="{ add(a: 1) }", sdl=print_schema(SCHEMA))).result
    wrong = (await _call(operation="validate", input="{ add }", sdl=print_schema(SCHEMA))).result
    assert sound == {"valid": True, "errors": []}
    assert (wrong["valid"], wrong["errors"][0]["line"]) == (False, 1)


CYCLE = "query { ...A } fragment A on Query { self { ...B } } fragment B on Query { ...A }"
HOSTILE = ["{", "", "{ self { " * 11 + "add(a: 1)" + " } }" * 11, "{ " * 50_000, CYCLE, "{ ...C }", "mutation { set }"]


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_document_that_is_wrong_or_too_deep_is_not_sent(text: str) -> None:
    with serve(answer) as server:
        with pytest.raises(ToolError) as caught:
            await _call(endpoint=server.url, input=text)
        assert not server.seen
    assert caught.value.code in ("invalid_query", "limit_exceeded")


async def test_depth_counts_through_fragments_and_has_a_setting() -> None:
    text = "{ self { ...F } } fragment F on Query { self { add(a: 1) } }"
    with serve(answer) as server:
        with pytest.raises(ToolError, match="above the limit of 2"):
            await _call({"max_depth": 2}, endpoint=server.url, input=text)
        assert (await _call({"max_depth": 3}, endpoint=server.url, input=text)).success


async def test_other_answers_private_hosts_and_large_answers_are_refused() -> None:
    with (
        serve(lambda handler, count: handler.reply(b"[]", kind="application/json")) as server,
        pytest.raises(ToolError, match="neither data nor errors"),
    ):
        await _call(endpoint=server.url, input="{ a }")
    with serve(answer) as server:
        with pytest.raises(ResourceLimitError):
            await _call({"max_response_bytes": 5}, endpoint=server.url, input="{ add(a: 1) }")
        with pytest.raises(SecurityError):
            await _call(endpoint=server.url.replace("127.0.0.1", "127.0.0.2"), input="{ a }")


def tell(handler: Any, count: int) -> None:
    """What graphql-core makes of a subscription, as server-sent events in "distinct connections" mode."""
    seen = handler.server.seen[-1]
    asked = json.loads(seen.body)
    handler.close_connection = True
    if "text/event-stream" not in seen.headers["accept"]:
        handler.reply(b"{}", 406)
        return
    handler.send_response(200)
    handler.send_header("content-type", "text/event-stream; charset=utf-8")
    handler.end_headers()

    async def run() -> None:
        document = parse(asked["query"])
        wrong = validate(SCHEMA, document)
        told: Any = ExecutionResult(None, wrong) if wrong else None
        told = told or subscribe(SCHEMA, document, Root(), None, asked.get("variables"))
        told = await told if inspect.isawaitable(told) else told
        results = [told] if isinstance(told, ExecutionResult) else [each async for each in told]
        for each in results:
            handler.wfile.write(b": a comment\n\n\nevent: next\ndata: " + json.dumps(each.formatted).encode() + b"\n\n")
            handler.wfile.flush()
        handler.wfile.write(b"event: complete\ndata: \n\n")

    asyncio.run(run())


COUNT = "subscription C($n: Int!) { count(to: $n) }"


async def test_a_subscription_is_heard_to_its_end() -> None:
    with serve(tell) as server:
        answered = await _call(
            endpoint=f"{server.url}/?k=s3cret", operation="subscription", input=COUNT, variables={"n": 3}
        )

    assert answered.result["endpoint"] == f"{server.url}/"
    assert answered.result["result"] == {
        "events": [{"data": {"count": number}} for number in (1, 2, 3)],
        "count": 3,
        "ended": "complete",
    }


async def test_errors_within_a_subscription_are_no_success() -> None:
    with serve(tell) as server:
        answered = await _call(
            endpoint=server.url, operation="subscription", input="subscription { count(to: 1, x: 2) }"
        )

    assert not answered.success
    assert answered.error == {"message": "Unknown argument 'x' on field 'Subscription.count'.", "code": "graphql"}


def endless(silence_after: int, gone: threading.Event) -> Any:
    def tell(handler: Any, count: int) -> None:
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        try:
            number = 0
            while True:
                if number < silence_after:
                    number += 1
                    handler.wfile.write(b'event: next\r\ndata: {"data": {"count": %d}}\r\n\r\n' % number)
                else:
                    time.sleep(0.01)
                    handler.wfile.write(b": still here\n\n")
                handler.wfile.flush()
        except OSError:
            gone.set()

    return tell


@pytest.mark.parametrize(("bound", "ended", "count"), [({"max_events": 5}, "max_events", 5), ({}, "timeout", 20)])
async def test_a_subscription_without_end_is_left_and_the_server_sees_it(bound: Any, ended: str, count: int) -> None:
    gone = threading.Event()
    with serve(endless(20, gone)) as server:
        asked = {"max_events": 100, "timeout_seconds": 0.5, **bound}
        answered = await _call(endpoint=server.url, operation="subscription", input="subscription { count }", **asked)
        assert await trio.to_thread.run_sync(gone.wait, PATIENCE_S)

    found = answered.result["result"]
    assert (found["ended"], found["count"]) == (ended, count)
    assert found["events"] == [{"data": {"count": number}} for number in range(1, count + 1)]


async def test_a_subscription_that_is_too_large_or_never_begins_is_one_error() -> None:
    with serve(endless(10**9, threading.Event())) as server, pytest.raises(ResourceLimitError):
        asked: dict[str, Any] = {"operation": "subscription", "input": "subscription { a }", "max_events": 10_000}
        await _call({"max_response_bytes": 20}, endpoint=server.url, **asked)

    def silent(handler: Any, count: int) -> None:
        handler.close_connection = True
        handler.connection.recv(1)

    with serve(silent) as server, pytest.raises(ToolError, match="did not answer within") as caught:
        await _call(endpoint=server.url, **asked, timeout_seconds=0.3)
    assert caught.value.code == "timeout"


@pytest.mark.parametrize(
    ("status", "kind", "body", "code"),
    [
        (200, "application/json", b'{"errors": [{"message": "over\\nWebSocket\\u001b only"}]}', "invalid_answer"),
        (405, "text/html", b"<h1>no</h1>", "http_status"),
        (302, "text/event-stream", b"", "http_status"),
        (200, "text/event-stream", b"event: next\ndata: [1]\n\n", "invalid_answer"),
        (200, "text/event-stream", b'event: next\ndata: {"data"\n\n', "invalid_answer"),
    ],
)
async def test_what_is_no_stream_of_graphql_is_told_in_a_line(status: int, kind: str, body: bytes, code: str) -> None:
    with (
        serve(lambda handler, count: handler.reply(body, status, kind, Location="http://127.0.0.1:1/")) as server,
        pytest.raises(ToolError, match="check that") as caught,
    ):
        await _call(endpoint=server.url, operation="subscription", input="subscription { a }")

    assert caught.value.code == code
    assert str(caught.value).isprintable()


async def test_a_subscription_shows_no_credentials_and_goes_to_no_private_host() -> None:
    def echo(handler: Any, count: int) -> None:
        token = handler.server.seen[-1].headers["authorization"]
        handler.reply(b'event: next\ndata: {"data": {"a": "%s"}}\n\n' % token.encode(), 200, "text/event-stream")

    asked: dict[str, Any] = {"operation": "subscription", "input": "subscription { a }"}
    with serve(echo) as server:
        answered = await _call(endpoint=server.url, **asked, auth={"type": "bearer", "token": "s3cret-token"})
        with pytest.raises(SecurityError):
            await _call(endpoint=server.url.replace("127.0.0.1", "127.0.0.2"), **asked)

    assert answered.result["result"]["events"] == [{"data": {"a": "[redacted]"}}]
    assert answered.result["result"]["ended"] == "closed"


GOOD = b'event: next\ndata: {"data": {"a": 1}}\n\n'


def _cut(handler: Any, count: int) -> None:
    """Announce more than is sent, and leave."""
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("content-type", "text/event-stream")
    handler.send_header("content-length", "100000")
    handler.end_headers()
    handler.wfile.write(2 * GOOD)


def _sends(body: bytes) -> Any:
    return lambda handler, count: handler.reply(body, 200, "text/event-stream")


@pytest.mark.parametrize(
    ("tell", "code", "said"),
    [
        (_sends(2 * GOOD + b"event: next\ndata: [1]\n\n" + GOOD), "invalid_answer", "event 3 has neither data"),
        (_sends(2 * GOOD + b'event: next\ndata: {"da'), "invalid_answer", "event 3 has neither data"),
        (_sends(2 * GOOD + b"data: " + b"x" * 5_000_000), "invalid_answer", "a line of its stream is longer"),
        (_cut, "connection", "the connection ended before the answer was whole"),
    ],
)
async def test_events_before_a_fault_are_kept_and_the_fault_is_named(tell: Any, code: str, said: str) -> None:
    asked: dict[str, Any] = {"operation": "subscription", "input": "subscription { a }"}
    with serve(tell) as server:
        answered = await _call(endpoint=server.url, **asked)

    assert answered.result["result"] == {"events": 2 * [{"data": {"a": 1}}], "count": 2, "ended": "fault"}
    assert not answered.success
    assert answered.error is not None
    assert answered.error["code"] == code
    assert said in answered.error["message"]
    assert str(answered.error["message"]) in answered.message


async def test_a_stream_without_an_event_is_no_subscription_that_ended_unless_the_server_says_so() -> None:
    asked: dict[str, Any] = {"operation": "subscription", "input": "subscription { a }"}
    for body in (b"", b": nothing\n\n"):
        with serve(_sends(body)) as server, pytest.raises(ToolError, match="without an event") as caught:
            await _call(endpoint=server.url, **asked)
        assert caught.value.code == "invalid_answer"

    with serve(_sends(b"event: complete\n\n")) as server:
        answered = await _call(endpoint=server.url, **asked)

    assert answered.result["result"] == {"events": [], "count": 0, "ended": "complete"}


async def test_a_query_is_no_subscription_and_is_not_sent() -> None:
    with serve(tell) as server:
        with pytest.raises(ToolError, match="it is a query and no subscription"):
            await _call(endpoint=server.url, operation="subscription", input="{ add(a: 1) }")
        assert not server.seen


async def test_a_packed_stream_and_a_line_without_end_are_told() -> None:
    asked: dict[str, Any] = {"operation": "subscription", "input": "subscription { a }"}

    def packed(handler: Any, count: int) -> None:
        handler.reply(b"\x1f\x8b", 200, "text/event-stream", Content_Encoding="gzip")

    with serve(packed) as server, pytest.raises(ToolError, match="packs its events") as caught:
        await _call(endpoint=server.url, **asked)
    assert caught.value.code == "invalid_answer"

    def long(handler: Any, count: int) -> None:
        handler.reply(b"data: " + b"x" * 5_000_000, 200, "text/event-stream")

    with serve(long) as server, pytest.raises(ToolError, match="a line of its stream is longer") as caught:
        await _call(endpoint=server.url, **asked)
    assert caught.value.code == "invalid_answer"
