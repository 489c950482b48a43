"""SendGrid and Amazon SES on loopback: each judges a request as its public documentation says, and keeps what it took.

SES judges the signature by botocore's signer.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Final

import pytest

from llmspell_plugins.tools.api.aws_signature import Credentials, Scope
from loopback import serve

__all__ = ["KEYS", "SECRETS", "by_botocore", "mail_service"]

KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    "sendgrid": {"kind": "sendgrid", "api_key": "SG.sendgrid-key.1/a+b"},
    "ses": {
        "kind": "ses",
        "region": "eu-central-1",
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": "ses-secret/key+1",
        "session_token": "ses-token==",
    },
}
SECRETS: Final = ("SG.sendgrid-key.1/a+b", "ses-secret/key+1", "ses-token==")
_ATTACHMENT: Final = {"content", "type", "filename", "disposition"}


def by_botocore(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    keys: Credentials,
    scope: Scope,
    stamp: str,
) -> str:
    """What botocore signs with these keys at this moment."""
    auth = pytest.importorskip("botocore.auth", reason="botocore comes with the extra test")
    requests = pytest.importorskip("botocore.awsrequest")
    credentials = pytest.importorskip("botocore.credentials")
    request = requests.AWSRequest(method, url, dict(headers), body)
    request.context["timestamp"] = stamp
    signer = auth.SigV4Auth(credentials.Credentials(keys.key_id, keys.secret, keys.token or None), "", "")
    signer._service_name, signer._region_name = scope.service, scope.region
    signer._modify_request_before_signing(request)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))
    return str(request.headers["Authorization"])


def _sendgrid(handler: Any, seen: Any) -> Mapping[str, Any]:
    """What SendGrid takes out of a request; an error that it answers is raised as `_Refused`."""
    assert (seen.method, seen.path, seen.headers["content-type"]) == ("POST", "/v3/mail/send", "application/json")
    if seen.headers.get("authorization") != f"Bearer {KEYS['sendgrid']['api_key']}":
        message = f"The provided authorization grant is invalid: {seen.headers.get('authorization')}"
        raise _Refused(401, {"errors": [{"message": message, "field": None, "help": None}]})
    told = json.loads(seen.body)
    assert set(told) <= {"personalizations", "from", "subject", "content", "headers", "reply_to_list", "attachments"}
    [people] = told["personalizations"]
    everybody = [each["email"].lower() for listed in people.values() for each in listed]
    if len(set(everybody)) != len(everybody) or not people.get("to"):
        what = "Each email address in the personalization block should be unique between to, cc, and bcc."
        raise _Refused(400, {"errors": [{"message": what, "field": "personalizations", "help": "x"}]})
    if "VIRUS" in told["content"][0]["value"]:
        raise _Refused(400, {"errors": [{"message": "it holds a virus", "field": "content"}]})
    attachments = told.get("attachments", [])
    assert all(set(each) == _ATTACHMENT and each["disposition"] == "attachment" for each in attachments)
    return {
        "from": told["from"],
        "people": people,
        "reply_to": told.get("reply_to_list"),
        "subject": told["subject"],
        "id": told["headers"]["Message-ID"],
        "body": (told["content"][0]["type"], told["content"][0]["value"]),
        "files": [(each["filename"], each["type"], base64.b64decode(each["content"])) for each in attachments],
    }


def _ses(handler: Any, seen: Any) -> Mapping[str, Any]:
    """What SES takes out of a request."""
    assert (seen.method, seen.path) == ("POST", "/v2/email/outbound-emails")
    keys = Credentials("AKIDEXAMPLE", KEYS["ses"]["secret_access_key"], KEYS["ses"]["session_token"])
    url = f"http://{seen.headers['host']}{seen.path}"
    named = {"Content-Type": seen.headers["content-type"]}
    scope = Scope("eu-central-1", "ses", None)  # type: ignore[arg-type]
    expected = by_botocore("POST", url, named, seen.body, keys, scope, seen.headers["x-amz-date"])
    if seen.headers["authorization"] != expected:
        told = f"The signature does not match; the token was {seen.headers.get('x-amz-security-token')}"
        raise _Refused(403, {"message": told}, x_amzn_errortype="SignatureDoesNotMatchException:http://x/")
    told = json.loads(seen.body)
    assert set(told) <= {"FromEmailAddress", "Destination", "Content", "ConfigurationSetName"}
    content = base64.b64decode(told["Content"]["Raw"]["Data"])
    message = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
    body = message.get_body()
    assert body is not None
    if "VIRUS" in body.get_content():
        raise _Refused(400, {"message": "it holds a virus"}, x_amzn_errortype="MessageRejected")
    names = {"ToAddresses": "to", "CcAddresses": "cc", "BccAddresses": "bcc"}
    people = {names[name]: [{"email": each} for each in listed] for name, listed in told["Destination"].items()}
    return {
        "from": {"email": told["FromEmailAddress"]},
        "people": people,
        "subject": str(message["Subject"]),
        "id": str(message["Message-ID"]),
        "body": (body.get_content_type(), body.get_content().rstrip("\r\n")),
        "files": [
            (part.get_filename(), part.get_content_type(), part.get_payload(decode=True))
            for part in message.iter_attachments()
        ],
        "content": content,
        "configuration_set": told.get("ConfigurationSetName"),
    }


class _Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: Any, **headers: str) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


@contextmanager
def mail_service(kind: str, before: Callable[[Any, int], bool] = lambda handler, count: False) -> Iterator[Any]:
    """A service on loopback, with ``taken``, and ``table`` for settings.

    Args:
        kind: ``sendgrid`` or ``ses``.
        before: May answer a request itself, and then returns true.
    """

    def answer(handler: Any, count: int) -> None:
        if before(handler, count):
            return
        try:
            server.taken.append((_sendgrid if kind == "sendgrid" else _ses)(handler, server.seen[-1]))
        except _Refused as refused:
            body = json.dumps(refused.body).encode()
            handler.reply(body, refused.status, "application/json", **refused.headers)
            return
        if kind == "sendgrid":
            handler.reply(b"", 202, X_Message_Id="sg-1")
        else:
            handler.reply(b'{"MessageId": "ses-1"}', 200, "application/json")

    with serve(answer) as server:
        server.taken = []
        server.table = {**KEYS[kind], "base_url": server.url, "sender": "Ada <ada@example.com>"}
        yield server
