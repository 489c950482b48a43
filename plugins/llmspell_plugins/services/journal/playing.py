"""What runs as part of a replay, so that it is not recorded again; and which body an operation begins in.

Both follow tasks and threads by a context variable. A handler of an event runs in a task of its own, so a replay is
known by the correlation of its operations, too.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from llmspell_hookspecs.context import OperationRef

__all__ = ["PLAYING", "WITHIN", "is_played"]

PLAYING: Final[ContextVar[str]] = ContextVar("llmspell_playing", default="")
"""The id of the replay that runs here; empty for none."""
WITHIN: Final[ContextVar[str]] = ContextVar("llmspell_within", default="")
"""The id of the operation whose body runs here; empty for none."""


def is_played(operation: OperationRef, correlations: dict[str, str]) -> bool:
    """Return whether an operation is part of a replay: of one that runs here, or by its correlation."""
    playing = PLAYING.get()
    if playing:
        correlations.setdefault(operation.correlation_id, playing)
        return True
    return operation.correlation_id in correlations
