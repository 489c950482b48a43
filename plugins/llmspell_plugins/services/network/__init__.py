"""The service NetworkAccess: HTTP to hosts that the rules allow, resolved once and pinned."""

from __future__ import annotations

from .service import Network

__all__ = ["Network"]
