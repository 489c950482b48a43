"""What graphql_query does with a document before it is sent, in a child process: read, bound and check it.

Invariant: a document is sent only if its selection is no deeper than a limit, fragments written out; one that holds
itself has no depth and is refused.
"""

from __future__ import annotations

from typing import Any

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error

__all__ = ["check", "introspection_query", "sdl_of", "validate"]

_MOST_TOKENS = 20_000


def check(text: str, kind: str, name: str, max_depth: int) -> int:
    """Return how deep the document's operation is.

    Raises:
        ToolError: ``invalid_query``: it is none, or another kind of operation; ``limit_exceeded``: it is too deep.
    """
    from graphql import FragmentDefinitionNode, OperationDefinitionNode

    document = _parsed(text)
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    chosen = [each for each in operations if not name or (each.name and each.name.value == name)]
    if len(chosen) != 1:
        known = ", ".join(each.name.value for each in operations if each.name)[:100] or "none with a name"
        raise _invalid(f"{len(chosen)} of its operations are meant by {name[:40]!r} (it has {known})", "name one")
    if chosen[0].operation.value != kind:
        raise _invalid(f"it is a {chosen[0].operation.value} and no {kind}", "name the operation that it is")
    depth = max((_depth(each, fragments, (), {}, max_depth) for each in operations), default=0)
    if depth > max_depth:
        message = f"graphql_query: input: it is {depth} levels deep, above the limit of {max_depth}; ask for less"
        raise ToolError(message, code="limit_exceeded")
    return depth


def validate(text: str, schema: str) -> dict[str, Any]:
    """Return ``{valid, errors: [{message, line, column}]}`` of a document, by a schema in SDL if there is one."""
    import graphql

    try:
        document = graphql.parse(text, max_tokens=_MOST_TOKENS)
        built = graphql.build_schema(schema) if schema else None
    except graphql.GraphQLError as error:
        return {"valid": False, "errors": [_told(error)]}
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid(line_of_error(error)[:200], "correct the schema") from None
    errors = graphql.validate(built, document, max_errors=50) if built is not None else []
    return {"valid": not errors, "errors": [_told(error) for error in errors]}


def introspection_query() -> str:
    """Return the query that asks a server for its schema."""
    from graphql import get_introspection_query

    return get_introspection_query()


def sdl_of(schema: Any) -> str:
    """Return what a server told of its schema as SDL.

    Raises:
        ToolError: ``invalid_answer``.
    """
    from graphql import GraphQLError, build_client_schema, print_schema

    try:
        return print_schema(build_client_schema(schema))
    except (GraphQLError, TypeError, ValueError, KeyError, RecursionError) as error:
        message = f"graphql_query: the server's schema makes no sense ({line_of_error(error)[:200]}); ask its owner"
        raise ToolError(message, code="invalid_answer") from None


def _parsed(text: str) -> Any:
    from graphql import GraphQLError, parse

    try:
        return parse(text, max_tokens=_MOST_TOKENS)
    except GraphQLError as error:
        raise _invalid(line_of_error(error)[:200], "correct the GraphQL") from None
    except RecursionError:
        raise _invalid("it is nested too deeply", "ask for less") from None


def _depth(node: Any, fragments: Any, within: tuple[str, ...], known: dict[str, int], limit: int) -> int:
    """How many levels of fields are below a node; no more than a few above the limit are counted."""
    if node.selection_set is None:
        return 0
    if limit < 0:
        return 1
    deepest = 0
    for item in node.selection_set.selections:
        if item.kind == "fragment_spread":
            name = item.name.value
            if name in within:
                raise _invalid(f"its fragment {name[:40]!r} holds itself", "leave that out")
            if name not in fragments:
                raise _invalid(f"there is no fragment {name[:40]!r}", "write it, or leave it out")
            if name not in known:
                known[name] = _depth(fragments[name], fragments, (*within, name), known, limit)
            deepest = max(deepest, known[name])
        elif item.kind == "inline_fragment":
            deepest = max(deepest, _depth(item, fragments, within, known, limit))
        else:
            deepest = max(deepest, 1 + _depth(item, fragments, within, known, limit))
    return deepest


def _told(error: Any) -> dict[str, Any]:
    place = error.locations[0] if error.locations else None
    where = {"line": place.line, "column": place.column} if place else {}
    return {"message": error.message[:500], **where}


def _invalid(what: str, remedy: str) -> ToolError:
    return ToolError(f"graphql_query: input: {' '.join(what.split())}; {remedy}", code="invalid_query")
