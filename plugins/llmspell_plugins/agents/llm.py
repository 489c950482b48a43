"""The llm agent: a conversation with a language model that may use tools.

Each run asks the model, runs the tools that it asks for, tells it what they answered, and asks again until it asks for
none. What a hook denies is told to the model as denied, and the run goes on.

Invariant: a run asks the model ``max_steps`` times and runs ``max_tool_calls`` tools at most. The conversation grows by
the whole turn when the run ends, and not at all if it fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec
import trio
from msgspec import structs

from llmspell_hookspecs import (
    Agent,
    AgentInput,
    AgentOutput,
    Message,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    Services,
)
from llmspell_hookspecs.agent import AgentChunk, AgentConfig, AgentSink, ToolRecord
from llmspell_hookspecs.agents import AgentContext
from llmspell_hookspecs.errors import InvalidInputError, ResourceLimitError
from llmspell_hookspecs.fit import plain
from llmspell_hookspecs.model import ChunkSink, Endpoint, Models, ModelUsage, ToolUse
from llmspell_hookspecs.values import freeze
from llmspell_hookspecs.workflows import Stage, StageContext, WorkflowRun
from llmspell_plugins.tool_uses import ids_of, settled

from .callable import address_of, spec_of
from .handoff import Handoffs
from .toolbox import Toolbox

__all__ = ["Llm"]

Call = Callable[[], Awaitable[ModelResponse]]


class Llm(Agent):
    """Converse with a language model that may use tools."""

    kind: ClassVar[str] = "llm"
    capabilities: ClassVar[tuple[str, ...]] = ("streaming", "tools", "context")
    durable: ClassVar[bool] = True

    def __init__(self, config: AgentConfig, services: Services) -> None:
        """Find the model and the tools, so that a wrong name is told at once."""
        self._models = services.get(Models)
        addresses = tuple(dict.fromkeys(address_of(services, config.name, name) for name in config.tools))
        names = tuple(address.removeprefix("tool:") for address in addresses)
        config = structs.replace(config, model=self._models.resolve(config.model), tools=names)
        super().__init__(config, services)
        self._specs = tuple(spec_of(services, address) for address in addresses)
        offered = dict(zip((spec.name for spec in self._specs), addresses, strict=True))
        self._handoffs = Handoffs(config, services)
        self._specs += self._handoffs.specs
        if len(offered) < len(addresses) or not offered.keys().isdisjoint(spec.name for spec in self._handoffs.specs):
            message = f"agent {config.name}: two of its tools have one name for its model; rename one"
            raise InvalidInputError(message, field="tools")
        self._toolbox = Toolbox(config, services, offered)
        self._system = (Message("system", config.system_prompt),) if config.system_prompt else ()
        self._options = freeze(config.options)
        elsewhere = bool(config.base_url) or config.api_key is not None
        self._endpoint = Endpoint(config.base_url, config.api_key) if elsewhere else None

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        """Converse until the model asks for no more tools, or another agent has answered in its place.

        Raises:
            ProviderError: The model could not be asked.
            ResourceLimitError: The model goes on asking for tools.
        """
        with self._handoffs.counted():
            return await self._converse(input, context)

    async def _converse(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        if context.records is not None and self._handoffs.specs:
            message = f"agent {self.config.name}: what it hands over is kept nowhere; ask it without durable"
            raise InvalidInputError(message, field="durable")
        before = self._before(input, context)
        turn = [Message("user", input.text)] if input.text or not before else []
        records: list[ToolRecord] = []
        usage = ModelUsage()
        transfer = self._handoffs.begin(input, lambda: (*before, *turn), context.sink)
        step = 0
        while step < self.config.max_steps:
            step += 1
            if context.attention or context.records is not None:
                turn += await self._told(context, f"step.{step}/told")
            response = await self._ask((*self._system, *before, *turn), step, context)
            if response is None:  # a pause has cut it off
                step -= 1
                continue
            usage = usage + response.usage
            uses: tuple[ToolUse, ...] = ()
            if response.tool_uses:
                uses = settled(response.tool_uses, response.finish_reason, ids_of((*before, *turn)))
            turn.append(Message("assistant", response.text, uses, extra=response.extra))
            if not uses:
                if context.attention and (said := await self._told(context, f"step.{step + 1}/told")):
                    turn += said
                    continue
                return self._answer(input, turn, response, records, usage, step)
            self._check_room(len(records) + len(uses))
            said = await self._told(context, f"step.{step}/said") if context.attention else ()
            if context.records is None:
                done = await self._toolbox.use(uses, step, context.sink, transfer.expect(uses, step))
            else:
                done = await self._toolbox.use_kept(uses, step, context.sink, context.records)
            await trio.lowlevel.checkpoint_if_cancelled()  # a tool may have made an answer of that
            records += done
            turn += [Message("tool", record.text, (), record.id, record.name) for record in done]
            turn += said
            if transfer.output is not None:
                if input.messages is None:
                    self.remember([*turn, Message("assistant", transfer.output.text)])
                return transfer.answered(records, usage, step)
        most = self.config.max_steps
        message = f"agent {self.config.name}: its model still asks for tools in answer {most}, the last it may give"
        raise ResourceLimitError(
            f"{message}; raise max_steps (agents.steps bounds it), or ask for less", resource="steps", limit=most
        )

    def _before(self, input: AgentInput, context: AgentContext) -> Sequence[Message]:
        """Return the conversation that a run goes on with."""
        if input.messages is not None:
            return tuple(input.messages)
        return self.conversation if context.before is None else context.before

    async def _told(self, context: AgentContext, path: str) -> Sequence[Message]:
        """Wait while it is paused, and return what it was told; of a durable run the same as it was the first time."""
        records = context.records
        if records is None:
            return await context.checkpoint()
        if not context.attention and records.record(path) is None:
            return ()

        async def passed(place: StageContext) -> list[str]:
            return [message.content for message in await context.checkpoint()]

        record = await records.stage(Stage("told", function=passed, repeatable=True), path)
        return [Message("user", text) for text in record.output]

    async def _ask(self, messages: tuple[Message, ...], step: int, context: AgentContext) -> ModelResponse | None:
        """Ask the model; None if a pause has cut it off."""
        config, sink, records = self.config, context.sink, context.records
        request = ModelRequest(
            config.model,
            messages,
            self._specs,
            config.temperature,
            config.max_tokens,
            (),
            self._options,
        )
        if sink is None and records is None and not config.interruptible:
            return await self._models.complete(request, endpoint=self._endpoint)
        taken: ChunkSink | None = None if sink is None else partial(_hand_on, sink, step)
        call = partial(self._models.complete, request, sink=taken, endpoint=self._endpoint)
        if records is None:
            return await _cut_off(call, step, context)
        return await self._ask_kept(call, step, context, records)

    async def _ask_kept(self, call: Call, step: int, context: AgentContext, records: WorkflowRun) -> ModelResponse:
        """Ask the model as a stage, and show whoever streams what was answered earlier."""
        asked = False

        async def ask(place: StageContext) -> Any:
            nonlocal asked
            asked = True
            while (response := await _cut_off(call, step, context)) is None:
                await context.checkpoint(take=False)
            return plain(msgspec.to_builtins(response, enc_hook=dict))

        stage = Stage("model", function=ask, repeatable=True)
        record = await records.stage(stage, f"step.{step}/model")
        response = msgspec.convert(record.output, ModelResponse)
        if not asked and context.sink is not None and response.text:
            await context.sink(AgentChunk(text=response.text, step=step))
        return response

    def _answer(
        self,
        input: AgentInput,
        turn: Sequence[Message],
        response: ModelResponse,
        records: Sequence[ToolRecord],
        usage: ModelUsage,
        steps: int,
    ) -> AgentOutput:
        if input.messages is None:
            self.remember(turn)
        model = response.model or self.config.model
        return AgentOutput(response.text, tuple(records), model, usage, steps, response.finish_reason)

    def _check_room(self, count: int) -> None:
        most = self.config.max_tool_calls
        if count > most:
            message = f"agent {self.config.name}: its model asks for more than {most} tools in one run"
            raise ResourceLimitError(
                f"{message}; raise max_tool_calls (agents.tool_calls bounds it), or ask for less",
                resource="tool_calls",
                limit=most,
            )


async def _cut_off(call: Call, step: int, context: AgentContext) -> ModelResponse | None:
    """Ask the model so that a pause may cut it off; None if it did, and what was streamed is void."""
    response = await context.interruptible(call)
    if response is None and context.sink is not None:
        await context.sink(AgentChunk("restart", step=step))
    return response


async def _hand_on(sink: AgentSink, step: int, chunk: ModelChunk) -> None:
    """Hand on a model's chunk; of the tools that it asks for the toolbox tells, when they run."""
    if chunk.kind == "restart":
        await sink(AgentChunk("restart", step=step))
    elif chunk.text:
        await sink(AgentChunk(text=chunk.text, step=step))
