"""http_request: against a real server on loopback."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from pydantic import ValidationError

from kernel import opened
from llmspell_hookspecs import InvalidInputError, NetworkAccess, SecurityLevel, ToolCall, ToolError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_hookspecs.host_rules import HostRules
from llmspell_hookspecs.tool import HostAccess, ToolLimits
from llmspell_plugins.kinds.tool.account import MemoryAccount
from llmspell_plugins.tools.api.http_request import HttpRequest, HttpRequestParameters, HttpRequestSettings
from llmspell_plugins.tools.api.retry import RetryOptions, delay_s
from loopback import LOOPBACK, serve
from networks import network_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def _call(
    settings: Mapping[str, Any] | None = None,
    rules: HostRules | None = None,
    memory_bytes: int = 1 << 28,
    **parameters: Any,
) -> ToolResult:
    """Call the tool as the host does: validate, resolve, then run."""
    network = network_of(rules or HostRules(private=("127.0.0.1",)))
    tool = HttpRequest(HttpRequestSettings(**(settings or {})))
    model = HttpRequestParameters(**parameters)

    async def run_thread(function: Callable[..., Any], *arguments: Any) -> Any:
        return await trio.to_thread.run_sync(function, *arguments)

    call = ToolCall(tool.name, addresses={"input": await network.resolve(model.input)})
    context: Any = SimpleNamespace(
        call=call,
        limits=ToolLimits(),
        services=SimpleNamespace(get={NetworkAccess: network}.__getitem__),
        charge=MemoryAccount(memory_bytes, "tool:http_request").charge,
        run_thread=run_thread,
    )
    return await tool.run(model, context)


FAST = {"initial_delay_ms": 1, "max_delay_ms": 50}


async def test_it_answers_status_headers_body_and_time() -> None:
    with serve(lambda handler, count: handler.reply(b"hello", x_test="1")) as server:
        result = await _call(input=f"{server.url}/a?token=abc")
    assert result.success
    assert result.operation == "GET"
    assert (result.result["status_code"], result.result["body"]) == (200, "hello")
    assert result.result["headers"]["x-test"] == "1"
    assert abs(datetime.fromisoformat(result.result["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert result.metadata == {"url": f"{server.url}/a", "attempts": 1, "size": 5}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "post"])
async def test_every_method_is_sent(method: str) -> None:
    with serve(lambda handler, count: handler.reply(b"x")) as server:
        assert (await _call(input=server.url, method=method)).success
        assert server.seen[0].method == method.upper()


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        ("grüße", "grüße".encode(), "text/plain; charset=utf-8"),
        ({"a": [1, None, "ü"]}, '{"a":[1,null,"ü"]}'.encode(), "application/json"),
        ([1, 2], b"[1,2]", "application/json"),
        (False, b"false", "application/json"),
        ("", b"", "text/plain; charset=utf-8"),
    ],
)
async def test_a_text_is_sent_as_it_is_and_the_rest_as_json(body: Any, sent: bytes, kind: str) -> None:
    with serve(lambda handler, count: handler.reply()) as server:
        await _call(input=server.url, method="POST", body=body)
        assert server.seen[0].body == sent
        assert server.seen[0].headers["content-type"] == kind


async def test_headers_of_the_caller_win_over_defaults() -> None:
    with serve(lambda handler, count: handler.reply()) as server:
        headers = {"content-type": "application/x-special", "USER-AGENT": "me", "X-Number": 5}
        await _call(input=server.url, method="POST", body="x", headers=headers)
        seen = server.seen[0].headers
    assert (seen["content-type"], seen["user-agent"], seen["x-number"]) == ("application/x-special", "me", "5")


@pytest.mark.parametrize(
    ("body", "kind", "decoded"),
    [
        (b'{"a": [1, 2.5, null]}', "application/json; charset=utf-8", {"a": [1, 2.5, None]}),
        (b"\xef\xbb\xbf[1]", "application/json", [1]),
        (b'{"a": 1}', "application/problem+json", {"a": 1}),
        (b'{"a": 1', "application/json", '{"a": 1'),
        (b"[" * 100_000, "application/json", "[" * 100_000),
        (b'{"a": 1}', "text/plain", '{"a": 1}'),
        ("grüße".encode("latin-1"), "text/html; charset=ISO-8859-1", "grüße"),
        ("grüße".encode(), "application/octet-stream", "grüße"),
        (b"gr\xfc", "text/plain", "gr\ufffd"),
        (b"x", "text/plain; charset=nonsense", "eA=="),
        (b"", "application/json", ""),
        (b"[" + b"1," * 200_000 + b"2]", "application/json", [*[1] * 200_000, 2]),
    ],
)
async def test_the_body_is_decoded_by_its_type(body: bytes, kind: str, decoded: Any) -> None:
    with serve(lambda handler, count: handler.reply(body, kind=kind)) as server:
        assert (await _call(input=server.url)).result["body"] == decoded


async def test_bytes_that_are_no_text_come_as_base64_and_are_marked() -> None:
    with serve(lambda handler, count: handler.reply(b"\xff\x00\xfe", kind="image/png")) as server:
        result = (await _call(input=server.url)).result
    assert base64.b64decode(result["body"]) == b"\xff\x00\xfe"
    assert result["body_encoding"] == "base64"


async def test_a_status_from_400_on_is_no_success_and_no_error() -> None:
    with serve(lambda handler, count: handler.reply(b"gone", 404)) as server:
        result = await _call(input=server.url)
    assert not result.success
    assert (result.result["status_code"], result.result["body"]) == (404, "gone")
    assert result.error is not None
    assert result.error["code"] == "http_status"


# Credentials

AUTHS: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "basic", "username": "u", "password": "s3cretword"}, "authorization", "Basic dTpzM2NyZXR3b3Jk"),
    ({"type": "bearer", "token": "s3crettoken"}, "authorization", "Bearer s3crettoken"),
    ({"type": "apikey", "key": "s3cretkey"}, "x-api-key", "s3cretkey"),
    ({"type": "apikey", "key": "s3cretkey", "header_name": "X-K"}, "x-k", "s3cretkey"),
    ({"type": "custom", "headers": {"X-One": "s3cretone"}}, "x-one", "s3cretone"),
]


@pytest.mark.parametrize(("auth", "header", "value"), AUTHS)
async def test_credentials_are_sent_and_never_come_back(auth: dict[str, Any], header: str, value: str) -> None:
    def echo(handler: Any, count: int) -> None:
        sent = handler.headers[header]
        handler.reply(json.dumps({"sent": sent, "name": "u"}).encode(), kind="application/json", x_echo=sent)

    with serve(echo) as server:
        result = await _call(input=server.url, auth=auth)
        assert server.seen[0].headers[header] == value
    assert "s3cret" not in repr(result)
    assert "dTpzM2NyZXR3b3Jk" not in repr(result)
    assert "[redacted]" in result.result["body"]["sent"]
    assert "s3cret" not in repr(HttpRequestParameters(input="http://x", auth=auth))  # type: ignore[arg-type]


@pytest.mark.parametrize("half", ["\ud800", "x\udcff"])
async def test_half_a_letter_in_a_password_has_a_stand_in(half: str) -> None:
    with serve(lambda handler, count: handler.reply()) as server:
        await _call(input=server.url, auth={"type": "basic", "username": "u", "password": half})

    assert base64.b64decode(server.seen[0].headers["authorization"].partition(" ")[2]).count(b"?") == 1


async def test_headers_that_hold_secrets_are_hidden_and_sent() -> None:
    headers = {"Authorization": "Bearer s3cretbearer", "X-Auth-Token": "s3cretvalue", "Accept": "a/b"}
    model = HttpRequestParameters(input="http://x", headers=headers)  # type: ignore[arg-type]
    with serve(lambda handler, count: handler.reply()) as server:
        await _call(input=server.url, headers=headers)
        assert server.seen[0].headers["authorization"] == "Bearer s3cretbearer"
        assert server.seen[0].headers["x-auth-token"] == "s3cretvalue"
    assert "s3cret" not in repr(model)
    assert "s3cret" not in repr(model.model_dump())
    assert HttpRequestParameters(**model.model_dump()) == model


@pytest.mark.parametrize(("auth", "header", "value"), AUTHS)
async def test_credentials_are_in_no_error(auth: dict[str, Any], header: str, value: str) -> None:
    with serve(lambda handler, count: handler.reply(b"x" * 100)) as server:
        url = server.url
        with pytest.raises(ResourceLimitError) as large:
            await _call(input=url, auth=auth, settings={"max_response_bytes": 10})
    with pytest.raises(ToolError) as closed:
        await _call(input=f"{url}/?key=s3cretquery", auth=auth, retry={"max_attempts": 1})
    assert "s3cret" not in f"{large.value!r} {closed.value!r}"


@pytest.mark.parametrize("value", ["s3cret\r\nX: y", "s3cret\u20ac"])
async def test_a_secret_that_cannot_be_sent_is_not_shown(value: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await _call(input="http://127.0.0.1/", auth={"type": "bearer", "token": value})
    assert "s3cret" not in repr(caught.value)
    assert str(caught.value).startswith("http_request: the header 'Authorization' holds")


def test_a_user_agent_that_cannot_be_sent_is_refused_when_settings_are_read() -> None:
    with pytest.raises(ValidationError, match="holds a character that no header carries"):
        HttpRequestSettings(user_agent="a\nb")


@pytest.mark.parametrize(
    "parameters",
    [
        {"input": ""},
        {"input": "http://x", "method": "CONNECT"},
        {"input": "http://x", "auth": {"type": "digest"}},
        {"input": "http://x", "auth": {"type": "basic", "username": "u"}},
        {"input": "http://x", "auth": {"type": "basic", "username": "u:v", "password": "s3cret"}},
        {"input": "http://x", "retry": {"max_attempts": 0}},
        {"input": "http://x", "url": "http://y"},
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpRequestParameters(**parameters)


# Trying again


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_passing_failure_is_tried_again(status: int) -> None:
    with serve(lambda handler, count: handler.reply(b"x", 200 if count == 3 else status)) as server:
        result = await _call(input=server.url, retry=FAST)
    assert result.result["status_code"] == 200
    assert result.metadata["attempts"] == 3


async def test_the_last_answer_counts_if_all_attempts_fail() -> None:
    with serve(lambda handler, count: handler.reply(f"{count}".encode(), 503)) as server:
        result = await _call(input=server.url, retry={**FAST, "max_attempts": 2})
        assert len(server.seen) == 2
    assert (result.success, result.result["status_code"], result.result["body"]) == (False, 503, "2")


@pytest.mark.parametrize(
    ("method", "retry", "attempts"),
    [("POST", FAST, 1), ("PATCH", FAST, 1), ("POST", {**FAST, "any_method": True}, 3), ("PUT", FAST, 3),
     ("DELETE", FAST, 3), ("GET", {**FAST, "retry_on_status": [418]}, 1)],
)  # fmt: skip
async def test_only_what_may_be_done_twice_is_tried_again(method: str, retry: dict[str, Any], attempts: int) -> None:
    with serve(lambda handler, count: handler.reply(b"x", 503)) as server:
        await _call(input=server.url, method=method, retry=retry)
        assert len(server.seen) == attempts


async def test_a_connection_that_breaks_is_tried_again() -> None:
    def answer(handler: Any, count: int) -> None:
        if count == 1:
            handler.close_connection = True
        else:
            handler.reply(b"x")

    with serve(answer) as server:
        assert (await _call(input=server.url, retry=FAST)).metadata["attempts"] == 2


@pytest.mark.timing
async def test_retry_after_is_honoured() -> None:
    def answer(handler: Any, count: int) -> None:
        handler.reply(b"x", 429 if count == 1 else 200, retry_after="1")

    with serve(answer) as server:
        started = time.perf_counter()
        result = await _call(input=server.url, retry={"initial_delay_ms": 1, "max_delay_ms": 2000})
    assert result.result["status_code"] == 200
    assert time.perf_counter() - started >= 1


async def test_a_longer_wait_than_allowed_ends_the_attempts() -> None:
    with serve(lambda handler, count: handler.reply(b"x", 429, retry_after="100")) as server:
        result = await _call(input=server.url, retry=FAST)
        assert len(server.seen) == 1
    assert result.result["headers"]["retry-after"] == "100"


@pytest.mark.parametrize(
    ("attempt", "header", "expected"),
    [
        (1, "", 1.0),
        (2, "", 2.0),
        (3, "", 4.0),
        (9, "", 30.0),
        (1, "7", 7.0),
        (1, "0", 0.0),
        (1, "31", None),
        (1, format_datetime(NOW + timedelta(seconds=5), usegmt=True), 5.0),
        (1, format_datetime(NOW - timedelta(seconds=5), usegmt=True), 0.0),
        (1, "soon", 1.0),
        (1, "-5", 1.0),
        (1, "1e3", 1.0),
    ],
)
def test_waits_grow_and_follow_the_server(attempt: int, header: str, expected: float | None) -> None:
    headers = {"retry-after": header} if header else {}
    assert delay_s(RetryOptions(), attempt, headers, NOW) == expected


# Rules and bounds


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://0x7f.1/", "http://[::ffff:127.0.0.1]/", "file:///etc/passwd"]
)
async def test_hosts_that_the_rules_do_not_allow_are_refused(url: str) -> None:
    with pytest.raises(SecurityError):
        await _call(input=url, rules=HostRules())


async def test_a_redirect_to_where_the_rules_do_not_allow_is_refused_and_not_tried_again() -> None:
    with serve(lambda handler, count: handler.reply(b"", 302, location="http://127.0.0.2/")) as server:
        with pytest.raises(SecurityError):
            await _call(input=server.url, retry=FAST)
        assert len(server.seen) == 1


async def test_bodies_above_the_limits_are_refused() -> None:
    with serve(lambda handler, count: handler.reply(b"x" * 1000)) as server:
        with pytest.raises(ResourceLimitError):
            await _call(input=server.url, settings={"max_response_bytes": 999})
        with pytest.raises(ResourceLimitError, match="max_request_bytes"):
            await _call(input=server.url, method="POST", body="x" * 11, settings={"max_request_bytes": 10})
        with pytest.raises(ResourceLimitError):
            await _call(input=server.url, memory_bytes=500)
        assert [seen.method for seen in server.seen] == ["GET", "GET"]


async def test_an_answer_that_takes_too_long_is_an_error() -> None:
    release = threading.Event()

    def answer(handler: Any, count: int) -> None:
        release.wait(5)
        handler.close_connection = True

    with serve(answer) as server:
        with pytest.raises(ToolError) as caught:
            await _call(input=server.url, settings={"timeout_s": 0.1}, retry={"max_attempts": 1})
        release.set()
    assert caught.value.code == "timeout"


def test_what_the_tool_tells_of_itself() -> None:
    tool = HttpRequest()
    assert tool.level is SecurityLevel.RESTRICTED
    assert tool.access(HttpRequestParameters(input="http://x")) == (HostAccess("input"),)
    assert {"http-request", "http-request-tool", "http-requester"} <= set(tool.aliases)
    json.dumps(tool.schema())


async def test_headers_that_come_more_than_once_can_be_told_apart() -> None:
    cookies = ["a=1; Expires=Wed, 21 Oct 2030 07:28:00 GMT", "b=2"]

    def answer(handler: Any, count: int) -> None:
        handler.send_response(200)
        for name, value in (
            *(("Set-Cookie", cookie) for cookie in cookies),
            ("X-One", "1, 2"),
            ("Content-Length", "0"),
        ):
            handler.send_header(name, value)
        handler.end_headers()

    with serve(answer) as server:
        headers = (await _call(input=server.url)).result["headers"]

    assert (headers["set-cookie"], headers["x-one"]) == (cookies, "1, 2")


@pytest.mark.parametrize("where", ["headers", "auth"])
async def test_more_headers_than_any_server_takes_are_refused(where: str) -> None:
    headers = {f"x-{index}": "a" * 10 for index in range(201)}
    given: Any = headers if where == "headers" else {"type": "custom", "headers": headers}

    with pytest.raises(ValidationError, match="at most 200 items"):
        await _call(input="http://127.0.0.1:1/", **{where: given})


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        (
            {"type": "Bearer", "token": "t"},
            "auth: its type should be one of none, .*did you mean bearer",
        ),
        ({"type": "bearer"}, "parameter auth.token: it is missing"),
        ({"token": "t"}, "parameter auth: it has no type, which says what else it holds"),
        ({"type": "basic", "username": "a:b", "password": "o"}, "parameter auth.username: it should match pattern"),
    ],
)
async def test_wrong_credentials_are_told_readably_though_a_short_secret_is_part_of_words(auth: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as caught:
        async with opened(HttpRequest, settings=LOOPBACK) as host:
            await host.call("tool:http_request", {"input": "http://127.0.0.1:1/", "auth": auth})

    assert str(caught.value).endswith("it takes input, method, headers, body, auth, retry")


async def test_an_answer_that_is_cut_is_told_in_plain_words() -> None:
    def cut(handler: Any, count: int) -> None:
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("content-length", "100")
        handler.end_headers()
        handler.wfile.write(b"abc")

    with (
        serve(cut) as server,
        pytest.raises(ToolError, match="ended before the answer was whole") as error,
    ):
        async with opened(HttpRequest, settings=LOOPBACK) as host:
            await host.call("tool:http_request", {"input": server.url, "retry": {"max_attempts": 1}})

    assert error.value.code == "connection"
    assert "peer" not in str(error.value)


async def test_a_server_without_tls_is_told_without_what_is_for_programmers() -> None:
    with serve(lambda handler, count: handler.reply(b"x", 200)) as server, pytest.raises(ToolError) as error:
        async with opened(HttpRequest, settings=LOOPBACK) as host:
            url = server.url.replace("http:", "https:")
            await host.call("tool:http_request", {"input": url, "retry": {"max_attempts": 1}})

    assert "wrong version number" in str(error.value)
    assert not any(word in str(error.value) for word in ("_ssl.c", "[SSL", "Errno"))
