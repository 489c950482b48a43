"""The script languages of a host: by name, or by a file's extension."""

from __future__ import annotations

from pathlib import PurePath

from llmspell.plugins import LazyRegistry
from llmspell.settings import Settings
from llmspell_hookspecs import Language

__all__ = ["Languages"]


class Languages:
    """Languages by name.

    Args:
        shelf: The plugins of the group.
        settings: Say the default.
    """

    def __init__(self, shelf: LazyRegistry[Language], settings: Settings) -> None:
        self._settings = settings
        self._shelf = shelf

    def names(self) -> tuple[str, ...]:
        """Return their names, without importing any."""
        return self._shelf.names()

    def get(self, name: str) -> Language:
        """Return the language of this name.

        Raises:
            ComponentNotFoundError: There is none.
            PluginError: It cannot be loaded.
        """
        return self._shelf.get(name)

    async def enter(self, name: str) -> Language:
        """Return the language of this name, opened if need be; raises as `get` does."""
        return await self._shelf.enter(name)

    def of_file(self, path: str) -> Language:
        """Return the language of a file by its extension; the default language if none claims it."""
        extension = PurePath(path).suffix
        default = self._shelf.get(self._settings.default_language)
        if not extension or extension in default.extensions:
            return default
        return next((each for _, each in self._shelf.loadable() if extension in each.extensions), default)
