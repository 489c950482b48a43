"""Running tools: what a tool call adds to the operation around it.

The eight phases: validation, security check, allocation (here, in `prepare`), before, after, error, timeout (the
runner's), release.

Invariant: a tool runs with exactly the parameters that the guards saw: validated, with paths resolved and hosts pinned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, structs
from pydantic import BaseModel, ValidationError

from llmspell.components.envelope import outgrows
from llmspell.foreign import Blamed, text_of
from llmspell.operations import Asker, Operation, OperationKind, Runner, freeze_fields, plain
from llmspell.policy import Policies
from llmspell.security import ProcessPool, judge_level
from llmspell_hookspecs import (
    CallOptions,
    ComponentRef,
    FileAccess,
    HostAccess,
    InvalidInputError,
    LlmspellError,
    NetworkAccess,
    PathAccess,
    ResourceAllocation,
    ResourceLimitError,
    SecurityError,
    Services,
    Tool,
    ToolCall,
    ToolDiscovery,
    ToolError,
    ToolLimits,
    ToolListing,
    ToolResult,
    hide,
    payload_of,
    restore,
    reveal,
    thaw,
)
from llmspell_hookspecs.parameters import UnknownKey, unknown_keys, without_keys
from llmspell_hookspecs.spelling import spelled_path, true_path

from .context import CallContext
from .hiding import hidden_input, hidden_model
from .registry import ToolRegistry

__all__ = ["TOOL", "TOOL_DISCOVERY", "ToolRunner"]


def _payload(value: Any) -> Any:
    """What another component is given: a tool's answer, or what it was to be given, as plain values."""
    if not isinstance(value, ToolCall):
        return payload_of(value)
    return thaw({key: item for key, item in value.parameters.items() if not str(key).startswith("_")})


def _facts(result: ToolResult) -> Mapping[str, Any]:
    return {"success": result.success, "operation": result.operation}


TOOL: Final = OperationKind(
    name="tool",
    before="before_tool_execution",
    around="around_tool_execution",
    after="after_tool_execution",
    error="tool_error",
    timeout="tool_timeout",
    result=ToolResult,
    to_result=ToolResult.of,
    payload=_payload,
    events=True,
    facts=_facts,
)
TOOL_DISCOVERY: Final = OperationKind(
    name="tool_discovery",
    before="before_tool_discovery",
    after="after_tool_discovery",
    result=ToolListing,
    to_result=ToolListing.of,
    payload=plain,
)


_RAW: Final = (RecursionError, ValueError, TypeError, OverflowError)
"""What a value that a tool did not think of raises in it."""
_LONGEST: Final = 300
_FLAT: Final = frozenset({str, int, float, bool, bytes, type(None)})
"""What hides no secret, and is nobody else's."""


class _House(Struct, frozen=True):
    """What every call needs of the host."""

    runner: Runner
    policies: Policies
    services: Services
    processes: ProcessPool

    def limits(self, tool: Tool[Any]) -> ToolLimits:
        """Answer what a call of this tool may use at most."""
        highest = self.policies.tool_limits
        return ToolLimits(
            min(tool.limits.time_s, highest.time_s),
            min(tool.limits.memory_bytes, highest.memory_bytes),
            min(tool.limits.output_bytes, highest.output_bytes),
        )


class _Prepared(Struct):
    """What `prepare` settled for one attempt.

    Attributes:
        model: The parameters, frozen: what guards saw, with the secrets in it.
        fresh: The parameters themselves, for the first run, if nobody else can have changed them since.
        paths: Which of the parameters are paths; guards see them spelled, the tool gets them as the system has them.
        allocation: What the call may use.
    """

    model: Any = None
    fresh: BaseModel | None = None
    paths: tuple[str, ...] = ()
    allocation: ResourceAllocation | None = None


class ToolRunner:
    """Runs tools by name.

    Args:
        tools: The tools.
        runner: Runs operations.
        policies: What may be touched and used; they may change while the host runs.
        services: What tools may use.
        processes: Child processes for what cannot be interrupted.
    """

    def __init__(
        self,
        tools: ToolRegistry,
        runner: Runner,
        policies: Policies,
        services: Services,
        processes: ProcessPool,
    ) -> None:
        self._tools = tools
        self._house = _House(runner, policies, services, processes)

    async def run(self, name: str, input: Any, options: CallOptions, /) -> ToolResult:
        """Run a tool; see `ComponentRunner`."""
        tool = await self._tools.enter(name)
        given = hidden_input(tool, _parameters(tool, input))
        call = _Call(self._house, tool, options.lenient)
        limits = self._house.limits(tool)
        deadline_s = limits.time_s if options.deadline_s is None else min(limits.time_s, options.deadline_s)
        result: ToolResult = await self._house.runner.run(
            Operation(
                kind=TOOL,
                component=ComponentRef("tool", tool.name, f"tool:{tool.name}"),
                subject=ToolCall(tool.name, given, tool.category, tool.level.name.lower()),
                body=call.body,
                prepare=call.prepare,
                release=call.release,
                deadline_s=deadline_s,
                repeatable=tool.repeatable,
                hops=options.hops,
                started=options.started,
                apart=options.apart,
            )
        )
        return result

    async def discover(self, category: str = "", tag: str = "") -> tuple[Mapping[str, Any], ...]:
        """Answer what each tool that fits tells of itself; see the contract's `Tools`."""
        listing: ToolListing = await self._house.runner.run(
            Operation(
                kind=TOOL_DISCOVERY,
                component=ComponentRef("tool_discovery", "tools"),
                subject=ToolDiscovery(category, tag),
                body=self._search,
                repeatable=True,
            )
        )
        return tuple(listing.tools)

    def names(self) -> tuple[str, ...]:
        """Answer the canonical names, without importing anything."""
        return self._tools.names()

    def canonical(self, name: str, /) -> str | None:
        """Answer the canonical name for a name or alias, or None."""
        return self._tools.canonical(name)

    def unknown_parameters(self, name: str, parameters: Mapping[str, Any], /) -> Sequence[UnknownKey]:
        """Return the parameters that a tool does not take; see the contract's `Tools`."""
        return self._tools.unknown_parameters(name, parameters)

    def describe(self, name: str, /) -> Mapping[str, Any]:
        """Answer all that a tool tells of itself, with the JSON schema of its parameters."""
        return self._tools.describe(name)

    async def _search(self, question: ToolDiscovery) -> ToolListing:
        found = [
            tool
            for tool in self._tools.summaries()
            if question.category in ("", tool["category"]) and _mentions(tool, question.tag)
        ]
        return ToolListing(tuple(found))


class _Call:
    """One call on its way through `prepare`, body and `release`."""

    def __init__(self, house: _House, tool: Tool[Any], lenient: bool) -> None:
        self._house = house
        self._tool = tool
        self._lenient = lenient
        self._prepared = _Prepared()

    async def prepare(self, call: ToolCall, asker: Asker) -> ToolCall:
        """Validate, check and allocate; answers the call as it will run."""
        if call.name != self._tool.name:
            message = f"tool:{self._tool.name}: a hook changed the name to {call.name!r}; answer Redirect instead"
            raise InvalidInputError(message, field="name")
        model = self._again() if call is asker.approved else self._validated(call.parameters)
        level = self._tool.level.name.lower()  # a hook may write what it likes into the call; guards see what is so
        call = ToolCall(self._tool.name, self._shown(model), self._tool.category, level)
        call = await asker.ask("tool_parameter_validation", call)
        judge_level(f"tool:{call.name}", self._tool.level, self._house.policies.level)
        if call.name in self._house.policies.disabled_tools:
            message = f"tool:{call.name}: settings disable it; take it out of tools.disabled"
            raise SecurityError(message, rule="tool")
        call = await self._resolved(call, model)
        call = await asker.ask("tool_security_check", call)
        await self._allocate(call, asker)
        return call

    def _validated(self, parameters: Mapping[str, Any]) -> BaseModel:
        if self._lenient:
            parameters = without_keys(parameters, unknown_keys(self._tool.parameters, parameters))
        with Blamed(self._broken, spares=Exception):
            return _validated(self._tool, parameters)

    def _again(self) -> BaseModel:
        """Return the parameters that were approved, for another run: validating twice may make others of them."""
        model: BaseModel = restore(self._prepared.model)
        return model

    def _shown(self, model: BaseModel) -> Any:
        """Keep all that the body will get, and return that as guards are shown it."""
        self._prepared.model = freeze_fields(model, f"tool:{self._tool.name}", "parameters")
        self._prepared.fresh = model if _is_its_own(self._tool, model) else None
        return hidden_model(self._prepared.model, model.__pydantic_extra__ or ())

    async def _resolved(self, call: ToolCall, model: BaseModel) -> ToolCall:
        self._prepared.paths = ()
        with Blamed(self._broken, spares=Exception):
            needed = self._tool.access(model)
        if not needed:
            return call
        files, network = self._house.services.get(FileAccess), self._house.services.get(NetworkAccess)
        paths: dict[str, str] = {}
        addresses: dict[str, tuple[str, ...]] = {}
        for access in needed:
            value = getattr(model, access.field)
            if value is None:
                continue
            if isinstance(access, PathAccess):
                paths[access.field] = spelled_path(files.resolve(true_path(str(value)), access.mode))
            elif isinstance(access, HostAccess):
                addresses[access.field] = await network.resolve(str(value))
        parameters = self._shown(model.model_copy(update=paths)) if paths else call.parameters
        self._prepared.paths = tuple(paths)
        return structs.replace(call, parameters=parameters, addresses=addresses)

    async def _allocate(self, call: ToolCall, asker: Asker) -> None:
        given = self._house.limits(self._tool)
        allocation = ResourceAllocation(call, given)
        self._prepared.allocation = allocation

        def settle(decided: ResourceAllocation) -> None:
            for name in given.__struct_fields__:
                if getattr(decided.limits, name) > getattr(given, name):
                    most = f"{getattr(given, name):g}"
                    message = f"tool:{call.name}: a hook raised limits.{name} above {most}; lower it only"
                    raise InvalidInputError(message, field=f"limits.{name}")
            if decided.call is not call and decided.call != freeze_fields(call):
                message = f"tool:{call.name}: a hook changed the call at its allocation; do so at before_tool_execution"
                raise InvalidInputError(message, field="call")
            asker.hold(decided.limits.time_s)
            self._prepared.allocation = ResourceAllocation(call, decided.limits)

        await asker.ask("tool_resource_allocated", allocation, settle)

    async def body(self, call: ToolCall) -> ToolResult:
        """Run the tool with what was prepared."""
        prepared = self._prepared
        limits = prepared.allocation.limits if prepared.allocation is not None else self._tool.limits
        context = CallContext(self._house.runner.current(), limits, call, self._house.services, self._house.processes)
        with Blamed(self._broken, spares=Exception):
            answer = await self._run(prepared.model, context)
        result = answer if isinstance(answer, ToolResult) else ToolResult(result=answer)
        if outgrows(result, limits.output_bytes):
            message = f"tool:{call.name}: its result is larger than {limits.output_bytes} bytes; ask for less"
            raise ResourceLimitError(message, resource="output_bytes", limit=limits.output_bytes)
        return result

    async def _run(self, model: Any, context: CallContext) -> Any:
        """Run it with a model of its own, so that what it does to that is not what runs at a retry."""
        try:
            fresh, self._prepared.fresh = self._prepared.fresh, None
            taken = restore(model) if fresh is None else fresh
            for name in self._prepared.paths:
                if "\\" in (spelled := getattr(taken, name)):
                    taken = taken.model_copy(update={name: true_path(spelled)})
            return await self._tool.run(taken, context)
        except _RAW as error:
            secrets: list[str] = []
            reveal(hide(model), secrets)
            text = _masked(f"it failed with {text_of(error)}"[:_LONGEST], secrets)
            message = f"tool:{self._tool.name}: {text}; give other parameters, or report it to the tool's author"
            raise ToolError(message, code="internal") from error

    def _broken(self, error: BaseException) -> ToolError:
        """Tell of what no error of a tool may be: it would end the host."""
        return ToolError(f"tool:{self._tool.name}: it raised {text_of(error)}; raise a ToolError instead")

    async def release(self, asker: Asker) -> None:
        """Give back what was allocated."""
        allocation, self._prepared = self._prepared.allocation, _Prepared()
        if allocation is not None:
            await asker.ask("tool_resource_released", allocation)


def _parameters(tool: Tool[Any], given: Any) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        message = (
            f"tool:{tool.name}: its input is a {kind}; give a mapping of {', '.join(tool.parameters.model_fields)}"
        )
        raise InvalidInputError(message)
    return given


def _validated(tool: Tool[Any], parameters: Mapping[str, Any]) -> BaseModel:
    secrets: list[str] = []
    given = dict(parameters)
    if not _FLAT.issuperset(map(type, given.values())):
        given = restore(reveal(given, secrets))
    try:
        return tool.parameters.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "parameters"
        known = ", ".join(tool.parameters.model_fields)
        message = f"tool:{tool.name}: parameter {field}: {first['msg']}; it takes {known}"
        message = _masked(message, secrets)
        # Not chained: pydantic's text quotes what was given, which may hold a secret.
        raise InvalidInputError(message, field=field) from None
    except LlmspellError:
        raise
    except Exception as error:  # a validator's own, of any class
        message = f"tool:{tool.name}: its parameters cannot be read ({type(error).__name__}); give plainer ones"
        raise InvalidInputError(message) from None


def _is_its_own(tool: Tool[Any], model: BaseModel) -> bool:
    """Whether nobody but the host has a part of these parameters, or was given them before they run."""
    if type(tool).access is not Tool.access or model.__pydantic_extra__ or model.__pydantic_private__:
        return False
    return _FLAT.issuperset(map(type, model.__dict__.values()))


def _masked(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "**********")
    return text


def _mentions(tool: Mapping[str, Any], tag: str) -> bool:
    text = " ".join([tool["name"], tool["description"], *tool["aliases"]])
    return tag.lower() in text.lower()
