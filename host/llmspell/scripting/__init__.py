"""The language-neutral script interface: what a run of a script is, and what its globals can be asked."""

from __future__ import annotations

from .interface import Interface
from .scope import Scope
from .script_runner import ScriptRunner
from .script_session import ScriptSession

__all__ = [
    "Interface",
    "Scope",
    "ScriptRunner",
    "ScriptSession",
]
