"""What ``plugins.backups`` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BackupSettings"]


class BackupSettings(BaseModel):
    """What ``backups`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path | None = Field(default=None, description="Where the files lie; .llmspell/backups if left out.")
    codec: Literal["auto", "zstd", "lz4"] = Field(
        default="auto", description="How they are compressed; auto is zstd if it is installed, else lz4."
    )
    full_every_days: float = Field(
        default=7, gt=0, le=3650, description="An incremental one is full if the last full one is older."
    )
    max_backups: int = Field(default=10, ge=1, description="How many are kept that are of no importance.")
    max_age_days: float = Field(default=30, gt=0, description="How long those are kept.")
    daily: int = Field(default=7, ge=0, description="For how many days the first one of each is kept.")
    weekly: int = Field(default=4, ge=0, description="For how many weeks the first one of each is kept.")
    monthly: int = Field(default=12, ge=0, description="For how many months the first one of each is kept.")
