"""The graphql_query tool: asks a GraphQL server, by GraphQL over HTTP, and tells its schema.

Invariant: a document is read and bounded here before it is sent; a mutation is sent once; a subscription ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.tool import Access, HostAccess
from llmspell_plugins.tools.child import run_child

from . import graphql_document
from .credentials import Authentication, Headers, auth_headers, secrets_in
from .exchange import Request, encoded_body, merged, payload, send, without_query
from .graphql_subscription import listen

__all__ = ["GraphqlQuery", "GraphqlQueryParameters", "GraphqlQuerySettings"]

_PARSE_S = 5.0


class GraphqlQueryParameters(BaseModel):
    """What graphql_query takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["query", "mutation", "subscription", "introspection", "validate"] = Field(
        default="query",
        description="query, mutation, subscription (over SSE), introspection (the schema), validate (nothing is sent).",
    )
    endpoint: str | None = Field(default=None, min_length=1, description="The server's URL; not for validate.")
    input: str = Field(default="", max_length=500_000, description="The GraphQL document.")
    variables: dict[str, Any] = Field(default={}, description="The values of its variables.")
    operation_name: str = Field(default="", max_length=200, description="Which of its operations, if it has several.")
    headers: Headers = Field(default={}, description="To send.")
    auth: Authentication | None = Field(default=None, description="The credentials.")
    sdl: str = Field(default="", max_length=2_000_000, description="The schema, in SDL, for validate.")
    max_events: int = Field(default=10, ge=1, le=10_000, description="For subscription: after so many it is left.")
    timeout_seconds: float = Field(default=10, gt=0, le=600, description="For subscription: after which it is left.")


class GraphqlQuerySettings(BaseModel):
    """``[tools.graphql_query]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_s: float = Field(default=30, gt=0, le=600, description="How long an answer, or a subscription, may take.")
    max_depth: int = Field(default=10, ge=1, le=100, description="How many levels of fields a document may have.")
    max_response_bytes: int = Field(
        default=10 * 1024 * 1024, ge=0, description="The largest answer that is read, or events together."
    )


class GraphqlQuery(Tool[GraphqlQueryParameters]):
    """Ask a GraphQL server with a query, mutation or subscription, tell its schema, and check documents."""

    name = "graphql_query"
    aliases = ("graphql-query", "graphql-query-tool")
    category = "api"
    level = SecurityLevel.PRIVILEGED
    examples = (
        ToolExample("a document that is sound", {"operation": "validate", "input": "{ a }"}, {"valid": True}),
        ToolExample(
            "a query with a variable",
            {"endpoint": "https://example.com/graphql", "input": "query($n: Int) { a(n: $n) }", "variables": {"n": 1}},
            needs="a server",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = GraphqlQuerySettings
    settings: GraphqlQuerySettings

    def access(self, parameters: GraphqlQueryParameters) -> Sequence[Access]:
        """Return that the endpoint is a URL."""
        return (HostAccess("endpoint"),)

    async def run(self, parameters: GraphqlQueryParameters, context: ToolContext) -> ToolResult:
        """Return ``{operation, endpoint, result}``, for validate ``{valid, errors}``.

        The result of a subscription is ``{events, count, ended}``: by ``complete``, ``max_events``, ``timeout``,
        ``closed`` (the server left without a word) or ``fault``, such as an event that is none.

        Errors of the server and faults are no success; the events before them are in the result.

        Raises:
            ToolError: ``invalid_query``, ``limit_exceeded``, ``http_status``, ``invalid_answer``, ``connection`` ...
            SecurityError: A redirect leads where the rules do not allow.
            ResourceLimitError: The answer is too large.
        """
        operation = parameters.operation
        if operation == "validate":
            found = await self._child(context, graphql_document.validate, parameters.input, parameters.sdl)
            return ToolResult(operation="validate", result=found)
        if parameters.endpoint is None:
            raise ToolError("graphql_query: endpoint: there is none; give the server's URL", code="invalid_input")
        if operation == "introspection":
            document = await self._child(context, graphql_document.introspection_query)
        else:
            document = parameters.input
            asked = (document, operation, parameters.operation_name, self.settings.max_depth)
            await self._child(context, graphql_document.check, *asked)
        if operation == "subscription":
            return await self._subscribed(parameters, context)
        answer = await self._answer(parameters, document, context)
        errors = answer.get("errors")
        result: Any = answer
        if operation == "introspection" and not errors:
            schema = answer.get("data")
            result = {"schema": schema, "sdl": await self._child(context, graphql_document.sdl_of, schema)}
        shown = without_query(parameters.endpoint)
        return ToolResult(
            operation=operation,
            success=not errors,
            message="the server answered with errors" if errors else "the server answered",
            error={"message": _first(errors), "code": "graphql"} if errors else None,
            result={"operation": operation, "endpoint": shown, "result": result},
        )

    async def _subscribed(self, parameters: GraphqlQueryParameters, context: ToolContext) -> ToolResult:
        """What a subscription tells until it ends, or until a bound."""
        # Before the call's own limit, which would leave nothing of what came.
        time_s = min(parameters.timeout_seconds, self.settings.timeout_s, 0.9 * context.limits.time_s)
        request = await self._request(parameters, parameters.input, "text/event-stream", time_s, context)
        heard = await listen(request, parameters.max_events, secrets_in(request.headers, parameters.auth), context)
        errors = next((each["errors"] for each in heard.events if each.get("errors")), None)
        found = {"events": heard.events, "count": len(heard.events), "ended": heard.ended}
        message = "the server told of errors" if errors else f"{len(heard.events)} events, ended by {heard.ended}"
        wrong = {"message": _first(errors), "code": "graphql"} if errors else None
        if heard.fault is not None:
            message = f"{heard.fault} ({len(heard.events)} events came before)"
            wrong = {"message": str(heard.fault), "code": heard.fault.code}
        return ToolResult(
            operation="subscription",
            success=wrong is None,
            message=message,
            error=wrong,
            result={"operation": "subscription", "endpoint": without_query(request.url), "result": found},
        )

    async def _request(
        self, parameters: GraphqlQueryParameters, document: str, accept: str, time_s: float, context: ToolContext
    ) -> Request:
        asked: dict[str, Any] = {"query": document}
        if parameters.operation != "introspection":
            asked |= {"variables": parameters.variables} if parameters.variables else {}
            asked |= {"operationName": parameters.operation_name} if parameters.operation_name else {}
        content, kind = await context.run_thread(encoded_body, asked, self.name)
        own = {"User-Agent": "llmspell", "Content-Type": kind, "Accept": accept}
        return Request(
            self.name,
            "POST",
            parameters.endpoint or "",
            merged(own, parameters.headers, auth_headers(parameters.auth)),
            content,
            min(time_s, context.limits.time_s),
            self.settings.max_response_bytes,
            context.call.addresses.get("endpoint", ()),
        )

    async def _answer(self, parameters: GraphqlQueryParameters, document: str, context: ToolContext) -> dict[str, Any]:
        accept = "application/graphql-response+json, application/json;q=0.9"
        request = await self._request(parameters, document, accept, self.settings.timeout_s, context)
        response = await send(request, context)
        context.charge(2 * len(response.body))
        body = (await context.run_thread(payload, response, secrets_in(request.headers, parameters.auth)))["body"]
        if isinstance(body, Mapping) and ("data" in body or "errors" in body):
            return dict(body)
        if response.status >= 400:
            message = f"graphql_query: the server answered {response.status}; check the endpoint and the credentials"
            raise ToolError(message, code="http_status", details={"status": response.status})
        message = "graphql_query: the answer has neither data nor errors; check that the endpoint speaks GraphQL"
        raise ToolError(message, code="invalid_answer")

    async def _child(self, context: ToolContext, function: Any, *arguments: Any) -> Any:
        return await run_child(context, self.name, "graphql", _PARSE_S, function, *arguments)


def _first(errors: Any) -> str:
    first = errors[0] if isinstance(errors, list) else errors
    return str(first.get("message", first) if isinstance(first, Mapping) else first)[:500]
