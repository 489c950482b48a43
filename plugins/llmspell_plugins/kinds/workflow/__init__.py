"""The kind workflow: definitions, what resolves and decides within them, and how they run."""

from __future__ import annotations

from .definition import from_dict, to_dict
from .runner import WORKFLOW, WorkflowRunner

__all__ = ["WORKFLOW", "WorkflowRunner", "from_dict", "to_dict"]
