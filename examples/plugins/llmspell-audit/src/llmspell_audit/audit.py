"""The plugin: its settings and its hooks.

Invariant: guards decide on the call or the result alone; observers see every operation, refused ones too, and each
operation gets one ``asked`` and one ``ended`` in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import (
    Cancel,
    Failure,
    HookContext,
    Modified,
    Priority,
    Services,
    ToolCall,
    ToolResult,
    hookimpl,
)
from llmspell_hookspecs.script import ScriptResult, ScriptRun
from llmspell_hookspecs.values import thaw

from .log import AuditLog
from .masking import Masking
from .rows import asked_row, ended_row

__all__ = ["Audit", "AuditSettings"]


class AuditSettings(BaseModel):
    """``[plugins.audit]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    log: Path = Field(default=Path("~/.local/state/llmspell/audit.jsonl"), description="The log: JSON, line by line.")
    deny_deletes: bool = Field(default=True, description="Whether file_operations may not delete.")
    redact: tuple[str, ...] = Field(
        default=(), description="Parameters whose values appear neither in the log nor in any result."
    )


class Audit:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host; it uses nothing.

    Raises:
        OSError: The log cannot be written.
    """

    name = "audit"
    Settings = AuditSettings

    def __init__(self, settings: AuditSettings, services: Services) -> None:
        self._deny_deletes = settings.deny_deletes
        self._redact = settings.redact
        self._log = AuditLog(settings.log.expanduser().absolute())

    @hookimpl(kind="guard", priority=Priority.HIGHEST, specname="before_tool_execution")
    def refuse(self, context: HookContext[ToolCall]) -> Cancel | None:
        """Refuse deletions, and everything while nothing can be logged."""
        if self._log.failure:
            return Cancel(f"the audit log cannot be written: {self._log.failure}", "audit_unavailable")
        deletes = (
            context.component.name == "file_operations" and context.subject.parameters.get("operation") == "delete"
        )
        if deletes and self._deny_deletes:
            return Cancel("files are not deleted here; plugins.audit.deny_deletes says so", "denied")
        return None

    @hookimpl(priority=Priority.LOWEST, specname="after_tool_execution")
    def redact(self, context: HookContext[ToolResult]) -> Modified | None:
        """Take the redacted values out of a result, and mark it."""
        shown, masked = self._both(context)
        if shown == masked:
            return None
        masked["metadata"]["redacted"] = list(self._redact)
        return context.modify(**masked)

    @hookimpl(kind="guard", priority=Priority.LOWEST, specname="after_tool_execution")
    def withhold(self, context: HookContext[ToolResult]) -> Cancel | None:
        """Hold a result back that holds a redacted value all the same."""
        shown, masked = self._both(context)
        return None if shown == masked else Cancel("the result holds values that are to be redacted", "redacted")

    @hookimpl(kind="observe", thread=True, specname="before_tool_execution")
    def call_asked(self, context: HookContext[ToolCall]) -> None:
        """Log that a tool is asked for; a retried call is asked for once."""
        self._log.asked(context.operation.id, asked_row(context, context.subject, self._redact))

    @hookimpl(kind="observe", thread=True, specname="after_tool_execution")
    def call_ended(self, context: HookContext[ToolResult]) -> None:
        """Log how a call ended that had a result."""
        self._ended(context)

    @hookimpl(kind="observe", thread=True, specname="tool_error")
    def call_failed(self, context: HookContext[Failure]) -> None:
        """Log how a call ended that failed or was refused."""
        self._ended(context)

    @hookimpl(kind="observe", thread=True, specname="before_script_run")
    def script_asked(self, context: HookContext[ScriptRun]) -> None:
        """Log that a script is to run."""
        self._log.asked(context.operation.id, asked_row(context, context.subject, self._redact))

    @hookimpl(kind="observe", thread=True, specname="after_script_run")
    def script_ended(self, context: HookContext[ScriptResult]) -> None:
        """Log how a script ended."""
        self._ended(context)

    @hookimpl(kind="observe", thread=True, specname="script_error")
    def script_failed(self, context: HookContext[Failure]) -> None:
        """Log how a script ended that failed or was refused."""
        self._ended(context)

    def _ended(self, context: HookContext[Any]) -> None:
        asked = asked_row(context, context.request, self._redact)
        self._log.ended(context.operation.id, asked, ended_row(context, self._redact))

    def _both(self, context: HookContext[ToolResult]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The result's fields as they are, and as they may be shown."""
        if not self._redact:
            return {}, {}
        fields = ("result", "message", "error", "text", "metadata")
        shown = {name: thaw(getattr(context.subject, name)) for name in fields}
        parameters: Mapping[str, Any] = context.request.parameters
        return shown, Masking(self._redact, parameters).masked(shown)
