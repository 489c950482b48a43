"""The group of kinds of agent: what one must be."""

from __future__ import annotations

import inspect
from typing import Any, Final

from llmspell_hookspecs import Agent
from llmspell_hookspecs.kind import ComponentGroup

__all__ = ["AGENTS"]


def _is_agent(item: Any) -> bool:
    return inspect.isclass(item) and issubclass(item, Agent)


def _problem(kind: Any, name: str) -> str:
    if not _is_agent(kind) or kind.kind != name:
        return "is no Agent of that kind; subclass llmspell_hookspecs.Agent"
    return ""


AGENTS: Final = ComponentGroup("llmspell.agents", "agent kind", _is_agent, "plugins", _problem, constructed=False)
