"""The section ``[journal]``: which operations are recorded, what of them, and for how long."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from llmspell_hookspecs import Policy
from llmspell_hookspecs.sections import Section

__all__ = ["JournalSettings"]


class JournalSettings(Section):
    """``[journal]``: what is on record of operations that have ended; read as the host starts."""

    record: Annotated[Literal["off", "sessions", "all"], Policy.LOCKED] = Field(
        default="off", description="Which operations are recorded: none, those of sessions, or all."
    )
    content: Annotated[Literal["full", "redacted", "shape"], Policy.LOCKED] = Field(
        default="full",
        description="What of them: all but secrets under a telling name; without secrets in texts; types and sizes.",
    )
    storage: Annotated[str, Policy.LOCKED] = Field(
        default="", description="In which storage; the one of `storage.backend` if empty."
    )
    pending: Annotated[int, Policy.LOCKED] = Field(
        default=16_384,
        ge=256,
        le=1_000_000,
        description="How many operations may wait to be recorded; then the next ones wait before they run.",
    )
    max_age_s: Annotated[float, Policy.LOCKED] = Field(
        default=604_800.0, gt=0, description="How long a journal is kept; four times as long if something failed."
    )
    max_runs: Annotated[int, Policy.LOCKED] = Field(
        default=10_000, ge=1, description="How many journals are kept; the oldest go, and those without failures first."
    )
    max_bytes: Annotated[int, Policy.LOCKED] = Field(
        default=1024 * 1024 * 1024, ge=65_536, description="How large they may be together, about; the oldest go."
    )
