"""graphql_query: against a server of graphql-core on loopback."""

from __future__ import annotations

import json
from typing import Any

import pytest
from graphql import build_schema, graphql_sync, print_schema

from kernel import opened
from llmspell_hookspecs import ToolError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_plugins.tools.api.graphql_query import GraphqlQuery
from loopback import LOOPBACK, serve

SCHEMA = build_schema(
    "type Query { add(a: Int!, b: Int = 1): Int! self: Query } type Mutation { set(to: String): String }"
)


class Root:
    """What the server's schema resolves to."""

    def add(self, info: Any, a: int, b: int) -> int:
        return a + b

    def set(self, info: Any, to: str) -> str:
        return to.upper()


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
