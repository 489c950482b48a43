"""The service hook_switch: single hooks are switched on and off while the host runs, for all or in a session."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, ClassVar, Final

from llmspell_hookspecs import InvalidInputError, Services
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.hook_table import HookTable, TableHook
from llmspell_hookspecs.switching import HookSwitch

__all__ = ["HookSwitching"]

_SWITCHES: Final = 1_000


class HookSwitching:
    """Implements the contract's `HookSwitch`."""

    name: ClassVar[str] = "hook_switch"
    provides: ClassVar[type[Any]] = HookSwitch

    def __init__(self, settings: object, services: Services) -> None:
        self._switches: dict[tuple[str, str], bool] = {}
        self._table = services.get(HookTable)
        self._table.entered.append(self._apply)

    def switch(self, pattern: str, on: bool | None, /, *, session: str = "") -> int:
        """Ask the hooks of plugins that fit a pattern from now on, or no longer; see the contract."""
        if not (isinstance(pattern, str) and isinstance(session, str) and (on is None or isinstance(on, bool))):
            told = f"hooks: switch({pattern!r:.80}, {on!r:.80}) means nothing"
            message = f"{told}; give a glob for plugin.hook, and True, False or None"
            raise InvalidInputError(message, field="pattern")
        key = (pattern, session)
        if on is not None and key not in self._switches and len(self._switches) >= _SWITCHES:
            message = f"hooks: {_SWITCHES} patterns and sessions are switched, which is the most; take some back"
            raise ResourceLimitError(message, resource="switches", limit=_SWITCHES)
        self._switches.pop(key, None)
        if on is not None:
            self._switches[key] = on
        fitting = [hook for hook in self._table if _is_meant(hook, pattern)]
        for hook in fitting:
            hook.switch(on, session)
            if on is None:
                self._apply(hook)
        for point in {hook.point.name for hook in fitting}:
            self._table.changed(point)
        return len(fitting)

    def _apply(self, hook: TableHook) -> None:
        for (pattern, session), on in [*self._switches.items()]:  # a hook may come on another thread meanwhile
            if _is_meant(hook, pattern):
                hook.switch(on, session)


def _is_meant(hook: TableHook, pattern: str) -> bool:
    return not hook.scope and fnmatchcase(f"{hook.plugin}.{hook.name}", pattern)
