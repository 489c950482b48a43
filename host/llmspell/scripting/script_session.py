"""A session: chunk after chunk in one runtime of a language, each of them an operation of its own.

Invariant: one chunk at a time, and each stands between the same hooks as a whole script does.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import trio

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.kind import CallOptions
from llmspell_hookspecs.language import LanguageSession
from llmspell_hookspecs.regular import read_regular
from llmspell_hookspecs.script import ScriptResult, ScriptRun

__all__ = ["ScriptSession", "read_source"]

_Body = Callable[[ScriptRun], Awaitable[ScriptResult]]


class ScriptSession:
    """A session; open it with `Host.session`.

    Args:
        inner: The language's session.
        script: Its language, its name and its arguments.
        operate: Runs a chunk, whose body is given, as an operation.
    """

    def __init__(
        self,
        inner: LanguageSession,
        script: ScriptRun,
        operate: Callable[[ScriptRun, _Body, CallOptions], Awaitable[ScriptResult]],
    ) -> None:
        self._inner = inner
        self._script = script
        self._operate = operate
        self._busy = False

    @property
    def language(self) -> str:
        """The language's name."""
        return self._script.language

    async def evaluate(self, source: str, *, name: str = "", deadline_s: float | None = None) -> Any:
        """Run a chunk and return its value, an expression's too; plain.

        Args:
            source: Its text.
            name: What its errors call it; the session's name if empty.
            deadline_s: How long it may take.

        Raises:
            ScriptError: It failed; with the code ``ended`` if the session is over.
            OperationCancelledError: A hook cancelled it.
            OperationTimeoutError: A deadline passed.
        """
        script = msgspec.structs.replace(self._script, source=source, name=name or self._script.name)
        return await self._run(script, deadline_s)

    async def load(self, path: str | os.PathLike[str]) -> Any:
        """Run a file as a chunk and return its value, plain.

        Raises:
            ScriptError: It cannot be read, or it failed.
            OperationCancelledError: A hook cancelled it.
        """
        name = os.fspath(path)
        source = await read_source(name)
        resolved = str(await trio.Path(name).resolve())
        return await self._run(msgspec.structs.replace(self._script, source=source, name=name, path=resolved), None)

    async def _run(self, script: ScriptRun, deadline_s: float | None) -> Any:
        if self._busy:
            raise InvalidInputError(f"{script.name}: a chunk of this session runs already; wait until it has ended")
        self._busy = True
        try:
            result = await self._operate(script, self._body, CallOptions(deadline_s=deadline_s))
        finally:
            self._busy = False
        return result.value

    async def _body(self, script: ScriptRun) -> ScriptResult:
        if script.language != self.language:
            message = f"{script.name}: a session of {self.language} cannot run {script.language}; open another"
            raise InvalidInputError(message, field="language")
        return ScriptResult(await self._inner.evaluate(script.source, script.name))

    async def is_incomplete(self, source: str) -> bool:
        """Return whether the text ends too early to be a chunk, so that another line may complete it."""
        return await self._inner.is_incomplete(source)

    async def complete(self, text: str) -> Sequence[str]:
        """Return what the end of the text may become, sorted: ``print(Tool.inv`` may end with ``Tool.invoke``."""
        return await self._inner.complete(text)

    async def globals(self) -> Mapping[str, str]:
        """Return the names that chunks see, sorted, each with the type of what stands there."""
        return await self._inner.globals()


async def read_source(name: str) -> str:
    """Return what a script file holds.

    Raises:
        ScriptError: It cannot be read.
    """
    try:
        return (await trio.to_thread.run_sync(read_regular, name)).decode("utf-8-sig")
    except OSError as error:
        raise ScriptError(f"{name}: it cannot be read: {error.strerror}; name a file that can", file=name) from error
    except UnicodeDecodeError as error:
        raise ScriptError(f"{name}: it is not UTF-8; save it as UTF-8", file=name) from error
