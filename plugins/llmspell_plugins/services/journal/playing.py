"""What runs as part of a replay, so that it is not recorded again; and which body an operation begins in.

Both follow tasks and threads by a context variable. A handler of an event runs in a task of its own, so a replay is
known by the correlation of its operations, too.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

__all__ = ["LIVE", "PLAYING", "WITHIN"]

PLAYING: Final[ContextVar[str]] = ContextVar("llmspell_playing", default="")
"""The id of the replay that runs here; empty for none, `LIVE` for what runs within one as if there were none."""
LIVE: Final = "live"
WITHIN: Final[ContextVar[str]] = ContextVar("llmspell_within", default="")
"""The id of the operation whose body runs here; empty for none."""
