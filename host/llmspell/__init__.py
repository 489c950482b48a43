"""llmspell: a plugin host for language-model agents, tools and workflows.

``from llmspell import Host`` is all that an embedding program needs; plugin authors import `llmspell_hookspecs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .host import Host

__all__ = ["Host"]


def __getattr__(name: str) -> Any:
    """Import the host when it is first asked for: the command line starts without it."""
    if name == "Host":
        from .host import Host

        return Host
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
