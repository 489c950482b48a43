"""What a language adapter is given for one run: the globals, and the one way to call their methods.

The interface is language-neutral: the same call, with the same plain arguments, comes from Lua, JavaScript and Python.

Invariant: only methods marked with ``script_method`` can be reached, under their marked spellings, with arguments that
fit their signatures.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from llmspell.operations import CURRENT, Frame
from llmspell_hookspecs import (
    InvalidInputError,
    ScriptGlobal,
    ScriptLimits,
    ScriptObject,
    ScriptScope,
    Services,
)

from .binding import Binding, bindings_of

__all__ = ["Interface"]

_CALL = "__call"


class Interface(Struct, frozen=True, eq=False):
    """The script interface of one run; implements the contract's ``ScriptInterface``.

    Attributes:
        scope: The run.
        services: What the adapter may use of the host.
        limits: What the script may use.
        globals: The globals by name: script objects and plain values.
        home: Stands for the run: what the script does where others run, such as in a hook about a notice, descends
            from it.
    """

    scope: ScriptScope
    services: Services
    limits: ScriptLimits
    globals: Mapping[str, Any]
    home: Frame | None = None

    async def call(self, target: ScriptObject, method: str, arguments: Sequence[Any], /) -> Any:
        """Call a method of a script object as a script does.

        Raises:
            InvalidInputError: There is no such method, or the arguments do not fit.
        """
        binding = _find(target, method)
        frame = CURRENT.get()
        if self.home is None or (frame is not None and self.scope.id in frame.scopes):
            answer = binding.function(target, *_bound(binding, target, method, arguments))
            return await answer if inspect.isawaitable(answer) else answer
        token = CURRENT.set(self.home.within(frame))
        try:
            answer = binding.function(target, *_bound(binding, target, method, arguments))
            return await answer if inspect.isawaitable(answer) else answer
        finally:
            CURRENT.reset(token)

    def call_pure(self, target: ScriptObject, method: str, arguments: Sequence[Any], /) -> Any:
        """Call a pure method, on whatever thread.

        Raises:
            InvalidInputError: There is no such method, it is not pure, or the arguments do not fit.
        """
        binding = _find(target, method)
        if not binding.method.pure:
            raise InvalidInputError(f"{_where(target, method)}: it is not pure, it asks the host; await call instead")
        return binding.function(target, *_bound(binding, target, method, arguments))


def _find(target: ScriptObject, method: str) -> Binding:
    offered = bindings_of(type(target))
    if method in offered:
        return offered[method]
    near = difflib.get_close_matches(method, offered, n=3, cutoff=0.5)
    advice = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(offered)) or 'none'}"
    raise InvalidInputError(f"{_where(target, method)}: there is no such method; {advice}")


def _bound(binding: Binding, target: ScriptObject, method: str, arguments: Sequence[Any]) -> list[Any]:
    """Bind the arguments; a receiver that ``object:method()`` put first is left out."""
    if arguments and arguments[0] is target and method != _CALL:
        arguments = arguments[1:]
    return binding.bind(_where(target, method), arguments)


def _where(target: ScriptObject, method: str) -> str:
    name = target.name if isinstance(target, ScriptGlobal) else type(target).__name__
    return name if method == _CALL else f"{name}.{method}"
