"""The global Debug: messages with module filters, timers and reports, dumps of values, memory and stack."""

from __future__ import annotations

from .console import Debug

__all__ = ["Debug"]
