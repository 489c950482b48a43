"""api-tester and webhook-caller: against a real server on loopback; signatures against openssl."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from kernel import opened
from llmspell_hookspecs import InvalidInputError, ToolError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_plugins.tools.api.api_tester import ApiTester
from llmspell_plugins.tools.api.webhook_caller import WebhookCaller
from loopback import LOOPBACK, serve
from oracles import oracle


async def _call(name: str, settings: dict[str, Any] | None = None, key: str = "", **parameters: Any) -> ToolResult:
    tables = {**LOOPBACK, "tools": {name: settings}} if settings else LOOPBACK
    async with opened(ApiTester, WebhookCaller, settings=tables) as host:
        result: ToolResult = await host.call(f"tool:{name}", parameters)
        return result


async def test_api_tester_tells_status_headers_body_and_time() -> None:
    def answer(handler: Any, count: int) -> None:
        handler.reply(b'{"a": [1]}', 201, "application/json", x_kind="b")

    with serve(answer) as server:
        result = (await _call("api-tester", input=f"{server.url}/v1?token=abc", method="post", body={"x": 1})).result
        assert json.loads(server.seen[0].body) == {"x": 1}

    assert result["request"] == {"method": "POST", "url": f"{server.url}/v1", "timeout": 30}
    response = result["response"]
    assert (response["status_code"], response["status_text"], response["is_success"]) == (201, "Created", True)
    assert (response["body"], response["body_is_json"], response["headers"]["x-kind"]) == ({"a": [1]}, True, "b")
    assert result["timing"]["duration_ms"] == pytest.approx(result["timing"]["duration_secs"] * 1000)


@pytest.mark.parametrize(("expected", "passed"), [([], False), ([404], True), ([200], False)])
async def test_api_tester_takes_a_failing_status_as_an_answer(expected: list[int], passed: bool) -> None:
    with serve(lambda handler, count: handler.reply(b"no", 404)) as server:
        result = await _call("api-tester", input=server.url, expect_status=expected)
        assert len(server.seen) == 1
    assert result.success
    assert (result.result["passed"], result.result["response"]["body_is_json"]) == (passed, False)


async def test_api_tester_shows_no_credentials_and_follows_no_redirect_to_a_private_host() -> None:
    with serve(lambda handler, count: handler.reply(handler.headers["authorization"].encode())) as server:
        auth = {"type": "bearer", "token": "s3crettoken"}
        assert "s3cret" not in repr(await _call("api-tester", input=server.url, auth=auth))
    with (
        serve(lambda handler, count: handler.reply(b"", 302, location="http://127.0.0.2/")) as server,
        pytest.raises(SecurityError),
    ):
        await _call("api-tester", input=server.url)


@pytest.mark.parametrize("name", ["api-tester", "webhook-caller"])
async def test_answers_above_the_limit_are_refused(name: str) -> None:
    with serve(lambda handler, count: handler.reply(b"x" * 100)) as server, pytest.raises(ResourceLimitError):
        await _call(name, {"max_response_bytes": 99}, input=server.url)


async def test_a_webhook_is_told_the_payload_as_json() -> None:
    with serve(lambda handler, count: handler.reply(b'{"ok": true}', 202, "application/json")) as server:
        result = await _call("webhook-caller", input=f"{server.url}/hook", payload={"event": "built", "n": 1})
        seen = server.seen[0]

    assert (seen.method, seen.path, json.loads(seen.body)) == ("POST", "/hook", {"event": "built", "n": 1})
    told = result.result
    assert (told["success"], told["status_code"], told["retry_count"]) == (True, 202, 0)
    assert (told["response"]["json"], told["webhook_url"]) == ({"ok": True}, f"{server.url}/hook")
    assert told["idempotency_key"] == seen.headers["idempotency-key"]


async def test_a_webhook_is_tried_again_with_the_same_key_and_body() -> None:
    with serve(lambda handler, count: handler.reply(b"", 200 if count == 3 else 503)) as server:
        result = await _call("webhook-caller", input=server.url, payload=[1], retry_delay_ms=1)
        seen = server.seen
    assert (len(seen), result.result["retry_count"]) == (3, 2)
    assert len({(each.headers["idempotency-key"], each.body) for each in seen}) == 1


async def test_a_webhook_that_keeps_failing_is_no_success() -> None:
    with serve(lambda handler, count: handler.reply(b"", 500)) as server:
        result = await _call("webhook-caller", input=server.url, max_retries=1, retry_delay_ms=1)
        assert len(server.seen) == 2
    assert not result.success
    assert result.error == {"message": "the webhook answered 500", "code": "http_status"}


async def test_the_signature_of_github_is_openssls() -> None:
    with serve(lambda handler, count: handler.reply()) as server:
        await _call("webhook-caller", input=server.url, payload={"ü": [1]}, secret="s3cretkey")
        seen = server.seen[0]
    digest = oracle("openssl", "dgst", "-sha256", "-hmac", "s3cretkey", "-hex", given=seen.body).split("= ")[1].strip()
    assert seen.headers["x-hub-signature-256"] == f"sha256={digest}"


async def test_the_signature_of_standard_webhooks_is_openssls() -> None:
    raw = b"0123456789abcdef01234567"
    with serve(lambda handler, count: handler.reply()) as server:
        secret = "whsec_" + base64.b64encode(raw).decode()
        await _call("webhook-caller", input=server.url, payload={"a": 1}, secret=secret, signature="standard")
        seen = server.seen[0]
    signed = f"{seen.headers['webhook-id']}.{seen.headers['webhook-timestamp']}.".encode() + seen.body
    hexadecimal = oracle("openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{raw.hex()}", given=signed)
    mac = bytes.fromhex(hexadecimal.split("= ")[1].strip())
    assert seen.headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()


async def test_the_secret_of_a_webhook_is_shown_nowhere() -> None:
    with serve(lambda handler, count: handler.reply(b"you said s3cretkey")) as server:
        result = await _call("webhook-caller", input=server.url, secret="s3cretkey")
        with pytest.raises(InvalidInputError) as caught:
            await _call("webhook-caller", input=server.url, secret="s3cret key!", signature="standard")
    assert "s3cret" not in f"{result!r} {caught.value!r}"


async def test_a_webhook_with_a_line_break_in_a_header_is_refused() -> None:
    with serve(lambda handler, count: handler.reply()) as server:
        with pytest.raises(InvalidInputError, match="X-A"):
            await _call("webhook-caller", input=server.url, headers={"X-A": "b\r\nX-Evil: 1"})
        assert not server.seen


async def test_a_payload_above_the_limit_is_not_sent() -> None:
    with serve(lambda handler, count: handler.reply()) as server:
        with pytest.raises(ResourceLimitError, match=r"tools\.webhook-caller\.max_payload_bytes"):
            await _call("webhook-caller", {"max_payload_bytes": 10}, input=server.url, payload="x" * 11)
        assert not server.seen


@pytest.mark.parametrize("name", ["api-tester", "webhook-caller"])
async def test_nothing_is_sent_to_a_private_host(name: str) -> None:
    async with opened(ApiTester, WebhookCaller) as host:
        for url in ("http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/", "file:///etc/passwd"):
            with pytest.raises((SecurityError, InvalidInputError, ToolError)):
                await host.call(f"tool:{name}", {"input": url})
