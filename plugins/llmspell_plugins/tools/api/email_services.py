"""Hands an e-mail to a service over HTTP: SendGrid's API (v3), and Amazon SES's (v2), signed by us.

Invariant: an e-mail is handed over again only after an answer that says that it was not taken (429), since neither
service heeds a key that would let it be handed over twice; a key stands in no answer and no error. Durations in
seconds.
"""

from __future__ import annotations

import base64
import math
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.headerregistry import Address
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct
from pydantic import SecretStr

from llmspell_hookspecs import NetworkAccess, ToolContext, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, line_of_error
from llmspell_hookspecs.network import CONNECTED, HttpStream
from llmspell_hookspecs.spelling import shown_wait
from llmspell_plugins.providers.failures import retry_after_s
from llmspell_plugins.tools.server import secret_of

from .aws_signature import Credentials, Scope, signed_headers
from .credentials import redact_value
from .email_message import TOOL, Draft, file_name, media_type, message_id, sendable
from .email_servers import MailServer
from .retry import RetryOptions, delay_s

__all__ = ["Handover", "Service", "service_of"]

_MOST_SHOWN: Final = 300
_ANSWER_BYTES: Final = 65_536
_AGAIN: Final = RetryOptions(max_attempts=3, max_delay_ms=600_000)
_MOMENT_DIGITS: Final = 12
"""A moment that has as many is in other units."""
_LONGEST_ASKED_S: Final = 31 * 86_400
"""What asks for a longer wait, such as by a moment in milliseconds, says nothing of use."""
_SENDGRID_PATH: Final = "/v3/mail/send"
_SES_PATH: Final = "/v2/email/outbound-emails"


class Handover(Struct, frozen=True):
    """An e-mail that is to be handed over.

    Attributes:
        draft: What it says.
        content: It, as it is written.
        key: What its Message-ID is made of.
    """

    draft: Draft
    content: bytes
    key: str


class Service(Struct, frozen=True):
    """A service as it is asked.

    Attributes:
        url: Where.
        body: Returns what is sent; for a thread.
        headers: Returns the headers of a body, at each attempt anew; for a thread.
        secrets: What must not come back.
        id_of: Returns the service's own name of an e-mail from its answer's headers and body.
    """

    url: str
    body: Callable[[Handover], bytes]
    headers: Callable[[bytes], dict[str, str]]
    secrets: tuple[bytes, ...]
    id_of: Callable[[Mapping[str, str], Any], Any]

    async def deliver(self, handover: Handover, timeout_s: float, context: ToolContext) -> str:
        """Hand it over, and return what the service calls it.

        Raises:
            ToolError: ``auth``, ``refused``, ``rate_limited``, ``http_status``, ``connection``, ``protocol`` or
                ``timeout``.
            SecurityError: The host is denied.
        """
        body = await context.run_thread(self.body, handover)
        context.charge(2 * len(body))
        with trio.move_on_after(timeout_s) as scope:
            status, headers, answer = await self._asked(body, scope.deadline, timeout_s, context)
        if scope.cancelled_caught:
            message = (
                f"{self._shown}: it took longer than {timeout_s:g} s, and may have sent it; look before it is sent"
            )
            raise ToolError(f"{message} again", code="timeout")
        said = redact_value(_decoded(answer), self.secrets)
        headers = redact_value(dict(headers), self.secrets)
        if not 200 <= status < 300:
            raise self._refused(status, headers, said)
        return str(self.id_of(headers, said) or "")[:_MOST_SHOWN]

    @property
    def _shown(self) -> str:
        return f"{TOOL}: {self.url.partition('://')[2].partition('/')[0]}"

    async def _asked(
        self, body: bytes, deadline: float, timeout_s: float, context: ToolContext
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The last answer; after a 429 it is asked again, if there is time for the wait."""
        network = context.services.get(NetworkAccess)
        for attempt in range(1, _AGAIN.max_attempts + 1):
            sent = {"User-Agent": "llmspell", **await context.run_thread(self.headers, body)}
            options: dict[str, Any] = {"read_timeout_s": timeout_s + 1, "max_bytes": _ANSWER_BYTES, "trusted": True}
            try:
                async with network.stream("POST", self.url, headers=sent, content=body, **options) as answer:
                    status, headers = answer.status, answer.headers
                    content = await _rest(answer)
            except ToolError as error:
                if error.details != CONNECTED:
                    raise
                message = f"{self._shown}: it did not answer, and may have sent it; look before it is sent again"
                raise ToolError(message, code=error.code) from error
            wait_s = _wait_s(attempt, headers)
            late = wait_s is None or trio.current_time() + wait_s >= deadline
            if status != 429 or late or attempt == _AGAIN.max_attempts:
                break
            await trio.sleep(wait_s or 0)
        return status, headers, content

    def _refused(self, status: int, headers: Mapping[str, str], said: Any) -> ToolError:
        """The error for an answer that is no success."""
        words = _words(said)
        message = f"{self._shown}: it answered {status}{f' ({words})' if words else ''}"
        details: dict[str, Any] = {"status": status}
        kind = headers.get("x-amzn-errortype", "").partition(":")[0]
        if kind:
            details["type"] = kind[:100]
        match status:
            case 401 | 403:
                return ToolError(f"{message}; check its keys, and what they may do", code="auth", details=details)
            case 429:
                asked_s = _asked_s(headers)
                details |= {} if asked_s is None else {"retry_after_s": asked_s}
                when = "later" if asked_s is None else f"in {shown_wait(asked_s)}"
                return ToolError(
                    f"{message}, and did not take it; send it {when}", code="rate_limited", details=details
                )
            case _ if 300 <= status < 400:
                return ToolError(f"{message}; set its base_url to where it is", code="http_status", details=details)
            case _ if status < 500:
                return ToolError(f"{message}; change the e-mail", code="refused", details=details)
        return ToolError(
            f"{message}; it may have sent it: look, then send it again", code="http_status", details=details
        )


def service_of(server: MailServer, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Service:
    """Return the service that settings name.

    Raises:
        ToolError: ``not_configured``: a key is nowhere.
    """
    return _sendgrid(server) if server.kind == "sendgrid" else _ses(server, now)


def _sendgrid(server: MailServer) -> Service:
    key = _needed(server.api_key, server.api_key_env, "api_key")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    url = (server.base_url or "https://api.sendgrid.com").rstrip("/") + _SENDGRID_PATH
    return Service(url, _sendgrid_body, lambda _: headers, (key.encode(),), lambda told, _: told.get("x-message-id"))


def _sendgrid_body(handover: Handover) -> bytes:
    draft = handover.draft
    lists = {"to": draft.to, "cc": draft.cc, "bcc": draft.bcc}
    seen: set[str] = set()  # it refuses who stands there twice
    people: dict[str, list[dict[str, str]]] = {}
    for name, listed in lists.items():
        fresh = {each.addr_spec.lower(): each for each in listed if each.addr_spec.lower() not in seen}
        seen |= set(fresh)
        if fresh:
            people[name] = [_person(each) for each in fresh.values()]
    told: dict[str, Any] = {
        "personalizations": [people],
        "from": _person(draft.sender),
        "subject": sendable(draft.subject),
        "content": [{"type": "text/html" if draft.html else "text/plain", "value": sendable(draft.body)}],
        "headers": {"Message-ID": message_id(draft, handover.key)},
    }
    if draft.reply_to:
        told["reply_to_list"] = [_person(each) for each in draft.reply_to]
    if draft.attachments:
        told["attachments"] = [
            {
                "content": base64.b64encode(each.content).decode("ascii"),
                "type": media_type(each),
                "filename": file_name(each),
                "disposition": "attachment",
            }
            for each in draft.attachments
        ]
    return msgspec.json.encode(told)


def _person(address: Address) -> dict[str, str]:
    return {"email": address.addr_spec, **({"name": sendable(address.display_name)} if address.display_name else {})}


def _ses(server: MailServer, now: Callable[[], datetime]) -> Service:
    secret = _needed(server.secret_access_key, server.secret_access_key_env, "secret_access_key")
    key_id = _sendable(server.access_key_id or os.environ.get(server.access_key_id_env, ""), "access_key_id")
    if not key_id:
        raise _lacking("access_key_id", server.access_key_id_env)
    token = "" if server.session_token is None else server.session_token.get_secret_value()
    if server.session_token is None and server.secret_access_key is None:
        token = os.environ.get(server.session_token_env, "")
    token = _sendable(token, "session_token")
    credentials = Credentials(key_id, secret, token)
    suffix = "amazonaws.com.cn" if server.region.startswith("cn-") else "amazonaws.com"
    url = (server.base_url or f"https://email.{server.region}.{suffix}").rstrip("/") + _SES_PATH

    def body(handover: Handover) -> bytes:
        return _ses_body(handover, server.configuration_set)

    def headers(content: bytes) -> dict[str, str]:
        scope = Scope(server.region, "ses", now())
        return signed_headers("POST", url, {"Content-Type": "application/json"}, content, credentials, scope)

    secrets = tuple(each.encode() for each in (secret, token) if each)
    return Service(url, body, headers, secrets, lambda _, told: told.get("MessageId") if isinstance(told, dict) else "")


def _ses_body(handover: Handover, configuration_set: str) -> bytes:
    draft = handover.draft
    lists = {"ToAddresses": draft.to, "CcAddresses": draft.cc, "BccAddresses": draft.bcc}
    told: dict[str, Any] = {
        "FromEmailAddress": draft.sender.addr_spec,
        "Destination": {name: [each.addr_spec for each in listed] for name, listed in lists.items() if listed},
        "Content": {"Raw": {"Data": base64.b64encode(handover.content).decode("ascii")}},
    }
    if configuration_set:
        told["ConfigurationSetName"] = configuration_set
    return msgspec.json.encode(told)


def _needed(given: SecretStr | None, variable: str, setting: str) -> str:
    """A key, from settings or from the environment."""
    found = _sendable(secret_of(TOOL, given, variable if variable in os.environ else ""), setting)
    if not found:
        raise _lacking(setting, variable)
    return found


def _sendable(key: str, setting: str) -> str:
    """A key without the blanks and line ends around it; of others no header could be made."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ToolError(f"{TOOL}: {setting}: it holds what no key has; set it anew", code="not_configured")
    return key


def _lacking(setting: str, variable: str) -> ToolError:
    message = f"{TOOL}: there is no {setting}, and the variable {variable or 'for it'} is not set; set one of them"
    return ToolError(message, code="not_configured")


async def _rest(answer: HttpStream) -> bytes:
    """The body of an answer, empty if it does not come whole: whether the e-mail was taken stands in the head."""
    try:
        return await answer.read()
    except (ToolError, ResourceLimitError):
        return b""


def _wait_s(attempt: int, headers: Mapping[str, str]) -> float | None:
    """How long to wait after an attempt: as it asks; None if that is longer than anybody waits."""
    asked_s = _asked_s(headers)
    return delay_s(_AGAIN, attempt, {} if asked_s is None else {"retry-after": str(asked_s)}, datetime.now(UTC))


def _asked_s(headers: Mapping[str, str]) -> float | None:
    """How long it asks to wait: as ``Retry-After`` says, or SendGrid's ``X-RateLimit-Reset``, a moment in Unix time."""
    asked_s, moment = retry_after_s(headers), headers.get("x-ratelimit-reset", "").strip()
    if asked_s is None and moment.isascii() and moment.isdecimal() and len(moment) < _MOMENT_DIGITS:
        asked_s = max(1.0, math.ceil(int(moment) - time.time()))
    return asked_s if asked_s is None or asked_s <= _LONGEST_ASKED_S else None


def _decoded(answer: bytes) -> Any:
    try:
        return msgspec.json.decode(answer) if answer else None
    except (msgspec.DecodeError, RecursionError):
        return None


def _words(said: Any) -> str:
    """What an answer says: SendGrid's ``errors``, or AWS's ``message``."""
    if not isinstance(said, dict):
        return ""
    errors = said.get("errors")
    told = errors if isinstance(errors, list) else [said]
    found = []
    for each in told[:5]:
        if isinstance(each, dict):
            words = each.get("message") or each.get("Message") or ""
            field = each.get("field")
            found.append(f"{field}: {words}" if isinstance(field, str) and field else str(words))
    return line_of_error(ValueError("; ".join(filter(None, found))[:_MOST_SHOWN])) if any(found) else ""
