"""Security: the judge of hosts; the contract has the judge of paths."""

from __future__ import annotations

from .hosts import HostJudge

__all__ = ["HostJudge"]
