"""The litellm provider, against a real server on loopback, through the host."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import hypothesis  # noqa: F401 - pytest imports it at its end, and cannot after litellm's objects were frozen
import pytest
import trio
from h11 import LocalProtocolError
from pydantic import SecretStr

from chat_server import ChatServer, Reply, break_off, fail, fail_in_stream, garble, hang, trickle, use
from chat_wire import chunks
from kernel import opened, run
from llmspell import Host
from llmspell_hookspecs import InvalidInputError, Message, ModelChunk, ModelRequest, ModelResponse
from llmspell_hookspecs.errors import ProviderError
from llmspell_hookspecs.model import Endpoint, ToolSpec, ToolUse
from llmspell_plugins.providers.litellm_failures import litellm_error
from waiting import PATIENCE_S

KEY = "sk-this-is-the-secret-key"
CALCULATOR = ToolSpec("calculator", "Adds.", {"type": "object", "properties": {"input": {"type": "string"}}})

# litellm's own, of the kind that Python shows to nobody but tests.
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the 'model_.*' attribute on the instance is deprecated")
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(name="server")
def _server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        yield server


@asynccontextmanager
async def asking(server: ChatServer, **table: Any) -> AsyncIterator[Host]:
    """A host whose provider ``litellm`` is the server; nothing is asked twice."""
    own = {"service": "openai", "base_url": server.url, "api_key": KEY, **table}
    settings = {"providers": {"litellm": own}}
    async with opened(settings=settings) as host:
        yield host


async def ask(
    host: Host, text: str = "hello there", *, model: str = "litellm/gpt-x", stream: bool = False, **fields: Any
) -> tuple[ModelResponse, list[ModelChunk]]:
    pieces: list[ModelChunk] = []

    async def sink(chunk: ModelChunk) -> None:
        pieces.append(chunk)

    request = ModelRequest(model, (Message("user", text),), **fields)
    return await host.models.complete(request, sink=sink if stream else None), pieces


def asked(server: ChatServer, *behaviours: Any, table: Any = None, **fields: Any) -> Any:
    async def main() -> Any:
        server.script(*behaviours)
        async with asking(server, **(table or {})) as host:
            return await ask(host, **fields)

    return run(main)


def refused(server: ChatServer, *behaviours: Any, stream: bool = False, **table: Any) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        asked(server, *behaviours, stream=stream, table=table)
    told = f"{raised.value} {raised.value.__cause__!r} {raised.value.__context__!r}"
    assert KEY not in told
    assert "\n" not in str(raised.value)
    assert "litellm." not in str(raised.value)
    return raised.value


def in_thread(wait: Callable[..., Any], *args: Any) -> Awaitable[Any]:
    return trio.to_thread.run_sync(wait, *args)


@both
def test_a_text_comes_back_with_its_usage(server: ChatServer, stream: bool) -> None:
    response, pieces = asked(server, stream=stream)

    assert (response.text, response.finish_reason) == ("hello there", "stop")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (2, 2)
    assert [chunk.text for chunk in pieces] == (["hello", " there"] if stream else [])
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.requests[0].body["model"] == "gpt-x"


@both
def test_tools_work(server: ChatServer, stream: bool) -> None:
    two = use(("calculator", {"input": "2 + 2"}), ("reader", {"lines": [1, 2]}))

    response, pieces = asked(server, two, stream=stream, tools=(CALCULATOR,))

    assert response.finish_reason == "tool_use"
    assert tuple(response.tool_uses) == (
        ToolUse("call_0", "calculator", {"input": "2 + 2"}),
        ToolUse("call_1", "reader", {"lines": [1, 2]}),
    )
    assert [chunk.tool_use for chunk in pieces if chunk.kind == "tool_use"] == list(response.tool_uses) * stream
    assert server.requests[0].body["tools"][0]["function"]["name"] == "calculator"


def test_the_answers_of_tools_are_sent_back(server: ChatServer) -> None:
    messages = (
        Message("user", "add"),
        Message("assistant", tool_uses=(ToolUse("call_7", "calculator", {"input": "1 + 1"}),)),
        Message("tool", "2", tool_use_id="call_7", name="calculator"),
    )

    async def main() -> ModelResponse:
        async with asking(server) as host:
            return await host.models.complete(ModelRequest("litellm/gpt-x", messages, (CALCULATOR,)))

    assert run(main).text == "tool said: 2"
    assert server.requests[0].body["messages"][2]["tool_call_id"] == "call_7"


@both
def test_a_429_says_when_to_ask_again_and_is_asked_once(server: ChatServer, stream: bool) -> None:
    error = refused(server, fail(429, f"slow down, {KEY}", retry_after_s=1.5), stream=stream)

    assert (error.code, error.status, error.retry_after_s, error.retryable) == ("rate_limited", 429, 1.5, True)
    assert "(slow down, [redacted])" in str(error)
    assert len(server.requests) == 1


@both
@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "invalid_request", False),
        (401, "authentication", False),
        (403, "authentication", False),
        (404, "invalid_request", False),
        (500, "unavailable", True),
        (503, "unavailable", True),
    ],
)
def test_each_status_has_its_code(server: ChatServer, status: int, code: str, retryable: bool, stream: bool) -> None:
    error = refused(server, fail(status, f"no, {KEY} is wrong"), stream=stream)

    assert (error.status, error.code, error.retryable) == (status, code, retryable)
    assert len(server.requests) == 1


@both
def test_nobody_there_is_a_connection_error(stream: bool) -> None:
    with ChatServer() as server:
        pass  # its port is free again

    error = refused(server, stream=stream)

    assert (error.code, error.status, error.retryable) == ("connection", 0, True)


@both
def test_silence_is_a_timeout(server: ChatServer, stream: bool) -> None:
    error = refused(server, hang(), stream=stream, timeout_s=0.2)

    assert (error.code, error.retryable) == ("timeout", True)
    assert server.requests[0].disconnected.wait(PATIENCE_S)


@both
@pytest.mark.timing
def test_a_cancelled_call_ends_at_once_and_on_the_server_too(server: ChatServer, stream: bool) -> None:
    async def main() -> float:
        async with asking(server) as host:
            await ask(host)
            server.script(hang())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: ask(host, stream=stream))
                await in_thread(server.wait_for, 2)
                began = trio.current_time()
                nursery.cancel_scope.cancel()
            took = trio.current_time() - began
            assert await in_thread(server.requests[1].disconnected.wait, PATIENCE_S)
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
                    await trio.lowlevel.checkpoint()

                await host.models.complete(ModelRequest("litellm/gpt-x", (Message("user", "hi"),)), sink=sink)
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


def test_an_error_within_a_stream_is_an_error(server: ChatServer) -> None:
    error = refused(server, fail_in_stream(f"oops {KEY}"), stream=True)

    assert (error.code, error.retryable) == ("unavailable", True)
    assert "oops [redacted]" in str(error)


@pytest.mark.parametrize("body", ['{"choices": [{"message": ', "<html>", '{"choices": []}', '{"x": 1}'])
def test_wrong_json_is_a_protocol_error(server: ChatServer, body: str) -> None:
    error = refused(server, garble(body))

    assert (error.code, error.retryable) == ("protocol", False)


def test_wrong_json_in_a_stream_is_a_protocol_error(server: ChatServer) -> None:
    error = refused(server, garble(), stream=True)

    assert (error.code, error.retryable) == ("protocol", False)


@both
def test_a_slow_trickle_arrives(server: ChatServer, stream: bool) -> None:
    response, pieces = asked(server, trickle("drop by drop", 0.02), stream=stream)

    assert response.text == "drop by drop"
    assert len(pieces) == 3 * stream


@pytest.mark.parametrize(
    ("model", "prompt_usd", "answer_usd"),
    [("gpt-4o-mini", 1.5e-07, 6e-07), ("unheard-of", None, None)],
)
def test_costs_are_known_where_prices_are(
    server: ChatServer, model: str, prompt_usd: float | None, answer_usd: float | None
) -> None:
    response, _ = asked(server, model=f"litellm/{model}")

    expected = None if prompt_usd is None or answer_usd is None else pytest.approx(2 * prompt_usd + 2 * answer_usd)
    assert response.usage.cost_usd == expected


# Whose URL, whose key


@pytest.mark.parametrize(
    "name", ["api_base", "base_url", "api_key", "extra_headers", "mock_response", "model", "client"]
)
def test_an_option_cannot_lead_the_key_elsewhere(server: ChatServer, name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"options.{name}"):
        asked(server, options={name: "http://127.0.0.1:9/v1"})
    assert server.requests == []


@pytest.mark.parametrize("model", ["huggingface/https://evil.example/x", "custom/HTTP://evil.example"])
def test_a_model_cannot_be_a_url(server: ChatServer, model: str) -> None:
    with pytest.raises(InvalidInputError, match="URL"):
        asked(server, model=f"litellm/{model}")


def test_an_agent_cannot_name_a_url_but_a_key(server: ChatServer) -> None:
    request = ModelRequest("litellm/gpt-x", (Message("user", "hi"),))

    async def main() -> None:
        async with asking(server) as host:
            with pytest.raises(InvalidInputError, match="openai_compatible"):
                await host.models.complete(request, endpoint=Endpoint("http://127.0.0.1:9/v1"))
            await host.models.complete(request, endpoint=Endpoint(api_key=SecretStr("sk-their-own")))

    run(main)
    assert [each.headers["authorization"] for each in server.requests] == ["Bearer sk-their-own"]


def test_a_key_that_litellm_takes_from_the_environment_is_told_by_its_variable_if_it_cannot_be_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "sk-s3cret\u20ac")

    async def main() -> None:
        async with opened() as host:
            await ask(host, model="litellm/mistral/x")

    with pytest.raises(ProviderError, match="MISTRAL_API_KEY holds a character that no key has") as raised:
        run(main)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("cause", [UnicodeEncodeError("ascii", "s3cret", 0, 1, "no"), LocalProtocolError("s3cret")])
def test_a_header_that_litellm_cannot_send_is_told_without_what_it_holds(cause: Exception) -> None:
    error = RuntimeError("s3cret")
    error.__cause__ = cause

    told = litellm_error("model:x", error, ())

    assert (told.code, "s3cret" in str(told)) == ("authentication", False)


def test_what_was_asked_is_closed_before_the_thread_that_it_was_asked_in(
    server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    asked(server)

    assert not [message for message in caplog.messages if "clean-up failed" in message]


def test_known_options_pass(server: ChatServer) -> None:
    asked(server, options={"top_p": 0.5, "seed": 7}, temperature=0.25, max_tokens=9, stop=("END",))

    body = server.requests[0].body
    assert {name: body[name] for name in ("top_p", "seed", "temperature", "max_tokens", "stop")} == {
        "top_p": 0.5,
        "seed": 7,
        "temperature": 0.25,
        "max_tokens": 9,
        "stop": ["END"],
    }


@pytest.mark.parametrize("own", [{"api_key": KEY}, {"base_url": "http://127.0.0.1:9/v1"}, {"api_key_env": "PATH"}])
def test_a_key_or_url_in_settings_belongs_to_one_service(own: dict[str, str]) -> None:
    async def main() -> str:
        async with opened(settings={"providers": {"litellm": own}}) as host:
            return next(info.reason for info in host.models.providers() if info.name == "litellm")

    reason = run(main)
    assert "name it with service" in reason
    assert KEY not in reason


def test_a_models_name_cannot_choose_another_service_for_the_key(server: ChatServer) -> None:
    asked(server, model="litellm/mistral/mistral-tiny")

    assert server.requests[0].path == "/v1/chat/completions"
    assert server.requests[0].body["model"] == "mistral/mistral-tiny"


def test_without_a_service_a_models_name_says_which(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_BASE", server.url)

    async def main() -> str:
        async with opened() as host:
            return (await ask(host, model="litellm/openai/org/gpt-x"))[0].text

    assert run(main) == "hello there"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.requests[0].body["model"] == "org/gpt-x"


# The thread


def test_hosts_one_after_the_other_and_side_by_side_share_nothing(server: ChatServer) -> None:
    async def main() -> None:
        for _ in range(2):
            async with asking(server) as first, asking(server) as second:
                for host in (first, second, first):
                    assert (await ask(host))[0].text == "hello there"

    run(main)

    assert not [thread for thread in threading.enumerate() if thread.name == "llmspell-asyncio"]


def test_hundred_calls_at_once_get_their_own_answers(server: ChatServer) -> None:
    answers: dict[int, str] = {}

    async def main() -> None:
        async with asking(server) as host, trio.open_nursery() as nursery:

            async def one(number: int) -> None:
                answers[number] = (await ask(host, f"number {number}", stream=number % 2 == 0))[0].text

            for number in range(100):
                nursery.start_soon(one, number)

    run(main)
    assert answers == {number: f"number {number}" for number in range(100)}


def test_listing_providers_does_not_import_it() -> None:
    code = (
        "import sys, trio\n"
        "from llmspell import Host\n"
        "async def main():\n"
        "    async with Host.open(False, discover=False) as host:\n"
        "        assert any(info.name == 'anthropic' for info in host.models.providers())\n"
        "trio.run(main)\n"
        "assert not {'litellm', 'httpx', 'openai'} & set(sys.modules), set(sys.modules)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)

    assert done.returncode == 0, done.stderr


def test_a_named_service_goes_to_its_own_kind_of_api(server: ChatServer) -> None:
    """Anthropic's interface is another one than OpenAI's; litellm speaks it."""
    settings = {
        "providers": {"anthropic": {"base_url": server.url.removesuffix("/v1"), "api_key": KEY}},
    }

    async def main() -> None:
        async with opened(settings=settings) as host:
            await ask(host, model="anthropic/claude-haiku-4-5")

    with pytest.raises(ProviderError) as raised:
        run(main)

    assert raised.value.status == 404
    [request] = server.requests
    assert (request.path, request.headers["x-api-key"]) == ("/v1/messages", KEY)
    assert request.body["model"] == "claude-haiku-4-5"
