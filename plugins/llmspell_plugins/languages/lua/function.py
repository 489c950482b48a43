"""A function of the script, as the host holds it.

Invariant: the host holds a number, never anything of Lua's; when the host lets go of it, the script's next slice lets
go of the function.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from llmspell_hookspecs import InvalidInputError

__all__ = ["LuaFunction"]


class LuaFunction:
    """A function of the script; implements the contract's ``ScriptFunction``."""

    __slots__ = ("__weakref__", "_call", "_number", "_origin", "_released")

    def __init__(
        self,
        number: int,
        call: Callable[[int, Sequence[Any]], Awaitable[Any]],
        released: deque[int],
        origin: Callable[[int], LuaFunction],
    ) -> None:
        self._number = number
        self._call = call
        self._released = released
        self._origin = origin

    async def __call__(self, *arguments: Any) -> Any:
        """Run it and return what it returns, plain; a tuple for several answers.

        Raises:
            ScriptError: It failed, a limit ended it, or its script has ended.
        """
        return await self._call(self._number, arguments)

    def __del__(self) -> None:
        self._released.append(self._number)

    def number_in(self, origin: Callable[[int], LuaFunction]) -> int:
        """Return its number, for the script that it comes from.

        Raises:
            InvalidInputError: It comes from another script.
        """
        if origin != self._origin:
            raise InvalidInputError(
                "script: a function of another script cannot be given to this one; give plain values"
            )
        return self._number
