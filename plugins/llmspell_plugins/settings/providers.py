"""The section ``[providers]``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from llmspell_hookspecs import Policy
from llmspell_hookspecs.sections import TableSection

__all__ = ["ProviderSettings"]


class ProviderSettings(TableSection):
    """``[providers]``: which models are asked; ``[providers.NAME]`` holds a provider's own keys."""

    typed = True
    default: Annotated[str, Policy.FREE] = Field(
        default="",
        description="The model that is asked if none is named, provider/model; if it is left out, that of the first "
        "provider whose key is set, else offline/rules.",
    )
    offline: Annotated[bool, Policy.ON_ONLY] = Field(
        default=False,
        description="Whether the offline provider answers for every model, whatever its name; then no model is asked "
        "over the network, and no key is needed.",
    )
