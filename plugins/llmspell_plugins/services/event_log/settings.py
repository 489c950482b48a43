"""What the event log takes."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.trie import Topics

__all__ = ["EventLogSettings"]


class EventLogSettings(BaseModel):
    """``[plugins.event_log]``: what is recorded, where, and for how long; no project's file may say so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patterns: tuple[str, ...] = Field(default=("**",), min_length=1, description="The topics that are recorded.")
    storage: str = Field(default="", description="In which storage; the one of `storage.backend` if empty.")
    head: str = Field(
        default="", description="The file that keeps the log's head; apart from the storage: another disk is best."
    )
    max_events: int = Field(default=100_000, ge=1, description="How many events are kept; the oldest go.")
    max_bytes: int = Field(
        default=256 * 1024 * 1024, ge=65_536, description="How large they may be together, about; the oldest go."
    )
    max_age_s: float = Field(default=604_800.0, gt=0, description="How long one is kept.")
    event_bytes: int = Field(
        default=262_144,
        ge=1024,
        le=16 * 1024 * 1024,
        description="How large one may be, as JSON; what is larger is recorded without its data.",
    )
    pending: int = Field(
        default=50_000, ge=1, le=1_000_000, description="How many events may wait to be written; more are lost."
    )

    scripts: Literal["own", "all"] = Field(
        default="own", description="What scripts may read: what a script of their name published, or all."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            Topics[None]().add(self.patterns, None)
        except InvalidInputError as error:
            raise ValueError(str(error)) from error
        return self
