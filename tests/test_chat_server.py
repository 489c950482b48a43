"""The chat server that other tests lean on: what it says it sends is what arrives."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chat_server import (
    Behaviour,
    ChatServer,
    Reply,
    break_off,
    fail,
    fail_in_stream,
    garble,
    hang,
    later,
    say,
    trickle,
    use,
)
from waiting import PATIENCE_S

TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        yield server


def ask(server: ChatServer, text: str = "hello", **body: Any) -> httpx.Response:
    messages = [{"role": "user", "content": text}]
    return httpx.post(f"{server.url}/chat/completions", json={"model": "echo", "messages": messages, **body})


def said(answer: httpx.Response) -> Any:
    return answer.json()["choices"][0]["message"]


def lines(answer: httpx.Response) -> list[Any]:
    found = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert found.pop() == "[DONE]"
    return [json.loads(line) for line in found]


def deltas(answer: httpx.Response) -> list[Any]:
    return [line["choices"][0]["delta"] for line in lines(answer) if line["choices"]]


def test_without_a_script_the_last_user_message_is_said_again(server: ChatServer) -> None:
    answer = ask(server, "one two")

    assert said(answer)["content"] == "one two"
    assert answer.json()["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    assert server.requests[0].messages == [{"role": "user", "content": "one two"}]
    assert server.requests[0].answered.wait(PATIENCE_S)


def test_the_rule_asks_for_each_tool_that_the_user_names_and_says_what_they_answered(server: ChatServer) -> None:
    asked = said(ask(server, 'use add {"a": 1}\nuse add {"a": 2}', tools=TOOLS))["tool_calls"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": call["id"]} for call in asked]
    answer = ask(server, messages=[{"role": "user", "content": "use add {}"}, *results], tools=TOOLS)

    assert [json.loads(call["function"]["arguments"]) for call in asked] == [{"a": 1}, {"a": 2}]
    assert said(answer)["content"] == "tool said: call_0, call_1"
    assert said(ask(server, 'use add {"a": 1}'))["content"] == 'use add {"a": 1}'


@pytest.mark.parametrize("text", ["one two  three\n", " one", "\n", "", "é"])
def test_the_words_of_a_stream_add_up_to_its_text(server: ChatServer, text: str) -> None:
    server.script(say(text))

    answer = ask(server, stream=True, stream_options={"include_usage": True})

    assert "".join(delta.get("content", "") for delta in deltas(answer)) == text
    assert lines(answer)[-1]["usage"]["completion_tokens"] == len(text.split())


def test_the_pieces_of_a_streamed_tool_call_add_up_to_its_arguments(server: ChatServer) -> None:
    server.script(use(("add", {"a": "two words"}), ("add", {}), text="so"))

    pieces = [piece for delta in deltas(ask(server, stream=True)) for piece in delta.get("tool_calls", ())]

    of_first = "".join(piece["function"]["arguments"] for piece in pieces if piece["index"] == 0)
    assert json.loads(of_first) == {"a": "two words"}
    assert [piece["id"] for piece in pieces if "id" in piece] == ["call_0", "call_1"]


def test_a_script_is_played_in_order_and_then_the_rule_holds_again(server: ChatServer) -> None:
    server.script(fail(429, retry_after_s=1), fail(500), say("third"))

    answers = [ask(server) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [429, 500, 200, 200]
    assert answers[0].headers["retry-after"] == "1"
    assert answers[0].json()["error"]["type"] == "rate_limit_error"
    assert [said(answer)["content"] for answer in answers[2:]] == ["third", "hello"]


@pytest.mark.parametrize("stream", [False, True])
def test_what_breaks_off_is_seen_as_broken(server: ChatServer, stream: bool) -> None:
    server.script(break_off())

    with pytest.raises(httpx.RemoteProtocolError):
        ask(server, stream=stream)

    assert not server.requests[0].answered.is_set()
    assert not server.requests[0].disconnected.is_set()


def test_an_error_within_a_stream_ends_it_after_what_came_before(server: ChatServer) -> None:
    server.script(fail_in_stream("overloaded", after=2))

    *chunks, error, end = ask(server, stream=True).text.split("\n\n")

    assert (len(chunks), end) == (2, "")
    assert json.loads(error.removeprefix("data: "))["error"]["message"] == "overloaded"


@pytest.mark.parametrize("stream", [False, True])
def test_garbled_json_is_none(server: ChatServer, stream: bool) -> None:
    server.script(garble())

    answer = ask(server, stream=stream)

    with pytest.raises(ValueError):
        json.loads(answer.text.split("\n\n")[-3].removeprefix("data: ") if stream else answer.text)


@pytest.mark.parametrize(
    ("behaviour", "body"),
    [
        (hang(), {}),
        (later(9, say("late")), {}),
        (trickle("a b c", 1), {}),
        (trickle("a b c d e f", 1), {"stream": True}),
    ],
    ids=["hang", "later", "trickle", "trickle in a stream"],
)
def test_a_client_that_gives_up_is_seen_to_go(server: ChatServer, behaviour: Behaviour, body: dict[str, Any]) -> None:
    server.script(behaviour)

    with httpx.Client(timeout=0.05) as client, pytest.raises(httpx.ReadTimeout):
        client.post(f"{server.url}/chat/completions", json={"messages": [], **body})

    assert server.wait_for(1)[0].disconnected.wait(PATIENCE_S)
    assert not server.requests[0].answered.is_set()


@pytest.mark.parametrize("stream", [False, True])
def test_a_trickle_arrives_whole(server: ChatServer, stream: bool) -> None:
    server.script(trickle("a b c", 0.002))

    answer = ask(server, stream=stream)

    whole = "".join(delta.get("content", "") for delta in deltas(answer)) if stream else said(answer)["content"]
    assert whole == "a b c"


@pytest.mark.timing
def test_leaving_the_block_ends_what_hangs_at_once_without_calling_it_the_clients_doing() -> None:
    with ChatServer() as server, httpx.Client() as client:
        server.script(hang())
        request = client.build_request("POST", f"{server.url}/chat/completions", json={"messages": []})
        with pytest.raises(httpx.RemoteProtocolError):
            server_closes(server, client, request)

    assert not server.requests[0].disconnected.is_set()


def server_closes(server: ChatServer, client: httpx.Client, request: httpx.Request) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(client.send, request)
        server.wait_for(1)
        started = time.monotonic()
        server.__exit__(None, None, None)
        assert time.monotonic() - started < 1
        answer.result()


def test_what_goes_wrong_in_a_behaviour_is_raised_when_the_block_is_left() -> None:
    def wrong(reply: Reply) -> None:
        raise KeyError("oops")

    with pytest.raises(ExceptionGroup) as caught, ChatServer() as server:
        server.script(wrong)
        with pytest.raises(httpx.RemoteProtocolError):
            ask(server)

    assert [type(error) for error in caught.value.exceptions] == [KeyError]


def test_other_paths_and_bodies_are_refused_and_the_models_are_listed(server: ChatServer) -> None:
    assert httpx.get(f"{server.url}/models").json()["data"][0]["id"] == "echo"
    assert httpx.get(f"{server.url}/other").status_code == 404
    assert httpx.post(f"{server.url}/chat/completions", content=b"{").status_code == 404
    assert [request.body for request in server.requests] == [b"", b"", b"{"]


def test_it_serves_as_a_process_of_its_own() -> None:
    command = [sys.executable, str(Path(__file__).with_name("chat_server.py"))]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = httpx.post(f"{url}/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]})
        process.terminate()

    assert said(answer)["content"] == "hi"
