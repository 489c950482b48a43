"""Security: paths, hosts, child processes and limits, by plain rules that the host makes of its settings."""

from __future__ import annotations

from .hosts import HostJudge, HostRules, host_entry
from .paths import DATA_FOLDER, PathJudge, PathRules, expand_root, home_folder
from .process import ProcessPool

__all__ = [
    "DATA_FOLDER",
    "HostJudge",
    "HostRules",
    "PathJudge",
    "PathRules",
    "ProcessPool",
    "expand_root",
    "home_folder",
    "host_entry",
]
