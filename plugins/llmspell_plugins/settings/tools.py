"""The section ``[tools]``. Sizes in bytes, durations in seconds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from llmspell_hookspecs import Policy
from llmspell_hookspecs.sections import Names, TableSection

__all__ = ["ToolSettings"]


class ToolSettings(TableSection):
    """``[tools]``: what a tool call may use; ``[tools.NAME]`` holds the tool's own keys."""

    disabled: Annotated[Names, Policy.SUPERSET_ONLY] = Field(default=(), description="Names of tools that do not run.")
    time_s: Annotated[float, Policy.LOWER_ONLY] = Field(default=30.0, gt=0, description="How long a call may take.")
    memory_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=256 * 1024 * 1024, ge=1, description="What a call may hold."
    )
    output_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=64 * 1024 * 1024, ge=1, description="How large a result may be, as JSON."
    )
