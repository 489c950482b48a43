"""The event log: what the host's events were, in a chained log that is bounded, verified and replayed.

The service reads, verifies and replays; the plugin of the same name, off until it is enabled, has it record.
"""

from __future__ import annotations

from .plugin import EventRecorder
from .service import EventLogService

__all__ = ["EventLogService", "EventRecorder"]
