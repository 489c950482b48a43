"""The plugin artifact_collector: large results of tools and outputs of workflows become artifacts of their session.

Invariant: it watches, and changes no result; what cannot be stored is told among the host's problems, and harms nobody.
Sizes in bytes.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import HookContext, LlmspellError, Services, ToolResult, hookimpl
from llmspell_hookspecs.artifacts import ArtifactDraft, Artifacts
from llmspell_hookspecs.fit import plain
from llmspell_hookspecs.globs import Globs
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.workflow import WorkflowOutput

__all__ = ["ArtifactCollector", "CollectorSettings"]


class CollectorSettings(BaseModel):
    """``[plugins.artifact_collector]``: which results become artifacts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_bytes: int = Field(default=16_384, ge=0, description="From which size on, as text or JSON.")
    match: tuple[str, ...] = Field(
        default=("tool:*", "workflow:*"), description="Globs for addresses, of which one matches."
    )
    outside: bool = Field(default=False, description="Whether also what runs in no session is kept, as the host's.")
    tags: tuple[str, ...] = Field(default=("collected",), description="Tags of what is kept.")


class ArtifactCollector:
    """Stores what is large."""

    name: ClassVar[str] = "artifact_collector"
    Settings: ClassVar[type[CollectorSettings]] = CollectorSettings

    def __init__(self, settings: CollectorSettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._operations = services.get(Operations)
        self._globs = Globs(settings.match)

    @hookimpl(kind="observe")
    async def after_tool_execution(self, context: HookContext[ToolResult]) -> None:
        """Store a tool's result if it is large."""
        result = context.subject
        value = result.text if result.result is None and result.text is not None else result.result
        await self._collect(context, value, "tool_result")

    @hookimpl(kind="observe")
    async def after_workflow_complete(self, context: HookContext[WorkflowOutput]) -> None:
        """Store a workflow's output if it is large."""
        await self._collect(context, context.subject.output, "workflow_output")

    async def _collect(self, context: HookContext[Any], value: Any, type: str) -> None:
        component, operation = context.component, context.operation
        if value is None or not (operation.session_id or self._settings.outside):
            return
        if not self._globs.match(f"{component.kind}:{component.name}"):
            return
        content = await self._operations.beside(value, _content_of, value)
        if len(content) < self._settings.min_bytes:
            return
        kind = "text/plain; charset=utf-8" if isinstance(value, str) else "application/json"
        draft = ArtifactDraft(
            component.name,
            type=type,
            mime_type="application/octet-stream" if isinstance(value, bytes) else kind,
            tags=self._settings.tags,
            custom={"operation": operation.id, "correlation": operation.correlation_id},
            created_by=f"{component.kind}:{component.name}",
        )
        try:
            await (await self._services.enter(Artifacts)).put(draft, content)
        except LlmspellError as error:
            self._operations.problem(error)


def _content_of(value: Any, *_: Any) -> bytes:
    """Return a result as bytes: a text as it is, anything else as JSON."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return msgspec.json.encode(plain(value), enc_hook=str)
