"""The builder of agents: ``Agent.builder():name("writer"):model("openai/gpt-4o-mini"):build()``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from llmspell_hookspecs import script_method
from llmspell_hookspecs.language import ScriptObject

__all__ = ["AgentBuilder"]

Create = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


class AgentBuilder(ScriptObject):
    """Collects what an agent is made from; each setter answers the builder."""

    def __init__(self, create: Create) -> None:
        self._create = create
        self._table: dict[str, Any] = {}

    def _with(self, **values: Any) -> AgentBuilder:
        self._table |= values
        return self

    @script_method()
    def name(self, name: str) -> AgentBuilder:
        """Set its name."""
        return self._with(name=name)

    @script_method("kind", "agent_type")
    def type(self, kind: str) -> AgentBuilder:
        """Set its kind: ``llm``, ``basic``, ``delegating`` ..."""
        return self._with(kind=kind)

    @script_method()
    def description(self, text: str) -> AgentBuilder:
        """Set what it is for."""
        return self._with(description=text)

    @script_method("with_model")
    def model(self, model: str) -> AgentBuilder:
        """Set its model, ``provider/model``."""
        return self._with(model=model)

    @script_method("with_provider")
    def provider(self, provider: str) -> AgentBuilder:
        """Set its model's provider."""
        return self._with(provider=provider)

    @script_method("with_system_prompt", "instructions")
    def system_prompt(self, text: str) -> AgentBuilder:
        """Set what its model is told before the conversation."""
        return self._with(system_prompt=text)

    @script_method("with_temperature")
    def temperature(self, value: float) -> AgentBuilder:
        """Set the temperature, 0 to 2."""
        return self._with(temperature=value)

    @script_method("with_max_tokens")
    def max_tokens(self, count: int) -> AgentBuilder:
        """Set how long one answer of the model may be."""
        return self._with(max_tokens=count)

    @script_method("max_conversation")
    def max_conversation_length(self, count: int) -> AgentBuilder:
        """Set how many messages it remembers."""
        return self._with(max_conversation=count)

    @script_method()
    def base_url(self, url: str) -> AgentBuilder:
        """Set where its model is."""
        return self._with(base_url=url)

    @script_method()
    def api_key(self, key: str) -> AgentBuilder:
        """Set the key for that place."""
        return self._with(api_key=key)

    @script_method("tool", "with_tool", "add_tool")
    def allow_tool(self, name: str) -> AgentBuilder:
        """Let it use one more tool."""
        return self._with(tools=(*self._table.get("tools", ()), name))

    @script_method("tools", "with_tools")
    def allowed_tools(self, names: Sequence[Any]) -> AgentBuilder:
        """Set the tools that it may use."""
        return self._with(tools=tuple(str(name) for name in names))

    @script_method("time_s")
    def max_execution_time(self, seconds: float) -> AgentBuilder:
        """Set how long one run may take."""
        return self._with(time_s=seconds)

    @script_method()
    def max_memory_mb(self, megabytes: int) -> AgentBuilder:
        """Of no effect, and said so when it is built; old scripts set it."""
        return self._with(max_memory_mb=megabytes)

    @script_method()
    def max_tool_calls(self, count: int) -> AgentBuilder:
        """Set how many tools one run may use."""
        return self._with(max_tool_calls=count)

    @script_method("max_iterations")
    def max_steps(self, count: int) -> AgentBuilder:
        """Set how often one run may ask the model."""
        return self._with(max_steps=count)

    @script_method()
    def max_recursion_depth(self, depth: int) -> AgentBuilder:
        """Of no effect, and said so when it is built: ``limits.depth`` holds everybody."""
        return self._with(max_recursion_depth=depth)

    @script_method()
    def custom_config(self, config: Mapping[str, Any]) -> AgentBuilder:
        """Set the original's custom_config: system_prompt, max_conversation_length."""
        return self._with(custom_config=config)

    @script_method()
    def resource_limits(self, limits: Mapping[str, Any]) -> AgentBuilder:
        """Set the original's resource_limits: max_execution_time_secs, max_tool_calls."""
        return self._with(resource_limits=limits)

    @script_method()
    def capabilities(self, words: Sequence[Any]) -> AgentBuilder:
        """Set what it is good for, in words."""
        return self._with(capabilities=tuple(str(word) for word in words))

    @script_method("hand_off_to", "handoff")
    def handoffs(self, names: Sequence[Any]) -> AgentBuilder:
        """Set the agents that its model may hand the conversation over to."""
        return self._with(handoffs=tuple(str(name) for name in names))

    @script_method()
    def tags(self, words: Sequence[Any]) -> AgentBuilder:
        """Set further words under which it is found."""
        return self._with(tags=tuple(str(word) for word in words))

    @script_method()
    def options(self, options: Mapping[str, Any]) -> AgentBuilder:
        """Set what only its kind or its provider knows, such as ``{top_p = 0.9}``."""
        return self._with(options=options)

    @script_method("create")
    async def build(self) -> Any:
        """Make the agent.

        Raises:
            InvalidInputError: A value does not fit, or the name is taken.
            ComponentNotFoundError: There is no such model provider or tool.
            OperationCancelledError: A hook refused it.
        """
        return await self._create("Agent.builder", self._table)
