"""What the template_engine runs in a child process: templates filled and checked, by whichever engine.

Invariant: what comes out is counted piece by piece, and an error is one line. Sizes in characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import ResourceLimitError, line_of_error
from llmspell_hookspecs.spelling import meant

__all__ = ["detected", "render", "validate"]

_MOST = 5_000_000
_MOST_SAID = 300
_UNKNOWN = re.compile(r"No (filter|test) named '(.*)'\.", re.DOTALL)
_HANDLEBARS = re.compile(r"\{\{~?(?:[#/^!&>{]|else\b|this\b|@|\.\./)")


def detected(text: str) -> Literal["tera", "handlebars"]:
    """Return the engine that a template is for, by its tags."""
    return "handlebars" if "{%" not in text and _HANDLEBARS.search(text) else "tera"


def render(text: str, engine: str, values: dict[str, Any], escape: bool) -> str:
    """Return the text with the values filled in.

    Raises:
        ToolError: ``invalid_template``: it is wrong, or a value is missing or of the wrong kind.
        ResourceLimitError: What comes out is too long.
    """
    pieces: list[str] = []
    size = 0
    try:
        for piece in _pieces(text, engine, values, escape):
            size += len(piece)
            if size > _MOST:
                message = f"template_engine: the text is longer than {_MOST} characters; loop less"
                raise ResourceLimitError(message, resource="characters", limit=_MOST)
            pieces.append(piece)
    except _wrong() as error:
        raise ToolError(f"template_engine: input: {_why(error)}; correct it", code="invalid_template") from None
    return "".join(pieces)


def validate(text: str, engine: str) -> dict[str, Any]:
    """Return ``{valid, errors: [{message, line}]}``: whether it can be read; values are not looked for."""
    try:
        if engine == "tera":
            from .tera import environment

            environment(escape=False).from_string(text)
        else:
            from .handlebars import parsed

            parsed(text)
    except _wrong() as error:
        told = {"message": _why(error), "line": getattr(error, "lineno", None)}
        return {"valid": False, "errors": [{key: value for key, value in told.items() if value is not None}]}
    return {"valid": True, "errors": []}


def _pieces(text: str, engine: str, values: dict[str, Any], escape: bool) -> Iterator[str]:
    if engine == "tera":
        from .tera import environment, values_for

        return iter(environment(escape=escape).from_string(text).generate(values_for(values)))
    from .handlebars import filled

    return filled(text, values, escape=escape)


def _wrong() -> tuple[type[Exception], ...]:
    from jinja2 import TemplateError

    # A filter on a value of another kind has many ways to fail; what is wrong with the memory is none of them.
    kinds = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError, SyntaxError)
    return (TemplateError, re.error, *kinds)


def _why(error: Exception) -> str:
    from jinja2 import TemplateSyntaxError

    if isinstance(error, RecursionError):
        return "it is nested too deep"
    line = getattr(error, "lineno", None) or _line_of(error)
    said = line_of_error(error)
    if isinstance(error, SyntaxError):  # of what the template was made into, which has lines of its own
        line, said = None, "break and continue stand within loops only"
    elif isinstance(error, TypeError):
        said = f"values of these kinds do not go together: {said}"
    elif isinstance(error, TemplateSyntaxError) and (found := _UNKNOWN.match(said)):
        from .tera_filters import FILTERS, TESTS

        kind, name = found.groups()
        known = FILTERS if kind == "filter" else TESTS
        said = f"there is no {kind} {name!r}; {meant(name, known, 'see the documentation of Tera 1')}"
    return f"{f'line {line}: ' if line else ''}{said[:_MOST_SAID]}"


def _line_of(error: Exception) -> int | None:
    """The line of the template at which it failed, of which jinja2 makes frames of their own."""
    trace, line = error.__traceback__, None
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == "<template>" else line
        trace = trace.tb_next
    return line
