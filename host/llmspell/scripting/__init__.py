"""The language-neutral script interface: what a run of a script is, and what its globals can be asked."""

from __future__ import annotations

from .interface import Interface
from .languages import Languages
from .loading import GlobalFactory, Globals, load_globals
from .scope import Scope
from .script_runner import ScriptRunner
from .script_session import ScriptSession

__all__ = [
    "GlobalFactory",
    "Globals",
    "Interface",
    "Languages",
    "Scope",
    "ScriptRunner",
    "ScriptSession",
    "load_globals",
]
