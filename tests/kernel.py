"""What the tests of the kernel share: tools and a language handed over in code, plugins of hooks, a scenario a point.

A `Bench` holds what the scenarios do to the host and what they saw: how often bodies ran, and with what.
"""

from __future__ import annotations

import inspect
import itertools
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import trio
import trio.testing
from pydantic import BaseModel, ConfigDict

import deploy_points
from artifact_scenarios import ARTIFACT_SCENARIOS
from deploy_points import Deployment
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import (
    Agent,
    AgentInput,
    AgentOutput,
    Calls,
    Failure,
    HookContext,
    HookResult,
    Message,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    OperationCancelledError,
    ProviderInfo,
    Tool,
    ToolContext,
    ToolError,
    custom_point,
    hookimpl,
)
from llmspell_hookspecs.agents import AgentContext
from llmspell_hookspecs.errors import (
    OperationTimeoutError,
    ResourceLimitError,
    ScriptError,
    SecurityError,
    StorageError,
    WorkflowError,
)
from llmspell_hookspecs.language import ScriptInterface
from llmspell_hookspecs.model import ChunkSink, Endpoint
from llmspell_hookspecs.points import HookPoint, points_of
from llmspell_hookspecs.results import Call
from llmspell_hookspecs.script import ScriptRun
from llmspell_hookspecs.tool import PathAccess
from llmspell_hookspecs.topics import own_points
from session_scenarios import SESSION_SCENARIOS
from state_scenarios import Counted, conflict, delete_state, migrate, read_state, write_state
from waiting import PATIENCE_S
from workflow_scenarios import WORKFLOW_SCENARIOS

T = TypeVar("T")
Body = Callable[[dict[str, Any], ToolContext], Awaitable[Any]]

POINTS: list[HookPoint] = list(own_points())
"""Every point that the host declares."""
ALL_POINTS = [*POINTS, custom_point("thing"), *points_of(deploy_points)]
"""... and those that plugins and users bring."""


class Anything(BaseModel):
    """Parameters of any name."""

    model_config = ConfigDict(extra="allow")


class _Made(Tool[Anything]):
    """A tool made by a test."""

    name = "made"
    body: ClassVar[Body]

    async def run(self, parameters: Anything, context: ToolContext) -> Any:
        return await type(self).body(parameters.model_dump(), context)


def make_tool(name: str, body: Body, **attributes: Any) -> type[Tool[Any]]:
    """Return a tool that does this."""
    namespace = {"name": name, "body": staticmethod(body), "repeatable": True, "__doc__": f"The {name}.", **attributes}
    return type(name, (_Made,), namespace)


def make_plugin(name: str, *hooks: tuple[str, Callable[..., Any], Mapping[str, Any]]) -> types.ModuleType:
    """Return a plugin module with these hooks: point, function, options."""
    module = types.ModuleType(name)
    for number, (point, function, options) in enumerate(hooks):
        marked = hookimpl(specname=point, **options)(_own(function))
        setattr(module, f"hook_{number}", marked)
    return module


def _own(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a copy that may be marked, and whose argument is named as hooks' are."""
    if inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function):
        code = function.__code__
        return types.FunctionType(code, function.__globals__, function.__name__, None, function.__closure__)

    def hook(context: HookContext[Any]) -> Any:
        return function(context)

    return hook


class MiniLanguage:
    """A language of four sentences; anything else is answered as it is."""

    name: ClassVar[str] = "mini"
    extensions: ClassVar[tuple[str, ...]] = (".mini",)

    def __init__(self, bench: Bench | None = None) -> None:
        self.hook_adapter = self
        self._bench = bench

    def adapt_context(self, context: HookContext[Any], /) -> Any:
        return {"point": context.point}

    def adapt_result(self, value: Any, context: HookContext[Any], /) -> HookResult | None:
        return None

    async def run(self, script: ScriptRun, interface: ScriptInterface, /) -> Any:
        """Return the text, run a tool, fail, or exceed a limit."""
        if self._bench is not None:
            await self._bench.ran(script.source)
        verb, _, rest = script.source.partition(" ")
        if verb == "call":
            return (await interface.services.get(Calls).call(rest)).result
        if verb == "fail":
            raise ScriptError(f"{script.name}: {rest}", file=script.name)
        if verb == "exceed":
            raise ScriptError(f"{script.name}: too much memory", file=script.name, code="memory_limit")
        return {"text": script.source}


class MiniModel:
    """A provider of models that say what they were told last, in one chunk."""

    name: ClassVar[str] = "mini"
    rank: ClassVar[int | None] = 1
    Settings: ClassVar[type[BaseModel]] = Anything

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def info(self) -> ProviderInfo:
        return ProviderInfo("mini", default_model="parrot", streams=True)

    def at(self, endpoint: Endpoint, /) -> MiniModel:
        return self

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        """Return the last message."""
        text = request.messages[-1].content
        await self._bench.ran(text)
        if sink is not None:
            await sink(ModelChunk(text=text))
        return ModelResponse(text)


def make_agent(bench: Bench) -> type[Agent]:
    """Return a kind of agent that says what it is told."""

    class MiniAgent(Agent):
        """Says what it is told."""

        kind = "mini"

        async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
            await bench.ran(input.text)
            return AgentOutput(input.text)

    return MiniAgent


class Bench:
    """What the scenarios act on.

    Attributes:
        runs: What the bodies were given, in order.
        side: How often the tool ``side`` ran.
        failing: How often the next bodies fail.
        counting: What of the storage counts as a body: ``get``, ``write``, or ``items`` for writes of values.
    """

    def __init__(self) -> None:
        self.runs: list[Any] = []
        self.side = 0
        self.failing = 0
        self.limits: list[Any] = []
        self.counting = ""

    async def ran(self, given: Any) -> None:
        """A body ran."""
        self.runs.append(given)
        if self.failing:
            self.failing -= 1
            raise ToolError("it broke", code="broken")

    async def echo(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        """The tool ``echo``."""
        self.limits.append(context.limits)
        await self.ran(parameters)
        match parameters.get("do"):
            case "deny":
                raise SecurityError("echo: forbidden", rule="path")
            case "exceed":
                raise ResourceLimitError("echo: too much", resource="memory_bytes", limit=1)
            case "sleep":
                await trio.sleep(0.05)
        return {"text": parameters.get("text", "")}

    async def other(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        """The tool ``other``: where Redirects lead."""
        discovers = {"tag", "tools"} & set(parameters) and "messages" not in parameters
        return {"tools": [{"name": "other"}]} if discovers else {"text": "other"}

    async def aside(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        """The tool ``side``: what Forks run."""
        self.side += 1
        return None

    @property
    def plugins(self) -> list[Any]:
        """What is handed over."""
        tools = [make_tool("echo", self.echo), make_tool("other", self.other), make_tool("side", self.aside)]
        return [*tools, MiniLanguage(self), MiniModel(self), make_agent(self), Counted(self), deploy_points]


class Refused:
    """A plugin that cannot be registered."""

    @hookimpl
    def before_nothing_at_all(self, context: HookContext[Any]) -> None:
        return None


@asynccontextmanager
async def opened(*plugins: Any, settings: Mapping[str, Any] | None = None, **options: Any) -> AsyncIterator[Host]:
    """Open a host with these plugins, these settings and nothing else; what it keeps is in memory.

    The hooks in the box are only there if the settings have a table ``plugins``.
    """
    backend = "counted" if any(isinstance(plugin, Counted) for plugin in plugins) else "memory"
    quiet = {"storage": {"backend": backend}, "plugins": {"disabled": ["model_retry"]}}
    loaded = load_settings({**quiet, **(settings or {})}, environment={}, cwd=Path(__file__).parent)
    async with Host.open(loaded, plugins=plugins, discover=False, **options) as host:
        yield host


def run(main: Callable[[], Awaitable[T]], *, virtual: bool = False) -> T:
    """Run an async test, on a clock that jumps if ``virtual``."""
    clock = trio.testing.MockClock(autojump_threshold=0) if virtual else None

    async def bounded() -> T:
        with trio.fail_after(1e6 if virtual else PATIENCE_S):
            return await main()

    return trio.run(bounded, clock=clock)


# How each point is made to fire. A scenario answers the text that comes out.

Fire = Callable[[Host, Bench], Awaitable[Any]]


async def call_echo(host: Host, bench: Bench) -> Any:
    """Call the tool."""
    return (await host.call("tool:echo", {"text": "plain"})).result["text"]


async def fail_echo(host: Host, bench: Bench) -> Any:
    """Call the tool, which fails once."""
    bench.failing = 1
    return (await host.call("tool:echo", {"text": "plain"})).result["text"]


async def late_echo(host: Host, bench: Bench) -> Any:
    """Call the tool with too little time."""
    return (await host.call("tool:echo", {"do": "sleep"}, deadline_s=0.01)).result["text"]


def doing(what: str) -> Fire:
    """Return a scenario in which the tool does this."""

    async def fire(host: Host, bench: Bench) -> Any:
        return (await host.call("tool:echo", {"do": what, "text": "plain"})).result["text"]

    return fire


async def run_mini(host: Host, bench: Bench) -> Any:
    """Run a script."""
    return (await host.run_source("plain", "mini"))["text"]


async def fail_mini(host: Host, bench: Bench) -> Any:
    """Run a script that fails once."""
    bench.failing = 1
    return (await host.run_source("plain", "mini"))["text"]


async def ask_model(host: Host, bench: Bench) -> Any:
    """Ask a model."""
    return (await host.models.complete(ModelRequest("mini/parrot", (Message("user", "plain"),)))).text


async def fail_model(host: Host, bench: Bench) -> Any:
    """Ask a model, which fails once."""
    bench.failing = 1
    return await ask_model(host, bench)


async def stream_model(host: Host, bench: Bench) -> Any:
    """Ask a model, and return what its chunks say."""
    texts: list[str] = []

    async def sink(chunk: ModelChunk) -> None:
        texts.append(chunk.text)

    request = ModelRequest("mini/parrot", (Message("user", "plain"),))
    response = await host.models.complete(request, sink=sink)
    assert "".join(texts) == response.text
    return response.text


async def make_mini(host: Host, bench: Bench) -> Any:
    """Make an agent and shut it down."""
    agent = await host.agents.create(name="echo", kind="mini", description="plain")
    described = agent.info.description
    await agent.close()
    return described


async def live_mini(host: Host, bench: Bench) -> Any:
    """Pause an agent and let it go on, bring it into trouble and out of it."""
    agent = host.agents.get("echo") or await host.agents.create(name="echo", kind="mini")
    await agent.pause("tea")
    await agent.resume()
    await agent.set_error("it rained")
    await agent.recover()
    return "plain" if agent.info.state == "ready" else agent.info.state


async def run_agent(host: Host, bench: Bench) -> Any:
    """Ask an agent."""
    agent = host.agents.get("echo") or await host.agents.create(name="echo", kind="mini")
    return (await agent.run("plain")).text


async def fail_agent(host: Host, bench: Bench) -> Any:
    """Ask an agent, which fails once."""
    bench.failing = 1
    return await run_agent(host, bench)


async def hand_over(host: Host, bench: Bench) -> Any:
    """Let an agent hand over to another one; what its model is told of a denial is raised."""
    if host.agents.get("echo") is None:
        await host.agents.create(name="echo", kind="mini")
    clerk = await host.agents.create(name="clerk", model="offline/rules", handoffs=["echo"])
    output = await clerk.run('use transfer_to_echo {"question": "plain"}')
    (record,) = output.tool_calls
    if record.status == "denied":
        reason, _, code = record.text.removeprefix("denied: ").removesuffix(")").partition(" (")
        raise OperationCancelledError("denied", hook=record.hook, point=record.point, reason=reason, code=code)
    return output.text


async def discover(host: Host, bench: Bench) -> Any:
    """Ask which tools there are."""
    listed = await host.tools.discover(tag="echo")
    return listed[0]["name"]


async def change(host: Host, bench: Bench) -> Any:
    """Change a setting."""
    await host.settings.change("limits.hops", 3)
    return "plain"


async def nothing(host: Host, bench: Bench) -> Any:
    """Leave it to the host's own opening and closing."""
    return "plain"


async def busy(host: Host, bench: Bench) -> Any:
    """Keep the processor busy until it is noticed."""
    for _ in range(20):
        with trio.move_on_after(0.02):
            while True:
                await trio.lowlevel.checkpoint()
    return "plain"


def firing(name: str, value: Any = Deployment("plain")) -> Fire:  # noqa: B008 - frozen
    """Return a scenario that fires a point that anyone may fire."""

    async def fire(host: Host, bench: Bench) -> Any:
        left = await host.hooks.fire(name, value)
        return left["text"] if isinstance(left, dict) else left.text

    return fire


async def publish(host: Host, bench: Bench) -> Any:
    """Publish an event, which somebody receives."""
    async with host.events.subscribe("greeting.*") as greetings:
        try:
            return host.events.publish_nowait("greeting.sent", {"text": "plain"}).data["text"]
        finally:
            while (received := greetings.receive_nowait()) is not None:
                bench.runs.append(received)


async def mishandle(host: Host, bench: Bench) -> Any:
    """Publish an event whose handler fails."""
    handled = trio.Event()

    def fail(received: Any) -> None:
        handled.set()
        raise ToolError("it broke", code="broken")

    host.events.on("greeting.*", fail)
    host.events.publish_nowait("greeting.sent")
    await handled.wait()
    await trio.testing.wait_all_tasks_blocked()
    return "plain"


SCENARIOS: dict[str, Fire] = {
    "system_startup": nothing,
    "system_shutdown": nothing,
    "plugin_loaded": nothing,
    "plugin_failed": nothing,
    "memory_usage_high": busy,
    "cpu_usage_high": busy,
    "configuration_change": change,
    "resource_limit_exceeded": doing("exceed"),
    "security_violation": doing("deny"),
    "performance_threshold_exceeded": doing("sleep"),
    "before_script_run": run_mini,
    "around_script_run": run_mini,
    "after_script_run": run_mini,
    "script_error": fail_mini,
    "before_tool_discovery": discover,
    "after_tool_discovery": discover,
    "tool_parameter_validation": call_echo,
    "tool_security_check": call_echo,
    "tool_resource_allocated": call_echo,
    "before_tool_execution": call_echo,
    "around_tool_execution": call_echo,
    "after_tool_execution": call_echo,
    "tool_error": fail_echo,
    "tool_timeout": late_echo,
    "tool_resource_released": call_echo,
    "before_model_call": ask_model,
    "around_model_call": ask_model,
    "after_model_call": ask_model,
    "model_error": fail_model,
    "model_chunk": stream_model,
    "before_agent_init": make_mini,
    "after_agent_init": make_mini,
    "before_agent_execution": run_agent,
    "around_agent_execution": run_agent,
    "after_agent_execution": run_agent,
    "agent_error": fail_agent,
    "agent_handoff": hand_over,
    "before_agent_shutdown": make_mini,
    "after_agent_shutdown": make_mini,
    "agent_state_changed": live_mini,
    "agent_paused": live_mini,
    "agent_resumed": live_mini,
    "agent_recovering": live_mini,
    "before_event_emit": publish,
    "after_event_emit": publish,
    "event_handler_error": mishandle,
    "before_state_read": read_state,
    "after_state_read": read_state,
    "before_state_write": write_state,
    "after_state_write": write_state,
    "before_state_delete": delete_state,
    "after_state_delete": delete_state,
    "state_conflict": conflict,
    "state_migration": migrate,
    **SESSION_SCENARIOS,
    **ARTIFACT_SCENARIOS,
    **WORKFLOW_SCENARIOS,
    "custom:thing": firing("custom:thing", {"text": "plain"}),
    "before_deploy": firing("before_deploy"),
    "around_deploy": firing("around_deploy"),
    "after_deploy": firing("after_deploy"),
    "deploy_error": firing("deploy_error", Failure("Broken", "it broke", "broken")),
    "deploy_choice": firing("deploy_choice"),
    "deploy_check": firing("deploy_check"),
    "deploy_notice": firing("deploy_notice"),
}
FAILS: dict[str, type[Exception]] = {
    "resource_limit_exceeded": ResourceLimitError,
    "security_violation": SecurityError,
    "script_error": ToolError,
    "tool_error": ToolError,
    "tool_timeout": OperationTimeoutError,
    "model_error": ToolError,
    "agent_error": ToolError,
    "workflow_error": WorkflowError,
    "state_conflict": StorageError,
    "deploy_error": Exception,
}
"""Which scenarios end in an error of their own."""
SETTINGS: dict[str, Mapping[str, Any]] = {
    "memory_usage_high": {"performance": {"memory_high_bytes": 1, "sample_interval_s": 0.01}},
    "cpu_usage_high": {"performance": {"cpu_high_percent": 0.001, "sample_interval_s": 0.01}},
    "performance_threshold_exceeded": {"performance": {"slow_operation_ms": 1}},
}
MORE_PLUGINS: dict[str, list[Any]] = {"plugin_failed": [Refused]}
HOST_LEVEL = frozenset(
    {
        "system_startup",
        "system_shutdown",
        "plugin_loaded",
        "plugin_failed",
        "memory_usage_high",
        "cpu_usage_high",
        "event_handler_error",
        "session_checkpoint",
        "session_end",
        "artifact_validated",
        "artifact_validation_failed",
        "artifact_accessed",
        "artifact_derived",
    }
)
"""Points that are asked on nobody's behalf, or of what is done: there a wrong answer is kept in ``host.problems``."""


def side_call() -> Call:
    """Return what Forks run."""
    return Call("tool:side")


def numbered(prefix: str) -> Callable[[], str]:
    """Return a maker of names."""
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers)}"


__all__ = [
    "ALL_POINTS",
    "FAILS",
    "HOST_LEVEL",
    "MORE_PLUGINS",
    "POINTS",
    "SCENARIOS",
    "SETTINGS",
    "Bench",
    "MiniLanguage",
    "PathAccess",
    "make_plugin",
    "make_tool",
    "numbered",
    "opened",
    "run",
    "side_call",
]
