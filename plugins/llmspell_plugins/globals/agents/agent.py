"""The global Agent: make agents and find them.

Invariant: an agent that a script made goes when the script ends. A script sees its own agents and those of whoever
embeds the host, never another script's.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final
from weakref import WeakValueDictionary

from llmspell_hookspecs import InvalidInputError, ScriptGlobal, Services, script_method
from llmspell_hookspecs.agent import AgentConfig, AgentKind
from llmspell_hookspecs.agents import AgentHandle, Agents
from llmspell_hookspecs.errors import ComponentNotFoundError
from llmspell_hookspecs.language import ScriptScope
from llmspell_hookspecs.services import Tools

from .builder import AgentBuilder
from .instance import AgentInstance, details_of
from .options import kind_of, read_agent

__all__ = ["AgentGlobal"]

_log = logging.getLogger("llmspell.script")
_PLAIN: Final = ("llm", "basic")
_CAPABILITIES: Final = ("streaming", "tools", "context", "multimodal")


class AgentGlobal(ScriptGlobal):
    """Make agents and find them."""

    name: ClassVar[str] = "Agent"

    def __init__(self, services: Services, scope: ScriptScope) -> None:
        super().__init__(services, scope)
        self._closes = self._ended = False
        self._held: WeakValueDictionary[str, AgentInstance] = WeakValueDictionary()

    # Making.

    @script_method()
    def builder(self) -> AgentBuilder:
        """Return a builder: ``Agent.builder():name("writer"):model("offline/rules"):build()``."""
        return AgentBuilder(self._make)

    @script_method("create_async", "new")
    async def create(self, config: Mapping[str, Any]) -> AgentInstance:
        """Make an agent.

        Args:
            config: A table: name, type (llm, basic), model (provider/model), system_prompt, tools or allowed_tools,
                temperature, max_tokens, max_conversation_length, max_steps, max_tool_calls, max_execution_time,
                base_url, api_key, capabilities, tags, options (those of its kind may stand beside them); or the
                original's model, custom_config and resource_limits tables.

        Raises:
            InvalidInputError: A value does not fit, or the name is taken.
            ComponentNotFoundError: There is no such kind, model provider or tool.
            OperationCancelledError: A hook refused it.
        """
        return await self._make("Agent.create", config)

    @script_method()
    async def register(self, config: Mapping[str, Any]) -> str:
        """Make an agent as ``create`` does; returns its name."""
        return (await self._make("Agent.register", config)).script_text()

    @script_method("create_from_kind")
    async def create_from_template(
        self, name: str, template: str, parameters: Mapping[str, Any] | None = None
    ) -> AgentInstance:
        """Make an agent of a kind that ``list_templates`` names."""
        config = {**(parameters or {}), "name": name, "kind": template}
        return await self._make("Agent.create_from_template", config)

    # Finding.

    @script_method("get_agent")
    def get(self, name: str) -> AgentInstance | None:
        """Return the agent of this name, or nothing."""
        handle = self._visible().get(name)
        return None if handle is None else self._instance(handle)

    @script_method()
    def list(self) -> Sequence[dict[str, Any]]:
        """Return all agents: name, type, state and model of each."""
        infos = [handle.info for handle in self._visible().values()]
        return [{"name": info.name, "type": info.kind, "state": info.state, "model": info.model} for info in infos]

    @script_method()
    def list_instances(self) -> Sequence[str]:
        """Return the names of all agents."""
        return [*self._visible()]

    @script_method("exists")
    def has(self, name: str) -> bool:
        """Return whether there is such an agent."""
        return name in self._visible()

    @script_method("destroy")
    async def remove(self, name: str) -> bool:
        """Shut an agent of this script down; false if there is none of this name."""
        instance = self.get(name)
        return instance is not None and await instance.destroy()

    @script_method()
    def get_details(self, name: str) -> dict[str, Any]:
        """Return id, name, description, state, metrics and config of an agent.

        Raises:
            ComponentNotFoundError: There is none.
        """
        handle = self._visible().get(name)
        if handle is None:
            names = ", ".join(self._visible()) or "none"
            message = f"Agent.get_details: there is no agent {name!r}; there are {names}"
            raise ComponentNotFoundError(message, address=f"agent:{name}")
        return details_of(handle)

    # Kinds.

    @script_method()
    def discover(self) -> Sequence[dict[str, Any]]:
        """Return the kinds of agent: type and description of each."""
        return [{"type": kind.name, "description": kind.description} for kind in self._agents.kinds()]

    @script_method("list_kinds", "list_types")
    def list_templates(self) -> Sequence[str]:
        """Return the names of the kinds."""
        return [kind.name for kind in self._agents.kinds()]

    @script_method()
    def get_info(self, type: str) -> dict[str, Any]:
        """Return what a kind of agent is and takes.

        Raises:
            ComponentNotFoundError: There is no such kind.
        """
        kind = next((kind for kind in self._agents.kinds() if kind.name == type), None)
        if kind is None:
            kinds = ", ".join(self.list_templates())
            message = f"Agent.get_info: there is no kind {type!r}; there are {kinds}"
            raise ComponentNotFoundError(message, address=f"agent kind:{type}")
        return _kind_table(kind)

    @script_method()
    def list_capabilities(self) -> dict[str, Any]:
        """Return, for each kind, its name, description and capabilities."""
        return {kind.name: {**_kind_table(kind), "id": kind.name} for kind in self._agents.kinds()}

    @script_method()
    def discover_by_capability(self, capability: str) -> Sequence[str]:
        """Return the kinds that have a capability: streaming, tools, context, multimodal, or a part of such a word."""
        found = self.list_capabilities()
        return [
            name
            for name, told in found.items()
            if any(has and capability.lower() in word for word, has in told["capabilities"].items())
        ]

    @property
    def _agents(self) -> Agents:
        return self.services.get(Agents)

    async def _make(self, where: str, config: Mapping[str, Any]) -> AgentInstance:
        fields = read_agent(where, config, self._own_options(kind_of(config)))
        fields["tools"] = self._known_tools(where, fields.get("tools", ()))
        if not self._closes:
            self._closes = True
            self.scope.on_close(self._leave)
        handle = await self._agents.create(scope=self.scope.id, **fields)
        if self._ended:
            await self._leave()
            raise InvalidInputError(f"{where}: the script has ended; make agents before that", field="agent")
        return self._instance(handle)

    def _own_options(self, kind: str) -> Collection[str]:
        """Return the names of a kind's options; llm's and basic's are asked for too often to be looked up."""
        if kind in _PLAIN:
            return ()
        found = next((each for each in self._agents.kinds() if each.name == kind), None)
        return () if found is None else tuple(found.options.get("properties", ()))

    def _known_tools(self, where: str, names: Sequence[str]) -> tuple[str, ...]:
        """Return the tools that there are; the original keeps the others unchecked, here they are told and left out."""
        tools = self.services.get(Tools)
        known = tuple(name for name in names if ":" in name or tools.canonical(name) is not None)
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, tools.names(), 1)
                advice = f"did you mean {near[0]!r}?" if near else "see Tool.list()"
                _log.warning("%s: there is no tool %r, the agent is made without it; %s", where, name, advice)
        return known

    def _instance(self, handle: AgentHandle) -> AgentInstance:
        """The same object for the same agent, as long as the script holds it."""
        held = self._held.get(handle.name)
        if held is None or not held.stands_for(handle):
            held = self._held[handle.name] = AgentInstance(handle, self.services, self.scope.id)
        return held

    async def _leave(self) -> None:
        self._ended = True
        await self._agents.close_scope(self.scope.id)

    def _visible(self) -> dict[str, AgentHandle]:
        found: dict[str, AgentHandle] = {}
        for info in self._agents.list():
            handle = self._agents.get(info.name)
            if handle is not None and info.scope in ("", self.scope.id):
                found[info.name] = handle
        return found


def _kind_table(kind: AgentKind) -> dict[str, Any]:
    words = dict.fromkeys((*_CAPABILITIES, *kind.capabilities))
    return {
        "name": kind.name,
        "description": kind.description,
        "version": kind.version,
        "category": "agent",
        "complexity": "basic" if not kind.capabilities or "tools" not in kind.capabilities else "advanced",
        "required_parameters": [],
        "optional_parameters": [name for name in AgentConfig.__struct_fields__ if name != "kind"],
        "capabilities": {
            **{word: word in kind.capabilities for word in words},
            "supports_streaming": "streaming" in kind.capabilities,
            "supports_multimodal": "multimodal" in kind.capabilities,
        },
    }
