"""Agents whose members run one after the other: the pipeline, and the saga, which undoes what a later failure voids.

Both are workflow definitions (``workflow:NAME.stages``), so retries, timeouts, durable runs and what undoes a stage are
those of workflows. ``carry`` says what a stage without an input of its own is given: the text of the one before it, the
value of the one before it, or all that came before.

Invariant: the workflow goes with the agent, and nobody else's runs it under another name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from llmspell_hookspecs import AgentInput, AgentOutput, InvalidInputError, Services
from llmspell_hookspecs.agent import AgentConfig
from llmspell_hookspecs.agents import AgentContext
from llmspell_hookspecs.fit import plain
from llmspell_hookspecs.payload import payload_text
from llmspell_hookspecs.services import Calls
from llmspell_hookspecs.workflow import WorkflowOutput
from llmspell_hookspecs.workflows import WorkflowHandle, Workflows
from llmspell_plugins.kinds.workflow.definition import compile_definition, defined
from llmspell_plugins.workflows.sequential import Sequential

from .callable import address_of
from .members import Composite

__all__ = ["Line", "PipelineAgent", "PipelineOptions", "SagaAgent", "SagaOptions"]

_KINDS: Final = ("agent", "tool", "workflow", "model", "address")
Stages = Annotated[
    tuple[dict[str, Any], ...],
    BeforeValidator(lambda given: [_as_stage(each) for each in given] if isinstance(given, list | tuple) else given),
    Field(min_length=1, max_length=1000, description="Names of agents, or tables as a workflow's stages have them."),
]


class PipelineOptions(BaseModel):
    """What a pipeline takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stages: Stages
    carry: Literal["text", "value", "all"] = "text"
    on_error: Literal["", "fail_fast", "continue", "retry"] = ""
    durable: bool = False


class SagaOptions(BaseModel):
    """What a saga takes; each stage may have a ``compensate``, a stage of its own that undoes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stages: Stages
    carry: Literal["text", "value", "all"] = "value"
    durable: bool = False


class Line(Composite):
    """Stages one after the other, by a workflow."""

    strategy: ClassVar[str]

    def __init__(self, config: AgentConfig, services: Services) -> None:
        """Find what the stages name, and check the workflow, so that a mistake is told at once."""
        super().__init__(config, services)
        assert self.Options is not None
        given: Any = self.Options.model_validate(dict(config.options))
        strategy = self.strategy or given.on_error or "fail_fast"
        self._calls = services.get(Calls)
        self._workflows = services.get(Workflows)
        self._handle: WorkflowHandle | None = None
        self._definition = {
            "name": f"{config.name}.stages",
            "description": config.description or self.description,
            "stages": _stages(config.name, services, given.stages, given.carry),
            "on_error": strategy,
            "on_cancel": "compensate" if strategy == "compensate" else "",
            "timeout_s": config.time_s,
            "durable": given.durable,
        }
        compile_definition(defined(self._definition), Sequential())

    async def __aexit__(self, *error: object) -> None:
        """Forget the workflow."""
        if self._handle is not None:
            self._handle.remove()

    async def __aenter__(self) -> Line:
        """Return itself; the workflow is made with the first run."""
        return self

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        """Run the stages.

        Raises:
            WorkflowError: One of them failed.
        """
        if self._handle is None:
            self._handle = await self._workflows.create(self._definition, scope=self.scope)
        given = {**plain(input.parameters), "text": input.text}
        output: WorkflowOutput = await self._calls.call(f"workflow:{self._handle.name}", given)
        text = "" if output.output is None else payload_text(output.output)
        told = {
            "run_id": output.run_id,
            "status": output.status,
            "stages": output.stages,
            "failed": output.failed,
            "outputs": output.outputs,
        }
        return await self.answer(input, context, AgentOutput(text, steps=output.stages, metadata=told))


class PipelineAgent(Line):
    """Answer by stages: agents, tools and workflows, each given what the one before it made."""

    kind: ClassVar[str] = "pipeline"
    capabilities: ClassVar[tuple[str, ...]] = ("composite", "pipeline")
    Options: ClassVar[type[BaseModel] | None] = PipelineOptions
    strategy: ClassVar[str] = ""


class SagaAgent(Line):
    """Answer by stages, and undo those that completed, the last one first, if a later one fails."""

    kind: ClassVar[str] = "saga"
    capabilities: ClassVar[tuple[str, ...]] = ("composite", "saga")
    Options: ClassVar[type[BaseModel] | None] = SagaOptions
    strategy: ClassVar[str] = "compensate"


def _as_stage(given: Any) -> Any:
    """A name stands for a stage that asks the agent of this name, and an address for one that calls that."""
    if not isinstance(given, str):
        return given
    kind, colon, name = given.partition(":")
    return {"name": name, kind: name} if colon else {"name": given, "agent": given}


def _stages(agent: str, services: Services, given: Sequence[dict[str, Any]], carry: str) -> list[dict[str, Any]]:
    stages: list[dict[str, Any]] = []
    for each in given:
        address = _address(agent, services, each)
        stage = {"name": address.partition(":")[2], **{key: each[key] for key in each if key not in _KINDS}}
        stage["address"] = address
        if "input" not in stage:
            stage["input"] = _carried(address, stages, carry)
        if isinstance(stage.get("compensate"), Mapping):
            undo = dict(stage["compensate"])
            undone = _address(agent, services, undo)
            named = {"name": f"undo {stage['name']}", **{key: undo[key] for key in undo if key not in _KINDS}}
            stage["compensate"] = {"input": f"{{{{step:{stage['name']}:output}}}}", **named, "address": undone}
        stages.append(stage)
    return stages


def _address(agent: str, services: Services, stage: Mapping[str, Any]) -> str:
    named = [(kind, str(stage[kind])) for kind in _KINDS if stage.get(kind)]
    if len(named) != 1:
        what = f"names {len(named)} things that run" if named else "does not say what runs"
        message = f"agent {agent}: stage {str(stage.get('name', ''))!r:.80} {what}; give one of {', '.join(_KINDS)}"
        raise InvalidInputError(message, field="options.stages")
    kind, name = named[0]
    address = name if kind == "address" else f"{kind}:{name}"
    return address if address.startswith("model:") else address_of(services, agent, address)


def _carried(address: str, before: Sequence[Mapping[str, Any]], carry: str) -> Any:
    """Return the input of a stage that has none of its own."""
    talks = address.startswith(("agent:", "model:"))
    if not before:
        return "{{input.text}}" if talks else "{{input}}"
    last = f"step:{before[-1]['name']}:output"
    if carry == "all":
        if talks:
            parts = [f"{stage['name']}:\n{{{{step:{stage['name']}:output|text}}}}" for stage in before]
            return "\n\n".join(["{{input.text}}", *parts])
        return {"text": "{{input.text}}", "outputs": {s["name"]: f"{{{{step:{s['name']}:output}}}}" for s in before}}
    if talks:
        return f"{{{{{last}|text}}}}"
    return f"{{{{{last}}}}}" if carry == "value" else {"input": f"{{{{{last}|text}}}}"}
