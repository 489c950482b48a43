"""Show which components call which, and which hooks are asked about them, as text, DOT or Mermaid."""

from __future__ import annotations

from .command import graph

__all__ = ["graph"]
