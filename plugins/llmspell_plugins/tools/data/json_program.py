"""What the json_processor does in a child process: jq programs and JSON schemas, over JSON text.

Invariant: a program sees its input and nothing else: no environment, no module, no file. Both libraries run patterns
that may take forever, so these functions run where they can be killed. Numbers in jq are doubles;
`json_integers` keeps integers that doubles would change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error

from .json_integers import at_paths, may_hold_wide, restored
from .json_text import check, decode, encode

__all__ = ["query", "stream", "validate"]

# One line, so that the program's own lines are those that jq counts, less one.
_PRELUDE = (
    "def env: {}; def get_search_list: []; def halt_error: error; def halt_error($code): error; "
    'def modulemeta: error("modules are off"); def input: error("there is no further input"); {} as $ENV |\n'
)
_INPUT = "json_processor: input"


def query(text: str, program: str) -> str:
    """Return, as JSON, the program's one result, or all of them in an array.

    Raises:
        ToolError: ``invalid_input``, ``invalid_query`` or ``query_failed``.
    """
    compiled = _compiled(program)
    check(text, _INPUT)
    results = list(_results(program, compiled, text, _INPUT))
    return encode(results[0] if len(results) == 1 else results, "json_processor: result")


def stream(text: str, program: str) -> str:
    """Return, as a JSON array, all results for all lines, each a JSON value; empty lines count for nothing.

    Raises:
        ToolError: As `query`; names the line.
    """
    compiled = _compiled(program)
    return encode(list(_stream(program, compiled, text.split("\n"))), "json_processor: result")


def validate(text: str, schema_text: str) -> str:
    """Return ``{valid, errors: [{message, field, code}]}`` as JSON; formats are checked, references leave no document.

    Raises:
        ToolError: ``invalid_input`` or ``invalid_schema``.
    """
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing.exceptions import Unresolvable

    value = decode(text, _INPUT)
    schema: Any = decode(schema_text, "json_processor: schema")
    if not isinstance(schema, dict | bool):
        raise _invalid_schema("it is no object")
    if isinstance(schema, dict) and not isinstance(schema.get("$schema", ""), str):
        raise _invalid_schema(f"its $schema is {schema['$schema']!r}, no address")
    validator: Any = validator_for(schema, default=Draft202012Validator)
    try:
        validator.check_schema(schema)
        errors = [_told(error) for error in _checker(validator, schema).iter_errors(value)]
    except SchemaError as error:
        raise _invalid_schema(f"{error.message} at {error.json_path}") from None
    except Unresolvable as error:
        raise _invalid_schema(f"{error.ref!r} is not defined in it") from None
    except re.error as error:
        raise _invalid_schema(f"a pattern is wrong, {line_of_error(error)}") from None
    except RecursionError:
        raise _invalid_schema("it refers to itself without end, or is nested too deeply") from None
    return encode({"valid": not errors, "errors": errors}, "json_processor: result")


def _compiled(program: str) -> Any:
    import jq

    try:
        return jq.compile(_PRELUDE + (program.strip() or "."))
    except ValueError as error:
        raise ToolError(
            f"json_processor: query: {_plain(error)}; correct the jq program", code="invalid_query"
        ) from None


def _results(program: str, compiled: Any, text: str, where: str) -> Iterator[Any]:
    try:
        if not may_hold_wide(text):
            yield from compiled.input_text(text)
            return
        value = decode(text, where)
        found = _passed_on(program, text, value)
        yield from restored(value, compiled.input_text(text).all(), where) if found is None else found
    except RecursionError:
        raise ToolError(f"{where}: it is nested too deeply; give valid JSON", code="invalid_input") from None
    except ValueError as error:
        raise ToolError(
            f"{where}: jq says {_plain(error)}; change the query or the input", code="query_failed"
        ) from None


def _passed_on(program: str, text: str, value: Any) -> list[Any] | None:
    """The results of a program that only picks parts of its input; None for one that makes something of them."""
    try:
        return at_paths(value, _compiled(f"path({program.strip() or '.'}\n)").input_text(text).all())
    except (ToolError, ValueError):
        return None


def _stream(program: str, compiled: Any, lines: Iterable[str]) -> Iterator[Any]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"json_processor: line {number} of input"
            check(line, where)
            yield from _results(program, compiled, line, where)


def _plain(error: ValueError) -> str:
    """Return jq's first sentence, in one line, with the program's own line numbers."""
    first = str(error).partition("\n")[0].removeprefix("jq: error: ").rstrip(":")
    return re.sub(r"at <top-level>, line (\d+)", lambda match: f"at line {int(match[1]) - 1}", first)[:500]


def _checker(validator: Any, schema: Any) -> Any:
    """Return a validator that fetches nothing: it knows the published drafts, and the schema."""
    from jsonschema_specifications import REGISTRY

    return validator(schema, registry=REGISTRY, format_checker=validator.FORMAT_CHECKER)


def _told(error: Any) -> dict[str, str]:
    message = cast(str, error.message)
    shown = message if len(message) <= 500 else f"{message[:497]}..."
    return {"message": shown, "field": ".".join(map(str, error.absolute_path)), "code": str(error.validator)}


def _invalid_schema(what: str) -> ToolError:
    return ToolError(f"json_processor: schema: {' '.join(what.split())[:500]}; correct it", code="invalid_schema")
