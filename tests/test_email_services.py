"""The email-sender by SendGrid and Amazon SES on loopback; botocore judges signatures, munpack takes mails apart."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from kernel import opened
from llmspell_hookspecs import ToolError, ToolResult
from llmspell_hookspecs.errors import LlmspellError, SecurityError
from llmspell_plugins.tools.api.email_sender import EmailSender
from mail_services import KEYS, SECRETS, mail_service
from oracles import oracle

KINDS = sorted(KEYS)
MAIL: dict[str, Any] = {"to": "bob@example.com", "subject": "Lunch", "body": "At noon?"}


@pytest.fixture(autouse=True)
def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SENDGRID_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mock_clock() -> trio.testing.MockClock:
    """The clock of the test that asks for it: waits of a second and more pass at once, what a server takes does not."""
    return trio.testing.MockClock(autojump_threshold=0.5)


async def send(table: Any, /, set: Any = None, more: Any = None, **parameters: Any) -> ToolResult:
    settings = {"tools": {"email-sender": {"servers": {"post": table}, **(set or {})}}, **(more or {})}
    async with opened(EmailSender, settings=settings) as host:
        result: ToolResult = await host.call("tool:email-sender", {**MAIL, **parameters})
    return result


def told(error: BaseException) -> str:
    """All that an error says, and what it was raised from says."""
    said = [str(error), repr(getattr(error, "details", ""))]
    return " ".join([*said, told(error.__cause__)] if error.__cause__ else said)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_service_takes_what_a_call_says(kind: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * 3000
    (tmp_path / "photo.png").write_bytes(data)
    attachments = [
        {"path": str(tmp_path / "photo.png")},
        {"name": "../list.csv", "text": "ä,b\n1,2\n"},
        {"name": "data", "base64": "AAEC", "content_type": "application/x-mine"},
    ]
    given = {
        "cc": ["Eve Ü <eve@example.com>"],
        "bcc": "mal@example.com",
        "reply_to": "desk@example.com",
        "subject": "Grüße ✓",
        "body": "<p>" + "ü" * 3000 + "</p>",
        "html": True,
        "attachments": attachments,
    }
    paths = {"security": {"paths": {"read": [str(tmp_path)]}}}
    with mail_service(kind) as service:
        result = (await send(service.table, more=paths, **given)).result

    [taken] = service.taken
    emails = {name: [each["email"] for each in listed] for name, listed in taken["people"].items()}
    assert emails == {"to": ["bob@example.com"], "cc": ["eve@example.com"], "bcc": ["mal@example.com"]}
    assert (taken["from"]["email"], taken["subject"], taken["body"]) == (
        "ada@example.com",
        "Grüße ✓",
        ("text/html", given["body"]),
    )
    assert taken["files"] == [
        ("photo.png", "image/png", data),
        (".._list.csv", "text/csv", "ä,b\n1,2\n".encode()),
        ("data", "application/x-mine", b"\x00\x01\x02"),
    ]
    assert result["accepted"] == ["bob@example.com", "eve@example.com", "mal@example.com"]
    assert (result["status"], result["provider"], result["message_id"]) == ("sent", "post", taken["id"])
    assert result["provider_id"] == ("sg-1" if kind == "sendgrid" else "ses-1")
    assert not any(secret in repr(result) for secret in SECRETS)


async def test_sendgrid_is_told_names_and_where_answers_go_and_nobody_twice() -> None:
    people = {"to": "Bob <bob@example.com>, BOB@example.com", "cc": "bob@example.com", "bcc": "mal@example.com"}
    with mail_service("sendgrid") as service:
        await send(service.table, reply_to="Desk <desk@example.com>", **people)

    [taken] = service.taken
    assert taken["from"] == {"email": "ada@example.com", "name": "Ada"}
    assert [[name, [each["email"].lower() for each in listed]] for name, listed in taken["people"].items()] == [
        ["to", ["bob@example.com"]],
        ["bcc", ["mal@example.com"]],
    ]
    assert taken["reply_to"] == [{"email": "desk@example.com", "name": "Desk"}]


async def test_what_ses_takes_is_what_munpack_takes_apart_and_names_no_blind_copy(tmp_path: Path) -> None:
    with mail_service("ses") as service:
        table = {**service.table, "configuration_set": "news"}
        await send(table, bcc="mal@example.com", attachments=[{"name": "list.csv", "text": "a,b\n"}])

    [taken] = service.taken
    oracle("munpack", "-t", "-f", "-C", tmp_path, given=taken["content"].replace(b"\r\n", b"\n"))
    assert (tmp_path / "list.csv").read_text() == "a,b\n"
    assert b"mal@" not in taken["content"]
    assert taken["configuration_set"] == "news"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_key_is_one_error_that_shows_none(kind: str) -> None:
    name = "api_key" if kind == "sendgrid" else "secret_access_key"
    with (
        mail_service(kind) as service,
        pytest.raises(ToolError, match=r"it answered 40[13] .*check its keys") as caught,
    ):
        await send({**service.table, name: "another-secret-key"})

    assert (caught.value.code, service.taken) == ("auth", [])
    assert "redacted" in str(caught.value)
    assert not any(secret in told(caught.value) for secret in (*SECRETS, "another-secret-key"))


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_service_refuses_is_told_in_its_words(kind: str) -> None:
    with mail_service(kind) as service, pytest.raises(ToolError, match=r"400 \(.*it holds a virus\)") as caught:
        await send(service.table, body="VIRUS")

    expected = {"status": 400, **({"type": "MessageRejected"} if kind == "ses" else {})}
    assert (caught.value.code, caught.value.details) == ("refused", expected)
    assert len(service.seen) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (302, "http_status", "set its base_url"),
        (413, "refused", "change the e-mail"),
        (500, "http_status", "may have sent it"),
        (503, "http_status", "may have sent it"),
    ],
)
async def test_what_may_have_been_sent_is_not_sent_again(kind: str, status: int, code: str, advice: str) -> None:
    def before(handler: Any, count: int) -> bool:
        handler.reply(b"<html>oops</html>", status, Location="http://127.0.0.1:1/")
        return True

    with mail_service(kind, before) as service, pytest.raises(ToolError, match=advice) as caught:
        await send(service.table)

    assert (caught.value.code, caught.value.details) == (code, {"status": status})
    assert len(service.seen) == 1


def _limited(times: int, **headers: str) -> Any:
    def before(handler: Any, count: int) -> bool:
        if count <= times:
            handler.reply(b'{"message": "Maximum sending rate exceeded."}', 429, "application/json", **headers)
        return count <= times

    return before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("headers", [{}, {"Retry_After": "7"}, {"Retry_After": "date"}, {"X_RateLimit_Reset": "soon"}])
async def test_what_was_not_taken_for_now_is_sent_again_after_the_wait(
    kind: str, headers: dict[str, str], mock_clock: trio.testing.MockClock
) -> None:
    if headers.get("Retry_After") == "date":
        headers = {"Retry_After": format_datetime(datetime.now(UTC) + timedelta(seconds=8), usegmt=True)}
    if "X_RateLimit_Reset" in headers:
        headers = {"X_RateLimit_Reset": str(int(time.time()) + 8)}
    with mail_service(kind, _limited(1, **headers)) as service:
        started = trio.current_time()
        result = (await send(service.table)).result
        waited_s = trio.current_time() - started

    [taken] = service.taken
    assert (len(service.seen), taken["id"]) == (2, result["message_id"])
    assert 1 <= waited_s < 4 if not headers else 5 <= waited_s < 12


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wait_that_is_too_long_is_told(kind: str) -> None:
    with mail_service(kind, _limited(9, Retry_After="120")) as service, pytest.raises(ToolError) as caught:
        await send(service.table)

    assert (caught.value.code, caught.value.details) == ("rate_limited", {"status": 429, "retry_after_s": 120})
    assert "did not take it; send it in 120 s" in str(caught.value)
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("headers", "told_s", "said"),
    [
        ({"X_RateLimit_Reset": "99999999999"}, None, "send it later"),
        ({"X_RateLimit_Reset": "1732900000000"}, None, "send it later"),
        ({"X_RateLimit_Reset": "٣"}, None, "send it later"),
        ({"Retry_After": "99999999"}, None, "send it later"),
        ({"Retry_After": "7200"}, 7200, "send it in 120 min"),
        ({"Retry_After": "400000"}, 400_000, "send it in 5 days"),
    ],
)
async def test_a_wait_is_told_as_people_say_it_and_one_without_sense_is_not(
    headers: dict[str, str], told_s: float | None, said: str, mock_clock: trio.testing.MockClock
) -> None:
    encoded = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    with mail_service("sendgrid", _limited(9, **encoded)) as service, pytest.raises(ToolError) as caught:
        await send(service.table)

    assert caught.value.details == {"status": 429, **({} if told_s is None else {"retry_after_s": told_s})}
    assert str(caught.value).endswith(said)


@pytest.mark.parametrize("name", ["access_key_id", "secret_access_key", "session_token"])
@pytest.mark.parametrize("place", ["settings", "environment"])
async def test_a_key_of_which_no_header_can_be_made_is_named_and_not_shown(
    name: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = "abcdefgh\r\nX-More: 1"
    with mail_service("ses") as service:
        table = {**service.table}
        if place == "settings":
            table[name] = odd
        else:
            for each in ("access_key_id", "secret_access_key", "session_token"):
                monkeypatch.setenv(f"AWS_{each.upper()}", str(table.pop(each, "token")))
            monkeypatch.setenv(f"AWS_{name.upper()}", odd)
        with pytest.raises(ToolError, match=f"{name}: it holds what no key has; set it anew") as caught:
            await send(table)

    assert caught.value.code == "not_configured"
    assert "abcdefgh" not in told(caught.value)
    assert not service.seen


async def test_a_service_that_never_takes_it_is_asked_three_times(mock_clock: trio.testing.MockClock) -> None:
    with mail_service("ses", _limited(9)) as service, pytest.raises(ToolError, match=r"rate exceeded.*later") as caught:
        await send(service.table)

    assert (caught.value.code, len(service.seen)) == ("rate_limited", 3)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_service_that_says_nothing_ends_in_one_error(kind: str) -> None:
    def before(handler: Any, count: int) -> bool:
        handler.connection.recv(1)  # until the other side is gone
        handler.close_connection = True
        return True

    with mail_service(kind, before) as service, pytest.raises(ToolError, match=r"longer than 0\.3 s") as caught:
        await send(service.table, {"timeout_s": 0.3})

    assert caught.value.code == "timeout"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_service_that_is_not_there_or_is_denied_is_one_error(kind: str) -> None:
    table = {**KEYS[kind], "base_url": "http://127.0.0.1:1", "sender": "ada@example.com"}
    with pytest.raises(ToolError) as caught:
        await send(table)
    with mail_service(kind) as service, pytest.raises(SecurityError):
        await send(service.table, more={"security": {"hosts": {"denied": ["127.0.0.1"]}}})

    assert (caught.value.code, service.seen) == ("connection", [])


@pytest.mark.parametrize("kind", KINDS)
async def test_keys_come_from_the_environment(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"api_key": "SENDGRID_API_KEY"} | {
        name: f"AWS_{name.upper()}" for name in ("access_key_id", "secret_access_key", "session_token")
    }
    with mail_service(kind) as service:
        table = {name: value for name, value in service.table.items() if name not in variables}
        with pytest.raises(ToolError, match=r"there is no \w+, and the variable \w+ is not set") as caught:
            await send(table)
        for name, variable in variables.items():
            if name in KEYS[kind]:
                monkeypatch.setenv(variable, KEYS[kind][name])
        await send(table)

    assert (caught.value.code, len(service.taken)) == ("not_configured", 1)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "sendgrid", "host": "mail.example.com"}, "sendgrid has no host"),
        ({"kind": "ses", "region": "eu-central-1", "api_key": "x"}, "ses has no api_key"),
        ({"kind": "smtp", "host": "mail.example.com", "region": "eu-central-1"}, "smtp has no region"),
        ({"kind": "smtp"}, "smtp needs host"),
        ({"kind": "ses"}, "ses needs region"),
        ({"kind": "ses", "region": "x.evil.example/"}, "region"),
        ({"kind": "sendgrid", "base_url": "http://api.example.com"}, "base_url"),
        ({"kind": "sendgrid", "base_url": "http://127.0.0.1.example.com"}, "base_url"),
        ({"kind": "sendgrid", "base_url": "http://localhost@example.com"}, "base_url"),
    ],
)
async def test_settings_that_a_kind_does_not_heed_or_that_show_a_key_are_refused(table: Any, message: str) -> None:
    with pytest.raises(LlmspellError, match=message):
        await send({"sender": "ada@example.com", **table})


async def test_a_cancelled_call_ends_while_the_service_says_nothing() -> None:
    def before(handler: Any, count: int) -> bool:
        handler.connection.recv(1)
        handler.close_connection = True
        return True

    with mail_service("ses", before) as service, trio.move_on_after(0.3) as scope:
        await send(service.table, {"timeout_s": 1000})

    assert scope.cancelled_caught


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [100, 1_000_000])
async def test_whether_it_was_taken_stands_in_the_head_of_the_answer(kind: str, size: int) -> None:
    def before(handler: Any, count: int) -> bool:
        head = f"HTTP/1.1 202 Accepted\r\nContent-Length: {size}\r\nX-Message-Id: sg-{SECRETS[0]}\r\n\r\n"
        handler.wfile.write(head.encode() + b"{" + b" " * (size - 50))
        handler.close_connection = True
        return True

    with mail_service(kind, before) as service:
        result = (await send(service.table)).result

    assert (result["status"], len(service.seen)) == ("sent", 1)
    assert not any(secret in repr(result) for secret in SECRETS)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_that_ends_without_an_answer_may_have_sent_it(kind: str) -> None:
    def before(handler: Any, count: int) -> bool:
        handler.close_connection = True
        return True

    with (
        mail_service(kind, before) as service,
        pytest.raises(ToolError, match="may have sent it; look before") as caught,
    ):
        await send(service.table)

    assert (caught.value.code, len(service.seen)) == ("connection", 1)
