"""Converse with an agent in the terminal.

Invariant: a turn is kept when it has ended, whole and once; what was under way when the process ended can be gone on
with. A Ctrl-C ends the answer that is being given, and nothing else.
"""

from __future__ import annotations

from .command import chat

__all__ = ["chat"]
