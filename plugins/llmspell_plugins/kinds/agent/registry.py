"""The agents of a host, and the kinds that they are made from.

Invariant: names are unique; an agent is here from when it was made until it is shut down.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pydantic import ValidationError

from llmspell_hookspecs import Agent, InvalidInputError, LlmspellError, Services
from llmspell_hookspecs.agent import AgentConfig, AgentKind
from llmspell_hookspecs.errors import PluginError
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.kind import Registry
from llmspell_hookspecs.parameters import first_problem, validate, written_names

from .handle import Handle

__all__ = ["AgentRegistry"]


class AgentRegistry:
    """Kinds of agent by name.

    Args:
        kinds: The plugins of the group.
        services: What agents are constructed with.
    """

    def __init__(self, kinds: Registry[type[Agent]], services: Services) -> None:
        self._services = services
        self._kinds = kinds

    async def make(self, config: AgentConfig, scope: str) -> Agent:
        """Return a new agent that goes with a script, or stays if there is none.

        Raises:
            ComponentNotFoundError: There is no such kind.
            InvalidInputError: Its options do not fit.
            PluginError: The kind does not load, or its constructor failed.
        """
        kind = self.kind(config.kind)
        _check_options(kind, config)

        def construct() -> Agent:
            agent = kind(config, self._services)
            agent.scope = scope
            return agent

        with Blamed(partial(_failed, config), spares=LlmspellError):
            return await self._kinds.build(construct, config.kind)

    async def keep(self, handle: Handle) -> None:
        """Open the handle of an agent: it is left before the agent is."""
        await self._kinds.build(lambda: handle, handle.config.kind)

    async def leave(self, part: Handle | Agent) -> None:
        """End what `make` or `keep` opened."""
        await self._kinds.leave(part)

    def kind(self, name: str) -> type[Agent]:
        """Return the kind of this name.

        Raises:
            ComponentNotFoundError: There is none.
            PluginError: It does not load.
        """
        return self._kinds.get(name)

    def kinds(self) -> Sequence[AgentKind]:
        """Return what each kind that loads tells of itself."""
        found = []
        for name, kind in self._kinds.loadable():
            try:
                with Blamed(partial(_untold, name)):
                    options = {} if kind.Options is None else kind.Options.model_json_schema()
                    found.append(AgentKind(name, kind.description, kind.version, kind.capabilities, options))
            except PluginError as error:
                self._kinds.tell(name, error)
        return found


def _failed(config: AgentConfig, error: BaseException) -> PluginError:
    message = f"agent {config.name}: the constructor of its kind {config.kind} failed: {text_of(error)}; repair it"
    return PluginError(message, plugin=config.kind)


def _untold(name: str, error: BaseException) -> PluginError:
    message = f"agent kind {name}: it cannot be described: {text_of(error)}; repair it, or disable it"
    return PluginError(message, plugin=name)


def _check_options(kind: type[Agent], config: AgentConfig) -> None:
    if kind.Options is None:
        return
    try:
        validate(kind.Options, dict(config.options))
    except ValidationError as error:
        problem = first_problem(kind.Options, error)
        field = f"options.{problem.where}".rstrip(".")
        known = ", ".join(written_names(kind.Options))
        message = f"agent {config.name}: {field}: {problem.words}; kind {config.kind} takes {known}"
        raise InvalidInputError(message, field=field) from None
