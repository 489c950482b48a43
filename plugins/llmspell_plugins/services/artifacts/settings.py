"""What artifacts take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import Policy

__all__ = ["ArtifactSettings"]


class ArtifactSettings(BaseModel):
    """``[plugins.artifacts]``: how large artifacts may be, where their contents lie, and what of them is on record."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=100_000_000, ge=1, description="How large one content may be."
    )
    max_artifacts: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=1000, ge=1, description="How many artifacts a session may have."
    )
    max_session_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=1_000_000_000, ge=1, description="How large the contents of a session may be together."
    )
    place: Literal["auto", "files", "storage"] = Field(
        default="auto",
        description="Where contents above 16 KiB lie: in files below `.llmspell/content`, or in the storage; "
        "`auto` is files, but for the storage memory and for an encrypted one.",
    )
    audit: Literal["all", "changes", "off"] = Field(
        default="all", description="What is on record: all accesses, those that change or refuse something, or none."
    )
    validation: bool = Field(default=True, description="Whether contents are held against the kind they say.")
    grace_s: float = Field(
        default=86_400.0, ge=0, description="How long ago a content that no artifact has was stored before it goes."
    )
