"""The global Workflow: make workflows, find and run them.

Invariant: a workflow that a script made goes when the script ends. A script sees its own workflows and those of whoever
embeds the host, never another script's.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from llmspell_hookspecs import InvalidInputError, ScriptGlobal, Services, script_method
from llmspell_hookspecs.errors import ComponentNotFoundError
from llmspell_hookspecs.language import ScriptFunction, ScriptScope
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.workflows import WorkflowHandle, Workflows

from .builder import WorkflowBuilder
from .definition import name_of, read_workflow
from .instance import Manners, WorkflowInstance, origin_of

__all__ = ["WorkflowGlobal"]

_FEATURES: Final = {
    "sequential": ["sequential_execution", "error_propagation", "state_sharing"],
    "parallel": ["concurrent_execution", "branch_isolation", "max_concurrency"],
    "conditional": ["branching_logic", "dynamic_routing", "condition_evaluation"],
    "loop": ["iteration", "break_conditions", "aggregation"],
}
"""What the original tells of its four types."""


class WorkflowGlobal(ScriptGlobal):
    """Make workflows, find and run them."""

    name: ClassVar[str] = "Workflow"

    def __init__(self, services: Services, scope: ScriptScope) -> None:
        super().__init__(services, scope)
        self._closes = self._ended = False
        self._held: dict[str, WorkflowInstance] = {}
        self._manners = Manners()

    # Making.

    @script_method()
    def builder(self) -> WorkflowBuilder:
        """Return a builder: ``Workflow.builder():name("report"):sequential():add_step{...}:build()``."""
        return WorkflowBuilder(self._make)

    @script_method()
    async def sequential(self, config: Mapping[str, Any]) -> WorkflowInstance:
        """Make a workflow whose steps run one after the other: name, steps, error_strategy, timeout_ms."""
        return await self._make("Workflow.sequential", "sequential", config)

    @script_method()
    async def parallel(self, config: Mapping[str, Any]) -> WorkflowInstance:
        """Make a workflow of branches (or steps) beside each other: name, branches, max_concurrency, fail_fast."""
        return await self._make("Workflow.parallel", "parallel", config)

    @script_method()
    async def conditional(self, config: Mapping[str, Any]) -> WorkflowInstance:
        """Make a workflow of branches with conditions: name, branches, default_branch, execute_all_matching."""
        return await self._make("Workflow.conditional", "conditional", config)

    @script_method()
    async def loop(self, config: Mapping[str, Any]) -> WorkflowInstance:
        """Make a workflow whose body runs again and again: name, iterator, body, break_conditions, aggregation."""
        return await self._make("Workflow.loop", "loop", config)

    @script_method("mapreduce")
    async def map_reduce(self, config: Mapping[str, Any]) -> WorkflowInstance:
        """Make a workflow whose steps run for each item: name, items, steps, reduce, max_concurrency."""
        return await self._make("Workflow.map_reduce", "map_reduce", config)

    @script_method()
    async def pipeline(self, config: Mapping[str, Any]) -> WorkflowInstance:
        """Make a workflow through whose steps items stream: name, items, steps."""
        return await self._make("Workflow.pipeline", "pipeline", config)

    @script_method("dag")
    async def graph(self, config: Mapping[str, Any]) -> WorkflowInstance:
        """Make a workflow whose steps run as soon as those that they need have: name, steps with needs."""
        return await self._make("Workflow.graph", "graph", config)

    @script_method("new")
    async def create(self, config: Mapping[str, Any]) -> WorkflowInstance:
        """Make a workflow of the pattern that ``type`` (or ``pattern``) names.

        Raises:
            InvalidInputError: Something of it is wrong.
            ComponentNotFoundError: There is no such pattern; what its steps name is looked for when they run.
        """
        table = dict(config)
        pattern = table.pop("pattern", None) or table.pop("type", None)
        table.pop("type", None)
        if not isinstance(pattern, str):
            known = ", ".join(self._workflows.patterns())
            raise InvalidInputError(f"Workflow.create: the type is missing; give one of {known}", field="type")
        return await self._make("Workflow.create", pattern, table)

    @script_method()
    async def register(self, type: str, config: Mapping[str, Any]) -> str:
        """Make a workflow of a type and return its id."""
        return (await self._make("Workflow.register", type, config)).script_text()

    # Running and finding.

    @script_method("run", "execute_async", "run_async")
    async def execute(
        self, workflow: Any, input: Any = None, options: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run a workflow, given it, its id, or a table with a type to make it from; options as of its execute.

        Raises:
            ComponentNotFoundError: There is none.
        """
        if isinstance(workflow, WorkflowInstance):
            return await workflow.execute(input, options)
        if isinstance(workflow, Mapping):
            return await (await self.create(workflow)).execute(input, options)
        found = self.get(str(workflow))
        if found is None:
            names = ", ".join(self._visible()) or "none"
            message = f"Workflow.execute: there is no workflow {workflow!r:.80}; there are {names}"
            raise ComponentNotFoundError(message, address=f"workflow:{workflow}")
        return await found.execute(input, options)

    @script_method()
    async def resume(
        self, run_id: str, verdicts: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Go on with a durable run of a workflow that this script has made again; arguments as of its resume.

        Raises:
            ComponentNotFoundError: This script began no such run, or has not made the workflow again.
        """
        details = await self._workflows.run_details(str(run_id))
        own = None if details is None else self.get(details.info.name)
        if own is None or own.handle.info.scope != self.scope.id:
            message = f"Workflow.resume: there is no run {told(run_id)} of a workflow of this script"
            raise ComponentNotFoundError(f"{message}; make it again first, under the same name", address=str(run_id))
        return await own.resume(run_id, verdicts, options)

    @script_method()
    def get(self, id: str) -> WorkflowInstance | None:
        """Return the workflow of this id, or nothing."""
        handle = self._visible().get(id)
        return None if handle is None else self._instance(handle)

    @script_method("exists")
    def has(self, id: str) -> bool:
        """Return whether there is such a workflow."""
        return id in self._visible()

    @script_method()
    def list(self) -> Sequence[dict[str, Any]]:
        """Return all workflows: id, name, type (``instance``), pattern and description of each."""
        infos = [handle.info for handle in self._visible().values()]
        return [
            {"id": each.name, "name": each.name, "type": "instance", "pattern": each.pattern, "steps": [*each.stages]}
            for each in infos
        ]

    @script_method("list_types")
    def types(self) -> Sequence[str]:
        """Return the names of the patterns."""
        return [*self._workflows.patterns()]

    @script_method("discover")
    def discover_types(self) -> Sequence[dict[str, Any]]:
        """Return the patterns: id, type, description and features of each."""
        return [
            {"id": name, "type": name, "description": text, "features": _FEATURES.get(name, [])}
            for name, text in self._workflows.patterns().items()
        ]

    @script_method("destroy")
    async def remove(self, id: str) -> bool:
        """Forget a workflow of this script; false if there is none of this id."""
        found = self.get(id)
        self._held.pop(id, None)
        return found is not None and await found.remove()

    @script_method()
    async def clear(self) -> int:
        """Forget all workflows of this script; returns how many."""
        held, self._held = self._held, {}
        count = self._workflows.close_scope(self.scope.id)
        for instance in held.values():
            await instance.forget_outputs()
        return count

    # Manners.

    @script_method()
    def set_default_error_handler(self, function: ScriptFunction | None = None) -> None:
        """Call a function with the error of each run that fails, and a table that names the workflow."""
        if function is not None and not callable(function):
            message = "Workflow.set_default_error_handler: the function is missing; give one"
            raise InvalidInputError(message, field="function")
        self._manners.on_error = function

    @script_method()
    def enable_debug(self, wanted: bool = True) -> None:
        """Log how each run ends."""
        self._manners.debug = wanted

    @script_method()
    def is_debug_enabled(self) -> bool:
        """Return whether each run is logged."""
        return self._manners.debug

    @property
    def _workflows(self) -> Workflows:
        return self.services.get(Workflows)

    async def _make(self, where: str, pattern: str, config: Mapping[str, Any]) -> WorkflowInstance:
        name = self._free(name_of(config.get("name") or config.get("id") or f"workflow_{secrets.token_hex(4)}"))
        definition = read_workflow(f"{where} {name}", pattern, {**config, "name": name}, name)
        if not self._closes:
            self._closes = True
            self.scope.on_close(self._leave)
        handle = await self._workflows.create(definition, scope=self.scope.id, origin=origin_of(self.scope))
        if self._ended:
            await self._leave()
            raise InvalidInputError(f"{where}: the script has ended; make workflows before that", field="name")
        return self._instance(handle)

    def _free(self, name: str) -> str:
        """Return a name that nobody has: scripts of the original make several of one name, and tell them by ids."""
        return name if self._workflows.get(name) is None else f"{name[:91]}_{secrets.token_hex(4)}"

    def _instance(self, handle: WorkflowHandle) -> WorkflowInstance:
        """The same object for the same workflow."""
        held = self._held.get(handle.name)
        if held is None or held.handle is not handle:
            held = self._held[handle.name] = WorkflowInstance(handle, self.services, self.scope, self._manners)
        return held

    async def _leave(self) -> None:
        self._ended = True
        await self.clear()

    def _visible(self) -> dict[str, WorkflowHandle]:
        found: dict[str, WorkflowHandle] = {}
        for info in self._workflows.list():
            handle = self._workflows.get(info.name)
            if handle is not None and info.scope in ("", self.scope.id):
                found[info.name] = handle
        return found
