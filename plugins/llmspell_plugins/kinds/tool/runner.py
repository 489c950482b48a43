"""Running tools: what a tool call adds to the operation around it.

The eight phases: validation, security check, allocation (here, in `prepare`), before, after, error, timeout (the
runner's), release.

Invariant: a tool runs with exactly the parameters that the guards saw: validated, with paths resolved and hosts pinned.

It is longer than most because a call has one way, of which the short one (`ready`, `quick`) leaves out what nobody asks
for: both are to be read side by side.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct, structs
from pydantic import BaseModel, ValidationError

from llmspell_hookspecs import (
    FileAccess,
    InvalidInputError,
    LlmspellError,
    NetworkAccess,
    Services,
    Tool,
    ToolCall,
    ToolError,
    ToolResult,
)
from llmspell_hookspecs.bounds import FEW, LARGEST, TooManyItemsError
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_hookspecs.fit import freeze_fields, plain
from llmspell_hookspecs.foreign import Blamed, let_pass, passes, remedy, text_of
from llmspell_hookspecs.kind import CallOptions, ComponentKind, Declared, Registries
from llmspell_hookspecs.operation import Asker, Operation, OperationKind, Operations
from llmspell_hookspecs.parameters import (
    UnknownKey,
    as_given,
    first_problem,
    models_at,
    unknown_keys,
    validate,
    without_keys,
    written_names,
)
from llmspell_hookspecs.payload import payload_of
from llmspell_hookspecs.secret import hide, reveal
from llmspell_hookspecs.services import Levels, ProjectFolder, SettingsAccess, Tools
from llmspell_hookspecs.spelling import spelled_path, true_path
from llmspell_hookspecs.tool import (
    AddressAccess,
    HostAccess,
    PathAccess,
    ResourceAllocation,
    ToolDiscovery,
    ToolLimits,
    ToolListing,
)
from llmspell_hookspecs.values import FrozenObject, restore, thaw
from llmspell_plugins.tool_index import ToolIndex, fits

from .context import CallContext
from .group import TOOLS
from .hiding import hidden_input, hidden_model
from .registry import ToolRegistry
from .size import outgrows

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
    composes=True,
)


_RAW: Final = (RecursionError, ValueError, TypeError, OverflowError)
"""What a value that a tool did not think of raises in it."""
_LONGEST: Final = 300
_SHORT: Final = 6
_FLAT: Final = frozenset({str, int, float, bool, bytes, type(None)})
"""What hides no secret, and is nobody else's."""


_ASKED: Final = (
    "tool_parameter_validation",
    "tool_security_check",
    "tool_resource_allocated",
    "tool_resource_released",
)
_PLANS: Final = 1024
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_ABOUT: Final = re.compile(r"(?:tool:)?(?P<tool>[\w-]+): (?:parameter )?(?P<field>[\w-]+): ")
"""How an error of a tool's begins that is about a parameter."""
_MOST: Final = ToolLimits()


class _House(Struct, frozen=True):
    """What every call needs of the host."""

    operations: Operations
    settings: SettingsAccess
    levels: Levels
    services: Services

    def limits(self, tool: Tool[Any]) -> ToolLimits:
        """Return what a call of this tool may use at most."""
        highest = self.settings.section("tools")
        return ToolLimits(
            min(tool.limits.time_s, highest.time_s),
            min(tool.limits.memory_bytes, highest.memory_bytes),
            min(tool.limits.output_bytes, highest.output_bytes),
        )

    def judge(self, tool: Tool[Any]) -> None:
        """Refuse a tool whose level is too high, or that settings disable.

        Raises:
            SecurityError: It may not run.
        """
        self.levels.check(f"tool:{tool.name}", tool.level)
        disabled = self.settings.section("tools").disabled
        if disabled and not {tool.name, *tool.aliases}.isdisjoint(disabled):
            message = f"tool:{tool.name}: settings disable it; take it out of tools.disabled"
            raise SecurityError(message, rule="tool")


class _Plan(Struct, frozen=True):
    """What is the same for all calls of a tool until settings or hooks change.

    Attributes:
        tool: The tool.
        component: What hooks are told of it.
        level: What it may touch, in lower case.
        limits: What a call may use at most.
        touches: Whether a call may name paths or hosts.
        plain: Whether a call is prepared at once: nobody is asked on the way, and it names no path and no host.
        at_once: Runs it as far as it goes without waiting, if it can.
        as_of: The generation of the runner's that this holds for.
    """

    tool: Tool[Any]
    component: ComponentRef
    level: str
    limits: ToolLimits
    touches: bool
    plain: bool
    at_once: Callable[[Tool[Any], Any, Any], Any] | None
    as_of: object

    @property
    def address(self) -> str:
        """The tool as ``tool:name``."""
        return self.component.id


class _Prepared(Struct):
    """What `prepare` settled for one attempt.

    Attributes:
        fresh: The parameters themselves, for the first run, if nobody else can have changed them since.
        paths: Which of the parameters are paths; guards see them spelled, the tool gets them as the system has them.
        undeclared: Which of them the tool does not declare.
        given: What the caller wrote, whose spellings errors keep to.
        call: The call as hooks are shown it; what has been allocated for.
        limits: What it may use.
    """

    _frozen: Any = None
    _flat: tuple[type[BaseModel], dict[str, Any], frozenset[str]] | None = None
    fresh: BaseModel | None = None
    paths: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()
    given: Mapping[str, Any] = _NOTHING
    call: ToolCall | None = None
    limits: ToolLimits = _MOST

    @property
    def model(self) -> Any:
        """The parameters, frozen: what guards saw, with the secrets in it; flat ones are frozen if somebody asks."""
        if self._flat is not None:
            kind, items, given = self._flat
            self._frozen, self._flat = FrozenObject(kind, items, (None, given)), None
        return self._frozen

    def keep(self, model: BaseModel, own: bool, where: _Plan, most: int) -> None:
        """Keep all that the body will get.

        Args:
            model: The parameters.
            own: Whether they are what it gets, as they are, unless somebody else has a part of them.
            where: Whose they are, for the error.
            most: How many items are walked.
        """
        items, extra, private = model.__dict__, model.__pydantic_extra__, model.__pydantic_private__
        own = own and not extra and not private and _FLAT.issuperset(map(type, items.values()))
        self.fresh = model if own else None
        self.undeclared = tuple(extra) if extra else ()
        self._flat = None
        if own and extra is None and private is None:
            self._flat = (type(model), items.copy(), frozenset(model.__pydantic_fields_set__))
        else:
            self._frozen = freeze_fields(model, where, "parameters", most)


class ToolRunner(ComponentKind):
    """Runs tools by name; implements the contract's `Tools`."""

    name = "tool"
    group = TOOLS
    provides = Tools

    def __init__(self, settings: None, services: Services) -> None:
        self._tools = ToolRegistry(services.get(Registries).of(TOOLS.name), partial(_open_index, services))
        self._operations = services.get(Operations)
        self._house = _House(self._operations, services.get(SettingsAccess), services.get(Levels), services)
        self._plans: dict[str, _Plan] = {}

    async def run(self, name: str, input: Any, options: CallOptions, /) -> ToolResult:
        """Run a tool; see `ComponentKind`."""
        house = self._house
        plan = self._plans.get(name)
        if plan is None or plan.as_of is not self._operations.as_of or not self._tools.is_open(plan.tool):
            plan = await self._planned(name)
        tool, limit_s = plan.tool, plan.limits.time_s
        given = _parameters(tool, input)
        if _is_flat(given):
            given = hidden_input(tool, given)
        else:
            given = await self._operations.beside(given, hidden_input, tool, given)
        call = _Call(house, plan, tool, options.lenient, options.key, _Prepared())
        result: ToolResult = await self._operations.execute(
            Operation(
                TOOL,
                plan.component,
                ToolCall(tool.name, given, tool.category, plan.level),
                call.body,
                call.prepare,
                call.release,
                limit_s if options.deadline_s is None else min(limit_s, options.deadline_s),
                tool.repeatable,
                options.hops,
                options.started,
                apart=options.apart,
                ready=call.ready if plan.plain else None,
                as_of=plan.as_of,
                show=call.show if plan.plain else None,
                quick=None if plan.at_once is None else call.quick,
            )
        )
        return result

    async def _planned(self, name: str) -> _Plan:
        """Return what calls of a tool have in common as things stand, and keep it until they change."""
        operations, tool = self._operations, await self._tools.enter(name)
        as_of = operations.as_of  # before anybody is asked: a change from here on drops it
        touches = _touches(tool)
        plain = self._allows(tool) and not touches and not operations.asks(_ASKED, tool.name)
        component = ComponentRef("tool", tool.name, f"tool:{tool.name}")
        at_once = getattr(tool.run, "at_once", None) if plain else None
        plan = _Plan(tool, component, tool.level.name.lower(), self._house.limits(tool), touches, plain, at_once, as_of)
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        self._plans[name] = plan
        return plan

    def _allows(self, tool: Tool[Any]) -> bool:
        try:
            self._house.judge(tool)
        except SecurityError:  # told to each call of it, once others have had their say
            return False
        return True

    async def discover(self, category: str = "", tag: str = "") -> tuple[Mapping[str, Any], ...]:
        """Return what each tool that fits tells of itself; see the contract's `Tools`."""
        listing: ToolListing = await self._operations.execute(
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
        """Return the canonical names, without importing anything."""
        return self._tools.names()

    def declared(self) -> Mapping[str, Sequence[Declared]]:
        """Return every tool; see `ComponentKind`. What a tool calls, its code alone knows."""
        return dict.fromkeys(self.names(), ())

    def canonical(self, name: str, /) -> str | None:
        """Return the canonical name for a name or alias, or None."""
        return self._tools.canonical(name)

    def unknown_parameters(self, name: str, parameters: Mapping[str, Any], /) -> Sequence[UnknownKey]:
        """Return the parameters that a tool does not take; see the contract's `Tools`."""
        return self._tools.unknown_parameters(name, parameters)

    def describe(self, name: str, /) -> Mapping[str, Any]:
        """Return all that a tool tells of itself, with the JSON schema of its parameters."""
        return self._tools.describe(name)

    async def _search(self, question: ToolDiscovery) -> ToolListing:
        found = [told for told in self._tools.summaries() if fits(told, question.category, question.tag)]
        return ToolListing(tuple(found))


class _Call(Struct, eq=False):
    """One call on its way through `prepare`, body and `release`."""

    _house: _House
    _plan: _Plan
    _tool: Tool[Any]
    _lenient: bool
    _key: str
    _prepared: _Prepared

    def ready(self, call: ToolCall) -> ToolCall:
        """Validate, where the plan says that nothing else is to be done before it runs."""
        plan, given = self._plan, call.parameters
        flat = _is_flat(given)
        if not flat and type(given) is not MappingProxyType:
            given = freeze_fields(given, plan, "input", FEW)  # unless a hook has seen it, nobody has done so
        self._keep(self._validated(given, flat=flat), FEW)
        self._prepared.limits = plan.limits
        return call

    def show(self) -> ToolCall:
        """Return the call that was made ready as hooks are shown it, which is made once and only if somebody asks."""
        prepared, plan = self._prepared, self._plan
        if prepared.call is None:
            shown = hidden_model(prepared.model, prepared.undeclared)
            prepared.call = ToolCall(plan.tool.name, shown, plan.tool.category, plan.level, _NOTHING)
        return prepared.call

    async def prepare(self, call: ToolCall, asker: Asker) -> ToolCall:
        """Validate, check and allocate; returns the call as it will run."""
        if call.name != self._tool.name:
            message = f"tool:{self._tool.name}: a hook changed the name to {call.name!r}; answer Redirect instead"
            raise InvalidInputError(message, field="name")
        read = self._again if call is asker.approved else partial(self._validated, call.parameters)
        beside = self._house.operations.beside
        model: BaseModel = await beside(call.parameters, read)
        level = self._tool.level.name.lower()  # a hook may write what it likes into the call; guards see what is so
        shown = await beside(call.parameters, self._shown, model)
        call = ToolCall(self._tool.name, shown, self._tool.category, level)
        call = await asker.ask("tool_parameter_validation", call)
        self._house.judge(self._tool)
        call = await self._resolved(call, model)
        call = await asker.ask("tool_security_check", call)
        await self._allocate(call, asker)
        return call

    def _validated(self, parameters: Mapping[str, Any], *, flat: bool = False) -> BaseModel:
        if self._lenient:
            parameters = without_keys(parameters, unknown_keys(self._tool.parameters, parameters))
        self._prepared.given = parameters
        try:
            return _validated(self._tool, parameters, flat)
        except Exception:
            raise
        except BaseException as error:
            let_pass(error)
            raise self.broken(error) from error

    def _again(self) -> BaseModel:
        """Return the parameters that were approved, for another run: validating twice may make others of them."""
        model: BaseModel = restore(self._prepared.model)
        return model

    def _keep(self, model: BaseModel, most: int = LARGEST) -> None:
        """Keep all that the body will get."""
        own = not self._plan.touches  # what names places is given them before it runs
        self._prepared.keep(model, own, self._plan, most)

    def _shown(self, model: BaseModel) -> Any:
        """Keep all that the body will get, and return that as guards are shown it."""
        self._keep(model)
        return hidden_model(self._prepared.model, self._prepared.undeclared)

    async def _resolved(self, call: ToolCall, model: BaseModel) -> ToolCall:
        self._prepared.paths = ()
        with Blamed(self.broken, spares=Exception):
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
            elif isinstance(access, AddressAccess):
                addresses[access.field] = await network.resolve_address(str(value))
        parameters = call.parameters
        if paths:
            resolved = model.model_copy(update=paths)
            parameters = await self._house.operations.beside(parameters, self._shown, resolved)
        self._prepared.paths = tuple(paths)
        return structs.replace(call, parameters=parameters, addresses=addresses)

    async def _allocate(self, call: ToolCall, asker: Asker) -> None:
        given = self._house.limits(self._tool)
        allocation = ResourceAllocation(call, given)
        self._prepared.call, self._prepared.limits = call, given

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
            self._prepared.limits = decided.limits

        await asker.ask("tool_resource_allocated", allocation, settle)

    async def body(self, call: ToolCall) -> ToolResult:
        """Run the tool with what was prepared."""
        try:
            if self._prepared.fresh is None:
                parameters = await self._house.operations.beside(self._prepared.model, self._parameters)
            else:
                parameters = self._parameters()
            return await self._measured(await self._tool.run(parameters, self._context()))
        except BaseException as error:
            self._tell(error)
            raise

    def quick(self, call: ToolCall) -> ToolResult | Coroutine[Any, Any, ToolResult]:
        """Run the tool, if it is a sync function; what such a one answers may still have to be awaited."""
        try:
            answer = self._plan.at_once(self._tool, self._parameters(), self._context())  # type: ignore[misc]
        except BaseException as error:
            self._tell(error)
            raise
        if hasattr(answer, "__await__"):
            return self._rest(answer)
        try:
            return self._result(answer, FEW)
        except TooManyItemsError:
            return self._measured(answer)

    async def _rest(self, answer: Awaitable[Any]) -> ToolResult:
        try:
            return await self._measured(await answer)
        except BaseException as error:
            self._tell(error)
            raise

    def _tell(self, error: BaseException) -> None:
        """Raise what is made of an error that is none of a tool's; any other goes on as it is."""
        if isinstance(error, _RAW) or (isinstance(error, RuntimeError) and remedy(text_of(error))):
            raise self.failed(error) from error
        if not isinstance(error, Exception) and not passes(error):
            raise self.broken(error) from error
        if isinstance(error, LlmspellError):
            self._spell(error)

    def _spell(self, error: LlmspellError) -> None:
        """Name the parameter that an error of the tool's begins with as the caller wrote it."""
        text = str(error)
        found = _ABOUT.match(text)
        if found is None or found["tool"] != self._tool.name:
            return
        field, model = found["field"], self._tool.parameters
        if (spelled := as_given(model, self._prepared.given, field)) != field:
            error.args = (text[: found.start("field")] + spelled + text[found.end("field") :],)
            if isinstance(error, InvalidInputError) and error.field == field:
                error.field = spelled

    def _parameters(self) -> Any:
        """Return parameters of its own, so that what it does to them is not what runs at a retry."""
        prepared = self._prepared
        fresh, prepared.fresh = prepared.fresh, None
        taken = restore(prepared.model) if fresh is None else fresh
        for name in prepared.paths:
            if "\\" in (spelled := getattr(taken, name)):
                taken = taken.model_copy(update={name: true_path(spelled)})
        return taken

    def _context(self) -> CallContext:
        house = self._house
        return CallContext(house.operations.running(), self._prepared.limits, self.show, house.services, self._key)

    async def _measured(self, answer: Any) -> ToolResult:
        try:
            return self._result(answer, FEW)
        except TooManyItemsError:
            result: ToolResult = await self._house.operations.beside(answer, self._result, answer, LARGEST)
            return result

    def _result(self, answer: Any, most: int) -> ToolResult:
        result = answer if isinstance(answer, ToolResult) else ToolResult(result=answer)
        limit = self._prepared.limits.output_bytes
        if outgrows(result, limit, most):
            message = f"tool:{self._tool.name}: its result is larger than {limit} bytes; ask for less"
            raise ResourceLimitError(message, resource="output_bytes", limit=limit)
        return result

    def broken(self, error: BaseException) -> ToolError:
        """Return the error for what no error of a tool may be: it would end the host."""
        return ToolError(f"tool:{self._tool.name}: it raised {text_of(error)}; raise a ToolError instead")

    def failed(self, error: BaseException) -> ToolError:
        """Return the error for a value that the tool did not think of, without the secrets in it."""
        secrets: list[str] = []
        reveal(hide(self._prepared.model), secrets)
        text = _masked(f"it failed with {text_of(error)}", secrets)[:_LONGEST]
        todo = remedy(text) or "; give other parameters, or report it to the tool's author"
        message = f"tool:{self._tool.name}: {text}{todo}"
        return ToolError(message, code="internal")

    async def release(self, asker: Asker) -> None:
        """Give back what was allocated."""
        prepared, self._prepared = self._prepared, _Prepared()
        if prepared.call is not None:
            await asker.ask("tool_resource_released", ResourceAllocation(prepared.call, prepared.limits))


def _open_index(services: Services) -> ToolIndex:
    folder = services.get(ProjectFolder).cache("")
    return ToolIndex(folder, services.get(SettingsAccess).plain())


def _parameters(tool: Tool[Any], given: Any) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        message = (
            f"tool:{tool.name}: its input is a {kind}; give a mapping of {', '.join(written_names(tool.parameters))}"
        )
        raise InvalidInputError(message)
    return given


def _is_flat(parameters: Mapping[str, Any]) -> bool:
    """Whether parameters are few, and each without parts."""
    return len(parameters) <= FEW and _FLAT.issuperset(map(type, parameters.values()))


def _validated(tool: Tool[Any], parameters: Mapping[str, Any], flat: bool) -> BaseModel:
    secrets: list[str] = []
    given = dict(parameters)  # of its own: a validator may change it
    if not flat:
        given = restore(reveal(given, secrets))
    try:
        return validate(tool.parameters, given)
    except ValidationError as error:
        problem = first_problem(tool.parameters, error)
        field = problem.where or "parameters"
        place = f"parameter {problem.where}: " if problem.where else ""
        inner = problem.kind == "extra_forbidden" and len(problem.path) > 1
        around = models_at(tool.parameters, problem.path) if inner else {tool.parameters}
        names = [name for each in around for name in written_names(each)]
        known = ", ".join(names if len(around) == 1 else sorted(set(names)))
        taker = problem.where.rpartition(".")[0] if inner else "it"
        message = f"tool:{tool.name}: {place}{problem.words}; {taker} takes {known}"
        message = _masked(message, secrets)
        # Not chained: pydantic's text quotes what was given, which may hold a secret.
        raise InvalidInputError(message, field=field) from None
    except LlmspellError:
        raise
    except Exception as error:  # a validator's own, of any class
        message = f"tool:{tool.name}: its parameters cannot be read ({type(error).__name__}); give plainer ones"
        raise InvalidInputError(message) from None


def _touches(tool: Tool[Any]) -> bool:
    """Whether a tool may name paths or hosts; one may be given its ``access`` when it is made."""
    return getattr(tool.access, "__func__", None) is not Tool.access


def _masked(text: str, secrets: list[str]) -> str:
    """The text without these secrets; a short one is likely a part of words, and is masked where it stands alone."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        if len(secret) < _SHORT:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "**********", text)
        else:
            text = text.replace(secret, "**********")
    return text
