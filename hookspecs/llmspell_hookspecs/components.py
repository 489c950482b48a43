"""What can be operated on: components and their addresses.

Invariant: whatever has an address (``tool:calculator``) is a `Component`; tools, agents, workflows and providers refine
it. A component runs only through the runner.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

__all__ = ["Component", "ComponentMetadata", "SecurityLevel"]


class SecurityLevel(enum.IntEnum):
    """How much a component may touch; settings say the highest one that runs."""

    SAFE = 0
    RESTRICTED = 1
    PRIVILEGED = 2


class ComponentMetadata(Struct, frozen=True):
    """What all components tell of themselves; the original's ComponentMetadata.

    Attributes:
        kind: ``tool``, ``agent``, ``workflow``, ``provider`` ...
        name: Unique within its kind.
        id: Unique within the host.
        version: As in SemVer.
        description: One sentence for people and models.
    """

    kind: str
    name: str
    id: str = ""
    version: str = "1.0.0"
    description: str = ""


@runtime_checkable
class Component(Protocol):
    """What has an address and runs; the original's BaseAgent."""

    @property
    def metadata(self) -> ComponentMetadata:
        """What it tells of itself."""

    async def run(self, input: Mapping[str, Any], /) -> Any:
        """Run once and return the result; called by the runner only."""
