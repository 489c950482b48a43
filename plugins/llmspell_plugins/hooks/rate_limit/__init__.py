"""The plugin rate_limit: how many calls, or tokens, a while."""

from __future__ import annotations

from .limiter import FixedWindow, Limiter, SlidingWindow, TokenBucket
from .plugin import RateLimit, RateLimitSettings

__all__ = ["FixedWindow", "Limiter", "RateLimit", "RateLimitSettings", "SlidingWindow", "TokenBucket"]
