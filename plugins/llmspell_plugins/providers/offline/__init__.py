"""The offline provider: answers by rules, without any model, key or network, and says so."""

from __future__ import annotations

from .provider import Offline

__all__ = ["Offline"]
