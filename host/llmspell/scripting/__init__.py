"""The language-neutral script interface: what a run of a script is, and what its globals can be asked."""

from __future__ import annotations

from .interface import Interface
from .loading import GlobalFactory, load_globals
from .scope import Scope

__all__ = ["GlobalFactory", "Interface", "Scope", "load_globals"]
