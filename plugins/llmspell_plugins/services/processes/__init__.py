"""The service processes: functions in child processes with limits."""

from __future__ import annotations

from .pool import ProcessPool, ProcessService

__all__ = ["ProcessPool", "ProcessService"]
