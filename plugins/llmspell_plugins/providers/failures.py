"""What went wrong when a provider was asked, as one `ProviderError` each.

Invariant: a message is one line and holds no secret; of a provider's own words it quotes at most 300 characters, with
the secrets that were sent masked. Durations in seconds; ``Retry-After`` as in RFC 9110.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import ProviderError, ResourceLimitError
from llmspell_hookspecs.spelling import shown_wait

from .wire_json import read_json

__all__ = ["error_in", "masked", "network_failures", "protocol_error", "retry_after_s", "status_error", "stream_error"]

_LONGEST: Final = 300
_SHORTEST_SECRET: Final = 4
_FINAL: Final = (
    ("rate_limited", re.compile(r"insufficient[_ ](quota|balance|credit|fund)|quota_exceeded|billing_|out of credits")),
    ("invalid_request", re.compile(r"context[_ ](length|size|window)|maximum context|prompt is too long")),
    ("invalid_request", re.compile(r"content[_ ]?(filter|policy|management)|responsibleaipolicy")),
)
"""What stays the same however often it is asked, whatever its status says."""
_STATUSES: Final = (
    (401, re.compile(r"authenticat|unauthorized|(invalid|incorrect)_?api_?key")),
    (403, re.compile(r"permission|forbidden|access_?denied")),
    (404, re.compile(r"not_?found|model_not_exist")),
    (429, re.compile(r"rate_?limit|too_?many_?requests|resource_?exhausted|throttl")),
    (503, re.compile(r"overloaded|unavailable|capacity|engine_?busy")),
    (504, re.compile(r"timeout|timed_?out|deadline")),
    (500, re.compile(r"server_?error|internal|api_?error")),
    (400, re.compile(r"invalid|bad_?request|validation|unsupported|badrequest")),
)
"""Which status the words stand for that services have for kinds of error; the first that fits counts."""
_KINDS: Final = ("code", "type", "status", "error_type", "error_code", "name")
_NUMBERS: Final = ("code", "status", "status_code", "error_code", "http_status", "http_code")
_WORDS: Final = ("message", "detail", "error_description", "error_message", "error_msg", "msg", "status_msg", "reason")
_TITLE: Final = re.compile(r"<title[^<>]*>([^<]{1,200})", re.IGNORECASE)
_SECONDS: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
_ADVICE: Final = {
    "authentication": "check its key",
    "rate_limited": "ask again later",
    "unavailable": "ask again later",
    "timeout": "ask again later",
    "invalid_request": "change the request",
}


def status_error(
    where: str, status: int, headers: Mapping[str, str], body: bytes, secrets: Iterable[str] = ()
) -> ProviderError:
    """Return the error for an answer that is no success.

    Args:
        where: The model's address.
        status: Of the answer.
        headers: Of the answer, with lower-case names.
        body: Of the answer, or its beginning.
        secrets: What was sent and may be echoed.
    """
    error = _error_of(body)
    wait_s = retry_after_s(headers)
    words = masked(_words(error), secrets)
    if 300 <= status < 400:
        message = f"{where}: the provider redirects ({status}), which is not followed; set base_url to where it leads"
        return ProviderError(message, code="protocol", status=status)
    code, retryable = _judged(status, error)
    advice = (
        f"it asks to wait {shown_wait(wait_s)}" if wait_s is not None else _ADVICE.get(code, "see its documentation")
    )
    if not retryable and code == "rate_limited":
        advice = "see the account's quota"
    if status == 404:
        advice = "see that the model and base_url are right"
    return ProviderError(
        f"{where}: the provider answered {status}{f' ({words})' if words else ''}; {advice}",
        code=code,
        status=status,
        retry_after_s=wait_s,
        retryable=retryable,
    )


def error_in(value: Any, event: bytes = b"") -> dict[str, Any] | None:
    """Return what an answer that began as a success says of an error, wherever it says it; None if it says nothing.

    Args:
        value: The answer, or a chunk of it.
        event: What the chunk's event is called.
    """
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str):
        return {"message": value}
    if not isinstance(value, dict):
        return None
    choices = value.get("choices")
    for each in (value, *(choices if isinstance(choices, list) else ())):
        held = each.get("error") if isinstance(each, dict) else None
        if isinstance(held, dict) and any(held.values()):
            return _unwrapped(held)
        if held and not isinstance(held, dict):
            rest = {} if each is not value else value
            return {**rest, "message": _text(held)}
    if choices or (isinstance(value.get("message"), dict) and "role" in value["message"]):
        return None
    held = next((value[name] for name in ("base_resp", "errors", "fault", "header") if value.get(name)), None)
    held = held[0] if isinstance(held, list) else held
    if isinstance(held, dict) and _words(held) and _number_of(held) != 0:
        return held
    told = "error" in (value.get("object"), value.get("type"), value.get("status"), event.decode("latin-1"))
    failed = value.get("success") is False or (_number_of(value) or 0) >= 400
    return value if told or failed or _words(value) else None


def stream_error(where: str, error: Any, secrets: Iterable[str] = ()) -> ProviderError:
    """Return the error that a provider reports within an answer that began as a success.

    Args:
        where: The model's address.
        error: What it says of it.
        secrets: What was sent and may be echoed.
    """
    fields = error if isinstance(error, dict) else {"message": _text(error)}
    code, retryable = _judged(_status_of(fields), fields)
    words = masked(_words(fields), secrets) or "no reason given"
    advice = "ask again" if retryable else _ADVICE.get(code, "see its documentation")
    if not retryable and code == "rate_limited":
        advice = "see the account's quota"
    message = f"{where}: the provider broke off with an error ({words}); {advice}"
    return ProviderError(message, code=code, retryable=retryable)


def protocol_error(where: str, what: str, *, retryable: bool = False) -> ProviderError:
    """Return the error for an answer that makes no sense."""
    return ProviderError(f"{where}: {what}; check its base_url", code="protocol", retryable=retryable)


@contextmanager
def network_failures(where: str) -> Iterator[None]:
    """Report what the network could not do, within the block, as the provider's failure."""
    try:
        yield
    except ToolError as error:
        retryable = error.code in ("connection", "timeout")
        code = error.code if retryable else "protocol"
        raise ProviderError(f"{where}: {error}", code=code, retryable=retryable) from error
    except ResourceLimitError as error:
        raise ProviderError(f"{where}: {error}", code="protocol") from error


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return a text on one line, shortened, without these secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "[redacted]")
    line = " ".join(text.split())
    line = line if line.isprintable() else line.encode("unicode_escape").decode("ascii")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return how long the provider asks to wait; None if it does not say so in a way that can be understood.

    Args:
        headers: Of its answer, with lower-case names.
        now: In UTC, since it may be a date.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "")
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def _number(text: str) -> float | None:
    return float(text) if _SECONDS.fullmatch(text.strip()) else None


def _judged(status: int, error: Mapping[str, Any]) -> tuple[str, bool]:
    """What kind of error it is, and whether asking again may help."""
    told = f"{_kinds(error)} {_words(error)}".lower()
    for code, pattern in _FINAL:
        if pattern.search(told):
            return code, False
    code = _code(status)
    return code, code in ("rate_limited", "unavailable", "timeout") and status not in (501, 505)


def _code(status: int) -> str:
    if status == 429:
        return "rate_limited"
    if status in (401, 403):
        return "authentication"
    if status in (408, 504):
        return "timeout"
    if status in (409, 425):  # it was busy with something else just then
        return "unavailable"
    if 400 <= status < 500:
        return "invalid_request"
    return "unavailable" if status >= 500 else "protocol"


def _status_of(error: Mapping[str, Any]) -> int:
    """The status that an error stands for: its number, else its words; 500 if it has neither."""
    number = _number_of(error)
    if number is not None and 400 <= number < 600:
        return number
    kinds = (_kinds(error) or _words(error)).lower().replace(" ", "_")
    return next((status for status, pattern in _STATUSES if pattern.search(kinds)), 500)


def _kinds(error: Mapping[str, Any]) -> str:
    return " ".join(str(error[name]) for name in _KINDS if isinstance(error.get(name), str))


def _number_of(error: Mapping[str, Any]) -> int | None:
    for name in _NUMBERS:
        number = _number(str(error.get(name))) if not isinstance(error.get(name), bool) else None
        if number is not None:
            return int(number)
    return None


def _error_of(body: bytes) -> dict[str, Any]:
    """What the body says of the error, wherever this provider says it."""
    text = body.decode("utf-8", "replace").strip().removeprefix("\ufeff")
    if text.startswith("data:"):
        text = text.removeprefix("data:").partition("\n")[0]
    try:
        read = read_json(text.encode())
    except ValueError:
        title = _TITLE.search(text)
        if text.startswith("<"):
            return {"message": f"an HTML page: {title[1]}" if title else "an HTML page"}
        return {} if text.startswith(("{", "[")) else {"message": text}
    read = read[0] if isinstance(read, list) and read else read
    if not isinstance(read, dict):
        return {"message": read} if isinstance(read, str) else {}
    found = error_in(read)
    return read if found is None else found


def _unwrapped(error: dict[str, Any]) -> dict[str, Any]:
    """The error within an error, as some proxies hand one on."""
    inner = error.get("error")
    return inner if isinstance(inner, dict) and _words(inner) and not _words(error) else error


def _words(error: Mapping[str, Any]) -> str:
    found = next((text for name in _WORDS if (text := _text(error.get(name)))), "")
    metadata = error.get("metadata")
    raw = _text(metadata.get("raw")) if isinstance(metadata, Mapping) else ""  # as OpenRouter has it
    return f"{found}: {raw}" if raw else found


def _text(value: Any) -> str:
    """A text, or the texts of what fields were wrong (as FastAPI has them)."""
    if isinstance(value, list | tuple):
        return "; ".join(filter(None, map(_text, value)))
    if isinstance(value, Mapping):
        return _text(value.get("message") or value.get("msg") or value.get("text") or value.get("detail"))
    return value if isinstance(value, str) else ""
