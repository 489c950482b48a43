"""The agents of a host, and the kinds that they are made from.

Invariant: names are unique; an agent is here from when it was made until it is shut down.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import ValidationError

from llmspell.plugins import Candidate, Shelf, load
from llmspell_hookspecs import Agent, AgentConfig, AgentKind, InvalidInputError, LlmspellError, PluginError, Services

__all__ = ["AgentRegistry", "is_agent_kind"]

_GROUP: Final = "llmspell.agents"


class AgentRegistry:
    """Kinds of agent by name.

    Args:
        candidates: What discovery chose.
        services: What agents are constructed with.
    """

    def __init__(self, candidates: Iterable[Candidate], services: Services) -> None:
        self._services = services
        self._kinds: Shelf[type[Agent]] = Shelf("agent kind", candidates, _load)

    def put(self, kind: type[Agent]) -> None:
        """Take in a kind that was handed over in code."""
        self._kinds.put(kind.kind, kind)

    def make(self, config: AgentConfig) -> Agent:
        """Answer a new agent.

        Raises:
            ComponentNotFoundError: There is no such kind.
            InvalidInputError: Its options do not fit.
            PluginError: The kind does not load, or its constructor failed.
        """
        kind = self.kind(config.kind)
        _check_options(kind, config)
        try:
            return kind(config, self._services)
        except LlmspellError:
            raise
        except Exception as error:
            message = f"agent {config.name}: the constructor of its kind {config.kind} failed: {error}; repair it"
            raise PluginError(message, plugin=config.kind) from error

    def kind(self, name: str) -> type[Agent]:
        """Answer the kind of this name.

        Raises:
            ComponentNotFoundError: There is none.
            PluginError: It does not load.
        """
        return self._kinds.get(name)

    def kinds(self) -> Sequence[AgentKind]:
        """Answer what each kind that loads tells of itself."""
        found = []
        for name in self._kinds.names():
            try:
                kind = self._kinds.get(name)
            except LlmspellError:  # named by `plugin doctor` and by whoever asks for it
                continue
            options = {} if kind.Options is None else kind.Options.model_json_schema()
            found.append(AgentKind(name, kind.description, kind.version, kind.capabilities, options))
        return found


def is_agent_kind(item: Any) -> bool:
    """Answer whether what was handed over in code is a kind of agent."""
    return inspect.isclass(item) and issubclass(item, Agent)


def _load(candidate: Candidate) -> type[Agent]:
    info = candidate.info
    kind = load(info, candidate.point)
    if not is_agent_kind(kind) or kind.kind != info.name:
        message = f"agent kind {info.name}: {info.module} is no Agent of that kind; subclass llmspell_hookspecs.Agent"
        raise PluginError(message, plugin=info.name)
    found: type[Agent] = kind
    return found


def _check_options(kind: type[Agent], config: AgentConfig) -> None:
    if kind.Options is None:
        return
    try:
        kind.Options.model_validate(dict(config.options))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(["options", *(str(part) for part in first["loc"])])
        known = ", ".join(kind.Options.model_fields)
        message = f"agent {config.name}: {field}: {first['msg']}; kind {config.kind} takes {known}"
        raise InvalidInputError(message, field=field) from None
