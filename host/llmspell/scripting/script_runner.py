"""Running scripts: the operation around a run, its interface and its end.

Invariant: a script's hooks and other leavings go when its run ends, whatever ended it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import trio

from llmspell.components import CallOptions, bare, to_script_result
from llmspell.operations import Operation, OperationKind, Runner, thaw_fields
from llmspell.policy import Policies
from llmspell_hookspecs import (
    ComponentRef,
    InvalidInputError,
    ScriptError,
    ScriptResult,
    ScriptRun,
    Services,
)

from .interface import Interface
from .languages import Languages
from .loading import GlobalFactory, load_globals
from .scope import Scope

__all__ = ["SCRIPT", "ScriptRunner"]

SCRIPT: Final = OperationKind(
    name="script",
    before="before_script_run",
    around="around_script_run",
    after="after_script_run",
    error="script_error",
    result=ScriptResult,
    to_result=to_script_result,
    payload=bare,
    events=True,
)


class ScriptRunner:
    """Runs scripts.

    Args:
        languages: The languages.
        runner: Runs operations.
        policies: Say what a script may use.
        services: What globals may use.
        globals_of: Answers the globals' names and factories.
        write: Where scripts write to; standard output if None.
    """

    def __init__(
        self,
        languages: Languages,
        runner: Runner,
        policies: Policies,
        services: Services,
        globals_of: Callable[[], Iterable[tuple[str, GlobalFactory]]],
        write: Callable[[str], object] | None = None,
    ) -> None:
        self._languages = languages
        self._runner = runner
        self._policies = policies
        self._services = services
        self._globals_of = globals_of
        self._write = write
        self._numbers = itertools.count(1)

    async def run_file(
        self, path: str | os.PathLike[str], arguments: Sequence[str] = (), options: CallOptions | None = None
    ) -> Any:
        """Run a file and answer its value.

        Raises:
            ScriptError: It cannot be read, or it failed.
        """
        name = os.fspath(path)
        try:
            source = await trio.Path(name).read_text(encoding="utf-8")
        except OSError as error:
            raise ScriptError(
                f"{name}: it cannot be read: {error.strerror}; name a file that can", file=name
            ) from error
        except UnicodeDecodeError as error:
            raise ScriptError(f"{name}: it is not UTF-8; save it as UTF-8", file=name) from error
        language = self._languages.of_file(name).name
        resolved = str(await trio.Path(name).resolve())
        script = ScriptRun(source, language, name, resolved, tuple(arguments))
        return await self.run_script(script, options)

    async def run_script(self, script: ScriptRun, options: CallOptions | None = None) -> Any:
        """Run a script and answer its value."""
        options = options or CallOptions()
        self._languages.get(script.language)
        result: ScriptResult = await self._runner.run(
            Operation(
                kind=SCRIPT,
                component=ComponentRef("script", os.path.basename(script.name), f"script:{script.name}"),
                subject=script,
                body=self._body,
                deadline_s=options.deadline_s,
                repeatable=True,
                hops=options.hops,
                started=options.started,
                language=script.language,
            )
        )
        return result.value

    async def run(self, name: str, input: Any, options: CallOptions, /) -> ScriptResult:
        """Run a script file by its address; see `ComponentRunner`.

        Who calls by address may be a script: it runs only files that it may read.
        """
        arguments = input.get("arguments", ()) if isinstance(input, Mapping) else ()
        if not isinstance(arguments, list | tuple):
            message = f"script:{name}: its arguments are a {type(arguments).__name__}; give a list of texts"
            raise InvalidInputError(message, field="arguments")
        path = self._policies.files.resolve(os.path.join(os.getcwd(), name), "read")
        return ScriptResult(await self.run_file(path, [str(argument) for argument in arguments], options))

    async def _body(self, script: ScriptRun) -> ScriptResult:
        language = self._languages.get(script.language)
        scope = Scope(f"s{next(self._numbers)}", thaw_fields(script), language.hook_adapter, write=self._write)
        try:
            offered = load_globals(self._globals_of(), self._services, scope)
            interface = Interface(scope, self._services, self._policies.script_limits, offered)
            return ScriptResult(await language.run(script, interface))
        finally:
            await scope.close()
