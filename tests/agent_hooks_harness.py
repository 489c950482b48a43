"""A host as the conformance kit of agent-hooks drives one: an agent, its tools and its model, in a host of their own.

Nothing of the kit's own emitter runs: what asks the interceptors is the plugin agent_hooks, at the points of a real
host. ``module:Class`` for the kit's runner is ``agent_hooks_harness:LlmspellHarness``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from agent_hooks import DeclarationError, DeclarationErrorClass, Finding, HostRegistry, HostSurface
from agent_hooks.ctk.harness import Capability, RunOutcome, RunRecord, Scenario
from agent_hooks.ctk.scripted import redact_paths
from agent_hooks.declaration import BindingContext

from kernel import make_tool, opened
from llmspell_hookspecs import Services, ToolContext
from llmspell_hookspecs.errors import OperationCancelledError
from llmspell_hookspecs.model import ModelResponse, ToolUse
from llmspell_hookspecs.tool import ToolResult
from llmspell_plugins.hooks.agent_hooks.approval import Seam
from llmspell_plugins.hooks.agent_hooks.composition import Composition
from llmspell_plugins.hooks.agent_hooks.configuration import Binding, Configuration, IdentityProvider
from llmspell_plugins.hooks.agent_hooks.declaration import (
    BoundTo,
    DeclarationRefusedError,
    Registry,
    configured,
    parse_declaration,
)
from llmspell_plugins.hooks.agent_hooks.plugin import AgentHooks, AgentHooksSettings
from scripted_model import ScriptedModel

__all__ = ["CAPABILITIES", "LlmspellHarness"]

CAPABILITIES = frozenset(
    {
        Capability.MODEL_CALLS,
        Capability.TOOL_CALLS,
        Capability.PARALLEL_TOOL_CALLS,
        Capability.INT64_JSON,
        Capability.BIGINT_JSON,
        Capability.HOST_DECLARATION,
    }
)


class LlmspellHarness:
    """The harness; the kit makes one for each vector."""

    name = "llmspell"
    capabilities = CAPABILITIES
    tool_seam_host_error = "continue"

    def __init__(self) -> None:
        self._scenario: Scenario | None = None
        self._configuration: Configuration | None = None
        self._invocations: list[dict[str, Any]] = []

    def host_surface(self) -> HostSurface:
        return HostSurface.from_capabilities(sorted(each.value for each in self.capabilities))

    def declaration(self) -> None:
        return None

    def setup(
        self,
        scenario: Scenario,
        interceptors: list[Any],
        resolver: Any,
        mode: Any,
        composition: Any,
        identity_provider: str | None,
        redact_for_approval: list[str] | None = None,
    ) -> None:
        """Take what a vector says."""
        self._scenario = scenario
        paths = list(redact_for_approval or [])
        redactor = (lambda context: redact_paths(context, paths)) if paths else None
        wire = composition.to_wire()
        self._configuration = Configuration(
            bindings=tuple(map(Binding, interceptors)),
            composition=Composition.of(wire.pop("profile"), **wire),
            mode=mode.value,
            identity=_identity(identity_provider),
            seam=None if resolver is None else Seam(resolver, redactor),
        )

    def setup_declared(self, scenario: Scenario, document: Any, registry: HostRegistry) -> None:
        """Take what a document says; the kit's registry tells what the names in it stand for."""
        self._scenario = scenario
        try:
            self._configuration = configured(parse_declaration(json.dumps(document)), _registered(registry))
        except DeclarationRefusedError as refused:
            finding = Finding(pointer=refused.pointer, detail=refused.detail)
            raise DeclarationError(DeclarationErrorClass(refused.word), finding) from refused

    async def run(self) -> RunRecord:
        """Make the agent, ask it once, and close the host."""
        scenario = self._scenario
        assert scenario is not None
        plugin, made = _plugin(self._configuration)
        lines = [_line(each) for each in scenario.model_script]
        model = ScriptedModel(*(lines or [ModelResponse("")]))
        tools = [make_tool(name, self._body(scenario, name)) for name in scenario.tools]
        outcome, final, error = RunOutcome.COMPLETED, None, None
        async with opened(plugin, model, *tools) as host:
            try:
                agent = await host.agents.create(name="agent", model="scripted/play", tools=list(scenario.tools))
                final = (await agent.run(scenario.input["content"])).text
            except OperationCancelledError:
                outcome = RunOutcome.BLOCKED
            except Exception as failure:
                outcome, error = RunOutcome.ERROR, repr(failure)
        records = [dict(record) for record in made[0].records]
        return RunRecord(
            outcome=outcome,
            final_output=final,
            tool_invocations=self._invocations,
            error=error,
            identities=[(record["input_identity"], record["enforced_identity"]) for record in records],
            records=records,
        )

    def teardown(self) -> None:
        """Leave nothing."""

    def _body(self, scenario: Scenario, name: str) -> Callable[[dict[str, Any], ToolContext], Any]:
        async def body(parameters: dict[str, Any], context: ToolContext) -> Any:
            value, is_error = scenario.tools[name].invoke(parameters)
            self._invocations.append({"name": name, "args": parameters})
            return ToolResult(result=value, success=not is_error) if is_error else value

        return body


def _plugin(configuration: Configuration | None) -> tuple[type[AgentHooks], list[AgentHooks]]:
    made: list[AgentHooks] = []

    class Conforming(AgentHooks):
        name = "conforming"

        def __init__(self, settings: AgentHooksSettings, services: Services) -> None:
            super().__init__(settings, services)
            made.append(self)

        def configuration(self, settings: AgentHooksSettings, services: Services) -> Configuration:
            assert configuration is not None
            return configuration

    return Conforming, made


def _line(response: Any) -> ModelResponse:
    uses = tuple(ToolUse(each["id"], each["name"], each["args"]) for each in response.tool_calls)
    return ModelResponse(response.content or "", uses, response.finish_reason)


def _identity(name: str | None) -> IdentityProvider | None:
    if name == "ctk-fault":

        def fault(context: Mapping[str, Any]) -> str:
            raise RuntimeError("a provider that fails")

        return IdentityProvider(name, fault)
    return None if name is None else IdentityProvider()


def _registered(registry: HostRegistry) -> Registry:
    """The kit's registry as this host has them; it has no public way to read what is in it."""

    def kind(name: str) -> Callable[[Any, BoundTo], Any]:
        resolver: Any = registry._kind_resolver(name)

        def make(config: Any, told: BoundTo) -> Any:
            at: Any = told.points
            context = BindingContext(told.id, told.kind, at, told.timeout_s, None, "agent-hooks-declaration/1.0")
            return resolver(config, context)

        return make

    found: Any = registry
    return Registry(
        kinds={"ctk.scripted": kind("ctk.scripted")},
        identities={"ctk-fault": found._identity_fn("ctk-fault")},
        resolvers={"ctk-scripted": found._approval_resolver_ref("ctk-scripted")},
        redactors={"ctk-redact": found._redactor_fn("ctk-redact")},
    )
