"""The system_monitor tool: how busy this machine is: processor, memory, disk, processes, network. Sizes in bytes.

Invariant: every figure is the system's own; of processes only numbers and names are told, never what they were
started with, which may hold secrets.
"""

from __future__ import annotations

import os
import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_plugins.tools.library import require

__all__ = ["SystemMonitor", "SystemMonitorParameters"]

_BETWEEN_S = 0.1
_LARGEST = 10
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class SystemMonitorParameters(BaseModel):
    """What the system_monitor takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["all", "stats", "cpu", "memory", "disk", "process", "network"] = Field(
        default="all", description="Which figures; stats is another name for all."
    )


class SystemMonitor(Tool[SystemMonitorParameters]):
    """Tell how busy the processor, memory, disk, processes and network of this machine are."""

    name = "system_monitor"
    aliases = ("system-monitor",)
    category = "system"
    level = SecurityLevel.SAFE
    repeatable = True
    examples = (ToolExample("the memory", {"operation": "memory"}), ToolExample("everything", {}))

    async def run(self, parameters: SystemMonitorParameters, context: ToolContext) -> ToolResult:
        """Return the figures by name.

        Raises:
            ToolError: ``missing_library``; ``io``: the system does not tell.
        """
        require(self.name, "system", "psutil")
        result = await context.run_thread(_figures, parameters.operation)
        return ToolResult(operation=parameters.operation, result=result)


def _figures(operation: str) -> dict[str, Any]:
    parts = {"cpu": _cpu, "memory": _memory, "disk": _disk, "process": _processes, "network": _network}
    try:
        if operation not in ("all", "stats"):
            return parts[operation]()
        found: dict[str, Any] = {}
        for part in parts.values():
            found |= part()
        return found
    except OSError as error:
        message = f"system_monitor: {operation}: the system does not tell ({error.strerror}); ask for another operation"
        raise ToolError(message, code="io") from error


def _cpu() -> dict[str, Any]:
    import psutil

    return {
        "cpu_usage_percent": psutil.cpu_percent(interval=_BETWEEN_S),  # the use is what changed between two readings
        "cpu_count": psutil.cpu_count() or 1,
        "load_average": list(os.getloadavg()),
    }


def _memory() -> dict[str, Any]:
    import psutil

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    sizes = {
        "total_memory": memory.total,
        "used_memory": memory.used,
        "available_memory": memory.available,
        "total_swap": swap.total,
        "used_swap": swap.used,
    }
    found: dict[str, Any] = {"memory_usage_percent": memory.percent}
    for name, size in sizes.items():
        found |= {f"{name}_bytes": size, f"{name}_formatted": _formatted(size)}
    return found


def _disk() -> dict[str, Any]:
    import psutil

    use = psutil.disk_usage("/")
    root = {"mount_point": "/", "total_bytes": use.total, "used_bytes": use.used, "available_bytes": use.free}
    return {"disk_usage": [root | {"usage_percent": use.percent, "total_formatted": _formatted(use.total)}]}


def _processes() -> dict[str, Any]:
    import psutil

    # A process that ended since it was listed has no figures; psutil gives None for those.
    rows = [each.info for each in psutil.process_iter(["pid", "name", "memory_info"], ad_value=None)]
    sized = [(row["memory_info"].rss, row) for row in rows if row["memory_info"] is not None]
    largest = sorted(sized, key=lambda pair: -pair[0])[:_LARGEST]
    return {
        "process_count": len(rows),
        "uptime_seconds": max(0, int(time.time() - psutil.boot_time())),
        "largest_processes": [
            {"pid": row["pid"], "name": row["name"] or "", "memory_bytes": size} for size, row in largest
        ],
    }


def _network() -> dict[str, Any]:
    import psutil

    counters = psutil.net_io_counters(pernic=True)
    return {
        "network": [
            {"interface": name, "received_bytes": each.bytes_recv, "sent_bytes": each.bytes_sent}
            for name, each in sorted(counters.items())
        ]
    }


def _formatted(size_bytes: float) -> str:
    for unit in _UNITS[:-1]:
        if size_bytes < 1024:
            return f"{size_bytes:.2f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.2f} {_UNITS[-1]}"
