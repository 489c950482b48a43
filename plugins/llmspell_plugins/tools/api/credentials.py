"""Credentials of a request: how each kind becomes headers, and how they are kept out of what comes back.

Invariant: a secret is a `SecretStr` from the moment it is read, and is shown in no result and no error.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

__all__ = ["Authentication", "Headers", "auth_headers", "redact", "redact_value", "revealed", "secrets_in"]

_TELLING = ("authorization", "cookie", "token", "secret", "password", "api-key", "apikey", "api_key", "credential")
_REDACTED = b"[redacted]"
_SHORTEST_SECRET = 6
_MOST_HEADERS = 200
"""Servers refuse more than a hundred, and each secret among them is looked for in all that comes back."""


def _hide(headers: dict[str, str | SecretStr]) -> dict[str, str | SecretStr]:
    """The headers, with those whose name tells of a secret hidden."""
    return {
        name: SecretStr(value) if isinstance(value, str) and _tells(name) else value for name, value in headers.items()
    }


def _tells(name: str) -> bool:
    return any(word in name.lower() for word in _TELLING)


Headers: TypeAlias = Annotated[dict[str, str | SecretStr], Field(max_length=_MOST_HEADERS), AfterValidator(_hide)]


class _Kind(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoAuth(_Kind):
    """None."""

    type: Literal["none"]


class BasicAuth(_Kind):
    """A user's name and password (RFC 7617)."""

    type: Literal["basic"]
    username: str = Field(pattern=r"^[^:]*$", description="Without a colon.")
    password: SecretStr


class BearerAuth(_Kind):
    """A token (RFC 6750)."""

    type: Literal["bearer"]
    token: SecretStr


class KeyAuth(_Kind):
    """A key in a header of its own."""

    type: Literal["apikey"]
    key: SecretStr
    header_name: str = "X-API-Key"


class CustomAuth(_Kind):
    """Any headers."""

    type: Literal["custom"]
    headers: dict[str, SecretStr] = Field(max_length=_MOST_HEADERS)


Authentication: TypeAlias = Annotated[
    NoAuth | BasicAuth | BearerAuth | KeyAuth | CustomAuth, Field(discriminator="type")
]


def auth_headers(auth: Authentication | None) -> dict[str, SecretStr]:
    """Return the headers that carry the credentials."""
    match auth:
        case BasicAuth():
            pair = f"{auth.username}:{auth.password.get_secret_value()}".encode("utf-8", "replace")
            return {"Authorization": SecretStr("Basic " + base64.b64encode(pair).decode("ascii"))}
        case BearerAuth():
            return {"Authorization": SecretStr("Bearer " + auth.token.get_secret_value())}
        case KeyAuth():
            return {auth.header_name: auth.key}
        case CustomAuth():
            return dict(auth.headers)
    return {}


def revealed(headers: Mapping[str, str | SecretStr]) -> dict[str, str]:
    """Return the headers as they are sent."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in headers.items()
    }


def secrets_in(headers: Mapping[str, str | SecretStr], auth: Authentication | None) -> tuple[bytes, ...]:
    """Return the secrets that were sent, the longest first; too short ones would redact what is none."""
    found = {value.get_secret_value() for value in headers.values() if isinstance(value, SecretStr)}
    found |= {value.rpartition(" ")[2] for value in found}
    if isinstance(auth, BasicAuth):
        found.add(auth.password.get_secret_value())
    usable = (value.encode("utf-8", "replace") for value in found if len(value) >= _SHORTEST_SECRET)
    return tuple(sorted(usable, key=len, reverse=True))


def redact(data: bytes, secrets: Iterable[bytes]) -> bytes:
    """Return the data without the secrets, as a server may echo what it was sent."""
    for secret in secrets:
        data = data.replace(secret, _REDACTED)
    return data


def redact_value(value: Any, secrets: Sequence[bytes]) -> Any:
    """Return what was decoded without the secrets: JSON may spell each of their letters in several ways."""
    try:
        return _redacted(value, [secret.decode("utf-8", "replace") for secret in secrets]) if secrets else value
    except RecursionError:
        return _REDACTED.decode()


def _redacted(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, _REDACTED.decode())
        return value
    if isinstance(value, dict):
        return {_redacted(name, secrets): _redacted(item, secrets) for name, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, secrets) for item in value]
    return value
