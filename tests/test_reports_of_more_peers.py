"""More situations from public reports about comparable projects; each test names its source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from kernel import make_tool, opened
from llmspell_hookspecs import (
    Calls,
    Cancel,
    HookContext,
    LlmspellError,
    Message,
    ModelRequest,
    ModelResponse,
    OperationCancelledError,
    Retry,
    ToolContext,
    ToolError,
    tool,
)
from llmspell_hookspecs.approvals import Approvals
from llmspell_hookspecs.errors import (
    OperationTimeoutError,
    ProviderError,
    ResourceLimitError,
    StorageError,
    WorkflowError,
)
from llmspell_hookspecs.model import ToolUse
from llmspell_hookspecs.workflows import Workflows
from scripted_model import Broken, ScriptedModel, asks, says


class Body:
    """What a tool does: writes down its parameters, and answers them."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    async def run(self, parameters: dict[str, Any], _context: ToolContext) -> Any:
        """Do it."""
        self.given.append(parameters)
        return parameters.get("n", "done")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("point", ["after_model_call", "before_model_call", "before_agent_execution"])
async def test_no_tool_runs_of_an_answer_that_a_guard_refuses(streamed: bool, point: str) -> None:
    """openai/openai-agents-python 2688: streamed runs went on to the tools of a turn that a guard had stopped."""
    model, body = ScriptedModel(asks(("charge", {}), text="I charge it"), says("done")), Body()
    chunks: list[Any] = []

    async def refuses(context: HookContext[Any]) -> Cancel:
        await trio.lowlevel.checkpoint()
        return Cancel("not this")

    async with opened(model, make_tool("charge", body.run)) as host:
        host.hooks.register(point, refuses, kind="guard", name="refuses")
        agent = await host.agents.create(name="a", model="scripted/play", tools=["charge"])

        async def ask() -> None:
            if not streamed:
                await agent.run("charge")
                return
            async with agent.stream("charge") as run:
                async for chunk in run:
                    chunks.append(chunk)  # noqa: PERF401 - what came before it failed counts

        with pytest.raises(OperationCancelledError, match="not this"):
            await ask()

    assert (body.given, chunks) == ([], [])


async def test_hooks_see_an_agent_that_a_tool_of_another_agent_asks_and_its_tools() -> None:
    """google/adk-python 1783: the callbacks of an agent that was used as a tool did not run."""
    outer = asks(("ask", {}))
    model, body, seen = ScriptedModel(outer, asks(("charge", {})), says("refused"), says("end")), Body(), []

    async def ask(_parameters: dict[str, Any], context: ToolContext) -> str:
        return str((await context.services.get(Calls).call("agent:inner", "go")).text)

    def guards(context: HookContext[Any]) -> Cancel:
        return Cancel("no charges")

    async with opened(model, make_tool("ask", ask), make_tool("charge", body.run)) as host:
        for point in ("before_agent_execution", "after_agent_execution"):
            host.hooks.register(
                point, lambda context: seen.append((context.point, context.component.name)), kind="observe", name=point
            )
        host.hooks.register("before_tool_execution", guards, kind="guard", match="charge", name="guards")
        await host.agents.create(name="inner", model="scripted/play", tools=["charge"])
        agent = await host.agents.create(name="outer", model="scripted/play", tools=["ask"])
        assert (await agent.run("go")).text == "end"

    before, after = "before_agent_execution", "after_agent_execution"
    assert seen == [(before, "outer"), (before, "inner"), (after, "inner"), (after, "outer")]
    assert body.given == []
    assert "denied: no charges" in model.requests[2].messages[-1].content


async def test_each_request_of_a_run_describes_each_tool_once() -> None:
    """strands-agents/harness-sdk 2405: a list of the configuration grew by all tools with each turn."""
    model, options = ScriptedModel(asks(("charge", {})), asks(("charge", {})), says("done")), {"tools": ["own"]}
    async with opened(model, make_tool("charge", Body().run)) as host:
        agent = await host.agents.create(name="a", model="scripted/play", tools=["charge"], options=options)
        for question in ("one", "two"):
            await agent.run(question)

    assert [[spec.name for spec in request.tools] for request in model.requests] == [["charge"]] * 4
    assert [list(request.options["tools"]) for request in model.requests] == [["own"]] * 4
    assert options == {"tools": ["own"]}


async def test_an_answer_is_not_kept_for_a_request_with_other_options() -> None:
    """BerriAI/litellm 42400 and 894: what only one provider knows, and max_tokens, were no part of the key."""
    model = ScriptedModel(lambda request: says(f"{dict(request.options)} {request.max_tokens} {request.stop}"))
    rules = [{"match": "model:scripted/*", "ttl_s": 60}]
    variants: list[dict[str, Any]] = [
        {"options": {"num_ctx": 2048}},
        {"options": {"num_ctx": 8192}},
        {"options": {"num_ctx": True}},
        {"options": {"num_ctx": 1}},
        {"options": {"num_ctx": 1.0}},
        {"options": {"num_ctx": "1"}},
        {"max_tokens": 1},
        {"max_tokens": 2},
        {"stop": ("a", "b")},
        {"stop": ("a b",)},
    ]
    async with opened(model, settings={"plugins": {"caching": {"enabled": True, "rules": rules}}}) as host:

        async def told(fields: dict[str, Any]) -> str:
            request = ModelRequest("scripted/play", (Message("user", "hello"),), temperature=0.0, **fields)
            return (await host.models.complete(request)).text

        first = [await told(fields) for fields in variants]
        again = [await told(fields) for fields in variants]

    assert first == again
    assert len(set(first)) == len(variants) == len(model.requests)


@pytest.mark.parametrize("error", [RuntimeError("broke"), TypeError("unexpected keyword 'n'"), ValueError("bad n")])
async def test_a_tool_that_fails_runs_once_for_each_time_that_it_is_asked_for(error: Exception) -> None:
    """crewAIInc/crewAI 7449: any failure was taken for wrong arguments, and the tool was run again at once."""
    calls: list[Any] = []

    async def fails(parameters: dict[str, Any], _context: ToolContext) -> None:
        calls.append(parameters)
        raise error

    model = ScriptedModel(asks(("f", {"n": 1, "spare": 2})), says("done"))
    async with opened(model, make_tool("f", fails)) as host:
        agent = await host.agents.create(name="a", model="scripted/play", tools=["f"])
        output = await agent.run("go")
        with pytest.raises((LlmspellError, type(error))):
            await host.call("tool:f", {"n": 2})

    assert calls == [{"n": 1, "spare": 2}, {"n": 2}]
    assert [call.status for call in output.tool_calls] == ["failed"]
    assert str(error) in model.requests[1].messages[-1].content


async def test_what_cannot_be_run_of_an_answer_takes_nothing_from_what_can() -> None:
    """pydantic/pydantic-ai 4325, openai/openai-agents-python 2061: one unknown or unreadable call ended the run."""
    broken = ToolUse("use-2", "f", {}, problem="it is no JSON")
    uses = (ToolUse("use-1", "nobody", {}), broken, ToolUse("use-3", "f", {"n": 3}), ToolUse("use-4", "f", {"n": 4}))
    model, body, judged = ScriptedModel(ModelResponse("", uses, "tool_use"), says("done")), Body(), []
    async with opened(model, make_tool("f", body.run)) as host:

        def judge(context: HookContext[Any]) -> None:
            judged.append(context.subject.parameters["n"])

        host.hooks.register("before_tool_execution", judge, kind="guard", name="judge")
        agent = await host.agents.create(name="a", model="scripted/play", tools=["f"])
        output = await agent.run("go")

    told = [(each.tool_use_id, each.content) for each in model.requests[1].messages if each.role == "tool"]
    assert [each[0] for each in told] == ["use-1", "use-2", "use-3", "use-4"]
    assert "nobody" in told[0][1]
    assert "no JSON" in told[1][1]
    assert [each[1] for each in told[2:]] == ["3", "4"]
    assert sorted(judged) == sorted(each["n"] for each in body.given) == [3, 4]
    assert (output.text, [call.status for call in output.tool_calls]) == (
        "done",
        ["failed", "failed", "completed", "completed"],
    )


async def test_a_conversation_goes_on_after_a_run_that_was_cancelled_within_a_tool() -> None:
    """pydantic/pydantic-ai 3461, langgenius/dify 41616: the unanswered tool call blocked every later question."""
    begun, body = trio.Event(), Body()

    async def waits(_parameters: dict[str, Any], _context: ToolContext) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            body.given.append({"left": True})

    model = ScriptedModel(says("hi"), asks(("quick", {}), ("waits", {})), says("again"))
    async with opened(model, make_tool("waits", waits), make_tool("quick", body.run)) as host:
        agent = await host.agents.create(name="a", model="scripted/play", tools=["waits", "quick"])
        await agent.run("hello")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.run, "wait")
            await begun.wait()
            nursery.cancel_scope.cancel()
        assert (await agent.run("go on")).text == "again"

    messages = model.requests[-1].messages
    asked = [use.id for message in messages for use in message.tool_uses]
    assert asked == [message.tool_use_id for message in messages if message.role == "tool"]
    assert messages[-1].content == "go on"
    assert {"left": True} in body.given


@pytest.mark.parametrize("parallel", [1, 8])
async def test_a_cancelled_run_reaches_the_tools_of_the_agents_below_and_each_ends_once(parallel: int) -> None:
    """modelcontextprotocol/python-sdk 1410: who called went away, and the work that was asked for ran on."""
    started: list[int] = []
    left: list[int] = []
    ends: list[str] = []

    async def waits(parameters: dict[str, Any], _context: ToolContext) -> None:
        started.append(parameters["n"])
        try:
            await trio.sleep_forever()
        finally:
            left.append(parameters["n"])

    async def ask(_parameters: dict[str, Any], context: ToolContext) -> str:
        return str((await context.services.get(Calls).call("agent:inner", "go")).text)

    uses = [("waits", {"n": n}) for n in range(4)]
    model = ScriptedModel(asks(("ask", {})), asks(*uses), says("end"))
    async with opened(model, make_tool("ask", ask), make_tool("waits", waits)) as host:
        host.events.on("{tool,agent}.*", lambda event: ends.append(event.type))
        await host.agents.create(name="inner", model="scripted/play", tools=["waits"], max_parallel=parallel)
        agent = await host.agents.create(name="outer", model="scripted/play", tools=["ask"])
        with trio.move_on_after(0.2) as scope:
            await agent.run("go")
        assert scope.cancelled_caught
        assert sorted(left) == sorted(started) == list(range(min(4, parallel)))
        await trio.testing.wait_all_tasks_blocked(0.02)

    assert ends.count("tool.cancelled") == len(started) + 1
    assert ends.count("agent.cancelled") == 2
    assert not {"tool.completed", "tool.failed", "agent.completed", "agent.failed"} & set(ends)


async def test_who_writes_state_at_once_loses_nothing_unseen() -> None:
    """google/adk-python 5244 and 1153: of what agents beside each other wrote, all but the last was lost."""
    lost = 0

    async def write(parameters: dict[str, Any], _context: ToolContext) -> str:
        nonlocal lost
        await host.state.set(f"own-{parameters['n']}", parameters["n"], scope="agent:a")
        while True:
            value, version = await host.state.entry("list", scope="agent:a")
            await trio.lowlevel.checkpoint()
            try:
                await host.state.set("list", [*(value or ()), parameters["n"]], scope="agent:a", expect=version)
            except StorageError as error:
                lost += error.code == "conflict"
            else:
                return "written"

    model = ScriptedModel(asks(*[("write", {"n": n}) for n in range(8)]), says("done"))
    async with opened(model, make_tool("write", write)) as host:
        agent = await host.agents.create(name="a", model="scripted/play", tools=["write"])
        await agent.run("go")
        assert sorted(await host.state.get("list", scope="agent:a")) == list(range(8))
        assert len(await host.state.keys("agent:a", prefix="own-")) == 8

    assert lost


@pytest.mark.parametrize("route", ["a", "b"])
async def test_a_step_behind_branches_of_which_one_is_not_taken_is_told_and_not_forgotten(route: str) -> None:
    """langchain-ai/langgraphjs 2666, langchain-ai/langgraph 3249: the join never ran, and the run was a success."""
    ran: list[str] = []

    def step(name: str, **fields: Any) -> dict[str, Any]:
        def note(context: Any) -> str:
            ran.append(name)
            return name

        return {"name": name, "function": note, **fields}

    def branch(name: str) -> dict[str, Any]:
        condition = {"type": "step_result_equals", "step": "route", "value": name}
        return {"name": name, "condition": condition, "stages": [step(name)]}

    branches = [branch(name) for name in ("a", "b")]
    first = {"name": "route", "function": lambda _: route}
    branching = {"pattern": "conditional", "stages": [first], "branches": branches}
    async with opened() as host:
        workflows = host.get(Workflows)
        await workflows.create({"name": "branching", **branching})
        joined = await workflows.create(
            {
                "name": "joined",
                "pattern": "graph",
                "stages": [{"name": "x", "workflow": "branching"}, step("c", needs=["x"]), step("d", needs=["c"])],
            }
        )
        output = await joined.run(None)

    assert ran == [route, "c", "d"]
    assert (output.status, output.output, output.skipped) == ("completed", {"d": "d"}, ())


@pytest.mark.parametrize("order", ["slow first", "slow last"])
async def test_a_join_runs_once_when_the_longest_of_its_branches_has_ended(order: str) -> None:
    """langchain-ai/langgraph 954, 4026, 7727: a join behind branches of unequal length ran early, or for each."""
    ran: list[str] = []

    async def step(name: str, turns: int, _context: Any) -> str:
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        ran.append(name)
        return name

    turns = {"b": 0, "b2": 30, "b3": 0, "c": 0, "join": 0} if order == "slow last" else {"b": 0, "c": 50}
    needs = {"b2": ["b"], "b3": ["b2"], "join": ["b3", "c", "b"]}
    stages = [
        {"name": name, "function": partial(step, name, turns.get(name, 0)), "needs": needs.get(name, [])}
        for name in ("join", "c", "b3", "b2", "b")
    ]
    async with opened() as host:
        output = await (await host.get(Workflows).create({"name": "w", "pattern": "graph", "stages": stages})).run(None)

    assert output.output == {"join": "join"}
    assert sorted(ran) == ["b", "b2", "b3", "c", "join"]
    assert ran[-1] == "join"


async def test_a_resumed_run_does_not_undo_again_what_was_undone(tmp_path: Path) -> None:
    """langchain-ai/langgraph 9002: the handler of a failure ran again at each resumption."""
    body, undone = Body(), []
    storage = {"backend": "sqlite", "sqlite": {"path": str(tmp_path / "kept.db")}}

    async def fails(_parameters: dict[str, Any], _context: ToolContext) -> None:
        raise RuntimeError("no")

    async def undo(parameters: dict[str, Any], _context: ToolContext) -> str:
        undone.append(parameters["n"])
        return "undone"

    tools = [make_tool("do", body.run, repeatable=False), make_tool("fails", fails), make_tool("undo", undo)]
    stages = [
        {"name": "a", "tool": "do", "input": {"n": 1}, "compensate": {"tool": "undo", "input": {"n": 1}}},
        {"name": "b", "tool": "fails"},
    ]
    for number in range(3):
        async with opened(*tools, settings={"storage": storage}) as host:
            workflows = host.get(Workflows)
            if number == 0:
                handle = await workflows.create({"name": "w", "stages": stages, "on_error": "compensate"})
                with pytest.raises(WorkflowError, match="compensated"):
                    await handle.run({}, run_id="r", durable=True)
            else:
                assert (await workflows.resume("r")).status == "compensated"

    assert ([each["n"] for each in body.given], undone) == ([1], [1])


async def test_a_hook_that_fails_beside_it_does_not_lose_the_question_to_a_person(tmp_path: Path) -> None:
    """strands-agents/harness-sdk 3508 (review): the failure of another hook discarded a pending approval."""
    body = Body()

    def fails(context: HookContext[Any]) -> None:
        raise RuntimeError("of its own")

    model = ScriptedModel(asks(("risky", {"n": 1}), ("plain", {})), says("done"))
    async with opened(model, make_tool("risky", body.run), make_tool("plain", Body().run)) as host:
        ask = Cancel("somebody looks first", "approval_required")
        host.hooks.register("before_tool_execution", lambda _: ask, kind="guard", match="risky", name="ask")
        for point in ("before_tool_execution", "after_tool_execution", "tool_error", "after_agent_execution"):
            host.hooks.register(point, fails, kind="observe", name=f"observes {point}")
        host.hooks.register("after_model_call", fails, name="transforms")
        agent = await host.agents.create(name="a", model="scripted/play", tools=["risky", "plain"])
        output = await agent.run("go")
        (asked,) = await host.get(Approvals).list(status="pending")
        assert body.given == []
        await host.get(Approvals).allow(asked.id)
        await host.call("tool:risky", {"n": 1})

    assert [call.status for call in output.tool_calls] == ["denied", "completed"]
    assert body.given == [{"n": 1}]


async def test_who_asks_one_agent_at_once_is_not_answered_from_the_conversation_of_another() -> None:
    """agno-agi/agno 3937: one agent asked by many kept whom it spoke to, and mixed them up."""

    def line(request: ModelRequest) -> ModelResponse:
        if request.messages[-1].role == "tool":
            return says(f"answer to {request.messages[-1].content}")
        return ModelResponse("", (ToolUse("u", "echo", {"n": request.messages[-1].content}),), "tool_use")

    async def echo(parameters: dict[str, Any], _context: ToolContext) -> str:
        for _ in range(20 - int(parameters["n"])):
            await trio.lowlevel.checkpoint()
        return str(parameters["n"])

    model, answers = ScriptedModel(line), {}
    async with opened(model, make_tool("echo", echo)) as host:
        agent = await host.agents.create(name="a", model="scripted/play", tools=["echo"])

        async def ask(question: str) -> None:
            answers[question] = (await agent.run(question)).text

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(ask, str(number))
        kept = agent.conversation

    assert answers == {str(n): f"answer to {n}" for n in range(8)}
    roles = [message.role for message in kept]
    assert roles == ["user", "assistant", "tool", "assistant"] * 8
    for start in range(0, 32, 4):
        question, asked, told, answer = kept[start : start + 4]
        assert asked.tool_uses[0].parameters["n"] == told.content == question.content
        assert answer.content == f"answer to {question.content}"


async def test_a_failed_step_is_not_handed_to_the_next_as_if_it_were_an_answer() -> None:
    """kyegomez/swarms 2235: the text of the error became the output, and everybody downstream built on it."""
    given: list[Any] = []
    stages = [
        {"name": "a", "function": lambda context: 1 / 0, "on_error": "continue"},
        {"name": "b", "function": lambda context: given.append(context.input), "input": {"from": "{{step:a}}"}},
        {"name": "c", "function": lambda context: given.append(context.input), "input": "free"},
    ]
    for pattern in ("sequential", "graph"):
        given.clear()
        async with opened() as host:
            handle = await host.get(Workflows).create({"name": "w", "pattern": pattern, "stages": stages})
            output = await handle.run(None)
        assert given == ["free"]
        assert (output.status, output.failed, output.skipped) == ("partial", ("a",), ("b",))


async def test_a_key_in_the_address_of_a_request_that_fails_is_in_no_error_event_or_conversation() -> None:
    """BerriAI/litellm 6963, 8075, 15799: the exception named the URL, and with it the key."""
    key = "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"
    seen: list[str] = []

    async def fetch(_parameters: dict[str, Any], _context: ToolContext) -> None:
        raise RuntimeError(f"Client error '404 Not Found' for url 'https://example.org/v1/models?key={key}'")

    model = ScriptedModel(asks(("fetch", {})), says("done"))
    async with opened(model, make_tool("fetch", fetch), settings={"plugins": {"security": {"enabled": True}}}) as host:
        host.events.on("**", lambda event: seen.append(f"{event.type} {event.data!r}"))
        host.hooks.register("tool_error", lambda c: seen.append(repr(c.subject)), kind="observe", name="looks")
        agent = await host.agents.create(name="a", model="scripted/play", tools=["fetch"])
        await agent.run("go")
        with pytest.raises(RuntimeError) as raised:
            await host.call("tool:fetch", {})
        await trio.testing.wait_all_tasks_blocked(0.02)
    seen += [repr(raised.value), str(raised.value), repr(raised.value.__cause__), repr(raised.value.__context__)]
    seen += [message.content for request in model.requests for message in request.messages]

    assert any("404 Not Found" in each for each in seen)
    assert [each for each in seen if key in each] == []


async def test_a_tool_that_changes_its_parameters_changes_no_other_call_and_no_history() -> None:
    """strands-agents/harness-sdk 2405: what one call changed in place was seen by the next."""
    seen: list[Any] = []

    async def spoils(parameters: dict[str, Any], _context: ToolContext) -> int:
        parameters["deep"]["list"].append("spoilt")
        parameters["n"] = -1
        return len(parameters["deep"]["list"])

    def changes(context: HookContext[Any]) -> Any:
        return context.modify(parameters={**context.subject.parameters, "added": [1]})

    shared = {"deep": {"list": ["x"]}, "n": 1}
    model = ScriptedModel(asks(("spoils", shared), ("spoils", shared)), asks(("spoils", shared)), says("done"))
    async with opened(model, make_tool("spoils", spoils)) as host:
        host.hooks.register("before_tool_execution", changes, name="changes")
        host.hooks.register(
            "after_tool_execution", lambda c: seen.append(c.request.parameters), kind="observe", name="sees"
        )
        agent = await host.agents.create(name="a", model="scripted/play", tools=["spoils"])
        output = await agent.run("go")

    assert shared == {"deep": {"list": ["x"]}, "n": 1}
    assert [call.content for call in model.requests[-1].messages if call.role == "tool"] == ["2", "2", "2"]
    for each in seen:
        assert (list(each["deep"]["list"]), each["n"], list(each["added"])) == (["x"], 1, [1])
    kept = [use.parameters for message in model.requests[-1].messages for use in message.tool_uses]
    kept += [call.parameters for call in output.tool_calls]
    assert [(list(each["deep"]["list"]), each["n"]) for each in kept] == [(["x"], 1)] * 6
    assert len(seen) == 3


async def test_a_deadline_of_the_caller_is_no_timeout_of_the_tool() -> None:
    """python-trio/trio 1054: a cancellation from outside was told as a timeout."""
    told: list[str] = []

    async def waits(_parameters: dict[str, Any], _context: ToolContext) -> None:
        await trio.sleep_forever()

    async with opened(make_tool("waits", waits)) as host:
        for point, kind in (("tool_timeout", "observe"), ("tool_error", "transform")):
            host.hooks.register(point, lambda c: told.append(c.point), kind=kind, name=point)
        host.events.on("tool.*", lambda event: told.append(event.type))
        with trio.move_on_after(0.05) as scope:
            await host.call("tool:waits", {}, deadline_s=60)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert scope.cancelled_caught
        assert [each for each in told if each != "tool.started"] == ["tool.cancelled"]
        told.clear()
        with pytest.raises(OperationTimeoutError, match=r"0\.05 s"):
            await host.call("tool:waits", {}, deadline_s=0.05)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert [each for each in told if each != "tool.started"] == ["tool_timeout", "tool_error", "tool.failed"]


async def test_a_tool_that_fails_while_it_is_cut_off_is_run_no_second_time() -> None:
    """python-trio/trio 800: an error in the same moment as the end of the time took another way than either alone."""
    runs: list[bool] = []

    async def waits(parameters: dict[str, Any], _context: ToolContext) -> None:
        runs.append(parameters["late"])
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ToolError("in its clean-up", code="broken") from None

    async with opened(make_tool("waits", waits)) as host:
        host.hooks.register("tool_error", lambda context: Retry(max_attempts=3), name="again")
        with pytest.raises(OperationTimeoutError):
            await host.call("tool:waits", {"late": True}, deadline_s=0.05)
        with trio.move_on_after(0.05) as scope:
            await host.call("tool:waits", {"late": False})

    assert scope.cancelled_caught
    assert runs == [True, False]


@pytest.mark.parametrize("parallel", [1, 8])
async def test_more_tools_at_once_than_a_run_may_use_begin_none(parallel: int) -> None:
    """pydantic/pydantic-ai 2978 and 3120: all had begun when the limit was looked at."""
    model, body = ScriptedModel(asks(*[("f", {"n": n}) for n in range(4)]), says("next"), says("and next")), Body()
    async with opened(model, make_tool("f", body.run)) as host:
        agent = await host.agents.create(
            name="a", model="scripted/play", tools=["f"], max_tool_calls=3, max_parallel=parallel
        )
        with pytest.raises(ResourceLimitError, match="max_tool_calls"):
            await agent.run("go")
        assert body.given == []
        assert (await agent.run("go on")).text == "next"

    assert [(message.role, message.content) for message in model.requests[-1].messages] == [("user", "go on")]


async def test_integers_beyond_two_to_the_53rd_reach_a_tool_as_they_were_written() -> None:
    """earendil-works/pi 8943, NousResearch/hermes-agent 55314: an id of 19 digits was rounded on its way."""
    seen: list[Any] = []

    @tool
    async def look(id: int) -> int:
        """Look.

        Args:
            id: Which.
        """
        seen.append(id)
        return id

    big = 2512292042121000001
    source = f"""
        local first = Tool.invoke("look", {{id = {big}}}).data
        local second = Tool.invoke("look", JSON.parse('{{"id": {big}}}')).data
        local third = Tool.invoke("look", {{id = tostring(first)}}).data
        return JSON.stringify({{first, second, third}})
    """
    model = ScriptedModel(asks(("look", {"id": str(big)}), ("look", {"id": big})), says("done"))
    async with opened(model, look) as host:
        assert await host.run_source(source, language="lua") == f"[{big},{big},{big}]"
        agent = await host.agents.create(name="a", model="scripted/play", tools=["look"])
        await agent.run("go")

    assert seen == [big] * 5
    assert [message.content for message in model.requests[1].messages if message.role == "tool"] == [str(big)] * 2


@pytest.mark.parametrize("kind", ["transform", "guard", "observe"])
async def test_a_hook_that_takes_itself_off_does_not_make_the_next_be_passed_over(kind: Any) -> None:
    """mnot/thor 95, dropzone/dropzone 2367: the list moved up, and whoever stood next was not called."""
    seen: list[Any] = []
    handles: dict[int, Any] = {}
    heard: list[int] = []
    ears: dict[int, Any] = {}

    def once(number: int) -> Any:
        def hook(context: HookContext[Any]) -> None:
            seen.append(number)
            handles[number].unregister()

        return hook

    def listen(number: int) -> Any:
        def hear(event: Any) -> None:
            heard.append(number)
            ears[number].close()

        return hear

    async with opened(make_tool("f", Body().run)) as host:
        for number in range(4):
            point = "before_tool_execution"
            handles[number] = host.hooks.register(point, once(number), kind=kind, name=f"once {number}")
            ears[number] = host.events.on("x.*", listen(number))
        for _ in range(2):
            await host.call("tool:f", {})
            host.events.publish_nowait("x.happened", {})
            await trio.testing.wait_all_tasks_blocked(0.02)

    assert (seen, sorted(heard)) == ([0, 1, 2, 3], [0, 1, 2, 3])


@pytest.mark.parametrize("given", ["same", ""])
async def test_calls_of_one_answer_that_have_one_id_are_told_apart(given: str) -> None:
    """TanStack/ai 199, brainlid/langchain 620: parallel calls shared an id, and results were swapped."""

    async def f(parameters: dict[str, Any], _context: ToolContext) -> int:
        for _ in range(10 - 3 * parameters["n"]):
            await trio.lowlevel.checkpoint()
        return int(parameters["n"])

    answer = ModelResponse("", tuple(ToolUse(given, "f", {"n": n}) for n in range(3)), "tool_use")
    model = ScriptedModel(answer, answer, says("done"))
    async with opened(model, make_tool("f", f)) as host:
        agent = await host.agents.create(name="a", model="scripted/play", tools=["f"])
        await agent.run("go")

    messages = model.requests[-1].messages
    asked = {use.id: use.parameters["n"] for message in messages for use in message.tool_uses}
    told = {message.tool_use_id: int(message.content) for message in messages if message.role == "tool"}
    assert len(asked) == 6
    assert "" not in asked
    assert asked == told


async def test_a_stream_that_breaks_and_begins_again_says_so() -> None:
    """endolith/open-interpreter 291, NuGuardAI/nuguard 455: the consumer got the beginning twice."""
    busy = ProviderError("busy", code="unavailable", retryable=True, retry_after_s=0.001)
    model, text, told = ScriptedModel(Broken("Hello wor", busy), says("Hello world again")), "", []
    async with opened(model, settings={"plugins": {"disabled": []}}) as host:
        agent = await host.agents.create(name="a", model="scripted/play")
        async with agent.stream("hi") as run:
            async for chunk in run:
                told.append(chunk.kind)
                text = "" if chunk.kind == "restart" else text + chunk.text
        kept = [message.content for message in agent.conversation]

    assert told.count("restart") == 1
    assert text == run.output.text == "Hello world again"
    assert kept == ["hi", "Hello world again"]


async def test_what_a_step_yields_is_a_value_and_no_template() -> None:
    """crewAIInc/crewAI 2145: braces in a text that was filled in were taken for names to fill in."""
    given: list[Any] = []
    text = 'see {{step:secret}} {{shared:k}} {x} {"a": {}} %s {{step:nope}} {{'
    stages = [
        {"name": "a", "function": lambda context: text},
        {"name": "secret", "function": lambda context: "SECRET"},
        {
            "name": "b",
            "function": lambda context: given.append(context.input),
            "input": {
                "whole": "{{step:a}}",
                "part": '{"json": {}} {not} <{{step:a}}>',
                "both": "{{step:a}}{{step:secret}}",
            },
        },
    ]
    async with opened() as host:
        await (await host.get(Workflows).create({"name": "w", "stages": stages, "shared": {"k": "K"}})).run(None)

    assert given == [{"whole": text, "part": f'{{"json": {{}}}} {{not}} <{text}>', "both": f"{text}SECRET"}]


async def test_hooks_of_one_agent_are_asked_once_for_each_call_however_often_agents_are_made() -> None:
    """A complaint about several libraries: what is registered once was called once for each agent made."""
    seen: list[str] = []

    async def wrap(context: HookContext[Any]) -> AsyncIterator[None]:
        seen.append("in")
        yield
        seen.append("out")

    model = ScriptedModel(asks(("f", {})), says("1"), asks(("f", {})), says("2"), asks(("f", {})), says("3"))
    async with opened(model, make_tool("f", Body().run)) as host:
        host.hooks.register("around_tool_execution", wrap, kind="wrap", name="w")
        for number in range(3):
            agent = await host.agents.create(name="a", model="scripted/play", tools=["f"])
            assert (await agent.run("go")).text == str(number + 1)
            await agent.close()

    assert seen == ["in", "out"] * 3
