"""The groups of plugins that one host knows: its own, as the contract has them, and those that component kinds bring.

Invariant: whatever is found by entry point and whatever is handed over in code is judged by the same row.
"""

from __future__ import annotations

from typing import Any, Final

from llmspell.settings import Settings
from llmspell_hookspecs.errors import PluginError
from llmspell_hookspecs.groups import GROUPS
from llmspell_hookspecs.kind import ComponentGroup

__all__ = ["OWN_GROUPS", "Groups"]

OWN_GROUPS: Final = frozenset(row.name for row in GROUPS)


class Groups:
    """The groups by name."""

    def __init__(self) -> None:
        self._rows = {row.name: row for row in GROUPS}

    def add(self, row: ComponentGroup) -> None:
        """Take in the group of a kind's components.

        Raises:
            PluginError: Another kind has brought this group.
        """
        known = self._rows.get(row.name)
        if known is not None and known != row:
            raise PluginError(f"group {row.name}: {known.word} is in it already; choose another name")
        self._rows[row.name] = row

    def row(self, name: str) -> ComponentGroup:
        """Return the row of a group; that of a kind which is not loaded says its name and nothing else."""
        row = self._rows.get(name)
        if row is None:
            word = name.removeprefix("llmspell.")
            section = word if word in Settings.sections() else "plugins"
            row = ComponentGroup(name, word.removesuffix("s").replace("_", " "), lambda item: False, section)
        return row

    def of(self, item: Any) -> ComponentGroup:
        """Return the group of something that was handed over in code; what is nothing else brings hooks."""
        own = [row for row in self._rows.values() if row.name not in OWN_GROUPS]
        return next(row for row in (*own, *GROUPS) if row.is_one(item))
