"""Which notice the host gives of an error that ended, or is about to end, an operation.

Invariant: a refusal is told once, however many operations its error goes through; a limit once for each of them.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from llmspell_hookspecs import LimitExceeded, ResourceLimitError, ScriptError, SecurityError, Violation
from llmspell_hookspecs.errors import text_of_error

__all__ = ["notice_of"]

_log = logging.getLogger("llmspell.operations")
_TOLD: Final = "_llmspell_told"
_RESOURCES: Final = {"memory_limit": "memory_bytes", "time_limit": "time_s", "instruction_limit": "instructions"}


def notice_of(error: BaseException) -> tuple[str, Any] | None:
    """Return the point and the subject of the notice that is due for this error, or None."""
    if issubclass(type(error), SecurityError) and isinstance(error, SecurityError):
        if hasattr(error, _TOLD):
            return None
        setattr(error, _TOLD, True)
        text = text_of_error(error)
        _log.info("refused: %s", text)
        return "security_violation", Violation(error.rule, text)
    limit = _limit(error)
    return None if limit is None else ("resource_limit_exceeded", limit)


def _limit(error: BaseException) -> LimitExceeded | None:
    cause: BaseException | None = error
    while isinstance(cause, ScriptError):
        cause = cause.__cause__
    if isinstance(cause, ResourceLimitError):
        return LimitExceeded(cause.resource, cause.limit, text_of_error(error))
    if isinstance(error, ScriptError) and error.code in _RESOURCES:
        return LimitExceeded(_RESOURCES[error.code], 0, text_of_error(error))
    return None
