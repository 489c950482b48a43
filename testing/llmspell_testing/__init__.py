"""What plugin authors test with: a pytest plugin, active wherever llmspell is installed.

Fixtures: `llmspell_settings`, `llmspell_open`, `llmspell_host`, `llmspell_output`, `recorded_hooks`,
`recorded_host`, `autojump_clock`.
``async def`` tests run under trio, see `plugin`. The rooms behind them are imported by the fixtures that use them, so a
test run without llmspell in it pays next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cassette import RecordedHosts
    from .host_runner import HostOpener, HostRunner
    from .isolation import TemporarySettings
    from .kind import KindConformance
    from .language import LanguageConformance
    from .loop import LoopSteps, held_beyond_idle_s, loop_steps
    from .output import ScriptOutput
    from .provider import ProviderConformance
    from .recorder import HookRecorder, HookRow
    from .storage import StorageConformance
    from .storage_file import StorageFileConformance
    from .tool import ToolConformance

__all__ = [
    "HookRecorder",
    "HookRow",
    "HostOpener",
    "HostRunner",
    "KindConformance",
    "LanguageConformance",
    "LoopSteps",
    "ProviderConformance",
    "RecordedHosts",
    "ScriptOutput",
    "StorageConformance",
    "StorageFileConformance",
    "TemporarySettings",
    "ToolConformance",
    "held_beyond_idle_s",
    "loop_steps",
]

_ROOMS = {
    "HookRecorder": "recorder",
    "HookRow": "recorder",
    "HostOpener": "host_runner",
    "HostRunner": "host_runner",
    "KindConformance": "kind",
    "LanguageConformance": "language",
    "LoopSteps": "loop",
    "ProviderConformance": "provider",
    "RecordedHosts": "cassette",
    "ScriptOutput": "output",
    "StorageConformance": "storage",
    "StorageFileConformance": "storage_file",
    "TemporarySettings": "isolation",
    "ToolConformance": "tool",
    "held_beyond_idle_s": "loop",
    "loop_steps": "loop",
}


def __getattr__(name: str) -> Any:
    """Import a room when one of its names is first asked for."""
    if name in _ROOMS:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
