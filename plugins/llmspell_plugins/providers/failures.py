"""What went wrong when a provider was asked, as one `ProviderError` each.

Invariant: a message is one line and holds no secret; of a provider's own words it quotes at most 300 characters, with
the secrets that were sent masked. Durations in seconds; ``Retry-After`` as in RFC 9110.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from llmspell_hookspecs import ProviderError, ResourceLimitError, ToolError

__all__ = ["masked", "network_failures", "protocol_error", "retry_after_s", "status_error", "stream_error"]

_LONGEST: Final = 300
_SHORTEST_SECRET: Final = 4
_NO_QUOTA: Final = ("insufficient_quota", "billing")
_OWN_WORDS: Final = {"rate_limit": 429, "overloaded": 503, "server_error": 500, "api_error": 500, "timeout": 504}
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
    """Answer the error for an answer that is no success.

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
    code = _code(status)
    quota = any(word in f"{error.get('code')} {error.get('type')}" for word in _NO_QUOTA)
    advice = f"it asks to wait {wait_s:g} s" if wait_s is not None else _ADVICE.get(code, "see its documentation")
    if status == 404:
        advice = "see that the model and base_url are right"
    return ProviderError(
        f"{where}: the provider answered {status}{f' ({words})' if words else ''}; {advice}",
        code=code,
        status=status,
        retry_after_s=wait_s,
        retryable=code in ("rate_limited", "unavailable", "timeout") and status not in (501, 505) and not quota,
    )


def stream_error(where: str, error: Any, secrets: Iterable[str] = ()) -> ProviderError:
    """Answer the error that a provider reports within an answer that began as a success.

    Args:
        where: The model's address.
        error: What it says under ``error``.
        secrets: What was sent and may be echoed.
    """
    fields = error if isinstance(error, dict) else {"message": str(error)}
    told = f"{fields.get('code')} {fields.get('type')}".lower()
    code = fields.get("code")
    own = code if isinstance(code, int) else 500
    status = next((number for word, number in _OWN_WORDS.items() if word in told), own)
    failure = status_error(where, status, {}, msgspec.json.encode({"error": fields}), secrets)
    words = masked(_words(fields), secrets) or "no reason given"
    message = f"{where}: the provider broke off with an error ({words}); ask again"
    return ProviderError(message, code=failure.code, retryable=failure.retryable)


def protocol_error(where: str, what: str, *, retryable: bool = False) -> ProviderError:
    """Answer the error for an answer that makes no sense."""
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
    """Answer a text on one line, shortened, without these secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "[redacted]")
    line = " ".join(text.split())
    line = line if line.isprintable() else line.encode("unicode_escape").decode("ascii")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Answer how long the provider asks to wait; None if it does not say so in a way that can be understood.

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
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _code(status: int) -> str:
    if status == 429:
        return "rate_limited"
    if status in (401, 403):
        return "authentication"
    if status in (408, 504):
        return "timeout"
    if 400 <= status < 500:
        return "invalid_request"
    return "unavailable" if status >= 500 else "protocol"


def _error_of(body: bytes) -> dict[str, Any]:
    """What the body says of the error, wherever this provider says it."""
    try:
        read = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    read = read[0] if isinstance(read, list) and read else read
    if not isinstance(read, dict):
        return {}
    error = read.get("error", read)
    return error if isinstance(error, dict) else {"message": error}


def _words(error: Mapping[str, Any]) -> str:
    for name in ("message", "detail", "error_description"):
        if isinstance(error.get(name), str):
            return str(error[name])
    return ""
