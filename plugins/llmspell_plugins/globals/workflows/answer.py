"""How a run ended, as scripts see it: the original's names beside ours.

``text`` is the summary, ``output`` what the pattern yields; ``data`` holds each stage's output; ``metadata.extra`` is
what the original's scripts read.
"""

from __future__ import annotations

from typing import Any, Final

from llmspell_hookspecs.values import thaw
from llmspell_hookspecs.workflow import WorkflowOutput

__all__ = ["answer_table", "failed_table"]

_STATUS: Final = {"partial": "partially_completed"}


def answer_table(output: WorkflowOutput) -> dict[str, Any]:
    """Return the table that a script is given for a run."""
    outputs = {path: thaw(value) for path, value in output.outputs.items()}
    details = thaw(output.details)
    extra = {
        "workflow_type": output.pattern,
        "workflow_name": output.name,
        "workflow_id": output.name,
        "execution_id": output.run_id,
        "agent_outputs": outputs,
        "steps_executed": output.stages,
        "steps_failed": len(output.failed),
        "steps_skipped": len(output.skipped),
        **details,
    }
    return {
        "success": output.status in ("completed", "partial"),
        "status": _STATUS.get(output.status, output.status),
        "text": output.summary,
        "output": thaw(output.output),
        "data": outputs,
        "results": outputs,
        "steps": outputs,
        "error": output.error or None,
        "duration_ms": output.elapsed_ms,
        "execution_id": output.run_id,
        "workflow_id": output.name,
        "workflow_name": output.name,
        "workflow_type": output.pattern,
        "steps_executed": output.stages,
        "failed_steps": [*output.failed],
        "skipped_steps": [*output.skipped],
        "media": [],
        "tool_calls": [],
        "metadata": {"execution_time_ms": output.elapsed_ms, "extra": extra},
        **details,
    }


def failed_table(output: WorkflowOutput | None, name: str, pattern: str, error: str) -> dict[str, Any]:
    """Return the table for a run that failed; the original's scripts read its ``success`` and ``error``."""
    table = answer_table(output or WorkflowOutput(name, "", pattern, "failed", summary=f"workflow {name}: failed"))
    return {**table, "success": False, "text": f"{table['text']}: {error}", "error": error}
