"""The global State: a script keeps values that outlive it, through the service State and its hooks.

``save`` and ``load`` name a scope; ``get``, ``set``, ``keys`` and ``all`` use the global one; the helpers for
workflows, agents and tools use the scope of that name and id, so ``State.load("agent:writer", "mood")`` finds what
``State.agent_set("writer", "mood", ...)`` kept.

Invariant: what was saved under a scope and key is what is loaded from there. What comes back of many keys at once is
held to the bounds of what a script hands over, ``scripts.value_items`` and ``scripts.value_bytes``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import trio

from llmspell_hookspecs import State, script_method
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.services import SettingsAccess
from llmspell_hookspecs.state_scopes import StateScopes

from .state_backup import StateBackupMethods
from .state_migration import StateMigrationMethods

__all__ = ["StateGlobal"]

_GLOBAL: Final = "global"
_ROW: Final = 16
"""So many values are read before others get their turn: from a file each takes a good part of a millisecond."""


class StateGlobal(StateMigrationMethods, StateBackupMethods):
    """Keep values that outlive the script."""

    name: ClassVar[str] = "State"

    @script_method()
    async def save(self, scope: str, key: str, value: Any, expect: int | None = None) -> int:
        """Keep a value and return its version.

        Args:
            scope: ``global``, ``agent:<id>``, ``workflow:<id>``, ``custom`` ...
            key: Under which key.
            value: Any plain value.
            expect: Keep it only if this version is there, 0 for none at all; see ``entry``.

        Raises:
            InvalidInputError: The scope, the key or the value is wrong.
            StorageError: Another version is there, or it cannot be written.
            OperationCancelledError: A hook cancelled it.
        """
        return await self._state.set(key, value, scope=scope, expect=expect)

    @script_method()
    async def load(self, scope: str, key: str) -> Any:
        """Return what was saved under a scope and key, or nothing."""
        return await self._state.get(key, scope=scope)

    @script_method()
    async def entry(self, scope: str, key: str) -> tuple[Any, int]:
        """Return a value and its version; nothing and 0 if there is none."""
        return await self._state.entry(key, scope=scope)

    @script_method()
    async def get(self, key: str, default: Any = None) -> Any:
        """Return a value of the global scope, or the default if there is none."""
        value, _ = await self._state.entry(key)
        return default if value is None else value

    @script_method()
    async def set(self, key: str, value: Any, expect: int | None = None) -> int:
        """Keep a value in the global scope and return its version; as ``save``."""
        return await self._state.set(key, value, expect=expect)

    @script_method("remove")
    async def delete(self, scope: str, key: str | None = None) -> bool:
        """Forget a value; with one argument, of the global scope. False if there was none."""
        scope, key = (_GLOBAL, scope) if key is None else (scope, key)
        return await self._state.delete(key, scope=scope)

    @script_method()
    async def exists(self, scope: str, key: str | None = None) -> bool:
        """Return whether there is a value; with one argument, in the global scope."""
        scope, key = (_GLOBAL, scope) if key is None else (scope, key)
        value, version = await self._state.entry(key, scope=scope)
        return version > 0 or value is not None

    @script_method()
    async def list_keys(self, scope: str = _GLOBAL) -> Sequence[str]:
        """Return the keys of a scope, in order.

        Raises:
            ResourceLimitError: There are more than ``scripts.value_items``.
        """
        return await self._keys("list_keys", scope)

    @script_method()
    async def keys(self, prefix: str = "") -> Sequence[str]:
        """Return the keys of the global scope that begin with this, in order.

        Raises:
            ResourceLimitError: There are more than ``scripts.value_items``.
        """
        return await self._keys("keys", prefix=prefix)

    @script_method()
    async def all(self) -> dict[str, Any]:
        """Return the global scope as a table; each value is read by itself, so a hook may refuse one of them.

        Raises:
            ResourceLimitError: It is more than ``scripts.value_items`` and ``scripts.value_bytes`` allow at once.
        """
        values: dict[str, Any] = {}
        room = _Room("State.all", self.services.get(SettingsAccess).section("scripts"))
        for key in await self._keys("all"):
            values[key] = await self._state.get(key)
            room.take(key)
            room.take(values[key])
            if len(values) % _ROW == 0:
                await trio.lowlevel.checkpoint()
        return values

    @script_method()
    async def workflow_get(self, id: str, step: str) -> Any:
        """Return what a workflow keeps under a step's name, or nothing."""
        return await self._state.get(step, scope=f"workflow:{id}")

    @script_method()
    async def workflow_list(self, id: str) -> Sequence[str]:
        """Return the names under which a workflow keeps something."""
        return await self._keys("workflow_list", f"workflow:{id}")

    @script_method()
    async def agent_get(self, id: str, key: str) -> Any:
        """Return what is kept for an agent, or nothing."""
        return await self._state.get(key, scope=f"agent:{id}")

    @script_method()
    async def agent_set(self, id: str, key: str, value: Any) -> int:
        """Keep something for an agent and return its version."""
        return await self._state.set(key, value, scope=f"agent:{id}")

    @script_method()
    async def tool_get(self, id: str, key: str) -> Any:
        """Return what is kept for a tool, or nothing."""
        return await self._state.get(key, scope=f"tool:{id}")

    @script_method()
    async def tool_set(self, id: str, key: str, value: Any) -> int:
        """Keep something for a tool and return its version."""
        return await self._state.set(key, value, scope=f"tool:{id}")

    @script_method()
    async def copy_scope(self, source: str, target: str, overwrite: bool = True) -> int:
        """Copy every value of a scope to another one, and return how many.

        Args:
            source: Which scope.
            target: Where to.
            overwrite: Whether to replace what is there under the same key.
        """
        return (await self.services.get(StateScopes).copy(source, target, overwrite=overwrite)).items

    @script_method()
    async def move_scope(self, source: str, target: str, overwrite: bool = True) -> int:
        """Move every value of a scope to another one, and return how many; as ``copy_scope``."""
        return (await self.services.get(StateScopes).move(source, target, overwrite=overwrite)).items

    @script_method()
    async def clear_scope(self, scope: str) -> int:
        """Delete every value of a scope, and return how many."""
        return (await self.services.get(StateScopes).clear(scope)).items

    @property
    def _state(self) -> State:
        return self.services.get(State)

    async def _keys(self, method: str, scope: str = _GLOBAL, prefix: str = "") -> Sequence[str]:
        most: int = self.services.get(SettingsAccess).section("scripts").value_items
        keys = await self._state.keys(scope, prefix=prefix, limit=most + 1)
        if len(keys) > most:
            raise _too_much(f"State.{method}", "value_items", most, "keys")
        return keys


class _Room:
    """How much may still come back at once.

    Args:
        where: What the script called.
        settings: Those of scripts.
    """

    def __init__(self, where: str, settings: Any) -> None:
        self._where = where
        self._most_items, self._most_bytes = settings.value_items, settings.value_bytes
        self._items, self._bytes = self._most_items, self._most_bytes

    def take(self, value: Any) -> None:
        """Count a value; looks at no more of it than there is room for."""
        waiting = [value]
        while waiting:
            part = waiting.pop()
            if isinstance(part, str | bytes):
                self._bytes -= len(part)
            elif isinstance(part, Mapping | list | tuple):
                self._items -= len(part)
                if self._items >= 0:
                    waiting.extend(part.values() if isinstance(part, Mapping) else part)
            if self._items < 0:
                raise _too_much(self._where, "value_items", self._most_items, "values")
            if self._bytes < 0:
                raise _too_much(self._where, "value_bytes", self._most_bytes, "bytes")


def _too_much(where: str, setting: str, most: int, what: str) -> ResourceLimitError:
    message = f"{where}: there are more than {most} {what}; ask by prefix with State.keys, or raise scripts.{setting}"
    return ResourceLimitError(message, resource=setting, limit=most)
