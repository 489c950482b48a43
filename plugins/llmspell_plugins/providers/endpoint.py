"""Where a service is asked and with which key.

Invariant: a key, and any other header that settings give, goes only to the URL that stands beside it in settings; a URL
from anywhere else gets the key that came with it, or none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from llmspell_hookspecs import InvalidInputError, LlmspellError, Services
from llmspell_hookspecs.model import Endpoint
from llmspell_hookspecs.vault import Vault
from llmspell_plugins.services.network.headers import checked_headers

__all__ = ["Place", "ServiceSettings", "key_of"]

_KEY: Final = re.compile(r"[\x20-\x7e]*")
_UNSENDABLE: Final = "holds a character that no key has (a line break, or one beyond ASCII); copy the key again"


class ServiceSettings(BaseModel):
    """What settings say of any service, under ``[providers.NAME]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(default="", description="Where it is, such as http://127.0.0.1:8000/v1.")
    api_key: SecretStr | None = Field(default=None, description="Its key; better kept in an environment variable.")
    api_key_env: str = Field(default="", description="The environment variable that has its key.")
    default_model: str = Field(default="", description="What is asked if a name has no model.")
    models: tuple[str, ...] = Field(default=(), description="What it has, for listings.")
    timeout_s: float = Field(default=120.0, gt=0, description="The longest silence: before the answer and within it.")

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        try:
            return _plain_url(value)
        except InvalidInputError as error:
            raise ValueError(str(error)) from None

    @field_validator("api_key")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _KEY.fullmatch(value.get_secret_value()):
            raise ValueError(f"it {_UNSENDABLE}")
        return value

    @field_validator("organization", "headers", check_fields=False)
    @classmethod
    def _can_be_sent(cls, value: str | dict[str, SecretStr]) -> str | dict[str, SecretStr]:
        """Check what a subclass has of these."""
        headers = {"OpenAI-Organization": SecretStr(value)} if isinstance(value, str) else value
        try:
            checked_headers({name: held.get_secret_value() for name, held in headers.items()})
        except InvalidInputError as error:
            raise ValueError(str(error)) from None
        return value


class Place(Struct, frozen=True):
    """Where a service is.

    Attributes:
        base_url: Without a slash at its end; empty if nobody said.
        key: What it is given, if anything.
        headers: What else it is sent, all of it secret.
        trusted: Whether settings say so; else the address is judged like any other.
        problem: Why what a variable says is not taken.
    """

    base_url: str
    key: SecretStr | None = None
    headers: Mapping[str, SecretStr] = {}
    trusted: bool = True
    problem: str = ""

    @classmethod
    def configured(cls, url: str, key: SecretStr | None, headers: Mapping[str, SecretStr], variable: str) -> Place:
        """Return where settings, or else a variable, have it; what stands in settings was judged when it was read."""
        try:
            return cls(_plain_url(url), key, headers)
        except InvalidInputError as error:
            return cls("", key, headers, problem=str(error).replace("base_url", variable or "base_url"))

    def at(self, endpoint: Endpoint) -> Place:
        """Return where the service is for somebody who says so.

        Raises:
            InvalidInputError: The URL or the key is none.
        """
        if endpoint.api_key is not None and not _KEY.fullmatch(endpoint.api_key.get_secret_value()):
            raise InvalidInputError(f"api_key: it {_UNSENDABLE}", field="api_key")
        url = _plain_url(endpoint.base_url)
        if url in ("", self.base_url):
            return Place(self.base_url, endpoint.api_key or self.key, self.headers, self.trusted)
        return Place(url, endpoint.api_key, trusted=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may be echoed and must not be shown."""
        kept = [*self.headers.values(), *((self.key,) if self.key is not None else ())]
        return tuple(value.get_secret_value() for value in kept)


def key_of(given: SecretStr | None, variable: str, services: Services) -> tuple[SecretStr | None, str]:
    """Return the key, and where it is from; if it is none, why not.

    It is the one from settings, from the environment variable, or from the vault under the variable's name.
    """
    if given is not None and given.get_secret_value():
        return given, "api_key is set"
    value = os.environ.get(variable, "").strip() if variable else ""
    kept = None if value or not variable else _kept(variable, services)
    if kept is not None and _KEY.fullmatch(kept.get_secret_value()):
        return kept, f"{variable} is in the vault"
    if not _KEY.fullmatch(value):
        return None, f"{variable} {_UNSENDABLE}"
    return (SecretStr(value), f"{variable} is set") if value else (None, "")


def _kept(variable: str, services: Services) -> SecretStr | None:
    try:
        return services.get(Vault).peek(variable)
    except LlmspellError:  # there is none, or it cannot be opened, which was told
        return None


def _plain_url(url: str) -> str:
    """Return a service's URL without a slash at its end; nothing of a refused one is told, for it may hold a password.

    Raises:
        InvalidInputError: It is none, or holds more than scheme, host and path.
    """
    scheme, separator, rest = url.partition("://")
    odd = " " in url or not url.isprintable()
    if url and (not separator or scheme.lower() not in ("http", "https") or not rest.strip("/") or odd):
        message = "base_url: not a URL; give one such as http://127.0.0.1:8000/v1"
        raise InvalidInputError(message, field="base_url")
    if "?" in url or "#" in url or "@" in rest:
        message = "base_url: it holds a user, a query or a fragment; give only scheme, host and path"
        raise InvalidInputError(message, field="base_url")
    return url.rstrip("/")
