"""The openai_compatible provider, against a real server on loopback, through the host."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import trio
from pydantic import SecretStr

from chat_server import ChatServer, Reply, break_off, fail, fail_in_stream, garble, hang, later, say, trickle, use
from chat_wire import chunks, line
from kernel import make_plugin, opened, run
from llmspell import Host
from llmspell_hookspecs import InvalidInputError, LlmspellError, Message, ModelChunk, ModelRequest, ModelResponse
from llmspell_hookspecs.errors import ProviderError, SecurityError
from llmspell_hookspecs.model import Endpoint, ToolSpec, ToolUse
from waiting import PATIENCE_S

KEY = "sk-this-is-the-secret-key"
CALCULATOR = ToolSpec("calculator", "Adds.", {"type": "object", "properties": {"input": {"type": "string"}}})


@pytest.fixture(name="server")
def _server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        yield server


@asynccontextmanager
async def asking(server: ChatServer, *plugins: Any, **table: Any) -> AsyncIterator[Host]:
    """A host whose provider ``local`` is the server; nothing is asked twice."""
    own = {"type": "openai_compatible", "base_url": server.url, "api_key": KEY, **table}
    settings = {"providers": {"local": own}}
    async with opened(*plugins, settings=settings) as host:
        yield host


def hello(text: str = "hello there", **fields: Any) -> ModelRequest:
    return ModelRequest("local/gpt-x", (Message("user", text),), **fields)


async def ask(host: Host, *, stream: bool = False, **fields: Any) -> tuple[ModelResponse, list[ModelChunk]]:
    chunks: list[ModelChunk] = []

    async def sink(chunk: ModelChunk) -> None:
        chunks.append(chunk)

    return await host.models.complete(hello(**fields), sink=sink if stream else None), chunks


def asked(server: ChatServer, *behaviours: Any, stream: bool = False, table: Mapping[str, Any] | None = None) -> Any:
    """What one call answers, or the error that it raises."""

    async def main() -> Any:
        server.script(*behaviours)
        async with asking(server, **(table or {})) as host:
            return await ask(host, stream=stream)

    return run(main)


def refused(server: ChatServer, *behaviours: Any, stream: bool = False, **table: Any) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        asked(server, *behaviours, stream=stream, table=table)
    assert "\n" not in str(raised.value)
    assert KEY not in str(raised.value)
    return raised.value


def in_thread(wait: Callable[..., Any], *args: Any) -> Awaitable[Any]:
    return trio.to_thread.run_sync(wait, *args)


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@both
def test_a_text_comes_back_with_its_usage_and_the_model_that_answered(server: ChatServer, stream: bool) -> None:
    response, chunks = asked(server, stream=stream)

    assert response.text == "hello there"
    assert (response.finish_reason, response.model) == ("stop", "gpt-x")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (2, 2)
    assert response.usage.cost_usd is None
    assert [chunk.text for chunk in chunks] == (["hello", " there"] if stream else [])
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@both
def test_tool_uses_come_back_whole_however_they_were_sent(server: ChatServer, stream: bool) -> None:
    two = use(("calculator", {"input": "2 + 2"}), ("reader", {"path": "a.txt", "lines": [1, 2]}), text="let me see")

    response, chunks = asked(server, two, stream=stream)

    assert response.finish_reason == "tool_use"
    assert response.text == "let me see"
    assert tuple(response.tool_uses) == (
        ToolUse("call_0", "calculator", {"input": "2 + 2"}),
        ToolUse("call_1", "reader", {"path": "a.txt", "lines": [1, 2]}),
    )
    assert tuple(chunk.tool_use for chunk in chunks if chunk.kind == "tool_use") == tuple(response.tool_uses) * stream
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))


def test_the_conversation_the_tools_and_the_options_are_sent_as_the_interface_has_them(server: ChatServer) -> None:
    messages = (
        Message("system", "be brief"),
        Message("user", "add"),
        Message("assistant", tool_uses=(ToolUse("call_7", "calculator", {"input": "1 + 1", "deep": {"a": [1]}}),)),
        Message("tool", "2", tool_use_id="call_7", name="calculator"),
    )
    request = ModelRequest(
        "local/gpt-x", messages, (CALCULATOR,), temperature=0.5, max_tokens=7, stop=("END",), options={"top_p": 0.9}
    )

    async def main() -> ModelResponse:
        async with asking(server, headers={"X-Team": "blue"}, organization="org-1") as host:
            return await host.models.complete(request)

    assert run(main).text == "tool said: 2"
    [got] = server.requests
    assert got.body["messages"][2]["tool_calls"] == [
        {
            "id": "call_7",
            "type": "function",
            "function": {"name": "calculator", "arguments": '{"input":"1 + 1","deep":{"a":[1]}}'},
        }
    ]
    assert got.body["messages"][3] == {"role": "tool", "tool_call_id": "call_7", "content": "2"}
    assert got.body["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"input": {"type": "string"}},
    }
    rest = {name: got.body[name] for name in ("model", "temperature", "max_tokens", "stop", "top_p")}
    assert rest == {"model": "gpt-x", "temperature": 0.5, "max_tokens": 7, "stop": ["END"], "top_p": 0.9}
    assert "stream" not in got.body
    assert (got.headers["x-team"], got.headers["openai-organization"]) == ("blue", "org-1")


@pytest.mark.parametrize("name", ["model", "messages", "tools", "stream", "n"])
def test_an_option_cannot_say_what_the_request_says(server: ChatServer, name: str) -> None:
    async def main() -> None:
        async with asking(server) as host:
            await ask(host, options={name: "other"})

    with pytest.raises(InvalidInputError, match=f"options.{name}"):
        run(main)
    assert server.requests == []


@both
def test_requests_share_a_connection(server: ChatServer, stream: bool) -> None:
    async def main() -> None:
        async with asking(server) as host:
            for _ in range(5):
                await ask(host, stream=stream)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(ask, host)

    run(main)

    ports = [request.port for request in server.requests]
    assert len(set(ports[:5])) == 1
    assert len(set(ports)) <= 3


@both
def test_a_429_says_when_to_ask_again(server: ChatServer, stream: bool) -> None:
    error = refused(server, fail(429, "slow\ndown", retry_after_s=1.5), stream=stream)

    assert (error.code, error.status, error.retry_after_s, error.retryable) == ("rate_limited", 429, 1.5, True)
    assert "model:local/gpt-x" in str(error)
    assert "slow down" in str(error)


def test_a_429_may_name_a_date(server: ChatServer) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)

    error = refused(server, fail(429, retry_after_s=date))

    assert error.retry_after_s is not None
    assert 25 < error.retry_after_s <= 30


@both
@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "invalid_request", False),
        (401, "authentication", False),
        (403, "authentication", False),
        (404, "invalid_request", False),
        (408, "timeout", True),
        (500, "unavailable", True),
        (501, "unavailable", False),
        (503, "unavailable", True),
        (504, "timeout", True),
        (529, "unavailable", True),
        (302, "protocol", False),
    ],
)
def test_each_status_has_its_code(server: ChatServer, status: int, code: str, retryable: bool, stream: bool) -> None:
    error = refused(server, fail(status, f"no, {KEY} is wrong"), stream=stream)

    assert (error.status, error.code, error.retryable, error.retry_after_s) == (status, code, retryable, None)


def test_what_a_provider_says_is_quoted_in_one_line_shortened_and_without_the_key(server: ChatServer) -> None:
    error = refused(server, fail(400, f"{KEY} " + "long\nwords " * 200))

    assert "[redacted] long words" in str(error)
    assert len(str(error)) < 400


def test_an_exhausted_quota_is_not_asked_again(server: ChatServer) -> None:
    def behave(reply: Reply) -> None:
        reply.send_json({"error": {"message": "pay", "code": "insufficient_quota"}}, 429)

    assert not refused(server, behave).retryable


@both
def test_nobody_there_is_a_connection_error(stream: bool) -> None:
    with ChatServer() as server:
        pass  # its port is free again

    error = refused(server, stream=stream)

    assert (error.code, error.status, error.retryable) == ("connection", 0, True)


@pytest.mark.timing
def test_a_connection_that_nobody_takes_is_given_up_after_its_own_time() -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):  # more than the queue takes, so that a further one waits
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        own = {"type": "openai_compatible", "base_url": f"http://127.0.0.1:{full.getsockname()[1]}/v1"}

        async def main() -> float:
            settings = {"providers": {"local": {**own, "connect_timeout_s": 0.3, "timeout_s": 60}}}
            began = trio.current_time()
            async with opened(settings=settings) as host:
                with pytest.raises(ProviderError) as caught:
                    await ask(host)
            assert caught.value.retryable
            return trio.current_time() - began

        assert 0.3 <= run(main) < 5


def test_the_models_that_settings_name_are_told_and_found_by_their_bare_names(server: ChatServer) -> None:
    async def main() -> Any:
        async with asking(server, models=["our-own", "the-other"], default_model="our-own") as host:
            info = next(info for info in host.models.providers() if info.name == "local")
            return info.models, info.default_model, host.models.resolve("the-other"), host.models.resolve("local")

    assert run(main) == (("our-own", "the-other"), "our-own", "local/the-other", "local/our-own")


@both
def test_silence_is_a_timeout_and_the_request_ends_on_the_server(server: ChatServer, stream: bool) -> None:
    error = refused(server, hang(), stream=stream, timeout_s=0.1)

    assert (error.code, error.retryable) == ("timeout", True)
    assert server.requests[0].disconnected.wait(PATIENCE_S)


@both
@pytest.mark.timing
def test_a_cancelled_call_ends_at_once_and_on_the_server_too(server: ChatServer, stream: bool) -> None:
    async def main() -> float:
        server.script(hang())
        async with asking(server) as host:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lambda: ask(host, stream=stream))
                    await in_thread(server.wait_for, 1)
                    began = trio.current_time()
                    scope.cancel()
            took = trio.current_time() - began
            assert await in_thread(server.requests[0].disconnected.wait, PATIENCE_S)
            return took

    assert run(main) < 0.5


def test_a_cancelled_stream_ends_on_the_server_in_the_middle(server: ChatServer) -> None:
    got: list[str] = []

    async def main() -> None:
        server.script(trickle("one two three four five six", 0.05))
        async with asking(server) as host:
            with trio.CancelScope() as scope:

                async def sink(chunk: ModelChunk) -> None:
                    got.append(chunk.text)
                    scope.cancel()

                await host.models.complete(hello(), sink=sink)
            assert scope.cancelled_caught
            assert await in_thread(server.requests[0].disconnected.wait, PATIENCE_S)

    run(main)
    assert got == ["one"]


@both
def test_a_broken_answer_is_no_answer(server: ChatServer, stream: bool) -> None:
    error = refused(server, break_off(), stream=stream)

    assert (error.code, error.retryable) == ("connection", True)


def test_a_stream_that_ends_early_is_no_answer(server: ChatServer) -> None:
    def behave(reply: Reply) -> None:
        reply.stream(list(chunks(reply.request.body, "one two three", ()))[:3])

    error = refused(server, behave, stream=True)

    assert (error.code, error.retryable) == ("protocol", True)
    assert "before the answer was whole" in str(error)


def test_a_stream_need_not_say_that_it_is_done_if_the_model_did(server: ChatServer) -> None:
    def behave(reply: Reply) -> None:
        reply.stream(list(chunks(reply.request.body, "one two", ()))[:-1])

    response, _ = asked(server, behave, stream=True)

    assert response.text == "one two"


def test_an_error_within_a_stream_is_an_error(server: ChatServer) -> None:
    error = refused(server, fail_in_stream(f"oops {KEY}"), stream=True)

    assert (error.code, error.retryable) == ("unavailable", True)
    assert "oops [redacted]" in str(error)


@both
@pytest.mark.parametrize(
    "body", ['{"choices": [{"message": ', '{"choices": 3}', "<html>", '{"choices": [{"message": {"content": true}}]}']
)
def test_wrong_json_is_a_protocol_error(server: ChatServer, body: str, stream: bool) -> None:
    error = refused(server, garble(body), stream=stream)

    assert (error.code, error.retryable) == ("protocol", False)


def test_an_answer_without_an_answer_is_a_protocol_error(server: ChatServer) -> None:
    assert refused(server, garble('{"choices": []}')).code == "protocol"


@both
def test_an_answer_may_not_be_larger_than_settings_allow(server: ChatServer, stream: bool) -> None:
    error = refused(server, say("word " * 1000), stream=stream, max_answer_bytes=2000)

    assert (error.code, error.retryable) == ("protocol", False)
    assert "2000 bytes" in str(error)


@both
def test_a_slow_trickle_arrives(server: ChatServer, stream: bool) -> None:
    response, pieces = asked(server, trickle("drop by drop", 0.02), stream=stream, table={"timeout_s": 1})

    assert response.text == "drop by drop"
    assert len(pieces) == 3 * stream


def test_parameters_that_are_no_json_are_said_to_be_so(server: ChatServer) -> None:
    def behave(reply: Reply) -> None:
        call = {"id": "a", "type": "function", "function": {"name": "calculator", "arguments": '{"input": '}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        reply.send_json({"choices": [{"message": message, "finish_reason": "tool_calls"}]})

    response, _ = asked(server, behave)

    [made] = response.tool_uses
    assert (made.id, made.name, dict(made.parameters)) == ("a", "calculator", {})
    assert "no JSON" in made.problem


def test_a_server_that_does_not_stream_is_heard_all_the_same(server: ChatServer) -> None:
    def behave(reply: Reply) -> None:
        reply.send_json({"choices": [{"message": {"content": "all at once"}, "finish_reason": "stop"}]})

    response, pieces = asked(server, behave, stream=True)

    assert response.text == "all at once"
    assert [chunk.text for chunk in pieces] == ["all at once"]


def test_a_stream_may_be_cut_anywhere_and_use_any_line_ends(server: ChatServer) -> None:
    def behave(reply: Reply) -> None:
        whole = b"".join(chunks(reply.request.body, "h\u00e9llo w\u00f6rld", (("tool", {"a": "\u00fc"}),)))
        whole = b": a comment\r\nevent: x\r\n" + whole.replace(b"\n", b"\r\n")
        reply.stream(whole[start : start + 7] for start in range(0, len(whole), 7))

    response, _ = asked(server, behave, stream=True)

    assert response.text == "h\u00e9llo w\u00f6rld"
    assert dict(response.tool_uses[0].parameters) == {"a": "\u00fc"}


def test_costs_are_counted_by_the_price_list_that_settings_name(server: ChatServer) -> None:
    async def main() -> ModelResponse:
        async with asking(server, prices="openai", default_model="gpt-4o-mini") as host:
            return await host.models.complete(ModelRequest("local", (Message("user", "one two"),)))

    usage = run(main).usage

    assert usage.cost_usd == pytest.approx(2 * 1.5e-07 + 2 * 6e-07)


def test_hooks_see_the_request_the_response_and_the_failure(server: ChatServer) -> None:
    seen: list[str] = []

    def note(context: Any) -> None:
        seen.append(f"{context.point}: {context.component.name}")

    points = ("before_model_call", "after_model_call", "model_error", "model_chunk")
    audit = make_plugin("audit", *((point, note, {"kind": "observe"}) for point in points if point != "model_chunk"))

    async def main() -> None:
        server.script(say("fine"), fail(400))
        async with asking(server, audit) as host:
            await ask(host)
            with pytest.raises(ProviderError):
                await ask(host)

    run(main)
    assert [each.partition(":")[0] for each in seen] == [
        "before_model_call",
        "after_model_call",
        "before_model_call",
        "model_error",
    ]


# Whose URL, whose key


def test_a_url_from_an_agent_is_judged_like_any_other(server: ChatServer) -> None:
    async def main() -> None:
        with ChatServer() as other:
            async with asking(server) as host:
                with pytest.raises(SecurityError, match="loopback"):
                    await host.models.complete(hello(), endpoint=Endpoint(other.url))
            assert other.requests == []

    run(main)


def test_the_configured_key_and_headers_never_go_to_another_url(server: ChatServer) -> None:
    async def main() -> None:
        with ChatServer() as other:
            own = {
                "type": "openai_compatible",
                "base_url": server.url,
                "api_key": KEY,
                "headers": {"X-Secret": KEY},
                "organization": KEY,
            }
            settings = {"providers": {"local": own}, "security": {"hosts": {"allow_private": True}}}
            async with opened(settings=settings) as host:
                for url in (other.url, server.url + "/elsewhere", server.url.replace("127.0.0.1", "localhost")):
                    endpoint = Endpoint(url)
                    try:
                        await host.models.complete(hello(), endpoint=endpoint)
                    except ProviderError:
                        continue  # there is nothing at /elsewhere
                await host.models.complete(hello(), endpoint=Endpoint(other.url, SecretStr("sk-their-own")))
                await host.models.complete(hello(), endpoint=Endpoint(server.url + "/"))
            first, second = other.requests
            assert KEY not in str(first.headers)
            assert "authorization" not in first.headers
            assert second.headers["authorization"] == "Bearer sk-their-own"

    run(main)
    *others, own = server.requests
    assert len(others) == 2
    assert all(KEY not in str(request.headers) for request in others)
    assert own.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("allowed", [False, True], ids=["judged", "allowed"])
def test_a_script_cannot_have_a_key_sent_elsewhere(server: ChatServer, allowed: bool) -> None:
    own = {"type": "openai_compatible", "base_url": server.url, "api_key": KEY}
    settings = {"providers": {"local": own}, "security": {"hosts": {"allow_private": allowed}}}

    async def main() -> str:
        with ChatServer() as other:
            source = f"""
                local agent = Agent.create({{name = "spy", model = "local/x", base_url = "{other.url}"}})
                local fine, answer = pcall(function() return agent:execute("hi").text end)
                local whole = Provider.get("local")
                return tostring(answer) .. JSON.stringify(whole)
            """
            async with opened(settings=settings) as host:
                told = str(await host.run_source(source))
            assert len(other.requests) == allowed
            assert all(KEY not in str(request.headers) for request in other.requests)
            return told

    told = run(main)
    assert KEY not in told
    assert ("loopback" in told) is not allowed


def test_what_is_denied_is_denied_to_settings_too(server: ChatServer) -> None:
    own = {"type": "openai_compatible", "base_url": server.url}
    settings = {"providers": {"local": own}, "security": {"hosts": {"denied": ["127.0.0.1"]}}}

    async def main() -> None:
        async with opened(settings=settings) as host:
            await ask(host)

    with pytest.raises(SecurityError, match="denied"):
        run(main)


@pytest.mark.parametrize("url", ["nonsense", "ftp://x/v1", "http://user:secret@x/v1", "http://x/v1?key=secret"])
def test_a_base_url_that_is_none_is_refused_when_it_is_read(url: str) -> None:
    async def main() -> str:
        async with opened(settings={"providers": {"local": {"type": "openai_compatible", "base_url": url}}}) as host:
            return next(info.reason for info in host.models.providers() if info.name == "local")

    reason = run(main)
    assert "providers.local.base_url" in reason
    assert "secret" not in reason


def test_secrets_are_in_no_event_error_or_trace(server: ChatServer) -> None:
    async def main() -> str:
        server.script(say("fine"), fail(401, f"the key {KEY} is wrong"), garble(KEY))
        told: list[str] = []
        own = {"type": "openai_compatible", "base_url": server.url, "api_key": KEY}
        settings = {"providers": {"local": own}}
        async with opened(settings=settings, trace=True) as host, host.events.subscribe("**") as events:
            for _ in range(3):
                try:
                    await ask(host)
                except ProviderError as error:
                    told += [str(error), repr(error.__cause__), repr(error.__context__)]
            while (event := events.receive_nowait()) is not None:
                told.append(repr(event))
            told += [repr(row) for row in host.trace]
            told += [repr(info) for info in host.models.providers()]
            told.append(repr(host.settings.plain("providers")))
        return "\n".join(told)

    told = run(main)
    assert "model" in told
    assert KEY not in told


# The services


def test_a_service_is_available_once_its_key_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI", "ANTHROPIC", "GEMINI", "GROQ", "TOGETHER", "PERPLEXITY", "COHERE"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    monkeypatch.delenv("OLLAMA_HOST", raising=False)

    async def default() -> tuple[str, dict[str, bool]]:
        async with opened() as host:
            return host.models.resolve(), {info.name: info.available for info in host.models.providers()}

    assert run(default)[0] == "offline/rules"
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:11434")
    assert run(default)[0] == "ollama/llama3.2"
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    assert run(default)[0].startswith("groq/")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    name, available = run(default)
    assert name == "openai/gpt-4o-mini"
    assert [service for service, there in available.items() if not there] == [
        "anthropic",
        "cohere",
        "gemini",
        "openai_compatible",
        "perplexity",
        "together",
    ]


def test_openai_names_its_limit_otherwise(server: ChatServer) -> None:
    settings = {"providers": {"openai": {"base_url": server.url, "api_key": KEY}}}

    async def main() -> ModelResponse:
        async with opened(settings=settings) as host:
            return await host.models.complete(
                ModelRequest("openai/gpt-4o-mini", (Message("user", "hi"),), max_tokens=5)
            )

    assert run(main).usage.cost_usd == pytest.approx(1.5e-07 + 6e-07)
    assert server.requests[0].body["max_completion_tokens"] == 5
    assert "max_tokens" not in server.requests[0].body


def test_a_service_without_its_key_says_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)

    async def main() -> None:
        async with opened() as host:
            await host.models.complete(ModelRequest("groq/llama", (Message("user", "hi"),)))

    with pytest.raises(ProviderError, match="GROQ_API_KEY") as raised:
        run(main)
    assert raised.value.code == "authentication"


@pytest.mark.parametrize("key", ["sk-s3cret\u20ac", "sk-s3\ncret", "sk-s3cret\x7f", "sk-s3cret\udcff"])
def test_a_key_that_cannot_be_sent_is_told_by_its_place_and_never_shown(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    tables: dict[str, Any] = {
        "providers.local.api_key": {"api_key": key},
        "OWN_API_KEY": {"api_key_env": "OWN_API_KEY"},
        "providers.local.organization": {"organization": key.replace("\x7f", "\n")},
        "'X-Own'": {"headers": {"X-Own": key.replace("\x7f", "\n")}},
        "api_key: it": {},
    }
    monkeypatch.setenv("OWN_API_KEY", key.replace("\n", "\u20ac"))

    for where, table in tables.items():
        settings = {"providers": {"local": {"type": "openai_compatible", "base_url": server.url, **table}}}
        told = _refusal(settings, "local/x", None if table else Endpoint(api_key=SecretStr(key)))

        assert where in told
        assert "holds a" in told
        assert "s3" not in told
        assert told.isprintable()
    assert not server.requests


@pytest.mark.parametrize("service", ["openai", "groq", "together", "perplexity", "anthropic", "gemini", "cohere"])
def test_a_variable_whose_key_cannot_be_sent_is_named(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    monkeypatch.setenv(f"{service.upper()}_API_KEY", "sk-s3cret\u20ac")

    told = _refusal({}, f"{service}/x")

    assert f"{service.upper()}_API_KEY holds a character that no key has" in told
    assert "s3cret" not in told


def test_where_ollama_is_must_be_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "my host")

    assert "OLLAMA_HOST: not a URL" in _refusal({}, "ollama/x")


def _refusal(settings: Any, model: str, endpoint: Endpoint | None = None) -> str:
    async def main() -> None:
        async with opened(settings=settings) as host:
            request = ModelRequest(model, (Message("user", "hi"),))
            await host.models.complete(request, endpoint=endpoint)

    with pytest.raises(LlmspellError) as raised:
        run(main)
    return str(raised.value)


def test_a_late_answer_within_the_time_is_one(server: ChatServer) -> None:
    response, _ = asked(server, later(0.1, say("at last")), table={"timeout_s": 5})

    assert response.text == "at last"


def test_models_may_be_named_with_slashes(server: ChatServer) -> None:
    async def main() -> None:
        async with asking(server) as host:
            await host.models.complete(ModelRequest("local/meta-llama/Llama-3", (Message("user", "hi"),)))

    run(main)
    assert server.requests[0].body["model"] == "meta-llama/Llama-3"


def test_a_chunk_of_an_unknown_kind_is_passed_over(server: ChatServer) -> None:
    def behave(reply: Reply) -> None:
        parts = list(chunks(reply.request.body, "one two", ()))
        reply.stream([b": keep-alive\n\n", line({"choices": [], "x": 1}), *parts])

    assert asked(server, behave, stream=True)[0].text == "one two"


WANTED_BACK = {"reasoning_content": "think", "reasoning_details": [{"type": "reasoning.text", "signature": "S1"}]}


@both
def test_what_a_model_wants_back_goes_to_it_with_its_call_and_to_no_other(server: ChatServer, stream: bool) -> None:
    def behave(reply: Reply) -> None:
        call = {"id": "a", "type": "function", "extra_content": {"google": {"thought_signature": "S2"}}}
        call["function"] = {"name": "calculator", "arguments": "{}"}
        said = {"role": "assistant", "content": None, "tool_calls": [call], **WANTED_BACK}
        if not reply.request.streamed:
            return reply.send_json({"choices": [{"message": said, "finish_reason": "tool_calls"}]})
        parts = [{"reasoning_content": "thi"}, {"reasoning_content": "nk"}, {**said, "reasoning_content": None}, {}]
        values = [{"choices": [{"delta": part, "finish_reason": None if part else "tool_calls"}]} for part in parts]
        return reply.stream([*map(line, values), b"data: [DONE]\n\n"])

    async def main() -> None:
        server.script(behave, say("done"), say("done"))
        async with asking(server) as host:
            response, _ = await ask(host, stream=stream)
            said = Message("assistant", response.text, response.tool_uses, extra=response.extra)
            talk = (Message("user", "go"), said, Message("tool", "ok", tool_use_id="a"))
            for model in ("local/gpt-x", "local/other"):
                await host.models.complete(ModelRequest(model, talk))

    run(main)
    same, other = (request.body["messages"][1] for request in server.requests[1:])
    assert {name: same[name] for name in WANTED_BACK} == WANTED_BACK
    assert same["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "S2"}}
    assert set(other) == {"role", "content", "tool_calls"}
    assert set(other["tool_calls"][0]) == {"id", "type", "function"}
