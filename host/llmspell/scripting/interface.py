"""What a language adapter is given for one run: the globals, and the one way to call their methods.

The interface is language-neutral: the same call, with the same plain arguments, comes from Lua, JavaScript and Python.

Invariant: only methods marked with ``script_method`` can be reached, under their marked spellings, with arguments that
fit their signatures.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from llmspell.operations import CURRENT, Frame
from llmspell_hookspecs import Services
from llmspell_hookspecs.binding import binding_of
from llmspell_hookspecs.language import ScriptLimits, ScriptObject, ScriptScope

__all__ = ["Interface"]


class Interface(Struct, frozen=True, eq=False):
    """The script interface of one run; implements the contract's ``ScriptInterface``.

    Attributes:
        scope: The run.
        services: What the adapter may use of the host.
        limits: What the script may use.
        globals: The globals by name: script objects and plain values.
        home: Stands for the run: what the script does where others run, such as in a hook about a notice, descends
            from it.
        granted: What the script may see of what its language brings itself and acts by; None for all.
    """

    scope: ScriptScope
    services: Services
    limits: ScriptLimits
    globals: Mapping[str, Any]
    home: Frame | None = None
    granted: frozenset[str] | None = None

    async def call(self, target: ScriptObject, method: str, arguments: Sequence[Any], /) -> Any:
        """Call a method of a script object as a script does.

        Raises:
            InvalidInputError: There is no such method, or the arguments do not fit.
        """
        binding, frame = binding_of(target, method), CURRENT.get()
        outside = self.home is not None and (frame is None or self.scope.id not in frame.scopes)
        token = CURRENT.set(self.home.within(frame)) if self.home is not None and outside else None
        try:
            answer = binding.function(target, *binding.bind(target, method, arguments))
            return await answer if inspect.isawaitable(answer) else answer
        finally:
            if token is not None:
                CURRENT.reset(token)

    def call_pure(self, target: ScriptObject, method: str, arguments: Sequence[Any], /) -> Any:
        """Call a pure method, on whatever thread.

        Raises:
            InvalidInputError: There is no such method, it is not pure, or the arguments do not fit.
        """
        binding = binding_of(target, method, pure=True)
        return binding.function(target, *binding.bind(target, method, arguments))
