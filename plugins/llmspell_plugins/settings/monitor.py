"""The keys of ``[performance]`` that the plugin monitor heeds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from llmspell_hookspecs import Policy
from llmspell_hookspecs.sections import Section

__all__ = ["MonitorSettings"]


class MonitorSettings(Section):
    """``[performance]``: from when on the monitor gives notice."""

    memory_high_bytes: Annotated[int | None, Policy.LOWER_ONLY] = Field(
        default=None, gt=0, description="The process's memory above which memory_usage_high fires."
    )
    cpu_high_percent: Annotated[float | None, Policy.LOWER_ONLY] = Field(
        default=None, gt=0, description="The process's processor use above which cpu_usage_high fires; 100 is one core."
    )
    slow_p95_ms: Annotated[float | None, Policy.LOWER_ONLY] = Field(
        default=None,
        gt=0,
        description="It fires, too, when more than one in twenty of a component's last 100 calls takes longer.",
    )
    rearm_percent: Annotated[float, Policy.LOCKED] = Field(
        default=90.0,
        gt=0,
        le=100,
        description="How far below its threshold a measure must fall before it is told again.",
    )
    sample_interval_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=5.0, ge=0.01, description="How often memory, processor use and times are looked at."
    )
