"""What litellm raises, as one `ProviderError` each.

litellm calls a refused connection and an unreadable answer 500, like a server's own failure, and adds its layers to the
text; what lies under its error tells them apart. Its classes are told by name, so that it need not be imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from llmspell_hookspecs.errors import ProviderError

from .failures import masked, protocol_error, status_error, stream_error

__all__ = ["litellm_error"]

_LAYERS: Final = re.compile(r"^(?:litellm\.)?(?:[A-Z]\w*(?:Error|Exception|Timeout)|Timeout)\s*(?::|-)\s*")
_SENSELESS: Final = ("no 'choices'", "Empty or invalid response", "Invalid response object")
_UNREADABLE: Final = frozenset({"JSONDecodeError", "APIResponseValidationError", "ValidationError", "DecodeError"})
_UNSENDABLE: Final = frozenset({"UnicodeEncodeError", "LocalProtocolError"})
_UNREACHED: Final = frozenset(
    {"ConnectError", "ReadError", "WriteError", "RemoteProtocolError", "ClientError", "APIConnectionError"}
)


def litellm_error(where: str, error: Exception, secrets: Iterable[str]) -> ProviderError:
    """Return what a litellm error means.

    Args:
        where: The model's address.
        error: What litellm raised.
        secrets: What was sent and may be echoed.
    """
    chain = list(_chain(error))
    names = {type(each).__name__ for each in chain}
    text = str(error)
    if names & _UNSENDABLE:
        message = f"{where}: its key holds a character that no key has, in settings or a variable; copy it again"
        return ProviderError(message, code="authentication")
    answered = next((each for each in chain if _headers(each) is not None), None)
    if answered is not None and _status(error) >= 300:
        return status_error(where, _status(error), _headers(answered) or {}, _body(error, answered), secrets)
    if "Timeout" in names or "APITimeoutError" in names:
        message = f"{where}: the provider was silent for too long; ask again, or raise timeout_s"
        return ProviderError(message, code="timeout", retryable=True)
    if "Stream ended before" in text:
        return protocol_error(where, "the provider's stream ended before the answer was whole", retryable=True)
    if names & _UNREADABLE or any(word in text for word in _SENSELESS):
        return protocol_error(where, "the provider's answer makes no sense")
    if names & _UNREACHED:
        message = f"{where}: the connection to the provider failed or broke; check that it is there, or ask again"
        return ProviderError(message, code="connection", retryable=True)
    told = next((each for each in chain if type(each).__name__ == "APIError" and hasattr(each, "body")), None)
    if told is not None:
        words = {"message": _bare(str(told)), "type": getattr(told, "type", None), "code": getattr(told, "code", None)}
        words |= _fields(told)
        return stream_error(where, words, secrets)
    if 400 <= _status(error) < 500:
        return status_error(where, _status(error), {}, _body(error, error), secrets)
    message = f"{where}: litellm failed with {type(error).__name__} ({masked(_bare(text), secrets)}); check the request"
    return ProviderError(message)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int:
    status = getattr(error, "status_code", 0)
    return status if isinstance(status, int) else 0


def _headers(error: BaseException) -> Mapping[str, str] | None:
    """The headers of the answer that an error is about; None if it is about none."""
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None)
    if not headers or type(error).__name__ in _UNREACHED:
        return None
    return {str(name).lower(): str(value) for name, value in headers.items()}


def _body(error: BaseException, answered: BaseException) -> bytes:
    """What the provider said, as it came if some layer kept it, else put together from what is left of it."""
    for each in _chain(error):
        content = _content(each)
        if content:
            return content
        if fields := _fields(each):
            return msgspec.json.encode({"error": fields}, enc_hook=str)
    code, kind = (str(getattr(error, name, None) or getattr(answered, name, "")) for name in ("code", "type"))
    return msgspec.json.encode({"error": {"message": _bare(str(error)), "code": code, "type": kind}})


def _content(error: BaseException) -> bytes:
    """The answer's own bytes, if it was read."""
    try:
        content = getattr(getattr(error, "response", None), "content", b"")
    except Exception:  # a stream's bytes may not be there any more; whose class it is, only the library knows
        return b""
    return content if isinstance(content, bytes) else b""


def _fields(error: BaseException) -> dict[str, Any]:
    body = getattr(error, "body", None)
    return body if isinstance(body, dict) else {}


def _bare(text: str) -> str:
    """The text without the layers that litellm puts before it."""
    while (stripped := _LAYERS.sub("", text, count=1)) != text:
        text = stripped
    return text.partition(" Original exception:")[0]
