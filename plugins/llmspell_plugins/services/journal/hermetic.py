"""Refuses the network to what is replayed, however it asks for it: below operations, in a thread, in a library.

It hears of sockets by Python's audit events (PEP 578), from the first replay of the process on.

Invariant: what runs outside of replays, or live within one, is not held up.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from llmspell_hookspecs.errors import SecurityError

from .playing import LIVE, PLAYING

__all__ = ["begin"]

_REFUSED: Final = frozenset(
    {
        "socket.bind",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.gethostbyaddr",
        "socket.sendmsg",
        "socket.sendto",
    }
)
_heard: list[bool] = []


def begin() -> None:
    """Refuse from now on what is asked for within a replay."""
    if not _heard:
        _heard.append(True)
        sys.addaudithook(_hear)  # it cannot be taken out again, so there is one of a process


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _REFUSED and PLAYING.get() not in ("", LIVE):
        message = (
            "replay: something opens a connection, though it is not run live; name its kind with --live, or let it"
        )
        raise SecurityError(f"{message} ask by an operation", rule="replay")
