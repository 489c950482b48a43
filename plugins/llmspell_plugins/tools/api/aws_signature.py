"""Signs a request to Amazon Web Services: Signature Version 4 (AWS4-HMAC-SHA256), in headers.

Invariant: the secret key leaves this room only as a signature; what is signed is the method, path, query, host, the
moment, the body and every other header that is given.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from msgspec import Struct

__all__ = ["Credentials", "Scope", "signed_headers"]

_ALGORITHM: Final = "AWS4-HMAC-SHA256"


class Credentials(Struct, frozen=True):
    """Who signs.

    Attributes:
        key_id: The access key's name.
        secret: The secret key.
        token: The session's token; empty for keys that last.
    """

    key_id: str
    secret: str
    token: str = ""


class Scope(Struct, frozen=True):
    """What a signature is good for.

    Attributes:
        region: Such as ``eu-central-1``.
        service: Such as ``ses``.
        moment: When it is made, in UTC.
    """

    region: str
    service: str
    moment: datetime

    @property
    def stamp(self) -> str:
        """The moment as AWS writes it."""
        return self.moment.strftime("%Y%m%dT%H%M%SZ")

    @property
    def text(self) -> str:
        """The scope as AWS writes it."""
        return f"{self.stamp[:8]}/{self.region}/{self.service}/aws4_request"


def signed_headers(
    method: str, url: str, headers: Mapping[str, str], body: bytes, credentials: Credentials, scope: Scope
) -> dict[str, str]:
    """Return the headers to send: those given, and with them the moment, the token and the signature.

    Args:
        method: In capitals.
        url: Whole; its path and query as they are sent.
        headers: To sign, without ``Host``, which is the URL's.
        body: What is sent.
        credentials: Who signs.
        scope: What for.
    """
    sent = {**headers, "X-Amz-Date": scope.stamp}
    if credentials.token:
        sent["X-Amz-Security-Token"] = credentials.token
    canonical = {name.lower(): " ".join(value.split()) for name, value in {**sent, "Host": _host(url)}.items()}
    names = ";".join(sorted(canonical))
    asked = _canonical_request(method, url, canonical, body)
    digest = hashlib.sha256(asked.encode()).hexdigest()
    to_sign = f"{_ALGORITHM}\n{scope.stamp}\n{scope.text}\n{digest}"
    signature = _mac(_signing_key(credentials.secret, scope), to_sign).hex()
    parts = f"Credential={credentials.key_id}/{scope.text}, SignedHeaders={names}, Signature={signature}"
    return {**sent, "Authorization": f"{_ALGORITHM} {parts}"}


def _host(url: str) -> str:
    """What the ``Host`` header says: without the scheme's own port."""
    parts = urlsplit(url)
    port = parts.port if parts.port != {"http": 80, "https": 443}.get(parts.scheme) else None
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return host if port is None else f"{host}:{port}"


def _canonical_request(method: str, url: str, headers: Mapping[str, str], body: bytes) -> str:
    parts = urlsplit(url)
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    lines = [
        method,
        quote(parts.path or "/", safe="/-_.~"),  # of the path as it is sent: all services but S3 quote it twice
        "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{headers[name]}" for name in sorted(headers)),
        "",
        ";".join(sorted(headers)),
        hashlib.sha256(body).hexdigest(),
    ]
    return "\n".join(lines)


def _signing_key(secret: str, scope: Scope) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (scope.stamp[:8], scope.region, scope.service, "aws4_request"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
