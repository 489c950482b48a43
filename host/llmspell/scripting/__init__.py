"""The language-neutral script interface: what a run of a script is, and what its globals can be asked."""

from __future__ import annotations

from .scope import Interface, Scope
from .script_runner import ScriptRunner, ScriptSession

__all__ = [
    "Interface",
    "Scope",
    "ScriptRunner",
    "ScriptSession",
]
