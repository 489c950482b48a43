"""A plugin for llmspell: refuses deletions, redacts, and keeps an audit log. It imports the contract only."""

from __future__ import annotations

from .audit import Audit, AuditSettings

__all__ = ["Audit", "AuditSettings"]
