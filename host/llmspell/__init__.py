"""llmspell: a plugin host for language-model agents, tools and workflows.

``from llmspell import Host`` is all that an embedding program needs; plugin authors import `llmspell_hookspecs`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing is not imported: what comes before the command line answers to signals is to be short
if TYPE_CHECKING:
    from typing import Any

    from .host import Host

__all__ = ["Host"]


def __getattr__(name: str) -> Any:
    """Import the host when it is first asked for: the command line starts without it."""
    if name == "Host":
        from .host import Host

        return Host
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
