"""The service composites: hooks that are asked together and answer as one, wherever they are registered."""

from __future__ import annotations

from .service import CompositeService

__all__ = ["CompositeService"]
