"""The globals of scripts: imported when a script first needs them, constructed for each run; see `load_globals`.

Invariant: one object per global and run, and of the host's own none that the script cannot reach.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from typing import Any

from llmspell.plugins import OWN, LazyRegistry
from llmspell_hookspecs import Services
from llmspell_hookspecs.globals import GlobalFactory, load_globals
from llmspell_hookspecs.language import ScriptScope

__all__ = ["make_globals"]


async def make_globals(
    shelf: LazyRegistry[GlobalFactory],
    services: Services,
    scope: ScriptScope,
    words: Collection[str] | None,
    granted: Set[str] | None = None,
) -> dict[str, Any]:
    """Construct the globals of a run; see `load_globals`.

    Args:
        shelf: The plugins of the group.
        services: What the globals may use of the host.
        scope: The run.
        words: All by which the script can reach a global; None for all there are. The host's own globals have the
            names of their entry points, and only those among the words are imported.
        granted: The names that the script may see, None for all; of the host's own no others are imported.
    """
    own = {name for name in shelf.names() if shelf.info(name).distribution == OWN}
    unnamed = own.difference(words) if words is not None else set()
    unnamed |= own.difference(granted) if granted is not None else set()
    names = sorted(set(shelf.names()).difference(unnamed), key=lambda name: (name not in own, name))
    found = list(shelf.loadable(names))
    return await shelf.build(lambda: load_globals(found, services, scope, unnamed))
