"""The plugin cost: budgets in money, tokens, calls and time, that are taken before a call and settled after it."""

from __future__ import annotations

from .plugin import Cost
from .settings import CostSettings

__all__ = ["Cost", "CostSettings"]
