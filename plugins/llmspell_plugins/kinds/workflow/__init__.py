"""The kind workflow: definitions, what resolves and decides within them, and how they run."""

from __future__ import annotations

from .definition import defined, to_dict
from .runner import WORKFLOW, WorkflowRunner

__all__ = ["WORKFLOW", "WorkflowRunner", "defined", "to_dict"]
