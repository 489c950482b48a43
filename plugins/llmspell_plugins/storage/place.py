"""Where a storage on disk lies: at the path in its settings, or in the host's own folder in the project's."""

from __future__ import annotations

from pathlib import Path

from llmspell_hookspecs import Services
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.services import ProjectFolder

__all__ = ["place_of"]


def place_of(path: Path | None, default: str, services: Services | None) -> Path:
    """Return the place, making the host's own folder if it is needed; blocks for a moment.

    Args:
        path: As the settings have it; None for the default.
        default: The name in the host's own folder.
        services: The host's; None outside a host, where a path must be given.

    Raises:
        StorageError: There is no place for it.
    """
    if services is not None:
        project = services.get(ProjectFolder)
        return project.data(default) if path is None else project.place(path)
    if path is None:
        raise StorageError(f"storage {default}: it has no path outside a host; name one in its settings")
    return path
