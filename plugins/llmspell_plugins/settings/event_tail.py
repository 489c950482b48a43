"""The key of ``[events]`` that the plugin event_tail heeds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from llmspell_hookspecs import Policy
from llmspell_hookspecs.sections import Section

__all__ = ["TapSettings"]


class TapSettings(Section):
    """``[events]``: who may watch."""

    tap: Annotated[bool, Policy.OFF_ONLY] = Field(
        default=True, description="Whether 'llmspell event tail' of the same user sees this process's events."
    )
