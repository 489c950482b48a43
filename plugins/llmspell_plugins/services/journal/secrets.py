"""The secrets that no journal holds: where they come from, whether bytes hold one, and values without them.

They are those of the settings, of the environment under a secret's name, and of the vault; and what is learned of while
the host runs: arguments that a tool declares as secrets, texts under a secret's name that look like one, and the texts
in sensitive scopes of the state.

Invariant: what is known is found in each spelling that JSON, URLs and MessagePack give it. A text of fewer than six
letters is likely a word, and is not looked for; nor is one that nobody told of.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from llmspell_hookspecs import LlmspellError, Services
from llmspell_hookspecs.globs import Globs
from llmspell_hookspecs.masking import MASK, secrets_of
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.secret import HiddenText
from llmspell_hookspecs.services import SettingsAccess
from llmspell_hookspecs.state import StateConflict, StateDelete, StateRead, StateValue, StateWrite
from llmspell_hookspecs.vault import Vault

__all__ = ["Secrets"]

_SHORTEST: Final = 6
_LEARNED: Final = 256
_LONGEST: Final = 65_536
_OF_STATE: Final = (StateRead, StateWrite, StateDelete, StateValue, StateConflict)


class Secrets:
    """What is known of secrets; learned in one thread at a time.

    Args:
        services: Settings, operations and the vault.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.get(SettingsAccess)
        self._operations = services.get(Operations)
        self._fixed: list[str] = []
        self._learned: OrderedDict[str, None] = OrderedDict()
        self._asked: tuple[object, tuple[Any, ...]] = None, ()
        self._sensitive = Globs(())
        self._is_classed = False
        self._spellings: tuple[str, ...] = ()
        self._needles: tuple[bytes, ...] = ()

    async def refresh(self) -> None:
        """Look for those that settings, the environment and the vault hold by now."""
        held = await self._of_vault()
        asked = self._operations.as_of, tuple(held)
        if asked == self._asked:
            return
        self._asked = asked
        sections = [self._settings.section(name) for name in self._settings.plain()]
        values = [section.model_dump() if hasattr(section, "model_dump") else section for section in sections]
        self._fixed = secrets_of([values, held], os.environ)
        sensitive = self._settings.plain("plugins.state.sensitive") or ()
        self._sensitive, self._is_classed = Globs(sensitive), bool(sensitive)
        self._spell()

    async def _of_vault(self) -> list[Any]:
        try:
            vault = await self._services.enter(Vault)
            return [held for name in await vault.names() if (held := vault.peek(name)) is not None]
        except LlmspellError:  # it told of that itself, and nobody was given any of it
            return []

    def is_sensitive(self, value: Any) -> bool:
        """Return whether something is asked of a sensitive scope of the state, or is told by it."""
        return self._is_classed and isinstance(value, _OF_STATE) and self._sensitive.match(value.scope)

    def learn(self, value: Any) -> None:
        """Learn of a value that tells of secrets: a type for secrets, a masked text, or what sensitive state holds."""
        if isinstance(value, HiddenText):
            real = value.get_secret_value()
            if isinstance(real, str) and _looks_secret(real):
                self._add([real])
        elif hasattr(value, "get_secret_value"):
            real = value.get_secret_value()
            self._add([real.decode(errors="replace") if isinstance(real, bytes) else str(real)])
        elif self._is_classed and isinstance(value, Mapping):  # the fields of an answer
            for item in value.values():
                self.learn(item)
        elif self.is_sensitive(value) and not isinstance(value, StateRead):
            self._add(_texts(getattr(value, "value", None)))

    def _add(self, texts: Iterable[str]) -> None:
        new = {text for text in texts if _SHORTEST <= len(text) <= _LONGEST and text not in self._learned}
        if new:
            for text in new:
                self._learned[text] = None
            while len(self._learned) > _LEARNED:
                self._learned.popitem(last=False)
            self._spell()

    def _spell(self) -> None:
        spelled = {way for text in (*self._fixed, *self._learned) for way in _spellings(text)}
        self._spellings = tuple(sorted(spelled, key=len, reverse=True))
        self._needles = tuple([way.encode(errors="replace") for way in self._spellings])

    def are_in(self, data: bytes) -> bool:
        """Return whether there is one in these bytes."""
        return any(needle in data for needle in self._needles)

    def masked(self, value: Any) -> Any:
        """Return a plain value with each of them masked, in keys, too."""
        if isinstance(value, str):
            for way in self._spellings:
                value = value.replace(way, MASK)
            return value
        if isinstance(value, bytes):
            for needle in self._needles:
                value = value.replace(needle, MASK.encode())
            return value
        if isinstance(value, Mapping):
            return {self.masked(key): self.masked(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.masked(item) for item in value]
        return value


def _spellings(text: str) -> set[str]:
    """Return how a text may stand in others."""
    inner = {json.dumps(text, ensure_ascii=ascii)[1:-1] for ascii in (True, False)}
    return {text, *inner, quote(text, safe="", errors="replace"), quote(text, errors="replace")}


def _looks_secret(text: str) -> bool:
    """Whether a text under a secret's name is one, not a word such as the key of a table."""
    return (any(map(str.isdigit, text)) and any(map(str.isalpha, text))) or len(text) >= 16


def _texts(value: Any) -> Iterable[str]:
    """Yield the texts that a value of the state holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str) and _looks_secret(key):
                yield key
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
