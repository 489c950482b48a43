"""Running scripts, whole, or chunk by chunk in a session: the operation around each, their interface and their end.

Invariant: a script's hooks and other leavings go when its run or session ends, whatever ended it. Its globals are made
for each run, one object for each, and of the host's own none that the script cannot reach is imported. Of a session one
chunk runs at a time.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import trio
from msgspec import structs

from llmspell.operations import CURRENT, Frame, Runner
from llmspell.plugins import OWN
from llmspell.plugins.registry import LazyRegistry
from llmspell.services import Policies
from llmspell_hookspecs import InvalidInputError, Services
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.fit import bound, thaw_fields
from llmspell_hookspecs.globals import GlobalFactory, acting_names, granted_globals, load_globals
from llmspell_hookspecs.kind import CallOptions
from llmspell_hookspecs.language import InteractiveLanguage, Language, LanguageSession, ScriptScope
from llmspell_hookspecs.operation import Operation, OperationKind
from llmspell_hookspecs.payload import payload_of
from llmspell_hookspecs.regular import read_regular
from llmspell_hookspecs.script import ScriptResult, ScriptRun, ScriptsAround

from .grants import Grants
from .scope import Interface, Scope

__all__ = ["SCRIPT", "ScriptRunner", "ScriptSession"]

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
    composes=True,
)
_WORD: Final = re.compile(r"[^\W\d]\w*")
_Body = Callable[[ScriptRun], Awaitable[ScriptResult]]
_LOOKED_THROUGH: Final = 65536
"""How many characters of a source are looked through for words, on the loop."""
_OTHERS: Final = dict.fromkeys((".js", ".mjs", ".cjs", ".ts"), "JavaScript") | {".py": "Python", ".rb": "Ruby"}
"""Languages that nobody takes for another, by extension."""


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
        source = await _read_source(name)
        resolved = str(await trio.Path(name).resolve())
        script = ScriptRun(source, self._language_of(name), name, resolved, tuple(arguments))
        return await self.run_script(script, options)

    def _language_of(self, name: str) -> str:
        """Return the language of a file by its extension; the default language if none claims it.

        Raises:
            ScriptError: It is plainly of a language that is not installed.
        """
        extension = os.path.splitext(name)[1]
        default = self._languages.get(self._default_language())
        if not extension or extension in default.extensions:
            return default.name
        there = {each.name: each.extensions for _, each in self._languages.loadable()}
        missing = _OTHERS.get(extension.lower())
        found = next((each for each, extensions in there.items() if extension in extensions), "")
        if missing and not found:
            message = f"it is {missing}, which is not installed; write it in what is: {', '.join(there)}"
            raise ScriptError(f"{name}: {message}", file=name)
        return found or default.name

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
        body: _Body,
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
        """Return the interface of one run or session, whose scope closes behind it; words as `_make_globals` has it."""
        grant = self._grants.grant(script, self._policies.script_limits, CURRENT.get())
        acting = acting_names(script, language, grant.globals)
        read_line = self._read_line if write is None else lambda: None
        scope = Scope(id, script, language.hook_adapter, write=write or self._write, read_line=read_line)
        home = Frame(self._runner, None, _component(script), 0, script.language, 0, (id,))
        with self._grants.kept(id, grant):
            try:
                made = await _make_globals(self._globals, self._services, scope, words, grant.globals)
                offered = granted_globals(script, grant.globals, made, {*self._globals.names(), *acting})
                yield Interface(scope, self._services, grant.limits, offered, home, grant.globals)
            finally:
                await scope.close()


async def _make_globals(
    shelf: LazyRegistry[GlobalFactory],
    services: Services,
    scope: ScriptScope,
    words: Collection[str] | None,
    granted: Set[str] | None = None,
) -> dict[str, Any]:
    """Construct the globals of a run; see `load_globals`.

    Args:
        shelf: The plugins of the group.
        services: What the globals may use of the host.
        scope: The run.
        words: All by which the script can reach a global; None for all there are. The host's own globals have the
            names of their entry points, and only those among the words are imported.
        granted: The names that the script may see, None for all; of the host's own no others are imported.
    """
    own = {name for name in shelf.names() if shelf.info(name).distribution == OWN}
    unnamed = own.difference(words) if words is not None else set()
    unnamed |= own.difference(granted) if granted is not None else set()
    names = sorted(set(shelf.names()).difference(unnamed), key=lambda name: (name not in own, name))
    found = list(shelf.loadable(names))
    return await shelf.build(lambda: load_globals(found, services, scope, unnamed))


def _words(script: ScriptRun, language: Language) -> frozenset[str] | None:
    """Return the words by which a script can reach a global; None if it can reach every one."""
    reaching: frozenset[str] | None = getattr(language, "reaching", None)
    if reaching is None or len(script.source) > _LOOKED_THROUGH:
        return None
    words = frozenset(_WORD.findall(script.source))
    return words if words.isdisjoint(reaching) else None


def _component(script: ScriptRun) -> ComponentRef:
    return ComponentRef("script", os.path.basename(script.name), f"script:{script.name}")


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
        script = structs.replace(self._script, source=source, name=name or self._script.name)
        return await self._run(script, deadline_s)

    async def load(self, path: str | os.PathLike[str]) -> Any:
        """Run a file as a chunk and return its value, plain.

        Raises:
            ScriptError: It cannot be read, or it failed.
            OperationCancelledError: A hook cancelled it.
        """
        name = os.fspath(path)
        source = await _read_source(name)
        resolved = str(await trio.Path(name).resolve())
        return await self._run(structs.replace(self._script, source=source, name=name, path=resolved), None)

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


async def _read_source(name: str) -> str:
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
