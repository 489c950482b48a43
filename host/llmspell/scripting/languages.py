"""The script languages of a host: by name, or by a file's extension."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

from llmspell.plugins import Candidate, Shelf, construct, load
from llmspell.settings import Settings
from llmspell_hookspecs import Language, LlmspellError, PluginError, Services

__all__ = ["Languages"]


class Languages:
    """Languages by name.

    Args:
        candidates: What discovery chose.
        settings: Give each language its table, and say the default.
        services: What languages are constructed with.
    """

    def __init__(self, candidates: Iterable[Candidate], settings: Settings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._shelf: Shelf[Language] = Shelf("language", candidates, self._load)

    def put(self, language: Any) -> None:
        """Take in a language that was handed over in code: a class or an object."""
        made: Any = language() if inspect.isclass(language) else language
        self._shelf.put(made.name, made)

    def names(self) -> tuple[str, ...]:
        """Answer their names, without importing any."""
        return self._shelf.names()

    def get(self, name: str) -> Language:
        """Answer the language of this name.

        Raises:
            ComponentNotFoundError: There is none.
            PluginError: It cannot be loaded.
        """
        return self._shelf.get(name)

    def of_file(self, path: str) -> Language:
        """Answer the language of a file by its extension; the default language if none claims it."""
        extension = PurePath(path).suffix
        default = self._shelf.get(self._settings.default_language)
        if not extension or extension in default.extensions:
            return default
        return next((language for language in self._loadable() if extension in language.extensions), default)

    def _loadable(self) -> Iterator[Language]:
        for name in self._shelf.names():
            try:
                yield self._shelf.get(name)
            except LlmspellError:  # named by `plugin doctor`; a broken language must not stop files in the others
                continue

    def _load(self, candidate: Candidate) -> Language:
        info = candidate.info
        table = self._settings.plugin_table(info.name)
        language = construct(info, load(info, candidate.point), table, self._services)
        if not isinstance(language, Language):
            message = f"language {info.name}: {info.module} does not keep the protocol Language; see llmspell_hookspecs"
            raise PluginError(message, plugin=info.name)
        return language
