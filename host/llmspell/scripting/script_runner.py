"""Running scripts, whole or chunk by chunk: the operation around each, their interface and their end.

Invariant: a script's hooks and other leavings go when its run or session ends, whatever ended it.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

from llmspell.operations import CURRENT, Frame, Runner
from llmspell.plugins import LazyRegistry
from llmspell.policy import Policies
from llmspell_hookspecs import InvalidInputError, Services
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.fit import bound, thaw_fields
from llmspell_hookspecs.globals import GlobalFactory
from llmspell_hookspecs.kind import CallOptions
from llmspell_hookspecs.language import InteractiveLanguage, Language
from llmspell_hookspecs.operation import Operation, OperationKind
from llmspell_hookspecs.payload import payload_of
from llmspell_hookspecs.script import ScriptResult, ScriptRun, ScriptsAround

from .grants import Grants, acting_names, granted_globals
from .interface import Interface
from .loading import make_globals
from .scope import Scope
from .script_session import ScriptSession, read_source

__all__ = ["SCRIPT", "ScriptRunner"]

SCRIPT: Final = OperationKind(
    name="script",
    before="before_script_run",
    around="around_script_run",
    after="after_script_run",
    error="script_error",
    result=ScriptResult,
    to_result=ScriptResult.of,
    payload=payload_of,
    events=True,
)
_WORD: Final = re.compile(r"[^\W\d]\w*")
_LOOKED_THROUGH: Final = 65536
"""How many characters of a source are looked through for words, on the loop."""


class ScriptRunner:
    """Runs scripts.

    Args:
        languages: The plugins that bring languages.
        default_language: Returns the name of the language of files whose names do not tell.
        runner: Runs operations.
        policies: Say what a script may use.
        services: What globals may use.
        script_globals: The plugins that bring what scripts see.
        write: Where scripts write to; standard output if None.
        read_line: Where they read lines from; standard input if None.
    """

    def __init__(
        self,
        languages: LazyRegistry[Language],
        default_language: Callable[[], str],
        runner: Runner,
        policies: Policies,
        services: Services,
        script_globals: LazyRegistry[GlobalFactory],
        write: Callable[[str], object] | None = None,
        read_line: Callable[[], str | None] | None = None,
    ) -> None:
        self._languages = languages
        self._default_language = default_language
        self._runner = runner
        self._policies = policies
        self._services = services
        self._globals = script_globals
        self._write, self._read_line = write, read_line
        self._numbers = itertools.count(1)
        self._grants = Grants()

    async def run_file(
        self, path: str | os.PathLike[str], arguments: Sequence[str] = (), options: CallOptions | None = None
    ) -> Any:
        """Run a file and return its value.

        Raises:
            ScriptError: It cannot be read, or it failed.
        """
        name = os.fspath(path)
        source = await read_source(name)
        resolved = str(await trio.Path(name).resolve())
        script = ScriptRun(source, self._language_of(name), name, resolved, tuple(arguments))
        return await self.run_script(script, options)

    def _language_of(self, name: str) -> str:
        """Return the language of a file by its extension; the default language if none claims it."""
        extension = os.path.splitext(name)[1]
        default = self._languages.get(self._default_language())
        if not extension or extension in default.extensions:
            return default.name
        return next((each.name for _, each in self._languages.loadable() if extension in each.extensions), default.name)

    async def run_script(
        self,
        script: ScriptRun,
        options: CallOptions | None = None,
        *,
        write: Callable[[str], object] | None = None,
    ) -> Any:
        """Run a script and return its value; see `Scripts`."""
        self._languages.get(script.language)
        bound(script.arguments, f"script:{script.name}", "arguments")
        scope = f"s{next(self._numbers)}"
        result = await self._operate(script, partial(self._body, scope, write), options or CallOptions(), scope=scope)
        return result.value

    def around(self) -> ScriptsAround:
        """Return what the running operation has of scripts around it; see `Scripts`."""
        frame = CURRENT.get()
        asking = None if frame is None else frame.parent
        asks = asking is not None and asking.component.kind == SCRIPT.name
        return ScriptsAround(self._grants.globals_within(frame), asks)

    @asynccontextmanager
    async def console(self, script: ScriptRun) -> AsyncIterator[ScriptSession]:
        """Open a console for the block.

        Args:
            script: Its language, its name and its arguments; the source does not count.

        Raises:
            ComponentNotFoundError: There is no such language.
            InvalidInputError: It has no sessions.
        """
        language = await self._languages.enter(script.language)
        if not isinstance(language, InteractiveLanguage):
            message = f"language {script.language}: it has no sessions; run whole scripts, or name another language"
            raise InvalidInputError(message, field="language")
        scope = f"s{next(self._numbers)}"
        async with (
            self._interface(scope, script, language, None, None) as interface,
            language.session(script, interface) as inner,
        ):
            yield ScriptSession(inner, script, partial(self._operate, scope=scope))

    async def _operate(
        self,
        script: ScriptRun,
        body: Callable[[ScriptRun], Awaitable[ScriptResult]],
        options: CallOptions,
        *,
        scope: str,
    ) -> ScriptResult:
        result: ScriptResult = await self._runner.execute(
            Operation(
                kind=SCRIPT,
                component=_component(script),
                subject=script,
                body=body,
                deadline_s=options.deadline_s,
                repeatable=True,
                hops=options.hops,
                started=options.started,
                language=script.language,
                scope=scope,
            )
        )
        return result

    async def run(self, name: str, input: Any, options: CallOptions, /) -> ScriptResult:
        """Run a script file by its address; see `ComponentKind`.

        Who calls by address may be a script: it runs only files that it may read.
        """
        arguments = input.get("arguments", ()) if isinstance(input, Mapping) else ()
        if not isinstance(arguments, list | tuple):
            message = f"script:{name}: its arguments are a {type(arguments).__name__}; give a list of texts"
            raise InvalidInputError(message, field="arguments")
        path = self._policies.files.resolve(os.path.join(os.getcwd(), name), "read")
        return ScriptResult(await self.run_file(path, [str(argument) for argument in arguments], options))

    async def _body(self, scope: str, write: Callable[[str], object] | None, script: ScriptRun) -> ScriptResult:
        language, script = await self._languages.enter(script.language), thaw_fields(script)
        async with self._interface(scope, script, language, _words(script, language), write) as interface:
            return ScriptResult(await language.run(script, interface))

    @asynccontextmanager
    async def _interface(
        self,
        id: str,
        script: ScriptRun,
        language: Language,
        words: frozenset[str] | None,
        write: Callable[[str], object] | None,
    ) -> AsyncIterator[Interface]:
        """Return the interface of one run or session, whose scope closes behind it; words as `make_globals` has it."""
        grant = self._grants.grant(script, self._policies.script_limits, CURRENT.get())
        acting = acting_names(script, language, grant)
        read_line = self._read_line if write is None else _read_nothing
        scope = Scope(id, script, language.hook_adapter, write=write or self._write, read_line=read_line)
        home = Frame(self._runner, None, _component(script), 0, script.language, 0, (id,))
        with self._grants.kept(id, grant):
            try:
                made = await make_globals(self._globals, self._services, scope, words, grant.globals)
                offered = granted_globals(script, grant, made, {*self._globals.names(), *acting})
                yield Interface(scope, self._services, grant.limits, offered, home, grant.globals)
            finally:
                await scope.close()


def _read_nothing() -> str | None:
    return None


def _words(script: ScriptRun, language: Language) -> frozenset[str] | None:
    """Return the words by which a script can reach a global; None if it can reach every one."""
    reaching: frozenset[str] | None = getattr(language, "reaching", None)
    if reaching is None or len(script.source) > _LOOKED_THROUGH:
        return None
    words = frozenset(_WORD.findall(script.source))
    return words if words.isdisjoint(reaching) else None


def _component(script: ScriptRun) -> ComponentRef:
    return ComponentRef("script", os.path.basename(script.name), f"script:{script.name}")
