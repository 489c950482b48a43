"""The key of ``[limits]`` that the service result_cache heeds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from llmspell_hookspecs import Policy
from llmspell_hookspecs.sections import Section

__all__ = ["ResultCacheSettings"]


class ResultCacheSettings(Section):
    """``[limits]``: how much of results is kept."""

    cache_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=64 * 1024 * 1024,
        ge=0,
        description="How much the results that hooks ask to keep may hold together; the least recently used go first.",
    )
