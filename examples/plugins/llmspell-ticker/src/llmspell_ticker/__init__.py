"""The service Ticker: connects to a feed as the host starts, and publishes each line as an event while it runs."""

from __future__ import annotations

from .ticker import Ticker, TickerService, TickerSettings

__all__ = ["Ticker", "TickerService", "TickerSettings"]
