"""Host objects as numbers: which ones a script holds, and what their classes offer.

Invariant: an object stays here as long as Lua holds a proxy of it; each number that is sent is counted, and Lua gives
the counts back when the proxy is collected.
"""

from __future__ import annotations

from typing import Any

from llmspell_hookspecs import InvalidInputError, ScriptGlobal
from llmspell_hookspecs.language import ScriptObject, script_methods

__all__ = ["Objects"]


class Objects:
    """The objects that one script holds."""

    def __init__(self) -> None:
        self._objects: dict[int, ScriptObject] = {}
        self._counts: dict[int, int] = {}
        self._ids: dict[int, int] = {}
        self._classes: dict[type[ScriptObject], int] = {}
        self._kinds: list[type[ScriptObject]] = []
        self._last = 0

    def __len__(self) -> int:
        return len(self._objects)

    def send(self, target: ScriptObject) -> tuple[int, int]:
        """Return the object's number and its class's, and count the sending."""
        number = self._ids.get(id(target))
        if number is None:
            self._last += 1
            number = self._ids[id(target)] = self._last
            self._objects[number] = target
            self._counts[number] = 0
        self._counts[number] += 1
        return number, self._class(type(target))

    def _class(self, kind: type[ScriptObject]) -> int:
        if kind not in self._classes:
            self._classes[kind] = len(self._kinds)
            self._kinds.append(kind)
        return self._classes[kind]

    def find(self, number: int) -> ScriptObject:
        """Return the object with this number.

        Raises:
            InvalidInputError: There is none.
        """
        try:
            return self._objects[number]
        except KeyError:
            raise InvalidInputError(f"host object {number}: the script does not hold it; ask for it anew") from None

    def describe(self, number: int) -> dict[str, Any]:
        """Return what a class offers: its name, its methods as pure (1) and lenient (2), if it has dynamic fields."""
        kind: type[ScriptObject] = self._kinds[number]
        return {
            "name": kind.name if issubclass(kind, ScriptGlobal) else kind.__name__,
            "methods": {name: method.pure + 2 * method.lenient for name, method in script_methods(kind).items()},
            "dynamic": kind.script_lookup is not ScriptObject.script_lookup,
        }

    def release(self, number: int, count: int) -> None:
        """Take back sendings that Lua has let go of."""
        self._counts[number] -= count
        if self._counts[number] == 0:
            del self._counts[number]
            del self._ids[id(self._objects.pop(number))]

    def clear(self) -> None:
        """Let go of everything."""
        self._objects.clear()
        self._counts.clear()
        self._ids.clear()
