"""The global Workflow and what it answers: the builder of workflows, and workflows as scripts hold them."""

from __future__ import annotations

from .workflow import WorkflowGlobal

__all__ = ["WorkflowGlobal"]
