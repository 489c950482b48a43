"""What depends on what: components by their calls, and the hooks that are asked about them."""

from __future__ import annotations

from .arrange import arrange
from .service import DependencyService

__all__ = ["DependencyService", "arrange"]
