"""The global Tool: find tools and run them, through the same runner as everybody else."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from time import perf_counter_ns
from typing import Any, ClassVar, Final

from llmspell_hookspecs import Calls, LlmspellError, ScriptGlobal, Services, script_method
from llmspell_hookspecs.language import ScriptScope
from llmspell_hookspecs.services import Tools

from .envelope import answer_of, failure_of, soft_failure
from .options import unknown_option
from .tool_entry import ToolEntry, ToolHandle

__all__ = ["ToolGlobal"]

_FILTERS: Final = ("category", "tag")
_log = logging.getLogger("llmspell.script")


class ToolGlobal(ScriptGlobal):
    """Find tools and run them."""

    name: ClassVar[str] = "Tool"

    def __init__(self, services: Services, scope: ScriptScope) -> None:
        super().__init__(services, scope)
        self._handles: dict[str, ToolHandle] = {}
        self._told: set[tuple[str, str]] = set()

    def script_lookup(self, name: str) -> ToolHandle | None:
        """Return the tool of this name or alias, or None: ``Tool.calculator``."""
        return self._handle(name)

    @script_method()
    async def list(self) -> Sequence[ToolEntry]:
        """Return all tools, each with name, description, version and category; as a text each is its name."""
        return [ToolEntry(each) for each in await self._tools.discover()]

    @script_method()
    async def discover(
        self, filters: Mapping[str, Any] | str | None = None, tag: str | None = None
    ) -> Sequence[ToolEntry]:
        """Return the tools that fit.

        Args:
            filters: ``{category=, tag=}``, or the category itself.
            tag: A part of the name or description, if the category came by itself.
        """
        given = {"category": filters} if isinstance(filters, str) else dict(filters or {})
        for name in given:
            if name not in _FILTERS:
                raise unknown_option("Tool.discover", str(name), [*_FILTERS])
        wanted = str(given.get("tag") or tag or "")
        return [ToolEntry(each) for each in await self._tools.discover(str(given.get("category") or ""), wanted)]

    @script_method()
    async def categories(self) -> Sequence[str]:
        """Return the categories that have tools, sorted."""
        return sorted({str(each.get("category", "")) for each in await self._tools.discover()})

    @script_method()
    def exists(self, name: str) -> bool:
        """Return whether there is such a tool, or one with such an alias."""
        return self._tools.canonical(name) is not None

    @script_method("get_by_name")
    def get(self, name: str) -> ToolHandle | None:
        """Return the tool with ``description``, ``version``, ``schema`` and ``execute``, or nothing."""
        return self._handle(name)

    @script_method("execute", "invoke_async", "execute_async", "call")
    async def invoke(self, name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run a tool and return its envelope, with ``text`` and ``data`` beside it.

        Args:
            name: The tool's name or an alias.
            parameters: What it is given.

        Raises:
            ToolError: It failed; the text begins with ``Tool execution failed:``.
            OperationCancelledError: A hook denied it; the text names the hook and its reason.
        """
        started = perf_counter_ns()
        given = dict(parameters or {})
        try:
            self._tell_unknown(name, given)
            answer = await self.services.get(Calls).call(f"tool:{name}", given, lenient=True)
        except LlmspellError as error:
            told = soft_failure(self._tools.canonical(name), given, error)
            if told is None:
                raise failure_of(name, error) from error
            answer = told
        return await answer_of(answer, (perf_counter_ns() - started) / 1e6)

    def _tell_unknown(self, name: str, given: dict[str, Any]) -> None:
        """Warn once of each parameter that the tool does not take: scripts of the original give such ones."""
        if self._tools.canonical(name) is None:
            return
        for key in self._tools.unknown_parameters(name, given):
            if (name, key.dotted) not in self._told:
                self._told.add((name, key.dotted))
                advice = f"did you mean {key.nearest!r}?" if key.nearest else "leave it out"
                _log.warning("%s: tool %s takes no %r; %s", self.scope.script.name, name, key.dotted, advice)

    @property
    def _tools(self) -> Tools:
        return self.services.get(Tools)

    def _handle(self, name: str) -> ToolHandle | None:
        canonical = self._tools.canonical(name)
        if canonical is None:
            return None
        if canonical not in self._handles:  # one each, so that Tool.x.execute(Tool.x, ...) knows its receiver
            self._handles[canonical] = ToolHandle(canonical, self._tools, self.invoke)
        return self._handles[canonical]
