"""Watch events.

Invariant: standard output has one line an event and nothing else, but for what a script prints for people.
"""

from __future__ import annotations

from .command import event

__all__ = ["event"]
