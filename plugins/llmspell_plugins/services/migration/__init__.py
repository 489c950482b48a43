"""Migration: schemas of what state keeps, and what brings stored values from one version to the next."""

from __future__ import annotations

from .compile import ItemError, compile_steps
from .service import MigrationService
from .settings import MigrationSettings

__all__ = ["ItemError", "MigrationService", "MigrationSettings", "compile_steps"]
