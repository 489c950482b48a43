"""What models and agents are given in secret is seen by them alone; what is kept of their answers depends on it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import SecretStr

from kernel import make_tool, opened
from llmspell_hookspecs import (
    AgentInput,
    Cache,
    HookContext,
    LlmspellError,
    Message,
    ModelRequest,
    ModelResponse,
    Modified,
    Replace,
    ToolContext,
)
from llmspell_hookspecs.model import Endpoint, ToolUse
from llmspell_hookspecs.values import freeze, thaw
from scripted_model import ScriptedModel

HIDDEN = "hidden-1"
SECRETS: dict[str, dict[str, Any]] = {
    "api key": {"api_key": HIDDEN},
    "key": {"private_key": HIDDEN},
    "password": {"password": HIDDEN},
    "token": {"token": HIDDEN},
    "client secret": {"client_secret": HIDDEN},
    "credentials": {"credentials": {"user": HIDDEN}},
    "header": {"headers": {"Authorization": f"Bearer {HIDDEN}", "X-Api-Key": HIDDEN}},
    "cookie": {"cookie": f"a={HIDDEN}"},
    "url with a password": {"url": f"https://me:{HIDDEN}@example.com/"},
    "url with a key": {"deep": [{"url": f"https://example.com/?x=1&access_token={HIDDEN}"}]},
    "dsn": {"dsn": f"postgres://{HIDDEN}"},
}
each_secret = pytest.mark.parametrize("name", SECRETS)
POINTS = (
    *("before_agent_init", "after_agent_init", "before_agent_execution", "after_agent_execution", "agent_error"),
    *("before_model_call", "after_model_call", "model_error", "model_chunk"),
    *("before_tool_execution", "after_tool_execution", "tool_error"),
)


@pytest.mark.parametrize("way", ["runs", "refused", "fails", "streams", "only watched"])
@each_secret
async def test_no_context_trace_event_error_or_log_of_an_agent_holds_a_secret_and_its_model_and_tool_do(
    name: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret, told, ran = SECRETS[name], [], []

    def look(context: HookContext[Any]) -> None:
        told.append(f"{context!r} {context.subject} {context.request}")

    async def tool(parameters: dict[str, Any], context: ToolContext) -> Any:
        ran.append(parameters)
        return "done"

    lines: list[Any] = [ModelResponse("", (ToolUse("u", "made", secret),), extra={"m": secret}), ModelResponse("end")]
    if way == "fails":
        lines = [lines[0], LlmspellError("no")]
    model = ScriptedModel(*lines)
    async with opened(model, make_tool("made", tool), trace=True) as host:
        for point in POINTS:
            for kind in ("observe",) if way == "only watched" else ("guard", "observe"):
                if not (kind == "guard" and point == "model_chunk"):
                    host.hooks.register(point, look, kind=kind)
        if way == "refused":
            host.hooks.register("before_model_call", lambda context: 1 / 0, kind="guard")
        async with host.events.subscribe("**", capacity=1000) as events:
            try:
                agent = await host.agents.create(
                    name="a", model="scripted/play", tools=["made"], options=secret, api_key=HIDDEN
                )
                given = AgentInput("go", (Message("assistant", "", (ToolUse("u0", "made", secret),)),), secret)
                if way == "streams":
                    async with agent.stream(given) as run:
                        async for _ in run:
                            pass
                else:
                    await agent.run(given)
            except LlmspellError as error:
                told.append(f"{error} {error!r} {error.__cause__!r}")
            while (event := events.receive_nowait()) is not None:
                told.append(repr(event))
        told.append(repr(host.trace) + caplog.text)

    assert told and HIDDEN not in "".join(told)
    for request in model.requests:
        assert thaw(request.options) == secret
        assert thaw(request.messages[0].tool_uses[0].parameters) == secret
    if way in ("runs", "streams", "only watched"):
        assert ran == [secret]
        assert model.requests[1].messages[-2].extra["m"] == freeze(secret)


@each_secret
async def test_whoever_asks_gets_secrets_back_as_they_were(name: str) -> None:
    secret = SECRETS[name]
    async with opened(ScriptedModel(ModelResponse("", (ToolUse("u", "made", secret),)))) as host:
        for point in POINTS:
            host.hooks.register(point, lambda context: None, kind="observe")
        host.hooks.register("after_model_call", lambda context: Modified({"text": "changed"}))
        response = await host.models.complete(ModelRequest("scripted/play", (Message("user", "hi"),)))

    assert response.text == "changed"
    assert thaw(response.tool_uses[0].parameters) == secret and "**" not in repr(response)


async def test_what_a_model_answered_at_one_endpoint_is_not_served_for_another() -> None:
    model = ScriptedModel(*(ModelResponse(str(number)) for number in range(9)))
    request = ModelRequest("scripted/play", (Message("user", "hi"),))
    where = [None, Endpoint("http://a/"), Endpoint("http://b/"), Endpoint("http://a/", secret("k1"))]
    where.append(Endpoint("http://a/", secret("k2")))

    async with opened(model) as host:
        host.hooks.register("before_model_call", lambda context: Cache("k", 60))
        first = [(await host.models.complete(request, endpoint=endpoint)).text for endpoint in where]
        again = [(await host.models.complete(request, endpoint=endpoint)).text for endpoint in where]

    assert first == again and len(set(first)) == len(where)


async def test_what_an_agent_answered_is_not_served_for_another_conversation_or_configuration() -> None:
    model = ScriptedModel(*(ModelResponse(str(number)) for number in range(9)))

    async with opened(model) as host:
        host.hooks.register("before_agent_execution", lambda context: Cache("k", 60))
        agent = await host.agents.create(name="a", model="scripted/play")
        first, second = (await agent.run("hi")).text, (await agent.run("hi")).text
        agent.forget()
        forgotten = (await agent.run("hi")).text
        await agent.close()
        other = await host.agents.create(name="a", model="scripted/play", system_prompt="be brief")
        changed = (await other.run("hi")).text

    assert (first, forgotten) == ("0", "0")
    assert len({first, second, changed}) == 3


async def test_what_was_kept_is_not_served_once_policy_refuses_the_call(tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("kept")
    read = {"operation": "read", "path": str(tmp_path / "a.txt")}

    for point in ("before_tool_execution", "tool_error"):
        settings = {"paths": {"read": [str(tmp_path)]}}
        async with opened(settings={"security": settings}) as host:
            host.hooks.register("before_tool_execution", lambda context: Cache("k", 60))
            if point == "tool_error":
                host.hooks.register("tool_error", lambda context: Cache("k", 60))
            assert (await host.call("tool:file_operations", read)).success
            await host.settings.change("security.paths.read", [])
            with pytest.raises(LlmspellError):
                await host.call("tool:file_operations", read)


def secret(text: str) -> Any:
    """Return a secret."""
    return SecretStr(text)


async def test_an_answer_that_a_hook_gives_is_hidden_from_the_others_too() -> None:
    told: list[str] = []
    async with opened(ScriptedModel()) as host:
        use = ToolUse("u", "made", {"password": HIDDEN})
        host.hooks.register("before_model_call", lambda context: Replace(ModelResponse("", (use,))))
        host.hooks.register("after_model_call", lambda context: told.append(repr(context)), kind="guard")
        response = await host.models.complete(ModelRequest("scripted/play"))

    assert told and HIDDEN not in "".join(told)
    assert response.tool_uses == (use,)
