"""An agent as scripts hold it.

Invariant: a script ends only agents that it made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import perf_counter_ns
from typing import Any, Final

import msgspec

from llmspell_hookspecs import Calls, InvalidInputError, Message, Services, State, script_method
from llmspell_hookspecs.agent import AgentChunk, AgentInfo
from llmspell_hookspecs.agents import AgentHandle
from llmspell_hookspecs.errors import SecurityError, line_of_error
from llmspell_hookspecs.language import ScriptFunction, ScriptObject
from llmspell_hookspecs.services import Tools
from llmspell_hookspecs.values import thaw
from llmspell_plugins.globals.envelope import answer_of
from llmspell_plugins.globals.tool_schema import script_schema

from .answer import answer_table, chunk_table
from .options import read_input

__all__ = ["AgentInstance", "details_of"]

_ROLES: Final = ("user", "assistant", "system")
_KEPT: Final = "conversation"
"""The key of a conversation in the state of ``agent:<name>``."""


class AgentInstance(ScriptObject):
    """An agent that can be asked.

    Args:
        handle: The agent.
        services: What it may use of the host.
        script: The id of the script that holds it.
    """

    def __init__(self, handle: AgentHandle, services: Services, script: str) -> None:
        self._handle = handle
        self._services = services
        self._script = script

    def stands_for(self, handle: AgentHandle) -> bool:
        """Return whether it is this agent."""
        return self._handle is handle

    def script_fields(self) -> Mapping[str, Any]:
        """Return name, id, type and model."""
        info = self._handle.info
        return {"name": info.name, "id": info.id, "type": info.kind, "kind": info.kind, "model": info.model}

    def script_text(self) -> str:
        """Return its name."""
        return self._handle.name

    # Asking.

    @script_method("invoke", "run", "ask", "call", "execute_async", "invoke_async")
    async def execute(self, input: Any) -> dict[str, Any]:
        """Ask it; returns a table with text, tool_calls, usage and metadata.

        Args:
            input: The question, or a table with text (prompt, input) and parameters.

        Raises:
            OperationCancelledError: A hook cancelled it.
            ResourceLimitError: It asked its model, or for tools, more often than it may.
            ProviderError: Its model could not be asked.
        """
        started = perf_counter_ns()
        output = await self._handle.run(read_input("Agent.execute", input))
        return await answer_table(output, (perf_counter_ns() - started) / 1e6)

    @script_method("invoke_stream", "execute_stream")
    async def stream(self, input: Any, callback: ScriptFunction) -> dict[str, Any]:
        """Ask it and call a function with each chunk; returns as ``execute`` does, with success and chunks_received.

        Args:
            input: As for ``execute``.
            callback: Is given a table: kind (text, tool_use, tool_result, restart), text, step, chunk_index.

        Raises:
            InvalidInputError: The function is missing.
            OperationCancelledError: A hook cancelled it.
        """
        if not callable(callback):
            raise InvalidInputError("Agent.stream: the function is missing; give one that takes a chunk")
        started, count = perf_counter_ns(), 0

        async def take(chunk: AgentChunk) -> None:
            nonlocal count
            count += 1
            await callback(chunk_table(chunk, count - 1))

        output = await self._handle.run(read_input("Agent.stream", input), sink=take)
        answer = await answer_table(output, (perf_counter_ns() - started) / 1e6)
        return {"success": True, "chunks_received": count, **answer}

    # Its conversation.

    @script_method("conversation")
    def get_conversation(self) -> Sequence[dict[str, Any]]:
        """Return what it remembers: role and content of each message."""
        return [{"role": message.role, "content": message.content} for message in self._handle.conversation]

    @script_method()
    def conversation_length(self) -> int:
        """Return how many messages it remembers."""
        return len(self._handle.conversation)

    @script_method()
    def add_message(self, role: str, content: str) -> None:
        """Add a message to what it remembers.

        Raises:
            InvalidInputError: The role is none of user, assistant, system.
        """
        if role not in _ROLES:
            raise InvalidInputError(f"Agent.add_message: role {role!r} is none; use {', '.join(_ROLES)}", field="role")
        self._handle.remember([Message(role, content)])  # type: ignore[arg-type]

    @script_method("forget", "reset")
    def clear_conversation(self) -> None:
        """Begin a new conversation."""
        self._handle.forget()

    @script_method()
    async def save_state(self) -> bool:
        """Keep what it remembers in the state of the host, so that it outlives the script."""
        state = self._services.get(State)
        await state.set(_KEPT, [_message_table(each) for each in self._handle.conversation], scope=self._scope)
        return True

    @script_method()
    async def load_state(self) -> bool:
        """Remember what was kept last under its name in place of what it remembers; false if nothing was.

        Raises:
            InvalidInputError: Something else stands there.
        """
        kept = await self._services.get(State).get(_KEPT, scope=self._scope)
        if kept is None:
            return False
        try:
            messages = msgspec.convert(kept, tuple[Message, ...])
        except msgspec.ValidationError as error:
            why = line_of_error(error)
            message = f"agent {self._handle.name}: its state holds no conversation ({why}); delete_state removes it"
            raise InvalidInputError(message, field="state") from error
        self._handle.forget()
        self._handle.remember(messages)
        return True

    @script_method()
    async def delete_state(self) -> bool:
        """Forget what was kept; false if nothing was."""
        return await self._services.get(State).delete(_KEPT, scope=self._scope)

    @property
    def _scope(self) -> str:
        return f"agent:{self._handle.name}"

    # Tools.

    @script_method("list_tools")
    def discover_tools(self) -> Sequence[str]:
        """Return the names of all tools; ``get_config().allowed_tools`` are those that its model may use."""
        return [*self._services.get(Tools).names()]

    @script_method()
    def has_tool(self, name: str) -> bool:
        """Return whether there is such a tool."""
        return self._services.get(Tools).canonical(name) is not None

    @script_method()
    def get_tool_metadata(self, name: str) -> dict[str, Any] | None:
        """Return a tool's name, description, version and schema, or nothing."""
        tools = self._services.get(Tools)
        if tools.canonical(name) is None:
            return None
        described = tools.describe(name)
        told = {key: described.get(key) for key in ("name", "description", "version", "category")}
        return {**told, "schema": script_schema(described)}

    @script_method()
    def get_all_tool_metadata(self) -> Sequence[dict[str, Any]]:
        """Return the metadata of all tools."""
        found = (self.get_tool_metadata(name) for name in self.discover_tools())
        return [each for each in found if each is not None]

    @script_method()
    async def invoke_tool(self, name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run a tool, as ``Tool.invoke`` does.

        Raises:
            ToolError: It failed.
            OperationCancelledError: A hook denied it.
        """
        started = perf_counter_ns()
        answer = await self._services.get(Calls).call(f"tool:{name}", dict(parameters or {}))
        return await answer_of(answer, (perf_counter_ns() - started) / 1e6)

    # What is known of it.

    @script_method()
    def get_config(self) -> dict[str, Any]:
        """Return what it was made from; keys are left out."""
        return _config_table(self._handle)

    @script_method("get_agent_state", "state")
    def get_state(self) -> str:
        """Return ``Ready``, ``Running``, ``Paused``, ``Terminated``, ``Error`` or another of the nine states."""
        return self._handle.info.state.capitalize()

    @script_method("metrics")
    def get_metrics(self) -> dict[str, Any]:
        """Return what it did so far: requests_total, requests_failed, requests_active, tool_invocations, tokens."""
        return _metrics(self._handle.info)

    @script_method()
    def get_performance(self) -> dict[str, Any]:
        """Return total_executions, avg_execution_time_ms, success_rate and error_rate."""
        info = self._handle.info
        runs = info.runs
        error_rate = info.failed / runs if runs else 0.0
        return {
            "total_executions": runs,
            "avg_execution_time_ms": 1000 * info.busy_s / runs if runs else 0.0,
            "success_rate": 1 - error_rate if runs else 0.0,
            "error_rate": error_rate,
        }

    @script_method()
    def get_health(self) -> dict[str, Any]:
        """Return status (healthy, degraded, terminated), message and timestamp."""
        info = self._handle.info
        failing = bool(info.runs) and info.failed == info.runs
        status = "terminated" if info.state == "terminated" else "degraded" if failing else "healthy"
        return {"status": status, "message": info.last_error, "timestamp": datetime.now(UTC).isoformat()}

    @script_method()
    def is_healthy(self) -> bool:
        """Return whether it can be asked, and not every run so far has failed."""
        return bool(self.get_health()["status"] == "healthy")

    @script_method()
    def get_last_error(self) -> str | None:
        """Return why the last run that failed did, or nothing."""
        return self._handle.info.last_error or None

    @script_method("close", "terminate")
    async def destroy(self) -> bool:
        """Shut it down; false if it was already.

        Raises:
            SecurityError: This script did not make it.
            OperationCancelledError: A hook keeps it.
        """
        if self._handle.info.scope != self._script:
            message = f"agent {self._handle.name}: this script did not make it, so it cannot end it"
            raise SecurityError(message, rule="scope")
        if self._handle.info.state == "terminated":
            return False
        await self._handle.close()
        return True


def details_of(handle: AgentHandle) -> dict[str, Any]:
    """Return all that ``Agent.get_details`` tells."""
    info = handle.info
    return {
        "id": info.id,
        "name": info.name,
        "type": info.kind,
        "description": info.description,
        "state": info.state.capitalize(),
        "metrics": _metrics(info),
        "config": _config_table(handle),
    }


def _message_table(message: Message) -> dict[str, Any]:
    uses = [
        {"id": use.id, "name": use.name, "parameters": thaw(use.parameters), "problem": use.problem}
        for use in message.tool_uses
    ]
    told = {"role": message.role, "content": message.content}
    return {**told, "tool_uses": uses, "tool_use_id": message.tool_use_id, "name": message.name}


def _metrics(info: AgentInfo) -> dict[str, Any]:
    return {
        "agent_id": info.id,
        "requests_total": info.runs + info.running,
        "requests_failed": info.failed,
        "requests_active": info.running,
        "tool_invocations": info.tool_calls,
        "input_tokens": info.usage.input_tokens,
        "output_tokens": info.usage.output_tokens,
        "cost_usd": info.usage.cost_usd,
    }


def _config_table(handle: AgentHandle) -> dict[str, Any]:
    config = handle.config
    return {
        "name": config.name,
        "agent_type": config.kind,
        "description": config.description,
        "model": config.model,
        "system_prompt": config.system_prompt,
        "allowed_tools": [*config.tools],
        "temperature": config.temperature,
        "max_tokens": config.max_tokens,
        "max_conversation_length": config.max_conversation,
        "max_steps": config.max_steps,
        "max_tool_calls": config.max_tool_calls,
        "max_execution_time": config.time_s,
        "base_url": config.base_url,
    }
