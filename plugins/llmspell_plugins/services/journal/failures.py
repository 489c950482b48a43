"""Errors made anew from what is on record of them.

Invariant: a class of ours, or one of Python's own, comes back as itself with its text and its plain facts; any other
as an `OperationError` that says the same, with the same code.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from llmspell_hookspecs import errors
from llmspell_hookspecs.errors import LlmspellError, OperationError

__all__ = ["error_of"]


def error_of(facts: Mapping[str, Any]) -> Exception:
    """Return the error that these facts tell of."""
    name, message = str(facts.get("type", "")), str(facts.get("message", ""))
    own = getattr(errors, name, None)
    if isinstance(own, type) and issubclass(own, LlmspellError):
        error: Any = own.__new__(own, message)
        error.args = (message,)
        if "details" in getattr(own.__init__, "__annotations__", {}):
            error.details = facts.get("details")
        for key, value in dict(facts.get("facts") or {}).items():
            setattr(error, key, value)
        made: Exception = error
        return made
    python = getattr(builtins, name, None)
    if (
        isinstance(python, type)
        and issubclass(python, Exception)
        and not issubclass(python, UnicodeError | ExceptionGroup)
    ):
        again: Exception = python(message)
        return again
    foreign = OperationError(message)
    foreign.code = str(facts.get("code", "error"))
    return foreign
