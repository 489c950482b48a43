"""Code that others wrote: whatever it raises becomes one error that names it, and harms nobody else.

The one room in which every class of exception is caught: a plugin may raise ``SystemExit`` (its library calls
``sys.exit``), a ``KeyboardInterrupt`` of its own, asyncio's ``CancelledError``, or what a Rust extension panics with.

Invariant: a cancellation by trio and the user's own Ctrl-C always go on. What tells of a failure cannot fail itself.
"""

from __future__ import annotations

import dis
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Final, Literal

import trio

from llmspell_hookspecs import LlmspellError

__all__ = ["Blamed", "passes", "text_of"]

_LENGTH: Final = 300
_UNTOLD: Final = "an error that cannot be told"


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

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Raise what is made of a failure."""
        if error is None or isinstance(error, self._spares) or passes(error):
            return False
        raise self._blame(error) from error


def passes(error: BaseException) -> bool:
    """Return whether it is nobody's failure: a cancellation by trio, or the user's own Ctrl-C; groups of them too."""
    if isinstance(error, BaseExceptionGroup):
        return any(passes(inner) for inner in error.exceptions)
    return isinstance(error, trio.Cancelled) or (isinstance(error, KeyboardInterrupt) and _is_users_own(error))


def text_of(error: BaseException) -> str:
    """Return what an error says, after its class unless it is one of ours; one line, and never a failure."""
    try:
        said = " ".join(str.__str__(str(error)).split())
    except BaseException:
        said = ""
    try:
        name = str.__str__(type(error).__name__)
    except BaseException:
        name = _UNTOLD
    text = said if said and isinstance(error, LlmspellError) else f"{name}: {said}" if said else name
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text[: _LENGTH + 1])
    return text if len(text) <= _LENGTH else text[:_LENGTH] + "..."


def _is_users_own(error: KeyboardInterrupt) -> bool:
    """Whether the signal's handler raised it, or trio did on its behalf; not a ``raise`` of the plugin's."""
    trace, handler = error.__traceback__, signal.getsignal(signal.SIGINT)
    code, last = getattr(handler, "__code__", None), None
    while trace is not None:
        last, trace = trace, trace.tb_next
        if last.tb_frame.f_code is code:
            return True
    if last is None:
        return True
    if last.tb_frame.f_globals.get("__name__", "").partition(".")[0] in ("trio", "outcome"):
        return True
    # Python's own handler is written in C: it leaves no frame, and stands between two instructions.
    raised = last.tb_frame.f_code.co_code[last.tb_lasti]
    return handler is signal.default_int_handler and dis.opname[raised] not in ("RAISE_VARARGS", "RERAISE")
