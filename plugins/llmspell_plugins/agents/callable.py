"""What a model may ask for, beside tools: agents and workflows, named by their addresses.

``tools = ["calculator", "workflow:report", "agent:critic"]``; the model sees ``workflow_report``, which takes a text as
``input``. What it asks for runs as any call does, within the limits of the run that it belongs to.

Invariant: no two of what a model sees have one name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from llmspell_hookspecs import Services
from llmspell_hookspecs.agents import Agents
from llmspell_hookspecs.errors import ComponentNotFoundError, InvalidInputError
from llmspell_hookspecs.model import ToolSpec
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.services import Tools
from llmspell_hookspecs.workflows import Workflows

__all__ = ["address_of", "spec_of"]

_ODD: Final = re.compile(r"[^A-Za-z0-9_-]")
_SCHEMA: Final = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "What it is asked, or given."}},
    "required": ["input"],
}


def address_of(services: Services, agent: str, name: str) -> str:
    """Return the address of what an agent may use, given a tool's name or alias, or an address.

    Raises:
        ComponentNotFoundError: There is none.
    """
    kind, colon, target = name.partition(":")
    if not colon or kind == "tool":
        return f"tool:{_tool(services.get(Tools), agent, target if colon else name)}"
    if kind not in _KINDS:
        kinds = ", ".join(_KINDS)
        raise InvalidInputError(f"agent {agent}: {name!r:.80} is no tool; name one, or a {kinds}", field="tools")
    if _KINDS[kind](services, target) is None:
        raise ComponentNotFoundError(f"agent {agent}: there is no {kind} {target!r:.80}; make it first", address=name)
    return name


def spec_of(services: Services, address: str) -> ToolSpec:
    """Return what a model is told of it."""
    kind, _, name = address.partition(":")
    if kind == "tool":
        described = services.get(Tools).describe(name)
        return ToolSpec(name, str(described.get("description", "")), described.get("schema", {}))
    text = _KINDS[kind](services, name) or f"Run the {kind} {name}."
    return ToolSpec(_ODD.sub("_", address)[:64], text, _SCHEMA)


def _workflow(services: Services, name: str) -> str | None:
    found = services.get(Workflows).get(name)
    return found.definition.description if found is not None and _reaches(services, found.info.scope) else None


def _agent(services: Services, name: str) -> str | None:
    found = services.get(Agents).get(name)
    return found.config.description if found is not None and _reaches(services, found.info.scope) else None


def _reaches(services: Services, scope: str) -> bool:
    return services.get(Operations).reaches(scope)


_KINDS: Final[dict[str, Callable[[Any, str], str | None]]] = {"workflow": _workflow, "agent": _agent}


def _tool(tools: Tools, agent: str, name: str) -> str:
    canonical = tools.canonical(name)
    if canonical is None:
        known = ", ".join(tools.names())
        message = f"agent {agent}: there is no tool {name!r}; there are {known}"
        raise ComponentNotFoundError(message, address=f"tool:{name}")
    return canonical
