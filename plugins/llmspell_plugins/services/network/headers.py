"""What a request over HTTP may say: its method and headers, checked before anything is sent.

Invariant: a header's value is never shown, it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from llmspell_hookspecs import InvalidInputError

__all__ = ["checked_headers", "checked_method"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "keep-alive"}
)


def checked_method(method: str) -> str:
    """Return the method in capitals.

    Raises:
        InvalidInputError: It is none, or it is CONNECT or TRACE.
    """
    name = method.upper()
    if not _TOKEN.fullmatch(name) or name in ("CONNECT", "TRACE"):
        raise InvalidInputError(f"the method {name[:40]!r} cannot be used; use one such as GET or POST", field="method")
    return name


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers without ``Accept-Encoding``, which is the connection's own choice.

    Raises:
        InvalidInputError: One cannot be sent.
    """
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise InvalidInputError(f"{name[:80]!r} cannot be a header's name; use letters and '-'", field="headers")
        if name.lower() in _OWN_HEADERS or name.lower().startswith("proxy-"):
            message = f"the header {name!r} is set by the connection itself; leave it out"
            raise InvalidInputError(message, field=f"headers.{name}")
        if not _VALUE.fullmatch(value):
            message = f"the header {name!r} holds a line break, or a character that no header carries; encode it"
            raise InvalidInputError(message, field=f"headers.{name}")
    return {name: value.strip() for name, value in headers.items() if name.lower() != "accept-encoding"}
