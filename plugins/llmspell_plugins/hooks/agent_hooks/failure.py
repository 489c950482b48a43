"""Failures of interceptors and of those who resolve: whatever they raise is told by the name of its class alone.

Its text may quote what they were shown, and is kept out of verdicts, records and reasons.
"""

from __future__ import annotations

from llmspell_hookspecs.errors import LlmspellError

__all__ = ["FailedError", "as_failure"]


class FailedError(LlmspellError):
    """Code of others failed; the text is the name of what it raised."""


def as_failure(error: BaseException) -> FailedError:
    """Return a failure of any class as one that ends nothing else."""
    return FailedError(type(error).__name__)
