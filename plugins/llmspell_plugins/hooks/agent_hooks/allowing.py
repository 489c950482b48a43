"""The interceptor that allows everything: a host that is to let something pass says so, and never by leaving it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["AllowAll"]


class AllowAll:
    """Allow everything."""

    def intercept(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return that it is allowed."""
        return {"decision": "allow"}
