"""The service NetworkAccess: requests to pinned addresses, with connections that are kept."""

from __future__ import annotations

from typing import Any, ClassVar

from llmspell_hookspecs import NetworkAccess, Services
from llmspell_hookspecs.network import Hosts
from llmspell_hookspecs.plugin import Closing

from .pinned import PinnedNetwork
from .pool import ConnectionPool

__all__ = ["Network"]


class Network(Closing):
    """Implements the contract's `NetworkAccess`.

    Attributes:
        resolve: Return the addresses of a URL's host, all of them judged.
        resolve_address: Return those of a bare ``host:port``.
        request: Send a request and return the whole response.
        stream: Send a request over a connection that is kept.
    """

    name: ClassVar[str] = "network_access"
    provides: ClassVar[type[Any]] = NetworkAccess

    def __init__(self, settings: None, services: Services) -> None:
        network = PinnedNetwork(services.get(Hosts))
        self._pool = ConnectionPool(network)
        self.resolve, self.resolve_address = network.resolve, network.resolve_address
        self.request, self.stream = network.request, self._pool.stream

    async def __aexit__(self, *error: object) -> None:
        """Close the connections that are kept."""
        self._pool.close()
