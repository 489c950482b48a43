"""An error as hooks see it, and as they change it: what leaves is an error of the same class with the new text.

Invariant: the new error holds nothing of the old one: no cause, context, note or argument, and of the attributes only
facts such as an operation's id or a status. What is made for a class that takes no bare text is a subclass of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MemberDescriptorType
from typing import Any, Final

from .context import Failure
from .errors import InvalidInputError, LlmspellError, OperationCancelledError, OperationError, ToolError, text_of_error
from .values import freeze, restore

__all__ = ["causes_of", "changed_failure", "failure_of", "is_denied", "shown_error"]

_CAUSES: Final = 8
_FIELDS: Final = ("message", "code", "details")
_FACTS: Final = frozenset(
    {
        *("accepted", "address", "component", "field", "file", "hook", "key", "limit", "limit_s", "line", "operation"),
        *("origin", "plugin", "point", "resource", "result", "retry_after_s", "retryable", "rule", "status"),
    }
)
"""What of an error is no text."""


def failure_of(error: BaseException) -> Failure:
    """Return an error as hooks see it."""
    plain = issubclass(type(error), Exception)
    try:
        code = getattr(error, "code", "error") if plain else "cancelled"
    except Exception:  # its own code ran
        code = "error"
    name: str = type.__dict__["__name__"].__get__(type(error))
    shown = shown_error(error)
    details = shown.details if isinstance(shown, ToolError) else None
    return Failure(name, text_of_error(error), code if type(code) is str else "error", shown, details)


def is_denied(error: BaseException | None) -> bool:
    """Return whether a hook cancelled what an error comes from: an operation within the one that failed."""
    while error is not None:
        if isinstance(error, OperationCancelledError):
            return True
        error = error.__cause__
    return False


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what it comes from, and so on, each once."""
    seen: BaseException | None = error
    known: set[int] = set()
    while seen is not None and id(seen) not in known:
        known.add(id(seen))
        yield seen
        seen = seen.__cause__ or seen.__context__


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


def shown_error(error: BaseException) -> BaseException:
    """Return a copy of an error, for hooks: of its class, with its text, attributes, cause and traceback.

    What hooks do to it changes nothing that the caller gets. What cannot be copied is a plain error of the same name; a
    cancellation, which is nobody's to change, is itself.
    """
    return _copied(error, _CAUSES) if isinstance(error, Exception) else error


def _copied(error: BaseException, causes: int) -> BaseException:
    kind, text = type(error), text_of_error(error)
    try:
        copy = _emptied(kind, error)
        for name, value in vars(error).items():
            copy.__dict__[name] = _fresh(value)
        if text_of_error(copy) != text:
            copy = _stand_in(kind, text)
    except Exception:  # a class with a state of its own
        copy = _stand_in(kind, text)
    if causes:
        copy.__cause__ = None if error.__cause__ is None else _copied(error.__cause__, causes - 1)
        copy.__context__ = None if error.__context__ is None else _copied(error.__context__, causes - 1)
    copy.__suppress_context__ = error.__suppress_context__
    return copy.with_traceback(error.__traceback__)


def _emptied(kind: type[BaseException], error: BaseException) -> BaseException:
    """Return an error of this class with the arguments of another, made without running code of the class."""
    base: Any = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    arguments = tuple(_fresh(argument) for argument in error.args)
    copy: BaseException = base.__new__(kind, *arguments)
    base.__init__(copy, *arguments)
    members = {name: member for each in base.__mro__ for name, member in vars(each).items()}
    for name, member in members.items():
        if isinstance(member, MemberDescriptorType) and getattr(error, name, None) is not None:
            with suppress(AttributeError, TypeError):
                setattr(copy, name, getattr(error, name))
    return copy


def _fresh(value: Any) -> Any:
    """Return a value of an error's that is nobody else's; as it is if it is none of those that can be copied."""
    if isinstance(value, BaseException):
        return shown_error(value)
    if type(value) in (list, tuple) and any(isinstance(item, BaseException) for item in value):  # of a group
        return type(value)(map(_fresh, value))
    try:
        return restore(freeze(value))
    except InvalidInputError:
        return value


def _stand_in(kind: type[BaseException], text: str) -> BaseException:
    made: BaseException = type(kind.__name__, (Exception,), {"__module__": kind.__module__})(text)
    return made
