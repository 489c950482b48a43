"""The tools of a host: by name or alias, loaded on first use, and what each tells of itself.

Invariant: a name that an entry point has needs no import; only an alias may load the tools to ask them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmspell.plugins import Candidate, Shelf, construct, load
from llmspell.settings import Settings
from llmspell_hookspecs import LlmspellError, PluginError, Services, Tool
from llmspell_hookspecs.parameters import UnknownKey, unknown_keys

__all__ = ["ToolRegistry"]

AnyTool = Tool[Any]


class ToolRegistry:
    """Tools by name.

    Args:
        candidates: What discovery chose.
        settings: Give each tool its table.
        services: What tools are constructed with.
    """

    def __init__(self, candidates: Iterable[Candidate], settings: Settings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._shelf: Shelf[AnyTool] = Shelf("tool", candidates, self._load)
        self._aliases: dict[str, str] | None = None

    def put(self, tool: Any) -> None:
        """Take in a tool that was handed over in code: a class or an object."""
        constructor: Any = tool
        made = constructor(None, self._services) if inspect.isclass(tool) else constructor
        self._shelf.put(made.name, made)
        self._aliases = None

    def names(self) -> tuple[str, ...]:
        """Answer the canonical names, without importing anything."""
        return self._shelf.names()

    def canonical(self, name: str, /) -> str | None:
        """Answer the canonical name for a name or alias, or None."""
        names = self._shelf.names()
        plain = name.replace("-", "_")
        for spelling in (name, plain, plain.removesuffix("_tool")):
            if spelling in names:
                return spelling
        return self._alias_table().get(name)

    def get(self, name: str) -> AnyTool:
        """Answer the tool of this name or alias.

        Raises:
            ComponentNotFoundError: There is none.
            PluginError: It cannot be loaded.
        """
        canonical = self.canonical(name)
        if canonical is None:
            raise self._shelf.missing(name)
        return self._shelf.get(canonical)

    def unknown_parameters(self, name: str, parameters: Mapping[str, Any], /) -> Sequence[UnknownKey]:
        """Return the parameters that a tool does not take."""
        return unknown_keys(self.get(name).parameters, parameters)

    def describe(self, name: str, /) -> Mapping[str, Any]:
        """Answer name, description, category, version, level, aliases and the parameters' JSON schema."""
        tool = self.get(name)
        return {**_summary(tool), "schema": tool.schema()}

    def summaries(self) -> list[dict[str, Any]]:
        """Answer what every tool that loads tells of itself."""
        return [_summary(tool) for tool in self._loadable()]

    def _loadable(self) -> list[AnyTool]:
        tools = []
        for name in self._shelf.names():
            try:
                tools.append(self._shelf.get(name))
            except LlmspellError:  # named by `plugin doctor` and by whoever calls it
                continue
        return tools

    def _alias_table(self) -> dict[str, str]:
        if self._aliases is None:
            self._aliases = {alias: tool.name for tool in self._loadable() for alias in tool.aliases}
        return self._aliases

    def _load(self, candidate: Candidate) -> AnyTool:
        info = candidate.info
        tool = construct(info, load(info, candidate.point), self._settings.tool_table(info.name), self._services)
        if not isinstance(tool, Tool) or tool.name != info.name:
            message = f"tool {info.name}: {info.module} is no Tool of that name; subclass llmspell_hookspecs.Tool"
            raise PluginError(message, plugin=info.name)
        return tool


def _summary(tool: AnyTool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "category": tool.category,
        "version": tool.version,
        "level": tool.level.name.lower(),
        "aliases": list(tool.aliases),
    }
