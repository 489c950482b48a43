"""The Lua language: Lua 5.4 by lupa, sandboxed and limited.

Invariant: one runtime for each run or session, and nothing of it is left behind.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from llmspell_hookspecs.language import HookAdapter, LanguageSession, ScriptInterface
from llmspell_hookspecs.script import ScriptRun
from llmspell_plugins.languages.adapter import PlainHookAdapter

__all__ = ["Lua"]


class Lua:
    """Lua 5.4, sandboxed."""

    name: ClassVar[str] = "lua"
    extensions: ClassVar[tuple[str, ...]] = (".lua",)
    reaching: ClassVar[frozenset[str]] = frozenset({"_ENV", "_G", "dofile", "load", "loadfile"})
    acting: ClassVar[frozenset[str]] = frozenset({"dofile", "io", "loadfile", "os"})

    def __init__(self) -> None:
        self.hook_adapter: HookAdapter = PlainHookAdapter()

    async def run(self, script: ScriptRun, interface: ScriptInterface, /) -> Any:
        """Run a script to its end and return its value, plain; a tuple for several.

        Raises:
            ScriptError: It failed, or a limit ended it.
        """
        from .session import Session

        session = Session(script, interface, self.acting)
        try:
            return await session.run()
        finally:
            await session.close()

    @asynccontextmanager
    async def session(self, script: ScriptRun, interface: ScriptInterface, /) -> AsyncIterator[LanguageSession]:
        """Open a runtime for the block that evaluates one chunk after the other."""
        from .prompt import Prompt
        from .session import Session

        session = Session(script, interface, self.acting)
        try:
            await session.open()
            yield Prompt(session)
        finally:
            await session.close()
