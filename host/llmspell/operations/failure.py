"""A failure as hooks change it: what leaves is an error of the same class with the new text.

Invariant: the new error holds nothing of the old one: no cause, context, note or argument, and of the attributes only
facts such as an operation's id or a status. What is made for a class that takes no bare text is a subclass of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmspell_hookspecs import Failure, InvalidInputError, LlmspellError, OperationError
from llmspell_hookspecs.errors import text_of_error

__all__ = ["changed_failure"]

_FIELDS: Final = ("message", "code", "details")
_FACTS: Final = frozenset(
    {
        *("accepted", "address", "component", "field", "file", "hook", "key", "limit", "limit_s", "line", "operation"),
        *("origin", "plugin", "point", "resource", "result", "retry_after_s", "retryable", "rule", "status"),
    }
)
"""What of an error is no text."""


def changed_failure(failure: Failure, value: Any, where: str) -> Failure:
    """Return the failure with the message, code and details that a hook gives it.

    Args:
        failure: As it was.
        value: A `Failure`, or a mapping of what changes.
        where: Which hook it is, for the error.

    Raises:
        InvalidInputError: The value is no failure.
    """
    if isinstance(value, Failure):
        value = {name: getattr(value, name) for name in _FIELDS}
    unknown = [str(key) for key in value if key not in _FIELDS] if isinstance(value, Mapping) else [""]
    if unknown:
        what = f"a failure has no field {unknown[0]!r}" if unknown[0] else f"a {type(value).__name__} is no failure"
        message = f"{where}: {what}; give message, code or details, or answer Replace to recover"
        raise InvalidInputError(message, field=unknown[0])
    for name in ("message", "code"):
        if not isinstance(value.get(name, ""), str):
            message = f"{where}: the {name} of a failure is a text, not {type(value[name]).__name__}; give one"
            raise InvalidInputError(message, field=name)
    text, code = value.get("message", failure.message), value.get("code", failure.code)
    details = value.get("details", failure.details if text == failure.message else None)
    error = None if failure.error is None else _retold(failure, text, code, details)
    return Failure(failure.type, text, code, error, details)


def _retold(failure: Failure, text: str, code: str, details: Any) -> Exception:
    old: Any = failure.error
    try:
        new = _made(type(old), text)
    except Exception:  # a class that cannot be made anew, such as a Rust extension's
        new = OperationError(text)
    if isinstance(new, LlmspellError):
        for name, value in vars(old).items():
            kept = name in _FACTS and not (isinstance(value, str) and failure.message in value)
            setattr(new, name, value if kept else "" if isinstance(value, str) else None)
        if hasattr(old, "reason"):
            new.reason = text  # type: ignore[attr-defined]
        if hasattr(old, "details"):
            new.details = details  # type: ignore[attr-defined]
        new.__dict__.pop("__notes__", None)
    if isinstance(new, LlmspellError) or code != "error":
        new.code = code  # type: ignore[attr-defined]
    return new


def _made(kind: type[Any], text: str) -> Exception:
    """Return an error of a class that says this text."""
    if issubclass(kind, BaseExceptionGroup):
        group: Any = kind(text, [OperationError(text)])
        return group  # type: ignore[no-any-return]
    error: Any = kind.__new__(kind, text)
    error.args = (text,)
    if text_of_error(error) == text:
        return error  # type: ignore[no-any-return]
    own: Any = type(kind.__name__, (kind,), {"__str__": lambda self: self.args[0], "__module__": kind.__module__})
    error = own.__new__(own, text)
    error.args = (text,)
    return error  # type: ignore[no-any-return]
