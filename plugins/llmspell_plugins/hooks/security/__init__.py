"""The plugin security: rules on calls, secrets taken out, injections reported, and an audit log that shows changes."""

from __future__ import annotations

from .audit import AuditLog, AuditProblem, verify
from .plugin import Security, SecurityPluginSettings

__all__ = ["AuditLog", "AuditProblem", "Security", "SecurityPluginSettings", "verify"]
