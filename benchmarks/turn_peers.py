"""The peers' agents: how each takes a turn with a model that answers at once, in the process.

Invariant: all models obey one rule (`TEXT` is said again, `USE` asks for the tool ``add`` with 2 and 2, what a tool
answered is said after ``tool said:``) and return a usage; every tool is async, since a sync one costs a thread;
tracing is off. Each peer takes its turns the cheapest way that it offers:

- strands-agents: one agent; its conversation and its metrics are emptied before each turn, within the timed part
  (0.2 us). Tools run one after the other, no window slides over the conversation, nothing is retried.
- google-adk: one runner; a session in memory is made and deleted for each turn, within the timed part (about 20 us),
  because every turn copies the whole session.
- pydantic-ai, openai-agents: one agent; a turn without a history keeps nothing.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol

__all__ = ["ANSWERS", "TEXT", "USE", "Turn", "TurnPeer", "find_turn_peers"]

TEXT: Final = "hello"
USE: Final = "use add"
ANSWERS: Final = {TEXT: "hello", USE: "tool said: 4"}
"""What the last text of a turn must be."""
_ARGUMENTS: Final = {"a": 2, "b": 2}
_JSON: Final = '{"a": 2, "b": 2}'

Turn = Callable[[str], Awaitable[str]]
"""Gives an agent a text and answers what it says at the end."""


class TurnPeer(Protocol):
    """A library with agents."""

    name: str

    def agent(self, hooks: int = 0, *, tool: bool = False) -> Turn | None:
        """Return an agent with so many hooks before a model call, that do nothing; None if it cannot have as many."""


def find_turn_peers() -> tuple[list[TurnPeer], list[str]]:
    """Return the peers that are installed, and the names of those that are not."""
    found: list[TurnPeer] = []
    absent: list[str] = []
    for kind in (_Strands, _Adk, _PydanticAi, _OpenAiAgents):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(kind())
        except ImportError:
            absent.append(kind.name)
    return found, absent


async def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: One.
        b: The other.
    """
    return a + b


class _Strands:
    name = "strands-agents"

    def __init__(self) -> None:
        import strands
        from strands.agent.conversation_manager import NullConversationManager
        from strands.hooks import BeforeModelCallEvent
        from strands.tools.executors import SequentialToolExecutor

        self._strands = strands
        self._event = BeforeModelCallEvent
        self._options = {"conversation_manager": NullConversationManager(), "tool_executor": SequentialToolExecutor()}
        self._model = _strands_model()

    def agent(self, hooks: int = 0, *, tool: bool = False) -> Turn:
        tools = [self._strands.tool(add)] if tool else []
        agent = self._strands.Agent(
            model=self._model, tools=tools, callback_handler=None, retry_strategy=None, **self._options
        )
        for _ in range(hooks):
            agent.hooks.add_callback(self._event, _nothing)
        metrics = agent.event_loop_metrics

        async def turn(text: str) -> str:
            agent.messages.clear()
            metrics.traces.clear()
            metrics.agent_invocations.clear()
            result = await agent.invoke_async(text)
            answer: str = result.message["content"][0]["text"]
            return answer

        return turn


def _nothing(event: Any) -> None:
    return None


def _strands_model() -> Any:
    from strands.models import Model

    usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
    metadata = {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}

    class Fake(Model):  # type: ignore[misc]  # untyped library
        def update_config(self, **model_config: Any) -> None:
            return None

        def get_config(self) -> dict[str, Any]:
            return {}

        def structured_output(self, *arguments: Any, **options: Any) -> Any:
            raise AssertionError("no turn asks for it")

        async def stream(self, messages: Any, *arguments: Any, **options: Any) -> AsyncIterator[dict[str, Any]]:
            content = messages[-1]["content"][0]
            yield {"messageStart": {"role": "assistant"}}
            if content.get("text") == USE:
                yield {"contentBlockStart": {"start": {"toolUse": {"name": "add", "toolUseId": "1"}}}}
                yield {"contentBlockDelta": {"delta": {"toolUse": {"input": _JSON}}}}
            elif "toolResult" in content:
                said = f"tool said: {content['toolResult']['content'][0]['text']}"
                yield {"contentBlockDelta": {"delta": {"text": said}}}
            else:
                yield {"contentBlockDelta": {"delta": {"text": content["text"]}}}
            yield {"contentBlockStop": {}}
            yield {"messageStop": {"stopReason": "tool_use" if content.get("text") == USE else "end_turn"}}
            yield metadata

    return Fake()


class _Adk:
    name = "google-adk"

    def __init__(self) -> None:
        from google.adk.agents import LlmAgent
        from google.adk.apps import App
        from google.adk.plugins.base_plugin import BasePlugin
        from google.adk.runners import Runner
        from google.adk.sessions import InMemorySessionService
        from google.genai import types

        class Plugin(BasePlugin):  # type: ignore[misc]  # untyped library
            async def before_model_callback(self, *, callback_context: Any, llm_request: Any) -> None:
                return None

        logging.getLogger("google_adk").setLevel(logging.WARNING)
        self._plugin = Plugin
        self._agent, self._app, self._runner, self._sessions = LlmAgent, App, Runner, InMemorySessionService
        self._content = types.UserContent
        self._model = _adk_model()

    def agent(self, hooks: int = 0, *, tool: bool = False) -> Turn:
        agent = self._agent(name="writer", model=self._model, tools=[add] if tool else [])
        plugins = [self._plugin(f"plugin_{number}") for number in range(hooks)]
        sessions = self._sessions()
        runner = self._runner(app=self._app(name="bench", root_agent=agent, plugins=plugins), session_service=sessions)
        session = {"app_name": "bench", "user_id": "user", "session_id": "session"}

        async def turn(text: str) -> str:
            answer = ""
            await sessions.create_session(**session)
            message = self._content(text)
            async for event in runner.run_async(user_id="user", session_id="session", new_message=message):
                if event.is_final_response():
                    answer = event.content.parts[0].text
            await sessions.delete_session(**session)
            return answer

        return turn


def _adk_model() -> Any:
    from google.adk.models import BaseLlm, LlmResponse
    from google.genai import types

    usage = types.GenerateContentResponseUsageMetadata(prompt_token_count=1, candidates_token_count=1)

    class Fake(BaseLlm):  # type: ignore[misc]  # untyped library
        async def generate_content_async(self, llm_request: Any, stream: bool = False) -> AsyncIterator[Any]:
            part = llm_request.contents[-1].parts[-1]
            if part.function_response is not None:
                answer = types.Part(text=f"tool said: {part.function_response.response['result']}")
            elif part.text == USE:
                answer = types.Part(function_call=types.FunctionCall(name="add", args=dict(_ARGUMENTS)))
            else:
                answer = types.Part(text=part.text)
            yield LlmResponse(content=types.Content(role="model", parts=[answer]), usage_metadata=usage)

    return Fake(model="fake")


class _PydanticAi:
    name = "pydantic-ai"

    def __init__(self) -> None:
        from pydantic_ai import Agent
        from pydantic_ai.capabilities import AbstractCapability

        class Nothing(AbstractCapability[Any]):  # type: ignore[misc]  # untyped library
            async def before_model_request(self, ctx: Any, request_context: Any) -> Any:
                return request_context

        self._agent, self._hook = Agent, Nothing
        self._model = _pydantic_ai_model()

    def agent(self, hooks: int = 0, *, tool: bool = False) -> Turn:
        capabilities = [self._hook() for _ in range(hooks)]
        agent = self._agent(self._model, tools=[add] if tool else [], capabilities=capabilities)

        async def turn(text: str) -> str:
            answer: str = (await agent.run(text)).output
            return answer

        return turn


def _pydantic_ai_model() -> Any:
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import FunctionModel
    from pydantic_ai.usage import RequestUsage

    async def fake(messages: Any, info: Any) -> ModelResponse:
        part = messages[-1].parts[-1]
        answer: TextPart | ToolCallPart
        if isinstance(part, ToolReturnPart):
            answer = TextPart(f"tool said: {part.content}")
        elif part.content == USE:
            answer = ToolCallPart("add", dict(_ARGUMENTS))
        else:
            answer = TextPart(part.content)
        return ModelResponse([answer], usage=RequestUsage(input_tokens=1, output_tokens=1))

    return FunctionModel(fake)


class _OpenAiAgents:
    name = "openai-agents"

    def __init__(self) -> None:
        import agents

        self._agents = agents
        self._config = agents.RunConfig(tracing_disabled=True)
        self._model = _openai_agents_model()

    def agent(self, hooks: int = 0, *, tool: bool = False) -> Turn | None:
        if hooks:
            return None  # a run has one object of hooks, not a list
        tools: list[Any] = [self._agents.function_tool(add)] if tool else []
        agent = self._agents.Agent(name="writer", model=self._model, tools=tools)
        run, config = self._agents.Runner.run, self._config

        async def turn(text: str) -> str:
            answer: str = (await run(agent, text, run_config=config)).final_output
            return answer

        return turn


def _openai_agents_model() -> Any:
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

    from agents import Model, ModelResponse, Usage

    class Fake(Model):  # type: ignore[misc]  # untyped library
        async def get_response(self, system_instructions: Any, input: Any, *arguments: Any, **options: Any) -> Any:
            last = {"content": input} if isinstance(input, str) else input[-1]
            text = f"tool said: {last['output']}" if "output" in last else last["content"]
            output: Any
            if text == USE:
                output = ResponseFunctionToolCall(arguments=_JSON, call_id="1", name="add", type="function_call")
            else:
                part = ResponseOutputText(annotations=[], text=text, type="output_text")
                output = ResponseOutputMessage(
                    id="1", content=[part], role="assistant", status="completed", type="message"
                )
            usage = Usage(requests=1, input_tokens=1, output_tokens=1, total_tokens=2)
            return ModelResponse(output=[output], usage=usage, response_id=None)

        def stream_response(self, *arguments: Any, **options: Any) -> Any:
            raise AssertionError("no turn streams")

    return Fake()
