"""The topic script: what a script run is, and the points around it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from .context import Failure, HookContext
from .payload import payload_of
from .points import Phase, hookpoint
from .results import HookResult

__all__ = [
    "ScriptConsole",
    "ScriptResult",
    "ScriptRun",
    "Scripts",
    "ScriptsAround",
    "after_script_run",
    "around_script_run",
    "before_script_run",
    "script_error",
]


class ScriptRun(Struct, frozen=True):
    """A script that is to run.

    Attributes:
        source: Its text.
        language: ``lua``, ``javascript``, ``python`` ...
        name: What its errors call it, such as a path as given.
        path: Where it lies, resolved; empty if it was given as text.
        arguments: What stands behind ``--`` on the command line.
        globals: The names that it may see, of the globals and of what its language brings itself and acts by (of Lua
            ``io`` and ``os``); None for all. One that the script around it was not given is refused.
        limits: By the names of `ScriptLimits`, tighter limits than those in settings and those of the script around
            it; what is looser changes nothing.
    """

    source: str
    language: str
    name: str = "script"
    path: str = ""
    arguments: tuple[str, ...] = ()
    globals: tuple[str, ...] | None = None
    limits: Mapping[str, float] = {}

    def payload(self) -> Any:
        """Return the arguments, as another script takes them."""
        return {"arguments": self.arguments}


class ScriptResult(Struct, frozen=True):
    """What a script answered.

    Attributes:
        value: Its return value, plain.
    """

    value: Any = None

    def payload(self) -> Any:
        """Return the value."""
        return self.value

    @classmethod
    def of(cls, value: Any) -> ScriptResult:
        """Return the result of a bare value, or of another kind of result."""
        return value if isinstance(value, ScriptResult) else ScriptResult(payload_of(value))


class ScriptsAround(Struct, frozen=True):
    """What an operation has of scripts around it.

    Attributes:
        globals: The globals that all of them were given, and so the most that a run within them has; None for all.
        asks: Whether a script asks for the operation by itself, not an agent, a workflow or a person.
    """

    globals: frozenset[str] | None = None
    asks: bool = False


class ScriptConsole(Protocol):
    """Chunk after chunk in one runtime, one at a time, each of them an operation like a whole script."""

    @property
    def language(self) -> str:
        """The language's name."""

    async def evaluate(self, source: str, /) -> Any:
        """Run a chunk and return its value, an expression's too; plain.

        Raises:
            ScriptError: It failed; with the code ``ended`` if the console is over.
            OperationCancelledError: A hook cancelled it.
        """

    async def load(self, path: str | os.PathLike[str], /) -> Any:
        """Run a file as a chunk and return its value, plain.

        Raises:
            ScriptError: It cannot be read, or it failed.
        """

    async def is_incomplete(self, source: str, /) -> bool:
        """Return whether the text ends too early to be a chunk, so that another line may complete it."""

    async def complete(self, text: str, /) -> Sequence[str]:
        """Return what the end of the text may become, sorted; nothing of the script's runs for it."""

    async def globals(self) -> Mapping[str, str]:
        """Return the names that chunks see, sorted, each with the type of what stands there."""


@runtime_checkable
class Scripts(Protocol):
    """Runs scripts, whole or chunk by chunk."""

    async def run_file(self, path: str | os.PathLike[str], arguments: Sequence[str] = (), /) -> Any:
        """Run a script file, in the language that its name tells, and return its value, plain.

        Raises:
            ScriptError: It cannot be read, or it failed.
        """

    async def run_script(self, script: ScriptRun, /, *, write: Callable[[str], object] | None = None) -> Any:
        """Run a script that is given as text and return its value, plain.

        Args:
            script: What runs. Within another script's run it has no more globals than that, and no looser limits.
            write: Takes what it prints, on any thread; then it has no input either. Left out, it prints and reads where
                all scripts do.

        Raises:
            ComponentNotFoundError: There is no such language.
            InvalidInputError: There is no such global or limit, or the language can withhold none.
            SecurityError: The script around it has no such global itself.
            ScriptError: It failed.
        """

    def around(self) -> ScriptsAround:
        """Return what the running operation has of scripts around it."""

    def console(self, script: ScriptRun, /) -> AbstractAsyncContextManager[ScriptConsole]:
        """Open a console for the block; its hooks and subscriptions live until the block is left.

        Args:
            script: Its language, its name and its arguments; the source does not count.

        Raises:
            ComponentNotFoundError: There is no such language.
            InvalidInputError: It runs whole scripts only.
        """


@hookpoint(phase=Phase.BEFORE, topic="script")
def before_script_run(context: HookContext[ScriptRun]) -> HookResult | None:
    """A script is about to run.

    When: guards and observers once for each attempt; transforms once for each that starts from the original script.
    Subject: the script.
    """


@hookpoint(phase=Phase.AROUND, topic="script")
def around_script_run(context: HookContext[ScriptRun]) -> HookResult | None:
    """A script runs.

    When: once for each attempt, around the run; an async generator with one yield.
    Subject: the script.
    """


@hookpoint(phase=Phase.AFTER, topic="script")
def after_script_run(context: HookContext[ScriptResult]) -> HookResult | None:
    """A script has ended.

    When: once for each attempt that completed, or whose result was replaced.
    Subject: its value.
    """


@hookpoint(phase=Phase.ERROR, topic="script", value=ScriptResult)
def script_error(context: HookContext[Failure]) -> HookResult | None:
    """A script has failed.

    When: once for each attempt that failed; observers also when the run was cancelled.
    Subject: the failure.
    """
