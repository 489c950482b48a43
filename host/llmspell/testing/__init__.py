"""What plugin authors test with: a pytest plugin, active wherever llmspell is installed.

Fixtures: `llmspell_settings`, `llmspell_host`, `llmspell_output`, `recorded_hooks`. The rooms behind them are imported
by the fixtures that use them, so a test run without llmspell in it pays next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .host_runner import HostRunner
    from .isolation import TemporarySettings
    from .output import ScriptOutput
    from .recorder import HookRecorder, HookRow
    from .storage import StorageConformance

__all__ = ["HookRecorder", "HookRow", "HostRunner", "ScriptOutput", "StorageConformance", "TemporarySettings"]

_ROOMS = {
    "HookRecorder": "recorder",
    "HookRow": "recorder",
    "HostRunner": "host_runner",
    "ScriptOutput": "output",
    "StorageConformance": "storage",
    "TemporarySettings": "isolation",
}


def __getattr__(name: str) -> Any:
    """Import a room when one of its names is first asked for."""
    if name in _ROOMS:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
