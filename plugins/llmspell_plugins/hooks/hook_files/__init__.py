"""The plugin hook_files: runs the commands of hook files in the form that Claude Code has, at the host's points."""

from __future__ import annotations

from .plugin import HookFiles, HookFilesSettings

__all__ = ["HookFiles", "HookFilesSettings"]
