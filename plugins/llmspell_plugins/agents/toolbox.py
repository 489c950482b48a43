"""The tools of an agent: runs what a model asks for, through the runner, and puts the answers into words for it.

Invariant: whatever becomes of a tool, the model is told: its answer, ``denied: ...`` or ``error: ...``; only a
cancellation ends the run. Answers are told in the order in which they were asked for.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Final, Literal

import msgspec

from llmspell_hookspecs import Calls, LlmspellError, OperationCancelledError, Services, ToolResult
from llmspell_hookspecs.agent import AgentChunk, AgentConfig, AgentSink, ToolRecord
from llmspell_hookspecs.errors import HookError, line_of_error
from llmspell_hookspecs.model import ToolUse
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.payload import payload_of
from llmspell_hookspecs.workflows import Stage, WorkflowRun
from llmspell_plugins.json_text import is_small, sound, write_text

__all__ = ["Own", "Status", "Toolbox", "told_of"]

Status = Literal["completed", "failed", "denied"]
Own = Mapping[str, Callable[[ToolUse], Awaitable[tuple[Status, str]]]]
"""What an agent does itself when its model asks for it, by the name that the model sees; returns what that is told."""
_TOLD: Final = 100_000
_ODD: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_NOTHING: Final[Own] = {}


class Toolbox:
    """The tools that an agent may use.

    Args:
        config: Says how many run at once.
        services: Runs them.
        offered: The address of each, by the name that the model sees.
    """

    def __init__(self, config: AgentConfig, services: Services, offered: Mapping[str, str]) -> None:
        self._agent = config.name
        self._offered = offered
        self._parallel = config.max_parallel
        self._calls = services.get(Calls)
        self._operations = services.get(Operations)

    async def use(
        self, uses: Sequence[ToolUse], step: int, sink: AgentSink | None, own: Own = _NOTHING
    ) -> list[ToolRecord]:
        """Run these tools, side by side if there are several, and return what became of each."""
        if len(uses) == 1:
            return [await self._use(uses[0], step, sink, own)]
        calls = [partial(self._use, use, step, sink, own) for use in uses]
        ended = await self._operations.together(calls, self._parallel, stops=lambda error: True)
        failure = next((each.error for each in ended if each.error is not None), None)
        if failure is not None:  # the sink's own
            raise failure
        return [each.value for each in ended]

    async def use_kept(
        self, uses: Sequence[ToolUse], step: int, sink: AgentSink | None, records: WorkflowRun
    ) -> list[ToolRecord]:
        """Do the same as stages of a durable run: those that have ended there do not run again.

        Raises:
            LlmspellError: One of them waits for a person; the others have ended.
        """
        calls = [partial(self._use, use, step, sink, _NOTHING, records) for use in uses]
        ended = await records.together(calls, self._parallel)
        failure = next((each.error for each in ended if each.error is not None), None)
        if failure is not None:
            raise failure
        return [each.value for each in ended]

    async def _use(
        self, use: ToolUse, step: int, sink: AgentSink | None, own: Own, records: WorkflowRun | None = None
    ) -> ToolRecord:
        if sink is not None:
            await sink(AgentChunk("tool_use", tool_use=use, step=step))
        began = perf_counter()
        hook = point = ""
        try:
            status, text = await (self._run(use, own) if records is None else self._run_kept(use, step, records))
        except OperationCancelledError as error:
            code = "" if error.code == "denied" else f" ({error.code})"
            status, text, hook, point = "denied", f"denied: {error.reason}{code}", error.hook, error.point
        text = sound(text)
        if len(text) > _TOLD:
            text = f"{text[:_TOLD]}\n[cut: {len(text) - _TOLD} more characters]"
        elapsed_ms = (perf_counter() - began) * 1000
        record = ToolRecord(use.id, use.name, use.parameters, status, text, elapsed_ms, hook, point)
        if sink is not None:
            await sink(AgentChunk("tool_result", tool_result=record, step=step))
        return record

    def _problem(self, use: ToolUse, own: Own) -> str:
        """Return why a tool cannot be run, as its model is told; empty if it can."""
        if use.problem:
            return f"error: the parameters cannot be read: {use.problem}"
        if use.name not in self._offered and use.name not in own:
            known = ", ".join([*self._offered, *own]) or "none"
            return f"error: there is no tool {use.name!r}; there are {known}"
        return ""

    async def _run_kept(self, use: ToolUse, step: int, records: WorkflowRun) -> tuple[Status, str]:
        """Run a tool as a stage; its parameters are handed over as they are, not as texts with references."""
        problem = self._problem(use, _NOTHING)
        if problem:
            return "failed", problem
        address = self._offered[use.name]
        stage = Stage(_ODD.sub("_", address)[:100], address, input="{{loop:current_item}}", on_error="continue")
        record = await records.stage(stage, f"step.{step}/tool.{use.id}", {"current_item": dict(use.parameters)})
        if record.status != "done":
            return "failed", f"error: {record.error}"
        return await told_of(record.output)

    async def _run(self, use: ToolUse, own: Own) -> tuple[Status, str]:
        problem = self._problem(use, own)
        if problem:
            return "failed", problem
        address = self._offered.get(use.name)
        try:
            if address is None:
                return await own[use.name](use)
            return await told_of(await self._calls.call(address, dict(use.parameters)))
        except OperationCancelledError:
            raise
        except HookError as error:
            if address is None:  # of what the agent asks hooks itself; a tool's are told like all that it fails with
                raise
            return "failed", f"error: {error}"
        except LlmspellError as error:
            return "failed", f"error: {error}"
        except Exception as error:  # a tool's own fault must not end the run
            return "failed", f"error: {use.name} failed with {type(error).__name__}: {line_of_error(error)}"


async def told_of(answer: Any) -> tuple[Status, str]:
    """Return what a tool's answer is to the model: its content as text, or its payload as JSON."""
    result = answer if isinstance(answer, ToolResult) else ToolResult(payload_of(answer))
    if not result.success:
        reason = result.message or str((result.error or {}).get("message") or "it says that it failed")
        return "failed", f"error: {reason}"
    says_little = result.text == result.message and result.result is not None
    if result.text is not None and not says_little:
        return "completed", result.text
    if isinstance(result.result, str):
        return "completed", result.result
    if is_small(result.result):
        try:
            return "completed", msgspec.json.encode(result.result, enc_hook=str).decode()
        except UnicodeEncodeError:
            return "completed", msgspec.json.encode(sound(result.result), enc_hook=str).decode()
    return "completed", await write_text(result.result)
