"""The timeline: the last events of a host, and which came of which."""

from __future__ import annotations

from .causes import Causes, operation_of
from .plugin import TimelinePlugin
from .record import Record
from .selection import Selection
from .service import TimelineService
from .settings import TimelineSettings

__all__ = [
    "Causes",
    "Record",
    "Selection",
    "TimelinePlugin",
    "TimelineService",
    "TimelineSettings",
    "operation_of",
]
