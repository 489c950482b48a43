"""A workflow as scripts hold it.

Invariant: a script runs what it made and what is open to all; it removes only what it made.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from blake3 import blake3
from msgspec import structs

from llmspell_hookspecs import Events, InvalidInputError, Services, State, script_method
from llmspell_hookspecs.errors import (
    LlmspellError,
    OperationCancelledError,
    SecurityError,
    WorkflowError,
    text_of_error,
)
from llmspell_hookspecs.language import ScriptFunction, ScriptObject, ScriptScope
from llmspell_hookspecs.values import thaw
from llmspell_hookspecs.workflow import WorkflowOutput
from llmspell_hookspecs.workflows import WorkflowHandle, Workflows

from .answer import answer_table, failed_table
from .asked import read_options, read_verdicts

__all__ = ["Manners", "WorkflowInstance", "origin_of"]

_log = logging.getLogger("llmspell.script")
_TIMES: Final = ("before_execute", "after_execute", "error")
_RUN: Final = {"run_id": (str, "a text"), "durable": (bool, "true or false")}
_RESUME: Final = dict.fromkeys(("take_over", "accept_changed"), (bool, "true or false"))


def origin_of(scope: ScriptScope) -> str:
    """Return what tells one script from another whenever they run: the file, or the text of one that has none."""
    script = scope.script
    return script.path or f"{script.name} {blake3(script.source.encode(errors='replace')).hexdigest(8)}"


class Manners:
    """What holds for all workflows of a script.

    Attributes:
        on_error: Called with the error of a run that failed.
        debug: Whether each run is logged.
    """

    def __init__(self) -> None:
        self.on_error: ScriptFunction | None = None
        self.debug = False


class WorkflowInstance(ScriptObject):
    """A workflow that can be run.

    Args:
        handle: The workflow.
        services: What it may use of the host.
        script: The run of the script that holds it.
        manners: What holds for all workflows of the script.
    """

    def __init__(self, handle: WorkflowHandle, services: Services, script: ScriptScope, manners: Manners) -> None:
        self._handle, self._services, self._script, self._manners = handle, services, script, manners
        self._last: WorkflowOutput | None = None
        self._callbacks: dict[str, list[ScriptFunction]] = {time: [] for time in _TIMES}
        self._busy_ms = 0.0
        self._kept: list[tuple[str, str]] = []

    @property
    def handle(self) -> WorkflowHandle:
        """The workflow."""
        return self._handle

    def script_fields(self) -> Mapping[str, Any]:
        """Return id, name, type and description."""
        return {**self.get_info(), "pattern": self._pattern, "description": self._handle.definition.description}

    def script_text(self) -> str:
        """Return its name."""
        return self._handle.name

    @property
    def _pattern(self) -> str:
        return self._handle.definition.pattern

    # Running.

    @script_method("run", "invoke", "execute_async", "run_async")
    async def execute(self, input: Any = None, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run it; returns a table with success, text, output, data (by step), error, duration_ms and metadata.

        A step that fails makes ``success`` false and is told as ``error``; what a hook denies, and what does not fit,
        is raised.

        Args:
            input: What ``{{input...}}`` names.
            options: ``durable``, whether the run is kept and may be resumed, and ``run_id``, its id.

        Raises:
            OperationCancelledError: A hook cancelled it, or one of its steps.
            OperationTimeoutError: It took longer than it may.
        """
        asked = read_options(f"workflow {self._handle.name}: execute", options, _RUN)
        return await self._go(partial(self._handle.run, {} if input is None else input, **asked), input)

    @script_method()
    async def resume(
        self, run_id: str, verdicts: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Go on with a durable run that this script began, in this run of it or another; returns what execute does.

        A step that is done does not run again. Of a run that waits, ``status`` is ``paused``, and ``waiting``
        names the steps.

        Args:
            run_id: The run's id, which execute returned as ``execution_id``.
            verdicts: What became of steps that were interrupted, by path: ``again``, ``skip``, ``done``, or a table
                with ``action`` and ``output``.
            options: ``take_over`` takes it from whoever seems to run it; ``accept_changed`` goes on with the workflow
                as it is now.

        Raises:
            ComponentNotFoundError: This script began no such run of a workflow of this name.
            SecurityError: This script did not make the workflow.
        """
        self._check_own("resume runs of")
        where = f"workflow {self._handle.name}: resume"
        said, asked = read_verdicts(where, verdicts), read_options(where, options, _RESUME)
        return await self._go(partial(self._handle.resume, str(run_id), verdicts=said, **asked), None)

    async def _go(self, run: Callable[[], Awaitable[WorkflowOutput]], input: Any) -> dict[str, Any]:
        told = {"workflow_id": self._handle.name, "workflow_name": self._handle.name, "input": thaw(input)}
        await self._call("before_execute", told)
        try:
            output = await run()
        except WorkflowError as error:
            table = await self._failed(error, told)
        except LlmspellError as error:
            await self._call("error", {**told, "error": text_of_error(error)})
            raise
        else:
            self._last = output
            table = answer_table(output)
            if output.status == "paused":
                details = await self._services.get(Workflows).run_details(output.run_id)
                table["waiting"] = [] if details is None else [*details.info.waiting]
        self._busy_ms += table["duration_ms"]
        await self._keep()
        if self._manners.debug:
            _log.info("%s: %s", self._handle.name, table["text"])
        await self._call("after_execute", {**told, "result": table})
        return table

    async def _failed(self, error: WorkflowError, told: Mapping[str, Any]) -> dict[str, Any]:
        output: Any = error.output
        text = text_of_error(error)
        self._last = output if isinstance(output, WorkflowOutput) else None
        await self._call("error", {**told, "error": text})
        if self._manners.on_error is not None:
            await self._manners.on_error(text, {**told, "error": text})
        return failed_table(self._last, self._handle.name, self._pattern, text)

    async def _call(self, time: str, told: Mapping[str, Any]) -> None:
        for function in self._callbacks[time]:
            await function(dict(told))

    async def _keep(self) -> None:
        """Keep the outputs of the last run where ``State.workflow_get`` finds them, as the original does.

        Those of the run before go, and these when the script ends: else the state would grow by each run.
        """
        await self.forget_outputs()
        if self._last is None:
            return
        state = self._services.get(State)
        for path, output in self._last.outputs.items():
            told = {"step_name": path.rpartition("/")[2], "step_id": path, "output": thaw(output)}
            try:
                await state.set(path, told, scope=f"workflow:{self._last.run_id}")
                self._kept.append((path, f"workflow:{self._last.run_id}"))
            except OperationCancelledError:
                raise
            except LlmspellError as error:  # it is too large, or none that can be kept
                _log.warning("%s: the output of %s is not kept: %s", self._handle.name, path, error)

    @script_method()
    def on_before_execute(self, function: ScriptFunction) -> None:
        """Call a function before each run, with workflow_id and input."""
        self._add("before_execute", function)

    @script_method()
    def on_after_execute(self, function: ScriptFunction) -> None:
        """Call a function after each run that ended, with workflow_id, input and result."""
        self._add("after_execute", function)

    @script_method()
    def on_error(self, function: ScriptFunction) -> None:
        """Call a function after each run that failed, with workflow_id, input and error."""
        self._add("error", function)

    def _add(self, time: str, function: Any) -> None:
        if not callable(function):
            raise InvalidInputError(f"Workflow.on_{time}: the function is missing; give one", field="function")
        self._callbacks[time].append(function)

    # What it yielded.

    @script_method("get_step_result", "get_result")
    def get_output(self, step: str) -> Any:
        """Return what a step yielded in the last run, or nothing."""
        outputs = {} if self._last is None else self._last.outputs
        if step in outputs:
            return thaw(outputs[step])
        return next((thaw(outputs[path]) for path in outputs if path.rpartition("/")[2] == step), None)

    @script_method("get_results")
    def get_all_outputs(self) -> dict[str, Any]:
        """Return what all steps yielded in the last run, by path."""
        return {} if self._last is None else {path: thaw(output) for path, output in self._last.outputs.items()}

    @script_method()
    def list_outputs(self) -> Sequence[str]:
        """Return the steps that yielded something in the last run."""
        return [] if self._last is None else [*self._last.outputs]

    @script_method()
    async def clear_outputs(self) -> dict[str, Any]:
        """Forget what the last run yielded; returns how much as ``deleted``."""
        last, self._last = self._last, None
        await self.forget_outputs()
        return {"deleted": 0 if last is None else len(last.outputs)}

    async def forget_outputs(self) -> None:
        """Keep in the state no more what the last run yielded."""
        kept, self._kept = self._kept, []
        for path, scope in kept:
            await self._services.get(State).delete(path, scope=scope)

    @script_method()
    def get_execution_id(self) -> str:
        """Return the id of the last run.

        Raises:
            InvalidInputError: It has not run yet.
        """
        if self._last is None:
            message = f"workflow {self._handle.name}: it has not run yet; call execute first"
            raise InvalidInputError(message, field="execution_id")
        return self._last.run_id

    # What it keeps.

    @script_method()
    async def get_state(self, key: str) -> Any:
        """Return what is kept under a key in the state of this workflow, or nothing."""
        return await self._services.get(State).get(key, scope=self._scope)

    @script_method()
    async def set_state(self, key: str, value: Any) -> bool:
        """Keep something in the state of this workflow, which outlives the script."""
        await self._services.get(State).set(key, value, scope=self._scope)
        return True

    @script_method()
    async def set_shared_data(self, key: str, value: Any) -> bool:
        """Set what its steps share when the next run begins."""
        self._check_own("change")
        definition = self._handle.definition
        self._handle.remove()
        changed = structs.replace(definition, shared={**definition.shared, key: value})
        self._handle = await self._services.get(Workflows).create(
            changed, scope=self._script.id, origin=origin_of(self._script)
        )
        return True

    @script_method()
    def get_shared_data(self, key: str) -> Any:
        """Return what its steps share under a key when a run begins, or nothing."""
        return thaw(self._handle.definition.shared.get(key))

    @property
    def _scope(self) -> str:
        return f"workflow:{self._handle.name}"

    # What is known of it.

    @script_method()
    def get_info(self) -> dict[str, Any]:
        """Return id, name and type."""
        return {"id": self._handle.name, "name": self._handle.name, "type": self._pattern}

    @script_method()
    def get_steps(self) -> Sequence[str]:
        """Return the names of its steps, those of branches included."""
        return [*self._handle.info.stages]

    @script_method()
    def validate(self) -> dict[str, Any]:
        """Return valid, workflow_id, warnings and errors; what is wrong is refused when a workflow is made."""
        steps = self._handle.info.stages
        warnings = [] if steps else ["it has no steps, so it does nothing"]
        return {"valid": True, "workflow_id": self._handle.name, "warnings": warnings, "errors": []}

    @script_method("metrics")
    def get_metrics(self) -> dict[str, Any]:
        """Return how often it ran, succeeded and failed, and how long a run took."""
        info = self._handle.info
        done = info.runs - info.failed
        execution = {
            "total_executions": info.runs,
            "successful_executions": done,
            "failed_executions": info.failed,
            "success_rate": done / info.runs if info.runs else 0.0,
            "average_duration_ms": self._busy_ms / info.runs if info.runs else 0.0,
        }
        return {"workflow_id": self._handle.name, "execution": execution}

    @script_method()
    def debug(self) -> dict[str, Any]:
        """Return all that is known of it: its info, its definition, its metrics and its last run."""
        last = None if self._last is None else {"execution_id": self._last.run_id, "status": self._last.status}
        told = {"definition": self.to_table(), "metrics": self.get_metrics(), "last_execution": last}
        return {**self.get_info(), **told}

    @script_method("to_dict", "get_definition")
    def to_table(self) -> dict[str, Any]:
        """Return its definition as a table; functions by their names."""
        table: dict[str, Any] = thaw(self._handle.to_dict())
        return table

    @script_method()
    async def emit(self, event: str, data: Any = None) -> dict[str, Any]:
        """Publish an event of this workflow: ``workflow.NAME.EVENT``."""
        name = f"workflow.{self._handle.name.replace(' ', '_')}.{event}"
        await self._services.get(Events).publish(name, {"workflow_id": self._handle.name, "data": data})
        return {"success": True, "workflow_id": self._handle.name, "event_name": name}

    @script_method("destroy", "close")
    async def remove(self) -> bool:
        """Forget it; what runs goes on.

        Raises:
            SecurityError: This script did not make it.
        """
        self._check_own("remove")
        await self.forget_outputs()
        known = self._services.get(Workflows).get(self._handle.name) is self._handle
        self._handle.remove()
        return known

    def _check_own(self, what: str) -> None:
        if self._handle.info.scope != self._script.id:
            message = f"workflow {self._handle.name}: this script did not make it, so it cannot {what} it"
            raise SecurityError(message, rule="scope")
