"""Agents, in a host: the tool loop with its bounds, denials, streams, conversations, their life and their hooks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest
import trio

from kernel import make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import (
    Agent,
    AgentInput,
    AgentOutput,
    Cancel,
    HookContext,
    InvalidInputError,
    Message,
    ModelRequest,
    ModelResponse,
    Modified,
    OperationCancelledError,
    Redirect,
    Replace,
    Retry,
    ToolCall,
    ToolContext,
)
from llmspell_hookspecs.agent import AgentChunk, AgentConfig, AgentInfo
from llmspell_hookspecs.agents import AgentContext, AgentHandle
from llmspell_hookspecs.errors import (
    ComponentNotFoundError,
    OperationTimeoutError,
    PluginError,
    ProviderError,
    ResourceLimitError,
)
from llmspell_hookspecs.model import ModelUsage, ToolUse
from scripted_model import WAITS, Broken, ScriptedModel, asks, says

BROKEN = ProviderError("scripted: it is overloaded", code="unavailable", status=503, retryable=True)


def in_host(main: Callable[[Host], Awaitable[Any]], *plugins: Any, virtual: bool = False, **options: Any) -> Any:
    async def opening() -> Any:
        async with opened(*plugins, **options) as host:
            return await main(host)

    return run(opening, virtual=virtual)


class Tools:
    """Tools that remember how they were called."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.running = 0
        self.most = 0

    async def look(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        """Return what was asked for, after as long as was asked for."""
        self.calls.append(parameters)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await trio.sleep(parameters.get("sleep", 0))
            if "fail" in parameters:
                raise KeyError("a bug")
            return {"found": parameters.get("what", "nothing")}
        finally:
            self.running -= 1

    @property
    def plugins(self) -> list[Any]:
        return [make_tool("look", self.look), make_tool("other", self.look)]


async def made(host: Host, **fields: Any) -> AgentHandle:
    """Make an agent on the scripted model that may use the tool ``look``."""
    return await host.agents.create(**{"name": "writer", "model": "scripted/play", "tools": ["look"], **fields})


def last(model: ScriptedModel) -> list[tuple[str, str]]:
    """Return the last conversation that the model was given: roles and texts."""
    return [(message.role, message.content) for message in model.requests[-1].messages]


# The tool loop.


def test_a_question_without_tools_is_one_call_of_the_model() -> None:
    model = ScriptedModel(says("hello you"))

    async def main(host: Host) -> AgentOutput:
        return await (await made(host, system_prompt="Be kind.", temperature=0.5, max_tokens=9)).run("hello")

    output = in_host(main, model, *Tools().plugins)

    assert (output.text, output.steps, output.usage) == ("hello you", 1, ModelUsage(3, 2))
    assert str(output) == "hello you"
    assert last(model) == [("system", "Be kind."), ("user", "hello")]
    request = model.requests[0]
    assert (request.temperature, request.max_tokens) == (0.5, 9)
    assert [spec.name for spec in request.tools] == ["look"]
    assert request.tools[0].schema["type"] == "object"


def test_tools_run_and_the_model_is_told_what_they_answer() -> None:
    model, tools = ScriptedModel(asks(("look", {"what": "a cat"})), says("a cat it is")), Tools()

    async def main(host: Host) -> AgentOutput:
        return await (await made(host)).run("what is there?")

    output = in_host(main, model, *tools.plugins)

    assert tools.calls == [{"what": "a cat"}]
    assert last(model)[-1] == ("tool", '{"found":"a cat"}')
    assert model.requests[-1].messages[-1].tool_use_id == "use-1"
    assert (output.text, output.steps) == ("a cat it is", 2)
    assert [(record.name, record.status) for record in output.tool_calls] == [("look", "completed")]
    assert output.usage == ModelUsage(6, 5)


def test_several_tools_run_side_by_side_and_are_told_in_the_order_of_the_asking() -> None:
    asked = [("look", {"what": str(number), "sleep": 3 - number}) for number in range(3)]
    model, tools = ScriptedModel(asks(*asked), says("done")), Tools()

    async def main(host: Host) -> float:
        agent = await made(host)
        began = trio.current_time()
        await agent.run("look")
        return trio.current_time() - began

    took = in_host(main, model, *tools.plugins, virtual=True)

    assert took == pytest.approx(3)
    assert [content for role, content in last(model) if role == "tool"] == [f'{{"found":"{n}"}}' for n in range(3)]


def test_no_more_tools_run_at_once_than_the_agent_may() -> None:
    model = ScriptedModel(asks(*[("look", {"sleep": 1})] * 10), says("done"))
    tools = Tools()

    async def main(host: Host) -> None:
        await (await made(host, max_parallel=3)).run("look")

    in_host(main, model, *tools.plugins, virtual=True)

    assert (tools.most, len(tools.calls)) == (3, 10)


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (ToolUse("1", "nothing", {}), "error: there is no tool 'nothing'; there are look"),
        (ToolUse("1", "other", {}), "error: there is no tool 'other'; there are look"),
        (ToolUse("1", "look", {}, "Expecting value"), "error: the parameters cannot be read: Expecting value"),
        (ToolUse("1", "look", {"fail": 1}), "error: look failed with KeyError: 'a bug'"),
    ],
)
def test_what_cannot_run_is_told_to_the_model_and_the_run_goes_on(use: ToolUse, told: str) -> None:
    model, tools = ScriptedModel(ModelResponse("", (use,), "tool_use"), says("too bad")), Tools()

    async def main(host: Host) -> AgentOutput:
        return await (await made(host)).run("look")

    output = in_host(main, model, *tools.plugins)

    assert last(model)[-1] == ("tool", told)
    assert output.text == "too bad"
    assert output.tool_calls[0].status == "failed"


def test_wrong_parameters_and_late_tools_are_told_as_errors() -> None:
    model = ScriptedModel(
        asks(("calculator", {"operation": "nonsense"}), ("look", {"sleep": 60})),
        says("I see"),
    )

    async def main(host: Host) -> AgentOutput:
        return await (await made(host, tools=["look", "calculator"])).run("look")

    output = in_host(main, model, *Tools().plugins, virtual=True)

    told = [content for role, content in last(model) if role == "tool"]
    assert told[0].startswith("error: tool:calculator: parameter operation")
    assert told[1].startswith("error: tool:look: it took longer than 30 s")
    assert [record.status for record in output.tool_calls] == ["failed", "failed"]


def test_a_model_that_never_ends_is_held_to_the_steps_of_a_run() -> None:
    model = ScriptedModel(asks(("look", {})))

    async def main(host: Host) -> None:
        await (await made(host, max_steps=4)).run("look")

    with pytest.raises(
        ResourceLimitError, match="still asks for tools in answer 4, the last it may give; raise max_steps"
    ) as caught:
        in_host(main, model, *Tools().plugins)
    assert caught.value.resource == "steps"
    assert len(model.requests) == 4


def test_a_run_is_held_to_its_tools_before_the_first_one_too_many_runs() -> None:
    model, tools = ScriptedModel(asks(("look", {}), ("look", {}), ("look", {}))), Tools()

    async def main(host: Host) -> None:
        await (await made(host, max_tool_calls=2)).run("look")

    with pytest.raises(ResourceLimitError, match="asks for more than 2 tools"):
        in_host(main, model, *tools.plugins)
    assert tools.calls == []


def test_settings_hold_every_agent_and_a_run_ends_when_its_time_is_over() -> None:
    async def main(host: Host) -> AgentConfig:
        agent = await made(host, time_s=100)
        with pytest.raises(OperationTimeoutError, match="longer than 5 s"):
            await agent.run("hello")
        return agent.config

    settings = {"agents": {"time_s": 5, "steps": 7, "tool_calls": 8}}
    config = in_host(main, ScriptedModel(WAITS), *Tools().plugins, virtual=True, settings=settings)

    assert (config.time_s, config.max_steps, config.max_tool_calls) == (5, 7, 8)


def test_the_model_is_told_a_files_content_and_a_folders_entries(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("remember the milk")
    model = ScriptedModel(
        asks(
            ("file_operations", {"operation": "read", "path": str(tmp_path / "note.txt")}),
            ("file_operations", {"operation": "list_dir", "path": str(tmp_path)}),
        ),
        says("done"),
    )

    async def main(host: Host) -> None:
        await (await made(host, tools=["file_operations"])).run("look")

    in_host(main, model)

    content, entries = [content for role, content in last(model) if role == "tool"]
    assert content == "remember the milk"
    assert '"name":"note.txt"' in entries


# Denials.


def deny(context: HookContext[ToolCall]) -> Cancel | None:
    return Cancel("nothing is deleted here") if context.subject.parameters.get("operation") == "delete" else None


def test_a_denied_tool_is_told_as_denied_and_the_run_goes_on() -> None:
    model, tools = ScriptedModel(asks(("look", {"operation": "delete"})), says("then not")), Tools()

    async def main(host: Host) -> AgentOutput:
        host.hooks.register("before_tool_execution", deny, kind="guard")
        return await (await made(host)).run("delete it")

    output = in_host(main, model, *tools.plugins)

    assert tools.calls == []
    assert last(model)[-1] == ("tool", "denied: nothing is deleted here")
    assert (output.text, output.tool_calls[0].status) == ("then not", "denied")


@pytest.mark.parametrize("streamed", [False, True])
def test_of_parallel_tools_the_denied_one_alone_does_not_run(streamed: bool, tmp_path: Path) -> None:
    kept, gone = tmp_path / "kept.txt", tmp_path / "new.txt"
    kept.write_text("kept")
    model = ScriptedModel(
        asks(
            ("file_operations", {"operation": "delete", "path": str(kept)}),
            ("file_operations", {"operation": "write", "path": str(gone), "input": "new"}),
        ),
        says("as you wish"),
    )

    async def main(host: Host) -> AgentOutput:
        host.hooks.register("before_tool_execution", deny, kind="guard")
        agent = await made(host, tools=["file_operations"])
        if not streamed:
            return await agent.run("tidy up")
        async with agent.stream("tidy up") as running:
            results = [chunk.tool_result.status async for chunk in running if chunk.tool_result is not None]
        assert sorted(results) == ["completed", "denied"]
        output: AgentOutput = running.output
        return output

    output = in_host(main, model)

    assert kept.read_text() == "kept"
    assert gone.read_text() == "new"
    assert [record.status for record in output.tool_calls] == ["denied", "completed"]
    assert output.text == "as you wish"


def test_a_denied_model_call_ends_the_run_for_good() -> None:
    model = ScriptedModel(says("hi"))

    async def main(host: Host) -> None:
        host.hooks.register("before_model_call", lambda context: Cancel("no models today"), kind="guard")
        host.hooks.register("agent_error", lambda context: Retry(0, 5))
        await (await made(host)).run("hello")

    with pytest.raises(OperationCancelledError, match="no models today"):
        in_host(main, model, *Tools().plugins)
    assert model.requests == []


# Streams.


async def streamed(agent: Any, question: str = "hello") -> tuple[list[AgentChunk], AgentOutput]:
    async with agent.stream(question) as running:
        chunks = [chunk async for chunk in running]
    return chunks, running.output


def told(chunks: list[AgentChunk], step: int) -> str:
    """Return what the last step says to somebody who follows the stream."""
    text = ""
    for chunk in chunks:
        if chunk.step == step:
            text = "" if chunk.kind == "restart" else text + chunk.text
    return text


def test_a_stream_tells_texts_tools_and_results_as_they_happen() -> None:
    model = ScriptedModel(asks(("look", {"what": "x"}), text="let me look"), says("an x"))

    async def main(host: Host) -> Any:
        return await streamed(await made(host))

    chunks, output = in_host(main, model, *Tools().plugins)

    kinds = [(chunk.step, chunk.kind) for chunk in chunks]
    assert kinds == [*[(1, "text")] * 3, (1, "tool_use"), (1, "tool_result"), *[(2, "text")] * 2]
    assert told(chunks, 2) == output.text == "an x"


def test_a_last_answer_without_a_text_leaves_the_texts_before_it_as_they_are() -> None:
    model = ScriptedModel(asks(("look", {}), text="let me look"), says(""))

    async def main(host: Host) -> Any:
        return await streamed(await made(host))

    chunks, output = in_host(main, model, *Tools().plugins)

    assert output.text == ""
    assert [chunk.kind for chunk in chunks].count("restart") == 0
    assert (told(chunks, 1), told(chunks, 2)) == ("let me look", "")


def test_a_stream_that_is_left_early_ends_the_run_and_its_request() -> None:
    model = ScriptedModel(says("one two three four"))

    async def main(host: Host) -> Any:
        agent = await made(host)
        async with agent.stream("hello") as running:
            async for _ in running:
                break
        return agent.info, agent.conversation

    info, conversation = in_host(main, model, *Tools().plugins)

    assert (info.running, info.runs, info.failed) == (0, 1, 1)
    assert conversation == ()
    assert model.ended == 1


def test_a_failed_stream_raises_where_its_chunks_end() -> None:
    async def main(host: Host) -> list[AgentChunk]:
        chunks = []
        async with (await made(host)).stream("hello") as running:
            with pytest.raises(ProviderError, match="overloaded"):
                async for chunk in running:
                    chunks.append(chunk)  # noqa: PERF401 - a comprehension would lose what came before the error
        return chunks

    chunks = in_host(main, ScriptedModel(Broken("half a", BROKEN)), *Tools().plugins)

    assert told(chunks, 1) == "half a"


@pytest.mark.parametrize("uses", [1, 3])
def test_the_error_of_who_takes_chunks_ends_the_run_as_it_is(uses: int) -> None:
    tools = Tools()
    model = ScriptedModel(asks(*[("look", {"sleep": 1})] * uses), says("never"))

    async def take(chunk: AgentChunk) -> None:
        if chunk.kind == "tool_result":
            raise BrokenPipeError("nobody reads")

    async def main(host: Host) -> AgentInfo:
        agent = await made(host, max_parallel=2)
        with pytest.raises(BrokenPipeError, match="nobody reads"):
            await agent.run("look around", sink=take)
        assert agent.conversation == ()
        return agent.info

    info = in_host(main, model, *tools.plugins, virtual=True)

    assert (info.failed, info.running, tools.running) == (1, 0, 0)
    assert len(model.requests) == 1


def test_a_stream_is_held_back_where_the_answer_is_still_to_be_judged() -> None:
    async def main(host: Host) -> Any:
        agent = await made(host)
        handle = host.hooks.register("after_agent_execution", lambda context: Modified({"text": "clean"}))
        changed = await streamed(agent)
        handle.unregister()
        host.hooks.register("after_agent_execution", lambda context: Cancel("no"), kind="guard")
        chunks: list[AgentChunk] = []
        with pytest.raises(OperationCancelledError):
            async with agent.stream("hello") as running:
                async for chunk in running:
                    chunks.append(chunk)  # noqa: PERF401 - a comprehension would lose what came before the error
        return changed, chunks

    (chunks, output), denied = in_host(main, ScriptedModel(says("dirty words")), *Tools().plugins)

    assert told(chunks, 1) == output.text == "clean"
    assert "dirty" not in "".join(chunk.text for chunk in chunks)
    assert denied == []


def test_a_run_that_is_tried_again_begins_its_stream_anew() -> None:
    model = ScriptedModel(Broken("half a", BROKEN), says("whole"))

    async def main(host: Host) -> Any:
        host.hooks.register("agent_error", lambda context: Retry(1, 2))
        return await streamed(await made(host))

    chunks, output = in_host(main, model, *Tools().plugins, virtual=True)

    assert told(chunks, 1) == output.text == "whole"
    assert [chunk.kind for chunk in chunks].count("restart") == 1


# Conversations.


def test_an_agent_remembers_whole_turns_and_forgets_when_told() -> None:
    model = ScriptedModel(asks(("look", {})), says("one"), says("two"), says("three"))

    async def main(host: Host) -> Any:
        agent = await made(host)
        await agent.run("first")
        await agent.run("second")
        kept = [message.role for message in agent.conversation]
        agent.forget()
        await agent.run("third")
        return kept

    kept = in_host(main, model, *Tools().plugins)

    assert kept == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert [message.content for message in model.requests[2].messages[-2:]] == ["one", "second"]
    assert last(model) == [("user", "third")]


def test_a_run_that_fails_or_is_cancelled_leaves_the_conversation_as_it_was() -> None:
    model = ScriptedModel(says("one"), BROKEN, WAITS)

    async def main(host: Host) -> Any:
        agent = await made(host)
        await agent.run("first")
        with pytest.raises(ProviderError):
            await agent.run("second")
        with trio.move_on_after(1):
            await agent.run("third")
        return agent.conversation, agent.info

    conversation, info = in_host(main, model, *Tools().plugins, virtual=True)

    assert [message.content for message in conversation] == ["first", "one"]
    assert (info.runs, info.failed, info.running) == (3, 2, 0)
    assert info.last_error == "cancelled"


@pytest.mark.parametrize("kind", ["guard", "transform"])
def test_an_answer_that_is_withheld_is_not_remembered(kind: str) -> None:
    model = ScriptedModel(says("the secret"))

    async def main(host: Host) -> Any:
        agent = await made(host)
        host.hooks.register("after_agent_execution", lambda context: Cancel("no"), kind=kind)
        with pytest.raises(OperationCancelledError):
            await agent.run("question")
        return agent.conversation

    assert in_host(main, model, *Tools().plugins) == ()


def test_an_answer_that_a_hook_changed_is_remembered_as_it_left() -> None:
    model = ScriptedModel(asks(("look", {})), says("the secret"))

    async def main(host: Host) -> Any:
        agent = await made(host)
        host.hooks.register("after_agent_execution", lambda context: Modified({"text": "[redacted]"}))
        await agent.run("question")
        return agent.conversation

    conversation = in_host(main, model, *Tools().plugins)

    assert [message.role for message in conversation] == ["user", "assistant", "tool", "assistant"]
    assert conversation[-1].content == "[redacted]"
    assert "secret" not in str(conversation)


@pytest.mark.parametrize("then", [says("second"), BROKEN])
def test_a_run_that_is_repeated_is_remembered_once_with_its_last_answer(then: Any) -> None:
    model = ScriptedModel(says("first"), then)

    async def main(host: Host) -> Any:
        agent = await made(host)
        host.hooks.register(
            "after_agent_execution", lambda context: Retry(0, 2) if "first" in context.subject.text else None
        )
        host.hooks.register("agent_error", lambda context: Replace("fallback"))
        output = await agent.run("question")
        return output.text, [message.content for message in agent.conversation]

    text, conversation = in_host(main, model, *Tools().plugins)

    assert (text, conversation) in [("second", ["question", "second"]), ("fallback", [])]


def test_trimming_never_parts_a_tools_answer_from_its_question() -> None:
    model = ScriptedModel(*[asks(("look", {})), says("done")] * 20)

    async def main(host: Host) -> None:
        agent = await made(host, max_conversation=6)
        for number in range(20):
            await agent.run(str(number))
            assert len(agent.conversation) <= 6
            assert agent.conversation[0].role == "user"

    in_host(main, model, *Tools().plugins)

    for request in model.requests:
        asked = {use.id for message in request.messages for use in message.tool_uses}
        assert all(message.tool_use_id in asked for message in request.messages if message.role == "tool")


def test_what_an_agent_remembers_is_bounded_by_its_length_too() -> None:
    async def main(host: Host) -> Any:
        agent = await host.agents.create(name="echo", kind="basic", max_conversation=10_000)
        for _ in range(50):
            agent.remember([Message("user", "x" * 300), Message("assistant", "y" * 300)])
        before = agent.conversation
        agent.remember([Message("user", "z" * 5000)])
        return before, agent.conversation

    before, after = in_host(main, settings={"agents": {"conversation_chars": 2000}})

    assert [message.role for message in before] == ["user", "assistant"] * 3
    assert after == ()


def test_a_given_conversation_takes_the_place_of_the_remembered_one() -> None:
    model = ScriptedModel(says("yes"))

    async def main(host: Host) -> Any:
        agent = await made(host)
        before = (Message("user", "my name is Ann"), Message("assistant", "hello Ann"))
        await agent.run(AgentInput("who am I?", before))
        return agent.conversation

    assert in_host(main, model, *Tools().plugins) == ()
    assert last(model) == [("user", "my name is Ann"), ("assistant", "hello Ann"), ("user", "who am I?")]


def test_runs_at_once_do_not_mix_their_turns() -> None:
    model = ScriptedModel(lambda request: says(f"about {request.messages[-1].content}"))

    async def main(host: Host) -> Any:
        agent = await made(host)
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(agent.run, str(number))
        return [message.content for message in agent.conversation]

    contents = in_host(main, model, *Tools().plugins)

    assert len(contents) == 40
    assert all(answer == f"about {question}" for question, answer in zip(contents[::2], contents[1::2], strict=True))


# Their life.


def test_names_are_unique_and_free_again_once_the_agent_is_shut_down() -> None:
    async def main(host: Host) -> None:
        agent = await made(host)
        with pytest.raises(InvalidInputError, match="there is one of this name"):
            await made(host)
        await agent.close()
        await agent.close()
        with pytest.raises(InvalidInputError, match="it is shut down"):
            await agent.run("hello")
        with pytest.raises(ComponentNotFoundError, match="there are none"):
            await host.call("agent:writer", "hello")
        again = await made(host)
        assert host.agents.get("writer") is again

    in_host(main, ScriptedModel(says("hi")), *Tools().plugins)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"kind": "lm"}, ComponentNotFoundError, "did you mean llm"),
        ({"model": "nobody/x"}, ComponentNotFoundError, "model 'nobody/x'"),
        ({"tools": ["lok"]}, ComponentNotFoundError, "there is no tool 'lok'"),
        ({"nome": "x"}, InvalidInputError, "no field 'nome'"),
        ({"max_steps": 0}, InvalidInputError, "max_steps must be 1 or more"),
        ({"max_steps": "many"}, InvalidInputError, "max_steps"),
        ({"time_s": 0}, InvalidInputError, "time_s must be above 0"),
    ],
)
def test_a_wrong_agent_is_told_when_it_is_made(fields: dict[str, Any], error: type[Exception], message: str) -> None:
    async def main(host: Host) -> None:
        try:
            await made(host, **fields)
        finally:
            assert host.agents.list() == []

    with pytest.raises(error, match=message) as caught:
        in_host(main, ScriptedModel(says("hi")), *Tools().plugins)
    assert "\n" not in str(caught.value)


def test_hooks_may_refuse_an_agent_or_change_what_it_is_made_from() -> None:
    def equip(context: HookContext[AgentConfig]) -> Modified:
        return context.modify(system_prompt="Obey.", tools=("look", "other"))

    async def main(host: Host) -> None:
        host.hooks.register("before_agent_init", equip)
        agent = await made(host)
        assert (agent.config.system_prompt, agent.config.tools) == ("Obey.", ("look", "other"))
        host.hooks.register("after_agent_init", lambda context: Cancel("one is enough"), kind="guard")
        with pytest.raises(OperationCancelledError, match="one is enough"):
            await made(host, name="second")
        assert [info.name for info in host.agents.list()] == ["writer"]
        host.hooks.register("before_agent_init", lambda context: context.modify(name="other"))
        with pytest.raises(InvalidInputError, match="leave the name"):
            await made(host, name="third")

    in_host(main, ScriptedModel(says("hi")), *Tools().plugins)


def test_a_hook_may_keep_an_agent_until_the_host_closes() -> None:
    ended: list[str] = []

    class Kept(Agent):
        """Tells when it ends."""

        kind = "kept"

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *error: object) -> None:
            ended.append(self.config.name)

    async def main(host: Host) -> None:
        host.hooks.register("before_agent_shutdown", lambda context: Cancel("stay"), kind="guard", match="first")
        agents = [await host.agents.create(name=name, kind="kept") for name in ("first", "second", "third")]
        with pytest.raises(OperationCancelledError, match="stay"):
            await agents[0].close()
        assert host.agents.get("first") is agents[0]
        assert ended == []

    in_host(main, Kept)

    assert ended == ["third", "second", "first"]


class Difficult(Agent):
    """Fails when it is closed, or never ends it."""

    kind = "difficult"

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        return AgentOutput("ran")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.config.name == "fails":
            raise KeyError("a bug")
        await trio.sleep_forever()


def test_an_agent_that_cannot_be_closed_keeps_nothing_else_from_being_closed(caplog: pytest.LogCaptureFixture) -> None:
    model = ScriptedModel(says("hi"))
    kept: list[AgentHandle] = []

    async def main(host: Host) -> None:
        kept.append(await host.agents.create(name="first", kind="basic"))
        names = ("fails", *(f"hangs-{number}" for number in range(10)))
        kept.extend([await host.agents.create(name=name, kind="difficult") for name in names])
        await (await made(host, tools=[])).run("hello")

    in_host(main, model, Difficult, virtual=True)

    assert {handle.info.state for handle in kept} == {"terminated"}
    assert model.closed == 1
    assert "agent kind difficult: it did not end in order: KeyError: 'a bug'; repair it" in caplog.text


def test_a_hook_that_makes_agents_as_they_go_does_not_keep_the_host_open() -> None:
    async def replaced(context: HookContext[AgentInfo]) -> None:
        await hosts[0].agents.create(name=f"{context.subject.name}+", kind="basic")

    hosts: list[Host] = []

    async def main(host: Host) -> None:
        hosts.append(host)
        host.hooks.register("before_agent_shutdown", replaced)
        await host.agents.create(name="one", kind="basic")

    in_host(main)

    assert hosts[0].agents.list() == []


def test_an_agent_that_is_being_closed_is_not_closed_twice() -> None:
    seen: list[str] = []

    async def slow(context: HookContext[AgentInfo]) -> None:
        seen.append(context.point)
        await trio.sleep(1)

    async def main(host: Host) -> None:
        host.hooks.register("before_agent_shutdown", slow, timeout_s=5)
        agent = await host.agents.create(name="one", kind="basic")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.close)
            nursery.start_soon(agent.close)

    in_host(main, virtual=True)

    assert seen == ["before_agent_shutdown"]


def test_a_kind_whose_constructor_fails_is_named() -> None:
    class Bad(Agent):
        """Fails."""

        kind = "bad"

        def __init__(self, config: AgentConfig, services: Any) -> None:
            raise ValueError("no luck")

    async def main(host: Host) -> None:
        await host.agents.create(name="x", kind="bad")

    with pytest.raises(PluginError, match="agent x: the constructor of its kind bad failed: ValueError: no luck"):
        in_host(main, Bad)


def test_there_are_no_more_agents_than_settings_allow() -> None:
    async def main(host: Host) -> None:
        for number in range(3):
            await host.agents.create(name=f"a{number}", kind="basic")

    with pytest.raises(ResourceLimitError, match=r"agents\.count"):
        in_host(main, settings={"agents": {"count": 2}})


# Addresses and hooks around runs.


def test_one_script_does_not_take_every_agent() -> None:
    async def main(host: Host) -> None:
        for number in range(2):
            await host.agents.create(name=f"own-{number}", kind="basic", scope="one")
        await host.agents.create(name="other", kind="basic", scope="two")
        await host.agents.create(name="host's", kind="basic")
        await host.agents.create(name="own-2", kind="basic", scope="one")

    with pytest.raises(ResourceLimitError, match=r"own-2: its script has 2 agents; .* \(agents.script_count\)"):
        in_host(main, settings={"agents": {"script_count": 2}})


def test_agents_and_tools_stand_in_for_each_other() -> None:
    model = ScriptedModel(lambda request: says(f"heard {request.messages[-1].content}"))

    async def main(host: Host) -> Any:
        await made(host)
        by_address = await host.call("agent:writer", {"prompt": "a table"})
        handle = host.hooks.register("before_tool_execution", lambda context: Redirect("agent:writer"), match="look")
        from_tool = await host.call("tool:look", {"text": "a tool's"})
        handle.unregister()
        host.hooks.register("before_agent_execution", lambda context: Redirect("tool:look"))
        from_agent = await host.call("agent:writer", {"text": "x", "what": "an agent's"})
        return by_address.text, from_tool.result, from_agent.text

    answers = in_host(main, model, *Tools().plugins)

    assert answers == ("heard a table", "heard a tool's", '{"found":"an agent\'s"}')


def test_hooks_recover_replace_and_see_the_outcome_of_runs() -> None:
    seen: list[tuple[str, str]] = []

    def audit(context: HookContext[Any]) -> None:
        assert context.outcome is not None
        seen.append((context.point, context.outcome.status))

    async def main(host: Host) -> Any:
        host.hooks.register("after_agent_execution", audit, kind="observe")
        host.hooks.register("agent_error", audit, kind="observe")
        host.hooks.register("agent_error", lambda context: Replace("sorry"), match="writer")
        agent = await made(host)
        await made(host, name="plain")
        recovered = await agent.run("hello")
        with pytest.raises(ProviderError):
            await host.call("agent:plain", "hello")
        return recovered.text

    assert in_host(main, ScriptedModel(BROKEN), *Tools().plugins) == "sorry"
    assert seen == [("after_agent_execution", "completed"), ("agent_error", "failed")]


@pytest.mark.parametrize(
    "given",
    [None, 3, {"text": 5}, {"text": "x", "parameters": "y"}, {"messages": "x"}, {"messages": [{"role": "boss"}]}],
)
def test_a_wrong_input_is_told_in_one_line(given: Any) -> None:
    async def main(host: Host) -> None:
        agent = await host.agents.create(name="echo", kind="basic")
        if given == {"text": 5}:
            assert (await agent.run(given)).text.endswith("received: 5")
            raise InvalidInputError("a number is as good as its text")
        await agent.run(given)

    with pytest.raises(InvalidInputError) as caught:
        in_host(main)
    assert "\n" not in str(caught.value)


def test_the_key_of_an_agents_own_endpoint_is_never_seen() -> None:
    model = ScriptedModel(says("hi"))
    told: list[str] = []

    async def main(host: Host) -> Any:
        for point in ("before_agent_init", "after_agent_init", "before_model_call", "before_agent_execution"):
            host.hooks.register(point, lambda context: told.append(repr(context.subject)), kind="observe")
        async with host.events.subscribe("**") as events:
            agent = await made(host, base_url="http://127.0.0.1:9/v1", api_key="sk-very-secret")
            await agent.run("hello")
            while (event := events.receive_nowait()) is not None:
                told.append(repr(event))
        return agent

    agent = in_host(main, model, *Tools().plugins)

    assert model.endpoints[0].api_key is not None
    assert model.endpoints[0].api_key.get_secret_value() == "sk-very-secret"
    assert len(told) > 6
    assert "sk-very-secret" not in "".join([*told, repr(agent.config), repr(agent.info)])


def test_a_thousand_turns_leave_nothing_behind() -> None:
    import gc

    model = ScriptedModel(lambda request: says("hi") if len(request.messages) % 2 else asks(("look", {})))
    tools, counts = Tools(), list[int]()

    async def main(host: Host) -> None:
        agent = await made(host, max_conversation=4)
        for _ in range(4):
            for _ in range(250):
                await agent.run("hello")
            model.requests.clear()
            tools.calls.clear()
            gc.collect()
            # trio keeps up to a thousand scopes whose deadlines need no look any more.
            counts.append(sum(type(each) not in (tuple, trio.CancelScope) for each in gc.get_objects()))

    in_host(main, model, *tools.plugins)

    assert counts[3] - counts[1] < 100


def test_the_request_that_the_guards_saw_is_the_one_that_is_asked() -> None:
    model = ScriptedModel(says("hi"))
    judged: list[ModelRequest] = []

    async def main(host: Host) -> None:
        host.hooks.register("before_model_call", lambda context: context.modify(temperature=0.1))
        host.hooks.register("before_model_call", lambda context: judged.append(context.subject), kind="guard")
        await (await made(host, temperature=0.9)).run("hello")

    in_host(main, model, *Tools().plugins)

    assert judged[0].temperature == 0.1
    assert model.requests[0] == judged[0]


# What a model asks for, before it is run.


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize("use", [ToolUse("1", "look", {}), ToolUse("1", "look", {}, "Expecting value")])
def test_a_call_that_was_cut_off_is_told_as_cut_and_not_run(use: ToolUse, reason: str) -> None:
    whole = ToolUse("0", "look", {"what": "a cat"})
    model, tools = ScriptedModel(ModelResponse("", (whole, use), reason), says("again")), Tools()

    async def main(host: Host) -> AgentOutput:
        return await (await made(host)).run("look")

    output = in_host(main, model, *tools.plugins)

    assert tools.calls == [{"what": "a cat"}]
    assert [record.status for record in output.tool_calls] == ["completed", "failed"]
    assert "your answer was cut" in last(model)[-1][1]


def test_calls_get_ids_of_their_own_within_a_conversation_and_each_answer_names_its_call() -> None:
    uses = (ToolUse("x", "look", {"what": "1"}), ToolUse("x", "look", {"what": "2"}), ToolUse("", "look", {}))
    model, tools = ScriptedModel(*[ModelResponse("", uses, "tool_use"), says("done")] * 2), Tools()

    async def main(host: Host) -> None:
        agent = await made(host)
        await agent.run("look")
        await agent.run("look again")

    in_host(main, model, *tools.plugins)

    messages = model.requests[-1].messages
    asked = [use.id for message in messages for use in message.tool_uses]
    assert len(set(asked) - {""}) == len(asked) == 6
    assert [message.tool_use_id for message in messages if message.role == "tool"] == asked


def test_half_a_letter_in_what_a_tool_answers_gets_a_stand_in() -> None:
    async def say(parameters: Any, context: Any) -> Any:
        return {"half": "a \ud835 b"}

    model = ScriptedModel(asks(("look", {})), says("done"))

    async def main(host: Host) -> AgentOutput:
        return await (await made(host)).run("look")

    output = in_host(main, model, make_tool("look", say))

    assert last(model)[-1] == ("tool", '{"half":"a \ufffd b"}')
    assert output.tool_calls[0].status == "completed"


def test_what_a_provider_wants_back_stays_with_its_message_and_its_call() -> None:
    use = ToolUse("1", "look", {}, "", {"scripted/play": {"signature": "SIG"}})
    response = ModelResponse("", (use,), "tool_use", extra={"scripted/play": {"reasoning_content": "think"}})
    model, tools = ScriptedModel(response, says("done")), Tools()

    async def main(host: Host) -> None:
        await (await made(host)).run("look")

    in_host(main, model, *tools.plugins)

    message = model.requests[-1].messages[1]
    assert message.extra == {"scripted/play": {"reasoning_content": "think"}}
    assert message.tool_uses[0].extra == {"scripted/play": {"signature": "SIG"}}
