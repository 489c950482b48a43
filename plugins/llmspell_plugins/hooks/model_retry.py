"""The model_retry plugin: asks a model again when that may help.

Invariant: it answers last, so that anybody's own answer counts, and it never waits longer than ``max_delay_s``: a
provider that asks for more is not asked again. Durations in seconds.
"""

from __future__ import annotations

import random
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import Failure, HookContext, Priority, Retry, Services, hookimpl
from llmspell_hookspecs.errors import ProviderError

__all__ = ["ModelRetry", "ModelRetrySettings"]

_FACTOR = 2.0


class ModelRetrySettings(BaseModel):
    """``[plugins.model_retry]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_attempts: int = Field(default=3, ge=1, description="How often a model is asked, in all.")
    initial_delay_s: float = Field(default=0.5, ge=0, description="The first wait; each further one is twice as long.")
    max_delay_s: float = Field(default=60.0, ge=0, description="A wait is never longer.")
    jitter: float = Field(default=0.25, ge=0, le=1, description="By which part of itself a wait may be longer.")


class ModelRetry:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host; it uses nothing.
    """

    name = "model_retry"
    Settings: ClassVar[type[BaseModel]] = ModelRetrySettings

    def __init__(self, settings: ModelRetrySettings, services: Services) -> None:
        self._settings = settings

    @hookimpl(priority=Priority.LOWEST)
    def model_error(self, context: HookContext[Failure]) -> Retry | None:
        """Ask for another attempt, if there is one left and the error says that it may help."""
        error = context.subject.error
        attempt = context.operation.attempt
        if not isinstance(error, ProviderError) or not error.retryable or attempt >= self._settings.max_attempts:
            return None
        delay_s = self._delay_s(attempt) if error.retry_after_s is None else error.retry_after_s
        if delay_s > self._settings.max_delay_s:
            return None
        return Retry(delay_s, self._settings.max_attempts)

    def _delay_s(self, attempt: int) -> float:
        settings = self._settings
        delay_s = settings.initial_delay_s * _FACTOR ** min(attempt - 1, 32)
        spread = 1 + settings.jitter * random.random()  # noqa: S311 - it spreads load, it guards nothing
        return min(delay_s * spread, settings.max_delay_s)
