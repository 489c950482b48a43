"""Security: levels, paths, hosts, child processes and limits, by plain rules that the host makes of its settings."""

from __future__ import annotations

from .hosts import HostRules
from .levels import judge_level
from .limits import MemoryAccount
from .network import PinnedNetwork
from .paths import DATA_FOLDER, PathJudge, PathRules
from .pool import ConnectionPool
from .process import ProcessPool

__all__ = [
    "DATA_FOLDER",
    "ConnectionPool",
    "HostRules",
    "MemoryAccount",
    "PathJudge",
    "PathRules",
    "PinnedNetwork",
    "ProcessPool",
    "judge_level",
]
