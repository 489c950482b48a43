"""The section ``[agents]``. Durations in seconds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from llmspell_hookspecs import Policy
from llmspell_hookspecs.sections import Section

__all__ = ["AgentSettings"]


class AgentSettings(Section):
    """``[agents]``: what one run of an agent may use at most; an agent may ask for less."""

    time_s: Annotated[float, Policy.LOWER_ONLY] = Field(default=300.0, gt=0, description="How long a run may take.")
    steps: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=100, ge=1, description="How often a run may ask its model."
    )
    tool_calls: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=1000, ge=0, description="How many tools a run may call."
    )
    count: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=10_000, ge=1, description="How many agents there may be at once."
    )
    script_count: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=1000, ge=1, description="How many of them one script may have."
    )
    conversation_chars: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=4_000_000, ge=0, description="How much an agent remembers; it forgets its oldest turns above that."
    )
    pause_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=3600.0, gt=0, description="How long a run waits while its agent is paused."
    )
    grace_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=10.0, ge=0, description="How long runs may go on once their agent is to be shut down."
    )
    recoveries: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=3, ge=1, description="How often an agent in the state error is tried to recover."
    )
    handoffs: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=16, ge=0, description="How often agents may hand over to others within one run."
    )
