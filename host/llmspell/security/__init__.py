"""Security: the judge of hosts, and child processes with limits; the contract has the judge of paths."""

from __future__ import annotations

from .hosts import HostJudge
from .process import ProcessPool

__all__ = [
    "HostJudge",
    "ProcessPool",
]
