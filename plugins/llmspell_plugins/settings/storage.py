"""The section ``[storage]``: which backend keeps what is to last."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from llmspell_hookspecs import Policy
from llmspell_hookspecs.sections import TableSection

__all__ = ["StorageSettings"]


class StorageSettings(TableSection):
    """``[storage]``: where what is to last is kept; ``[storage.NAME]`` holds a backend's own keys."""

    backend: Annotated[str, Policy.LOCKED] = Field(
        default="sqlite", min_length=1, description="The backend: sqlite, lmdb, memory, or one that a plugin brings."
    )
