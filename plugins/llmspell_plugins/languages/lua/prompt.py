"""A session of Lua: evaluates chunk after chunk in one runtime, and finds the names that a text may go on with.

Invariant: globals, functions and hooks of one chunk are there in the next, its locals are not; time and instructions
count for each chunk anew, memory for all of them together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from llmspell_hookspecs.errors import ScriptError

from .session import Session, chunk_name, enclosed

__all__ = ["Prompt"]

_KEYWORDS: Final = frozenset(
    {"and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil"}
    | {"not", "or", "repeat", "return", "then", "true", "until", "while"}
)
_PATH: Final = re.compile(r"(?<![\w)\]\"':])(?<!(?<!\.)\.)((?:[A-Za-z_]\w*[.:])*)([A-Za-z_]\w*)?\Z")


class Prompt:
    """A session of Lua; implements the contract's ``LanguageSession``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def evaluate(self, source: str, name: str, /) -> Any:
        """Run a chunk and return its value, an expression's too; plain, a tuple for several.

        Raises:
            ScriptError: It failed, or a limit ended it.
        """
        session = self._session
        session.name = name
        session.renew()
        try:
            return await session.flushed("evaluate", *_readings(source), chunk_name(name))
        finally:
            session.renew()  # its callbacks go on

    async def is_incomplete(self, source: str, /) -> bool:
        """Return whether the text ends too early to be a chunk."""
        return bool(await self._session.perform("incomplete", *_readings(source)))

    async def complete(self, text: str, /) -> Sequence[str]:
        """Return what the end of the text may become, sorted.

        A path of names is followed through tables and host objects; behind a colon only functions count.
        """
        match = _PATH.search(text)
        if match is None:
            return ()
        path, prefix = match[1], match[2] or ""
        names = await self._names(re.findall(r"\w+", path), prefix)
        if path.endswith(":"):
            names = {name: kind for name, kind in names.items() if kind == "function"}
        words = () if path else (word for word in _KEYWORDS if word.startswith(prefix))
        return sorted({path + name for name in (*names, *words)})

    async def globals(self) -> Mapping[str, str]:
        """Return the names that chunks see, sorted, each with its type."""
        return dict(sorted((await self._names((), "")).items()))

    async def _names(self, path: Sequence[str], prefix: str) -> dict[str, str]:
        try:
            names = await self._session.perform("names", msgspec.msgpack.encode([list(path), prefix]))
        except ScriptError as error:
            if error.code == "ended":
                raise
            return {}  # no memory is left to tell them
        return names if isinstance(names, dict) else {}


def _readings(source: str) -> tuple[bytes, bytes]:
    """Return a chunk as an expression and as statements; a first line ``#!...``, as files have, is a comment."""
    text = source.removeprefix("\ufeff")
    text = "--" + text if text.startswith("#!") else text
    return enclosed(f"return {text}"), enclosed(text)
