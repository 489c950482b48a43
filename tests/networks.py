"""The network service as tests use it: HTTP by rules of their own."""

from __future__ import annotations

from typing import Any

from llmspell.security import HostJudge
from llmspell_hookspecs.host_rules import HostRules
from llmspell_plugins.services.network.pinned import PinnedNetwork
from llmspell_plugins.services.network.pool import ConnectionPool

__all__ = ["ConnectionPool", "PinnedNetwork", "network_of"]


def network_of(rules: HostRules, **options: Any) -> PinnedNetwork:
    """Return what talks HTTP by these rules."""
    return PinnedNetwork(HostJudge(rules), **options)
