"""The kind itself: finds targets, and makes an operation of each deployment. Durations in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

import trio
from pydantic import BaseModel, Field

from llmspell_hookspecs import FileAccess, InvalidInputError, Services
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.kind import CallOptions, ComponentGroup, ComponentKind, Registries
from llmspell_hookspecs.operation import OperationKind, Operations

from . import points as hook_points
from .points import Deployment

__all__ = ["DeployKind", "Deployment", "Folder", "Target"]

_TIME_S: Final = 60.0
DEPLOY: Final = OperationKind(
    "deploy", "before_deploy", "", "after_deploy", "deploy_error", result=Deployment, events=True
)


@runtime_checkable
class Target(Protocol):
    """Where something can be deployed; a class in the group ``llmspell.deploy_targets``."""

    async def deploy(self, version: str) -> str:
        """Deploy a version and return its place."""


class FolderSettings(BaseModel):
    """``[plugins.folder]``."""

    path: str = Field(default="deployed", description="The folder; a version is a file in it.")


class Folder:
    """Deploys into a folder that the settings allow to be written."""

    Settings = FolderSettings

    def __init__(self, settings: FolderSettings, services: Services) -> None:
        self._path, self._files = settings.path, services.get(FileAccess)

    async def deploy(self, version: str) -> str:
        """Write a file that is called as the version is."""
        place = Path(self._files.resolve(f"{self._path}/{version}", "write"))
        await trio.Path(place.parent).mkdir(parents=True, exist_ok=True)
        await trio.Path(place).write_text(f"{version}\n")
        return str(place)


def _problem(target: Any, name: str) -> str:
    return "" if isinstance(target, Target) else "has no deploy(version); give it one"


TARGETS: Final = ComponentGroup(
    "llmspell.deploy_targets", "deploy target", lambda item: hasattr(item, "deploy"), problem=_problem
)


class DeployKind(ComponentKind):
    """Runs deployments: ``deploy:folder``."""

    name = "deploy"
    group = TARGETS
    points: ClassVar[object] = hook_points

    def __init__(self, settings: None, services: Services) -> None:
        self._targets = services.get(Registries).of(TARGETS.name)
        self._operations = services.get(Operations)

    async def run(self, name: str, input: Any, options: CallOptions, /) -> Deployment:
        """Deploy ``{"version": ...}`` to the target of this name."""
        version = input.get("version") if isinstance(input, dict) else input
        if not isinstance(version, str) or not version:
            raise InvalidInputError(f"deploy:{name}: version is {version!r}; give a text", field="version")
        target: Target = await self._targets.enter(name)

        async def body(approved: Deployment) -> Deployment:
            return Deployment(name, approved.version, await target.deploy(approved.version))

        component = ComponentRef("deploy", name, f"deploy:{name}")
        operation = options.operation(DEPLOY, component, Deployment(name, version), body, time_s=_TIME_S)
        done: Deployment = await self._operations.execute(operation)
        return done
