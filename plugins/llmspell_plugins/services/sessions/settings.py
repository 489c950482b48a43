"""What sessions take."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import Policy

__all__ = ["SessionSettings"]


class SessionSettings(BaseModel):
    """``[plugins.sessions]``: how long sessions last, what they may do, and how often they are saved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    current: Annotated[str, Policy.FREE] = Field(
        default="", max_length=64, description="The id of the session that all runs in; none if empty."
    )
    max_duration_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=86_400.0, gt=0, description="How long after its start operations may begin in a session."
    )
    max_operations: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=100_000, ge=1, description="How many operations may begin in a session."
    )
    autosave_s: Annotated[float, Policy.FREE] = Field(
        default=300.0, ge=0, description="How often a session is saved that changed; never if 0."
    )
    keep_checkpoints: Annotated[int, Policy.FREE] = Field(
        default=10, ge=1, le=10_000, description="How many checkpoints of a session are kept; the oldest go."
    )
    grace_s: Annotated[float, Policy.FREE] = Field(
        default=5.0, ge=0, le=3600, description="How long what runs may take when its session is suspended."
    )
    lease_s: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="How long a session belongs to a host that says nothing: so long after it died others may resume.",
    )
    retention_days: float = Field(
        default=30.0, ge=0, description="How long a session is kept that has ended; for ever if 0."
    )
    archive: bool = Field(
        default=True,
        description="Whether what goes is written to `.llmspell/sessions` first, a file of JSON for each.",
    )
