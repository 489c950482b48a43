"""What the timeline takes."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import InvalidInputError, Policy
from llmspell_hookspecs.trie import Topics

__all__ = ["TimelineSettings"]

_SHARE: Final = 4


class TimelineSettings(BaseModel):
    """``[plugins.timeline]``: what is recorded, and how much of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    events: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=10_000, ge=1, le=1_000_000, description="How many events are kept; the oldest go."
    )
    size_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=16 * 1024 * 1024, ge=65_536, description="How large they may be together, about; the oldest go."
    )
    event_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=16 * 1024,
        ge=0,
        le=1024 * 1024,
        description="How large the data of one may be, about; what is larger, or not plain, is kept without.",
    )
    patterns: tuple[str, ...] = Field(default=("**",), min_length=1, description="The topics that are recorded.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Refuse patterns that are none, and one event that would push out most others."""
        try:
            Topics[None]().add(self.patterns, None)
        except InvalidInputError as error:
            raise ValueError(str(error)) from error
        if self.event_bytes > self.size_bytes // _SHARE:
            raise ValueError(f"event_bytes is more than a quarter of size_bytes, {self.size_bytes}; lower it")
        return self
