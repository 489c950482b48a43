"""Which settings and variables are secrets, and how they are hidden.

Invariant: a text under a secret's name, or a URL with a password, is a ``SecretStr`` from when it is read until its
plugin is handed it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import SecretStr

from .secret import is_secret_name

__all__ = ["MASK", "conceal", "mask", "revealed"]

MASK: Final = "********"
_USER = re.compile(r"(?:://|^)[^/@\s]*:[^/@\s]+@")


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
