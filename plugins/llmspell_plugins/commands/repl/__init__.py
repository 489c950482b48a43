"""Type code and see what it answers.

Invariant: without a terminal it reads chunk after chunk to the end of the input, and ends with 1 if one failed.
"""

from __future__ import annotations

from .command import repl

__all__ = ["repl"]
