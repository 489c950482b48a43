"""Events: mailboxes, and the bus between publishers and subscribers."""

from __future__ import annotations

from .bus import Bus

__all__ = ["Bus"]
