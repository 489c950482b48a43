"""The topic tool: what a tool is, what it is called with, what it answers, and the points around a call.

A call goes through eight phases, each a hook point: parameter validation, security check, resource allocation, before,
after, error, timeout, release. Sizes in bytes, durations in seconds.

It is longer than most because the structs stand before the eight points that carry them.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from msgspec import Struct
from pydantic import BaseModel

from .components import ComponentMetadata, SecurityLevel
from .context import Failure, HookContext, OperationRef
from .payload import payload_of
from .plugin import Services
from .points import Phase, hookpoint
from .results import HookResult

__all__ = [
    "Access",
    "AddressAccess",
    "HostAccess",
    "PathAccess",
    "ResourceAllocation",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolDiscovery",
    "ToolExample",
    "ToolLimits",
    "ToolListing",
    "ToolResult",
    "after_tool_discovery",
    "after_tool_execution",
    "around_tool_execution",
    "before_tool_discovery",
    "before_tool_execution",
    "tool_error",
    "tool_parameter_validation",
    "tool_resource_allocated",
    "tool_resource_released",
    "tool_security_check",
    "tool_timeout",
]

P = TypeVar("P", bound=BaseModel)


class PathAccess(Struct, frozen=True):
    """A parameter that names a file or folder.

    Attributes:
        field: The parameter's name.
        mode: What the call does with it.
    """

    field: str
    mode: Literal["read", "write"] = "read"


class HostAccess(Struct, frozen=True):
    """A parameter that holds a URL.

    Attributes:
        field: The parameter's name.
    """

    field: str


class AddressAccess(Struct, frozen=True):
    """A parameter that holds ``host:port``, for what talks no HTTP; judged as a URL is.

    Attributes:
        field: The parameter's name.
    """

    field: str


Access: typing.TypeAlias = PathAccess | HostAccess | AddressAccess


class ToolLimits(Struct, frozen=True):
    """What one call may use; settings can lower it.

    Attributes:
        time_s: How long it may take.
        memory_bytes: What it may load, and what a child process of its may allocate.
        output_bytes: How large its result may be, as JSON.
    """

    time_s: float = 30.0
    memory_bytes: int = 256 * 1024 * 1024
    output_bytes: int = 64 * 1024 * 1024


class ToolExample(Struct, frozen=True):
    """A call that shows what a tool does; checked at load, shown by ``tool info``, run by ``tool test``.

    Attributes:
        name: What it shows, in a few words.
        parameters: What the tool is given.
        result: What its payload must be; of a mapping, the fields that count. None if that is not the same each time.
        needs: What must be there first, such as ``a file photo.jpg``; one that needs something is shown and not run.
    """

    name: str
    parameters: Mapping[str, Any] = {}
    result: Any = None
    needs: str = ""

    def fits(self, payload: Any) -> bool:
        """Return whether a payload is what the example says."""
        return self.result is None or _fits(self.result, payload)


def _fits(expected: Any, payload: Any) -> bool:
    if isinstance(expected, Mapping) and isinstance(payload, Mapping):
        return all(key in payload and _fits(value, payload[key]) for key, value in expected.items())
    if isinstance(expected, list | tuple) and isinstance(payload, list | tuple):
        return len(expected) == len(payload) and all(map(_fits, expected, payload))
    return bool(expected == payload)


class ToolCall(Struct, frozen=True):
    """A call of a tool.

    Attributes:
        name: The tool's canonical name.
        parameters: As they will run: after validation paths are resolved and defaults filled in.
        category: The tool's category.
        level: The tool's security level, in lower case.
        addresses: For each parameter that holds a URL or ``host:port``, the addresses that its host was pinned to.
    """

    name: str
    parameters: Mapping[str, Any] = {}
    category: str = ""
    level: str = ""
    addresses: Mapping[str, tuple[str, ...]] = {}

    def payload(self) -> Any:
        """Return the parameters."""
        return self.parameters


class ToolResult(Struct, frozen=True):
    """The response envelope; the original's ResponseBuilder.

    Attributes:
        result: The payload.
        operation: Which of the tool's operations ran.
        success: False if the tool answers that it failed without raising.
        message: One sentence for people.
        error: Why not, if it did not succeed.
        text: Raw content, for tools whose answer is a text or a file.
        metadata: Facts about the run.
    """

    result: Any = None
    operation: str = ""
    success: bool = True
    message: str = ""
    error: Mapping[str, Any] | None = None
    text: str | None = None
    metadata: Mapping[str, Any] = {}

    def payload(self) -> Any:
        """Return the result itself."""
        return self.result

    @classmethod
    def of(cls, value: Any) -> ToolResult:
        """Return the envelope of a bare payload, a mapping of envelope fields, or another kind of result."""
        if isinstance(value, ToolResult):
            return value
        if isinstance(value, Mapping) and set(value) <= set(cls.__struct_fields__) and _MARKS & set(value):
            return ToolResult(**value)
        return ToolResult(result=payload_of(value))


_MARKS = frozenset({"result", "success", "error", "text", "message"})
"""Of which an envelope that is given as a mapping has one."""


class ResourceAllocation(Struct, frozen=True):
    """What a call has been given.

    Attributes:
        call: The call.
        limits: Its limits; a hook may lower them, never raise them.
    """

    call: ToolCall
    limits: ToolLimits


class ToolDiscovery(Struct, frozen=True):
    """A question for tools.

    Attributes:
        category: Only this category; empty for all.
        tag: Only those whose name, description or aliases contain this; empty for all.
    """

    category: str = ""
    tag: str = ""


class ToolListing(Struct, frozen=True):
    """The tools that a question found.

    Attributes:
        tools: What each tells of itself: name, description, category, version, level, aliases.
    """

    tools: tuple[Mapping[str, Any], ...] = ()

    def payload(self) -> Any:
        """Return the listing as a mapping."""
        return {"tools": self.tools}

    @classmethod
    def of(cls, value: Any) -> ToolListing:
        """Return the listing of a sequence of descriptions, ``{tools: ...}``, or another result with one in it."""
        if isinstance(value, ToolListing):
            return value
        held = payload_of(value)
        tools = held.get("tools", ()) if isinstance(held, Mapping) else held
        return ToolListing(tuple(tools) if isinstance(tools, list | tuple) else (tools,))


class ToolContext(Protocol):
    """What a tool is given beside its parameters."""

    @property
    def operation(self) -> OperationRef:
        """Which operation this is."""

    @property
    def limits(self) -> ToolLimits:
        """What this call may use."""

    @property
    def call(self) -> ToolCall:
        """The call as it was approved."""

    @property
    def key(self) -> str:
        """What stands for this call wherever its effect must happen once: 32 hex digits, the same at every attempt.

        Whoever makes the call may give it (`CallOptions`), so that it is the same when the call is made again.
        """

    @property
    def services(self) -> Services:
        """What the tool may use of the host."""

    def charge(self, size_bytes: int, /) -> None:
        """Count memory that the tool is about to hold.

        Raises:
            ResourceLimitError: The sum is above ``limits.memory_bytes``.
        """

    async def run_thread(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Run a sync function in a worker thread; a cancellation waits for it to end."""

    async def run_process(self, function: Callable[..., Any], /, *arguments: Any, work_s: float | None = None) -> Any:
        """Run a module-level function in a child process held to the limits; a cancellation kills it.

        Args:
            function: Importable in the child by its module and name.
            arguments: Picklable.
            work_s: How long it may work, in seconds, counted from when the child begins with it; as long as the call
                may if None.

        Raises:
            ResourceLimitError: The process ran out of memory.
            ToolError: ``timeout``, it worked longer than that.
        """


class Tool(Generic[P]):
    """A tool: subclass it with the pydantic model of its parameters and write `run`.

    Attributes:
        name: The canonical name.
        aliases: Further names.
        category: ``filesystem``, ``web``, ``api``, ``analysis``, ``data``, ``system``, ``media``, ``utility`` ...
        level: What it may touch.
        description: For people and models; the class's docstring if empty.
        limits: What one call may use.
        repeatable: Whether a call may run again after it ran (Retry at after and error points).
        effects: What becomes of them if a call is cut off and made again: ``""`` nobody knows; ``transactional``, they
            are writes to the state (or of another service that joins a `Transaction`), which a durable workflow
            commits with the stage's record; ``keyed``, those of calls with one `ToolContext.key` happen once.
        examples: Calls that show what it does.
        parameters: The pydantic model; taken from the type argument.
        Settings: A pydantic model for ``[tools.<name>]``, if it has settings.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    category: ClassVar[str] = "utility"
    level: ClassVar[SecurityLevel] = SecurityLevel.SAFE
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = ""
    limits: ClassVar[ToolLimits] = ToolLimits()
    repeatable: ClassVar[bool] = False
    effects: ClassVar[Literal["", "transactional", "keyed"]] = ""
    examples: ClassVar[Sequence[ToolExample]] = ()
    parameters: ClassVar[type[BaseModel]]
    Settings: ClassVar[type[BaseModel] | None] = None

    def __init__(self, settings: Any = None, services: Services | None = None) -> None:
        self.settings = settings if settings is not None or self.Settings is None else self.Settings()
        self.services = services

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for base in getattr(cls, "__orig_bases__", ()):
            arguments = typing.get_args(base)
            if arguments and isinstance(arguments[0], type) and issubclass(arguments[0], BaseModel):
                cls.parameters = arguments[0]
        if "description" not in cls.__dict__:
            cls.description = (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")

    @property
    def metadata(self) -> ComponentMetadata:
        """What it tells of itself."""
        return ComponentMetadata("tool", self.name, f"tool:{self.name}", self.version, self.description)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Return the JSON schema of the parameters, as models are given it."""
        return cls.parameters.model_json_schema()

    def access(self, parameters: P) -> Sequence[Access]:
        """Return which parameters name paths or URLs; the host resolves, judges and pins those before the call."""
        return ()

    async def run(self, parameters: P, context: ToolContext) -> Any:
        """Do it; answer a `ToolResult`, or the bare payload of one.

        Raises:
            ToolError: It could not be done.
        """
        raise TypeError(f"tool {self.name}: write its run method")


@hookpoint(phase=Phase.BEFORE, topic="tool")
def before_tool_discovery(context: HookContext[ToolDiscovery]) -> HookResult | None:
    """Somebody asks which tools there are.

    When: at each listing or search.
    Subject: the question.
    """


@hookpoint(phase=Phase.AFTER, topic="tool")
def after_tool_discovery(context: HookContext[ToolListing]) -> HookResult | None:
    """The tools were listed.

    When: after each listing or search.
    Subject: the listing; ``Modified`` may leave tools out.
    """


@hookpoint(phase=Phase.CHECK, topic="tool", aliases=("ToolValidation",))
def tool_parameter_validation(context: HookContext[ToolCall]) -> HookResult | None:
    """The parameters fit the tool's model.

    When: once for each attempt, after the host's own validation.
    Subject: the call, with defaults filled in.
    """


@hookpoint(phase=Phase.CHECK, topic="tool")
def tool_security_check(context: HookContext[ToolCall]) -> HookResult | None:
    """The call is within the rules on levels, paths and hosts.

    When: once for each attempt, after the host's own check.
    Subject: the call, with paths resolved and hosts pinned.
    """


@hookpoint(phase=Phase.DECISION, topic="tool")
def tool_resource_allocated(context: HookContext[ResourceAllocation]) -> HookResult | None:
    """The call has been given its limits.

    When: once for each attempt that will run.
    Subject: the limits; ``Modified`` or ``Replace`` may lower them.
    """


@hookpoint(phase=Phase.BEFORE, topic="tool")
def before_tool_execution(context: HookContext[ToolCall]) -> HookResult | None:
    """A tool is about to run.

    When: guards and observers once for each attempt; transforms once for each that starts from the original call.
    Subject: the call; ``Modified`` replaces it, ``Redirect`` names another tool.
    """


@hookpoint(phase=Phase.AROUND, topic="tool")
def around_tool_execution(context: HookContext[ToolCall]) -> HookResult | None:
    """A tool runs.

    When: once for each attempt, around the body; an async generator with one yield.
    Subject: the call.
    """


@hookpoint(phase=Phase.AFTER, topic="tool")
def after_tool_execution(context: HookContext[ToolResult]) -> HookResult | None:
    """A tool has answered.

    When: once for each attempt that completed, or whose result was replaced.
    Subject: the result.
    """


@hookpoint(phase=Phase.ERROR, topic="tool", value=ToolResult)
def tool_error(context: HookContext[Failure]) -> HookResult | None:
    """A tool has failed.

    When: once for each attempt that failed; observers also when the call was cancelled.
    Subject: the failure.
    """


@hookpoint(phase=Phase.NOTICE, topic="tool")
def tool_timeout(context: HookContext[ToolCall]) -> HookResult | None:
    """A tool's deadline has passed.

    When: before ``tool_error``.
    Subject: the call.
    """


@hookpoint(phase=Phase.NOTICE, topic="tool")
def tool_resource_released(context: HookContext[ResourceAllocation]) -> HookResult | None:
    """What the call had been given is free again.

    When: last, whatever became of the call, if it was allocated.
    Subject: what it had.
    """
