"""Security: paths, hosts, child processes and limits, by plain rules that the host makes of its settings."""

from __future__ import annotations

from .hosts import HostJudge, HostRules
from .paths import DATA_FOLDER, PathJudge, PathRules
from .process import ProcessPool

__all__ = [
    "DATA_FOLDER",
    "HostJudge",
    "HostRules",
    "PathJudge",
    "PathRules",
    "ProcessPool",
]
