"""Which names are those of secrets, for everybody who shows, masks or hands out values by name."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_secret_name"]

_NAME: Final = re.compile(
    r"key|token|pass(w|ph)|pwd|secret|credential|private|auth(?!ors?(?![a-z]))|cookie|dsn", re.IGNORECASE
)


def is_secret_name(name: str) -> bool:
    """Answer whether a key, parameter or variable of this name holds a secret."""
    return _NAME.search(name) is not None
