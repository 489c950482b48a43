"""Code that others wrote: whatever it raises becomes one error that names it, and harms nobody else.

The one room in which every class of exception is caught: a plugin may raise ``SystemExit`` (its library calls
``sys.exit``), a ``KeyboardInterrupt`` of its own, asyncio's ``CancelledError``, or what a Rust extension panics with.

Invariant: a cancellation by trio and the user's own Ctrl-C always go on. What tells of a failure cannot fail itself.
"""

from __future__ import annotations

import dis
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from math import inf
from types import ModuleType, TracebackType
from typing import Final, Literal

from pydantic import create_model

from .errors import DepthLimitError, LlmspellError, OperationError, PluginError, line_of_error

__all__ = ["Blamed", "as_error", "let_pass", "passes", "remedy", "survive_first_model", "text_of"]

_READ_ONLY: Final = "what a hook is given is read-only: return context.modify(...)"
_TRIO: Final = "the host runs on trio: await that, or services.get(AsyncioThread).run"
_REMEDIES: Final = (
    ("no running event loop", _TRIO),
    ("received unrecognized yield message", _TRIO),
    ("'mappingproxy' object does not support", _READ_ONLY),
    ("immutable type: ", _READ_ONLY),
)
_NAME_OF: Final = type.__dict__["__name__"].__get__


class Blamed:
    """A block that runs what others wrote: what it raises leaves as what ``blame`` makes of it.

    Args:
        blame: Returns the error for a failure.
        spares: The class of what goes on as it is: errors of llmspell's own, or every plain error.
    """

    __slots__ = ("_blame", "_spares")

    def __init__(
        self, blame: Callable[[BaseException], Exception], *, spares: type[Exception] | tuple[()] = ()
    ) -> None:
        self._blame = blame
        self._spares = spares

    def __enter__(self) -> object:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Raise what is made of a failure."""
        if error is None or isinstance(error, self._spares) or passes(error):
            return False
        raise self._blame(error) from error


def remedy(text: str) -> str:
    """Return what to do about what a hook commonly cannot do here, told from its error's text; with its semicolon."""
    return next((f"; {what}" for told, what in _REMEDIES if told in text), "")


def passes(error: BaseException) -> bool:
    """Return whether it is nobody's failure: a cancellation by trio, the user's own Ctrl-C, the end of a coroutine.

    A group is if it holds one of them.
    """
    if isinstance(error, BaseExceptionGroup):
        return any(passes(inner) for inner in error.exceptions)
    trio = sys.modules.get("trio")  # not imported here: without it nothing can have been cancelled by it
    if trio is not None and isinstance(error, trio.Cancelled):
        return _is_cancelled(trio)
    if isinstance(error, GeneratorExit):
        return error.__traceback__ is not None and not _is_raised(error)
    return isinstance(error, KeyboardInterrupt) and _is_users_own(error)


def let_pass(error: BaseException) -> None:
    """Raise it, or of a group the part of it, if it is nobody's failure."""
    if isinstance(error, BaseExceptionGroup):
        going_on, _ = error.split(lambda each: not isinstance(each, BaseExceptionGroup) and passes(each))
        if going_on is not None:
            raise going_on from None
    elif passes(error):
        raise error


def as_error(error: BaseException, where: str) -> Exception:
    """Return a failure as an error that ends nothing but what failed: itself if it is a plain one.

    Args:
        error: What was raised.
        where: Whose code raised it.
    """
    if isinstance(error, RecursionError):
        told: Exception = DepthLimitError(
            f"{where}: its code calls itself too deeply; let it end earlier", component=where
        )
    elif isinstance(error, Exception):
        return error
    else:
        message = f"{where}: it raised {text_of(error)}; let it raise an Exception instead"
        told = OperationError(message, component=where)
    told.__cause__ = error
    return told


def text_of(error: BaseException) -> str:
    """Return what an error says, after its class unless it is one of ours; one line, and never a failure."""
    said, name = line_of_error(error), _NAME_OF(type(error))
    bare = said == name or said.startswith(f"{name}: ") or issubclass(type(error), LlmspellError)
    return said if bare else f"{name}: {said}"


def survive_first_model() -> None:
    """Let pydantic fail where that harms nobody.

    At its first model it reads the entry points of every installed package for plugins of its own, and fails if one
    package's are malformed; from the second model on it does without.
    """
    with suppress(PluginError), Blamed(lambda error: PluginError(text_of(error))):
        create_model("First")


def _is_cancelled(trio: ModuleType) -> bool:
    """Whether a scope around here is cancelled: else a `trio.Cancelled` was kept from elsewhere and raised again."""
    try:
        return bool(trio.current_effective_deadline() == -inf)
    except RuntimeError:  # not under trio
        return False


def _is_raised(error: BaseException) -> bool:
    """Whether a ``raise`` statement raised it, and not Python at a place where a coroutine waits."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def _is_users_own(error: KeyboardInterrupt) -> bool:
    """Whether the signal's handler raised it, or trio did on its behalf; not a ``raise`` of the plugin's."""
    trace, handler = error.__traceback__, signal.getsignal(signal.SIGINT)
    code, last = getattr(handler, "__code__", None), None
    while trace is not None:
        last, trace = trace, trace.tb_next
        if last.tb_frame.f_code is code:
            return True
    if last is None:  # never raised: a plugin put it into a group
        return False
    if last.tb_frame.f_globals.get("__name__", "").partition(".")[0] in ("trio", "outcome"):
        return True
    # Python's own handler is written in C: it leaves no frame, and stands between two instructions.
    raised = last.tb_frame.f_code.co_code[last.tb_lasti]
    return handler is signal.default_int_handler and dis.opname[raised] not in ("RAISE_VARARGS", "RERAISE")
