"""Durable runs of agents: a run is one of the pattern ``agent``, so there is one mechanism for workflows and agents.

Invariant: what is kept of a run is enough to go on with it on another host: what the agent was made from, but for its
key, what it was asked, and its conversation as it was then.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from blake3 import blake3
from msgspec import Struct, structs

from llmspell_hookspecs import AgentInput, AgentOutput, InvalidInputError, LlmspellError, Message, Services
from llmspell_hookspecs.agent import AgentConfig, AgentSink
from llmspell_hookspecs.errors import WorkflowError
from llmspell_hookspecs.fit import plain, thaw_fields
from llmspell_hookspecs.runs import Verdict
from llmspell_hookspecs.workflow import WorkflowOutput
from llmspell_hookspecs.workflows import WorkflowHandle, Workflows

from .handle import Handle

__all__ = ["Asked", "DurableRuns", "kept_config"]

_ODD: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_MORE_S: Final = 60.0
"""So much longer than an agent's run its workflow may take: what is written of it takes time, too."""


class Asked(Struct, frozen=True):
    """What an agent is asked, in a durable run.

    Attributes:
        input: The question.
        before: Its conversation as the run began.
    """

    input: AgentInput
    before: tuple[Message, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as it is kept."""
        given = self.input
        messages = None if given.messages is None else [_plain_message(each) for each in given.messages]
        return {
            "text": given.text,
            "messages": messages,
            "parameters": plain(given.parameters),
            "before": [_plain_message(each) for each in self.before],
        }

    @classmethod
    def of(cls, run_id: str, kept: Any) -> Asked:
        """Return what was kept; a text alone is a question without anything before it."""
        try:
            fields = {"text": kept} if isinstance(kept, str) else dict(kept)
            before = msgspec.convert(fields.pop("before", ()), tuple[Message, ...])
            return cls(msgspec.convert(fields, AgentInput), before)
        except (TypeError, ValueError, msgspec.ValidationError) as error:
            message = f"agent run {run_id}: what it was asked is not as agents keep it; begin another"
            raise InvalidInputError(message, field="input") from error


class DurableRuns:
    """The durable runs of the agents of a host.

    Args:
        services: Give the workflows.

    Attributes:
        sinks: Who takes the chunks of the runs that were begun here, by run.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self.sinks: dict[str, AgentSink | None] = {}
        self._handles: dict[str, WorkflowHandle] = {}

    async def run(
        self, handle: Handle, given: AgentInput, run_id: str, sink: AgentSink | None, deadline_s: float | None
    ) -> AgentOutput:
        """Run an agent once; see the contract's `AgentHandle`."""
        run_id = run_id or secrets.token_hex(16)
        workflow = await self._workflow(handle)
        asked = Asked(given, handle.conversation).plain()
        self.sinks[run_id] = sink
        try:
            output = await workflow.run(asked, run_id=run_id, durable=True, deadline_s=deadline_s)
        except WorkflowError as error:
            raise _cause_of(error) from None
        finally:
            self.sinks.pop(run_id, None)
        return await self._answer(output)

    async def go_on(
        self,
        handle: Handle,
        run_id: str,
        verdicts: Mapping[str, Verdict] | None,
        take_over: bool,
        sink: AgentSink | None,
    ) -> AgentOutput:
        """Go on with a run; see the contract's `AgentHandle`."""
        workflow = await self._workflow(handle)
        self.sinks[run_id] = sink
        try:
            output = await workflow.resume(run_id, verdicts=verdicts, take_over=take_over)
        except WorkflowError as error:
            raise _cause_of(error) from None
        finally:
            self.sinks.pop(run_id, None)
        return await self._answer(output)

    def drop(self, handle: Handle) -> None:
        """Forget the workflow of an agent that is shut down; what is kept of its runs stays."""
        workflow = self._handles.pop(handle.name, None)
        if workflow is not None:
            workflow.remove()

    async def _workflow(self, handle: Handle) -> WorkflowHandle:
        made = self._handles.get(handle.name)
        if made is None:
            workflows = await self._services.enter(Workflows)
            definition = {
                "name": _name_of(handle.name),
                "pattern": "agent",
                "description": handle.config.description,
                "options": {"agent": kept_config(handle.config)},
                "timeout_s": handle.config.time_s + _MORE_S,
                "durable": True,
            }
            made = self._handles[handle.name] = await workflows.create(definition, scope=handle.scope)
        return made

    async def _answer(self, output: WorkflowOutput) -> AgentOutput:
        if output.status != "paused":
            answer: AgentOutput = msgspec.convert(output.output, AgentOutput)
            return structs.replace(answer, metadata={**answer.metadata, "run_id": output.run_id})
        details = await (await self._services.enter(Workflows)).run_details(output.run_id)
        waiting: Sequence[str] = () if details is None else details.info.waiting
        told = {"run_id": output.run_id, "waiting": list(waiting), "error": output.error}
        return AgentOutput(finish_reason="paused", metadata=told)


def kept_config(config: AgentConfig) -> dict[str, Any]:
    """Return what an agent was made from, but for its key, as it is kept."""
    fields = structs.asdict(thaw_fields(config))
    return {name: plain(value) for name, value in fields.items() if name != "api_key"}


def _plain_message(message: Message) -> Any:
    return plain(msgspec.to_builtins(message, enc_hook=dict))


def _cause_of(error: WorkflowError) -> Exception:
    """Return what an agent's run failed with: that it was one of a workflow is no matter of whoever asked it."""
    cause = error.__cause__
    return cause if isinstance(cause, LlmspellError) else error


def _name_of(agent: str) -> str:
    """Return the name of the workflow of an agent, which may be called anything."""
    short = _ODD.sub("_", agent)[:60]
    return f"agent.{short}" if short == agent else f"agent.{short}.{blake3(agent.encode()).hexdigest(4)}"
