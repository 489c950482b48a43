"""Which settings and variables are secrets, and how they are hidden.

Invariant: a text under a secret's name, or a URL with a password, is a ``SecretStr`` from when it is read until its
plugin is handed it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import SecretStr

from .secret import hide, is_secret_name

__all__ = ["MASK", "conceal", "mask", "masked", "revealed", "secrets_of"]

MASK: Final = "********"
_USER = re.compile(r"(?:://|^)[^/@\s]*:[^/@\s]+@")
_SHORTEST: Final = 6
"""A secret of fewer letters is likely a word, too, and would tear every line apart."""
_SHOWN_IN_TEXT: Final = re.compile(
    r"""(?ix) (\b(?:bearer|basic)\s+
    | (?<![\w-])[\w-]*(?:api[-_]?key|token|passw(?:or)?d|secret|authorization)["']?=["']?)
    (?=[^\s"'*]{6})[^\s"',;&)]+"""
)


def conceal(value: Any, *, secret: bool = False) -> Any:
    """Return the value with each text under a secret's name, and each URL with a password, as a ``SecretStr``."""
    if isinstance(value, Mapping):
        return {key: conceal(item, secret=secret or _hides(str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [conceal(item, secret=secret) for item in value]
    return SecretStr(value) if isinstance(value, str) and (secret or _USER.search(value)) else value


def _hides(name: str) -> bool:
    """Whether a key of this name holds a secret; ``api_key_env`` holds the name of a variable, which is none."""
    return is_secret_name(name) and not name.lower().endswith("_env")


def revealed(value: Any) -> Any:
    """Return the value with each ``SecretStr`` as the text that it hides."""
    return _replace(value, SecretStr.get_secret_value)


def mask(value: Any) -> Any:
    """Return the value as plain dicts and lists, with each ``SecretStr`` masked."""
    return _replace(value, lambda secret: MASK if secret.get_secret_value() else "")


def _replace(value: Any, change: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _replace(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace(item, change) for item in value]
    return change(value) if isinstance(value, SecretStr) else value


def secrets_of(settings: Any, environment: Mapping[str, str]) -> list[str]:
    """Return every secret that settings hold, or the environment under a secret's name: the longest first.

    Args:
        settings: Dicts and lists, with each secret as a ``SecretStr``.
        environment: The environment.
    """
    found: list[str] = []
    _collect(settings, environment, found)
    hidden = hide(dict(environment))
    found += [value for name, value in environment.items() if hidden[name] != value]
    return sorted({secret for secret in found if len(secret) >= _SHORTEST}, key=len, reverse=True)


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return a text with these secrets masked, and what stands in it where secrets do."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _SHOWN_IN_TEXT.sub(rf"\g<1>{MASK}", str.__str__(hide(text)))


def _collect(value: Any, environment: Mapping[str, str], found: list[str], key: str = "") -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            _collect(item, environment, found, str(name))
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _collect(item, environment, found)
    elif hasattr(value, "get_secret_value"):
        found.append(value.get_secret_value())
    elif key.endswith("_env") and isinstance(value, str) and value in environment:
        found.append(environment[value])
