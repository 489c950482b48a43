"""The event tail: hosts show their events to the tails of the same user, which wait in a folder of the user's own."""

from __future__ import annotations

from .hook_stats import HOOK_STATS
from .meeting import Meeting, Request, is_ours
from .tap import LINE_BYTES, EventTap, Message, Process, command_name, encode_event

__all__ = [
    "HOOK_STATS",
    "LINE_BYTES",
    "EventTap",
    "Meeting",
    "Message",
    "Process",
    "Request",
    "command_name",
    "encode_event",
    "is_ours",
]
