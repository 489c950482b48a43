"""The tools of a host: by name or alias, loaded on first use, and what each tells of itself.

Invariant: a name that an entry point has needs no import. A listing, or an alias, loads only the tools that the index
does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import structs

from llmspell_hookspecs import LlmspellError, Tool
from llmspell_hookspecs.errors import PluginError
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.kind import Registry
from llmspell_hookspecs.parameters import UnknownKey, unknown_keys
from llmspell_plugins.tool_index import ToolIndex, ToolSummary

__all__ = ["ToolRegistry"]

AnyTool = Tool[Any]


class ToolRegistry:
    """Tools by name.

    Args:
        shelf: The plugins of the group.
        open_index: Returns the index of what tools told, as it is now.

    Attributes:
        is_open: Return whether a tool that `enter` has returned may be used as it is.
    """

    def __init__(self, shelf: Registry[AnyTool], open_index: Callable[[], ToolIndex]) -> None:
        self._shelf = shelf
        self._open_index = open_index
        self._indexed: dict[str, ToolSummary] | None = None
        self.is_open = shelf.is_open
        self._aliases: dict[str, str] | None = None

    def names(self) -> tuple[str, ...]:
        """Return the canonical names, without importing anything."""
        return self._shelf.names()

    def canonical(self, name: str, /) -> str | None:
        """Return the canonical name for a name or alias, or None."""
        names, spellings = self._shelf.names(), _spellings(name)
        for spelling in spellings:
            if spelling in names:
                return spelling
        aliases = self._alias_table()
        return next((aliases[spelling] for spelling in spellings if spelling in aliases), None)

    def get(self, name: str) -> AnyTool:
        """Return the tool of this name or alias.

        Raises:
            ComponentNotFoundError: There is none.
            PluginError: It cannot be loaded.
        """
        canonical = self.canonical(name)
        if canonical is None:
            raise self._shelf.missing(name)
        return self._shelf.get(canonical)

    async def enter(self, name: str) -> AnyTool:
        """Return the tool of this name or alias, opened if need be; raises as `get` does."""
        canonical = self.canonical(name)
        if canonical is None:
            raise self._shelf.missing(name)
        return await self._shelf.enter(canonical)

    def unknown_parameters(self, name: str, parameters: Mapping[str, Any], /) -> Sequence[UnknownKey]:
        """Return the parameters that a tool does not take."""
        return unknown_keys(self.get(name).parameters, parameters)

    def describe(self, name: str, /) -> Mapping[str, Any]:
        """Return what a tool tells of itself, with examples and the parameters' JSON schema; see `Tools`."""
        tool = self.get(name)
        with Blamed(partial(_untold, name)):
            return {
                **ToolSummary.of(tool).told(),
                "repeatable": tool.repeatable,
                "effects": tool.effects,
                "schema": tool.schema(),
                "examples": [structs.asdict(one) for one in tool.examples],
            }

    def summaries(self) -> list[dict[str, Any]]:
        """Return what every tool that loads tells of itself; those that the index knows are not loaded."""
        names, index = self._shelf.names(), None
        if self._indexed is None:
            index = self._open_index()
            known = ((name, index.find(self._shelf.info(name))) for name in names)
            self._indexed = {name: summary for name, summary in known if summary is not None}
        found = [self._indexed[name] if name in self._indexed else self._ask(name, index) for name in names]
        if index is not None:
            index.save()
        return [summary.told() for summary in found if summary is not None]

    def _ask(self, name: str, index: ToolIndex | None) -> ToolSummary | None:
        """Return what a tool itself tells; None if it does not load, which is said once."""
        try:
            tool = self._shelf.get(name)
            with Blamed(partial(_untold, name)):
                summary = ToolSummary.of(tool)
                if index is not None:
                    index.keep(self._shelf.info(name), tool, summary)
        except LlmspellError as error:
            self._shelf.tell(name, error)
            return None
        return summary

    def _alias_table(self) -> dict[str, str]:
        if self._aliases is None:
            self._aliases = {alias: each["name"] for each in self.summaries() for alias in each["aliases"]}
        return self._aliases


def _spellings(name: str) -> Sequence[str]:
    """Return the names that a tool may have that is called so: ``-`` is as good as ``_``, and ``_tool`` is left out."""
    snake, kebab = name.replace("-", "_"), name.replace("_", "-")
    spelled = (name, snake, snake.removesuffix("_tool"), kebab, kebab.removesuffix("-tool"))
    return tuple(dict.fromkeys(spelled))


def _untold(name: str, error: BaseException) -> PluginError:
    return PluginError(f"tool {name}: it cannot be described: {text_of(error)}; repair it, or disable it", plugin=name)
