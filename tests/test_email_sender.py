"""The email-sender through a real SMTP server on loopback, with TLS and a login; munpack reads what it wrote."""

from __future__ import annotations

import base64
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
import trustme

from kernel import opened
from llmspell_hookspecs import InvalidInputError, ToolError, ToolResult
from llmspell_hookspecs.errors import LlmspellError, ResourceLimitError, SecurityError, SettingsError
from llmspell_plugins.tools.api.email_sender import EmailSender
from oracles import oracle

PASSWORD = "Correct-horse-4"
MAIL: dict[str, Any] = {"to": "bob@example.com", "subject": "Lunch", "body": "At noon?"}


class Taken(NamedTuple):
    """An e-mail that the server took."""

    sender: str
    recipients: list[str]
    content: bytes
    user: str
    secured: bool

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content, _class=EmailMessage, policy=policy.default)


class Sink:
    """What the server does: keeps what it takes, and takes nothing for ``refused@``."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.user = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("refused@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if b"VIRUS" in envelope.content:
            return "554 it holds a virus"
        user = session.auth_data.login.decode() if session.authenticated else ""
        self.taken.append(
            Taken(
                envelope.mail_from,
                list(envelope.rcpt_tos),
                envelope.content,
                user,
                server.transport.get_extra_info("ssl_object") is not None,
            )
        )
        return "250 OK"


class Post(NamedTuple):
    """A server that runs."""

    sink: Sink
    table: dict[str, Any]

    def settings(self, server: Any = None, **more: Any) -> dict[str, Any]:
        return {"tools": {"email-sender": {"servers": {"post": {**self.table, **(server or {})}}, **more}}}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextmanager
def serving(folder: Path, authority: trustme.CA, security: str, host: str = "127.0.0.1") -> Iterator[Post]:
    controllers = pytest.importorskip("aiosmtpd.controller", reason="aiosmtpd comes with the extra test")
    smtp = pytest.importorskip("aiosmtpd.smtp")

    def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        known = (data.login, data.password) == (b"ada", PASSWORD.encode())
        return smtp.AuthResult(success=known, handled=False, auth_data=data)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options: dict[str, Any] = {"authenticator": login, "auth_require_tls": security == "starttls"}
    if security == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    elif security == "tls":
        options["ssl_context"] = context
    sink = Sink()
    controller = controllers.Controller(sink, hostname="127.0.0.1", port=port, **options)
    controller.start()
    table = {"host": "127.0.0.1", "port": port, "security": security, "sender": "Ada <ada@example.com>"}
    if security != "none":
        table |= {"ca_file": str(folder / "ca.pem"), "user": "ada", "password": PASSWORD}
    try:
        yield Post(sink, table)
    finally:
        controller.stop()


@pytest.fixture
def post(tmp_path: Path, authority: trustme.CA) -> Iterator[Post]:
    with serving(tmp_path, authority, "starttls") as made:
        yield made


async def send(post: Post, server: Any = None, /, set: Any = None, **parameters: Any) -> ToolResult:
    async with opened(EmailSender, settings=post.settings(server, **(set or {}))) as host:
        result: ToolResult = await host.call("tool:email-sender", {**MAIL, **parameters})
    return result


async def test_an_email_arrives_over_tls_from_who_logged_in(post: Post) -> None:
    result = (await send(post, cc=["Eve <eve@example.com>"], bcc="mal@example.com", reply_to="desk@example.com")).result

    [taken] = post.sink.taken
    everybody = ["bob@example.com", "eve@example.com", "mal@example.com"]
    assert (taken.sender, taken.recipients, taken.user) == ("ada@example.com", everybody, "ada")
    assert taken.secured
    assert {name: str(taken.message[name]) for name in ("From", "To", "Cc", "Bcc", "Reply-To", "Subject")} == {
        "From": "Ada <ada@example.com>",
        "To": "bob@example.com",
        "Cc": "Eve <eve@example.com>",
        "Bcc": "None",
        "Reply-To": "desk@example.com",
        "Subject": "Lunch",
    }
    assert taken.message.get_content().strip() == "At noon?"
    assert b"mal@" not in taken.content
    assert (result["status"], result["accepted"], result["refused"]) == ("sent", everybody, {})
    assert result["message_id"] == str(taken.message["Message-ID"])


@pytest.mark.parametrize("security", ["tls", "none"])
async def test_an_email_arrives_with_tls_from_the_start_and_without_any(
    tmp_path: Path, authority: trustme.CA, security: str
) -> None:
    with serving(tmp_path, authority, security) as post:
        await send(post)

    [taken] = post.sink.taken
    assert (taken.user, taken.secured) == (("ada", True) if security == "tls" else ("", False))


async def test_attachments_and_html_are_what_munpack_takes_out(post: Post, tmp_path: Path) -> None:
    data = bytes(range(256)) * 300
    (tmp_path / "photo.png").write_bytes(data)
    attachments = [
        {"path": "photo.png"},
        {"name": "list.csv", "text": "a,b\n1,2\n"},
        {"name": "raw.bin", "base64": base64.b64encode(data).decode()},
    ]
    settings = {**post.settings(), "security": {"paths": {"read": [str(tmp_path)]}}}
    attachments[0]["path"] = str(tmp_path / "photo.png")
    async with opened(EmailSender, settings=settings) as host:
        given = {**MAIL, "body": "<p>Grüße, ✓</p>\n" + "x" * 2000, "html": True, "attachments": attachments}
        await host.call("tool:email-sender", given)

    (out := tmp_path / "out").mkdir()
    printed = oracle("munpack", "-t", "-f", "-C", out, given=post.sink.taken[0].content.replace(b"\r\n", b"\n"))
    kinds = re.findall(r"\(([a-z/-]+)\)", printed)
    assert kinds == ["text/html", "image/png", "text/csv", "application/octet-stream"]
    assert (out / "photo.png").read_bytes() == (out / "raw.bin").read_bytes() == data
    assert (out / "list.csv").read_text() == "a,b\n1,2\n"
    text = (out / printed.split()[0]).read_bytes().decode()
    assert text.replace("\r\n", "\n").strip() == "<p>Grüße, ✓</p>\n" + "x" * 2000


async def test_letters_of_all_scripts_and_lines_of_one_dot_come_through(post: Post) -> None:
    await send(
        post, subject="Grüße ✓ " + "long " * 60, body="one\n.\n..two\nFrom three\n", to='"Bö, b" <bob@bücher.example>'
    )

    message = post.sink.taken[0].message
    assert str(message["Subject"]).split() == ["Grüße", "✓", *["long"] * 60]
    assert message.get_content().replace("\r\n", "\n") == "one\n.\n..two\nFrom three\n"
    assert message["To"].addresses[0].display_name == "Bö, b"
    assert post.sink.taken[0].recipients == ["bob@xn--bcher-kva.example"]
    assert post.sink.taken[0].content.isascii()


async def test_preview_shows_what_would_be_sent_and_sends_nothing(post: Post) -> None:
    result = (await send(post, operation="preview", bcc="mal@example.com")).result

    message = message_from_bytes(result["message"].encode(), policy=policy.default)
    assert (str(message["Subject"]), result["size_bytes"]) == ("Lunch", len(result["message"]))
    assert result["recipients"] == ["bob@example.com", "mal@example.com"]
    assert post.sink.taken == []


async def test_validate_says_what_is_wrong_and_sends_nothing(post: Post) -> None:
    right = (await send(post, operation="validate")).result
    wrong = (await send(post, operation="validate", to="bob")).result

    assert (right["valid"], right["errors"]) == (True, [])
    assert (wrong["valid"], [each["field"] for each in wrong["errors"]]) == (False, ["to"])
    assert "'bob' is no address" in wrong["errors"][0]["message"]
    assert post.sink.taken == []


async def test_who_is_refused_is_told_and_the_others_get_it(post: Post) -> None:
    result = (await send(post, to=["refused@example.com", "bob@example.com"])).result

    assert result["accepted"] == ["bob@example.com"]
    assert result["refused"] == {"refused@example.com": {"code": 550, "message": "no such user"}}
    assert post.sink.taken[0].recipients == ["bob@example.com"]


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ({"to": "refused@example.com"}, "refused", r"takes none of the recipients \(550 no such user\)"),
        ({"body": "VIRUS"}, "refused", r"refuses the message \(554 it holds a virus\)"),
    ],
)
async def test_what_the_server_refuses_is_one_error(post: Post, given: Any, code: str, message: str) -> None:
    with pytest.raises(ToolError, match=message) as caught:
        await send(post, **given)

    assert (caught.value.code, post.sink.taken) == (code, [])


@pytest.mark.parametrize(
    ("server", "code", "message"),
    [
        ({"password": "wrong"}, "auth", "refuses the login"),
        ({"ca_file": ""}, "tls", "certificate"),
        ({"ca_file": "/nowhere/ca.pem"}, "not_configured", "ca_file: No such file"),
        ({"security": "tls"}, "tls", "no TLS"),
        ({"port": 1}, "connection", "no connection"),
        ({"host": "nowhere.invalid"}, "connection", "it has no address"),
    ],
)
async def test_a_server_that_cannot_be_used_is_told_in_a_line(post: Post, server: Any, code: str, message: str) -> None:
    with pytest.raises(ToolError, match=message) as caught:
        await send(post, server)

    assert (caught.value.code, post.sink.taken) == (code, [])
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)


async def test_a_certificate_of_another_name_is_not_trusted(tmp_path: Path, authority: trustme.CA) -> None:
    with (
        serving(tmp_path, authority, "starttls", "mail.example.com") as post,
        pytest.raises(ToolError, match="certificate") as caught,
    ):
        await send(post)

    assert (caught.value.code, post.sink.taken) == ("tls", [])


async def test_a_server_without_tls_gets_no_password(tmp_path: Path, authority: trustme.CA) -> None:
    with serving(tmp_path, authority, "none") as post, pytest.raises(ToolError, match="offers no TLS") as caught:
        await send(post, {"security": "starttls", "user": "ada", "password": PASSWORD})

    assert (caught.value.code, post.sink.taken) == ("tls", [])


@pytest.mark.parametrize("allowed", [("boss@example.com",), ()])
async def test_mail_is_from_and_to_whom_settings_name(post: Post, allowed: tuple[str, ...]) -> None:
    table = {"senders": list(allowed), "recipients": ["*@example.com"]}

    with pytest.raises(SecurityError, match=r"eve@example\.com may not be the sender"):
        await send(post, table, **{"from": "eve@example.com"})
    with pytest.raises(SecurityError, match=r"bob@example\.org may not get mail"):
        await send(post, table, bcc="bob@example.org")
    if allowed:
        await send(post, table, **{"from": "boss@example.com"})

    assert [taken.sender for taken in post.sink.taken] == list(allowed)


@pytest.mark.parametrize(
    "given",
    [
        {"subject": "Lunch\r\nBcc: mal@example.com"},
        {"subject": "Lunch\nX: y"},
        {"to": "bob@example.com\r\nRCPT TO:<mal@example.com>"},
        {"to": "Bob\r\nBcc: mal@example.com <bob@example.com>"},
        {"to": ["bob@example.com>\r\nRCPT TO:<mal@example.com"]},
        {"from": "ada@example.com\r\nDATA"},
        {"to": ""},
        {"to": "bob@"},
        {"to": "@example.com"},
        {"to": "b ob@example.com"},
        {"to": "bob@example..com"},
        {"to": "bob@[127.0.0.1]"},
        {"from": "ada@example.com, bob@example.com"},
        {"attachments": [{"name": "a", "text": "x", "content_type": "text/plain\r\nX: y"}]},
        {"attachments": [{"name": "a", "text": "x", "content_type": "message/rfc822"}]},
        {"attachments": [{"name": "a", "base64": "?"}]},
        {"attachments": [{"name": "a"}]},
        {"attachments": [{"text": "a"}]},
    ],
)
async def test_what_would_be_read_as_another_header_or_command_is_refused(post: Post, given: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await send(post, {"senders": ["*"]}, **given)

    assert "\n" not in str(caught.value)
    assert post.sink.taken == []


async def test_a_file_name_of_an_attachment_ends_no_header(post: Post) -> None:
    await send(post, attachments=[{"name": '../a"\r\nX: y', "text": "x"}])

    [part] = post.sink.taken[0].message.iter_attachments()
    assert part["X"] is None
    assert "/" not in str(part.get_filename())


async def test_no_file_is_sent_that_may_not_be_read(post: Post, tmp_path: Path) -> None:
    (folder := tmp_path / "folder").mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    settings = {**post.settings(), "security": {"paths": {"read": [str(folder)]}}}
    async with opened(EmailSender, settings=settings) as host:
        for path in ("/etc/passwd", str(folder / "link"), str(folder / ".." / "ca.pem"), "/proc/self/environ"):
            with pytest.raises(SecurityError):
                await host.call("tool:email-sender", {**MAIL, "attachments": [{"path": path}]})
        with pytest.raises(ToolError, match="No such file"):
            await host.call("tool:email-sender", {**MAIL, "attachments": [{"path": str(folder / "missing")}]})

    assert post.sink.taken == []


async def test_what_is_too_large_or_goes_to_too_many_is_one_error(post: Post, tmp_path: Path) -> None:
    crowd = [f"bob{number}@example.com" for number in range(51)]
    with pytest.raises(ResourceLimitError, match="it goes to 51, and 50 may get one"):
        await send(post, to=crowd)
    for given in ({"body": "x" * 3000}, {"attachments": [{"name": "a", "text": "x" * 1500}]}):
        with pytest.raises(ResourceLimitError, match="2048 may be sent"):
            await send(post, set={"max_bytes": 2048}, **given)

    assert post.sink.taken == []


@pytest.fixture
def silent() -> Iterator[Post]:
    """A server that takes the connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        yield Post(Sink(), {"host": "127.0.0.1", "port": port, "security": "none", "sender": "ada@example.com"})


async def test_a_server_that_says_nothing_ends_in_one_error(silent: Post) -> None:
    with pytest.raises(ToolError, match=r"it took longer than 0\.2 s; try again") as caught:
        await send(silent, set={"timeout_s": 0.2})

    assert caught.value.code == "timeout"


async def test_a_cancelled_call_ends_while_the_server_says_nothing(silent: Post) -> None:
    with trio.move_on_after(0.2) as scope:
        await send(silent, set={"timeout_s": 1000})

    assert scope.cancelled_caught


async def test_without_a_server_nothing_is_sent() -> None:
    async with opened(EmailSender) as host:
        with pytest.raises(
            ToolError, match=r"none is set; a person may set one in \[tools\.email-sender\.servers\.NAME\]"
        ):
            await host.call("tool:email-sender", MAIL)


async def test_a_script_sets_no_server_of_its_own(post: Post) -> None:
    async with opened(EmailSender, settings=post.settings()) as host:
        with pytest.raises(SettingsError):
            await host.settings.change("tools.email-sender.servers.post.host", "example.org", origin="script")
        shown = str(host.settings.plain("tools"))

    assert PASSWORD not in shown


async def test_a_login_without_tls_is_refused_in_settings(silent: Post) -> None:
    with pytest.raises(LlmspellError, match="user needs TLS"):
        await send(silent, {"user": "ada"})
