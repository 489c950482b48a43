"""The topic model: what a language model is asked, what it answers, who answers, and the points around a call.

A model is named ``provider/model``: ``openai/gpt-4o-mini``, ``offline/rules``. A provider answers whole, and hands over
chunks as they come when it is given a sink.

Invariant: messages, tool uses and their parameters are read-only from the moment they are made. No key, token or
password is ever part of a request or a response. Durations in seconds, costs in US dollars.

It is longer than most because the structs stand before the points that carry them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct
from pydantic import BaseModel, SecretStr

from .context import Failure, HookContext
from .payload import payload_text
from .points import Phase, hookpoint
from .results import HookResult
from .values import Settled, freeze

__all__ = [
    "ChunkSink",
    "Endpoint",
    "Message",
    "ModelChunk",
    "ModelRequest",
    "ModelResponse",
    "ModelUsage",
    "Models",
    "Provider",
    "ProviderInfo",
    "Role",
    "ToolSpec",
    "ToolUse",
    "after_model_call",
    "around_model_call",
    "before_model_call",
    "model_chunk",
    "model_error",
]

_NOTHING: Final[Mapping[str, Any]] = freeze({})
Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


class ToolUse(Settled, frozen=True):
    """A model asks for a tool.

    Attributes:
        id: Given by the model; the tool's answer names it.
        name: The tool.
        parameters: What the tool is to be given.
        problem: Why it is not to be run: the parameters cannot be read, or the answer was cut before they were whole.
        extra: What its provider wants back with it, by the model's name; of use to nobody else.
    """

    id: str
    name: str
    parameters: Mapping[str, Any] = _NOTHING
    problem: str = ""
    extra: Mapping[str, Any] = _NOTHING


class Message(Settled, frozen=True):
    """One message of a conversation.

    Attributes:
        role: Who speaks.
        content: The text.
        tool_uses: For ``assistant``, the tools it asks for.
        tool_use_id: For ``tool``, which use this answers.
        name: For ``tool``, the tool.
        extra: For ``assistant``, what the response had in `ModelResponse.extra`.
    """

    role: Role
    content: str = ""
    tool_uses: tuple[ToolUse, ...] = ()
    tool_use_id: str = ""
    name: str = ""
    extra: Mapping[str, Any] = _NOTHING


class ToolSpec(Settled, frozen=True):
    """A tool as a model is told of it.

    Attributes:
        name: Letters, digits, ``_`` and ``-``.
        description: What it does.
        schema: The JSON schema of its parameters.
    """

    name: str
    description: str = ""
    schema: Mapping[str, Any] = _NOTHING


class ModelRequest(Settled, frozen=True):
    """What a model is asked.

    Attributes:
        model: ``provider/model``; a hook that wants another model answers Redirect to ``model:provider/model``.
        messages: The conversation, the newest last.
        tools: What it may ask for.
        temperature: 0 and up; the provider's own default if None.
        max_tokens: Of the answer; the provider's own limit if None.
        stop: Texts at which it stops.
        options: What only this provider knows, such as ``{"top_p": 0.9}``.
    """

    model: str
    messages: tuple[Message, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    options: Mapping[str, Any] = _NOTHING

    def payload(self) -> Any:
        """Return its fields but the model."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name != "model"}


class ModelUsage(Struct, frozen=True):
    """What calls of a model used.

    Attributes:
        input_tokens: As the provider counted them.
        output_tokens: Likewise.
        cost_usd: By the provider's price list; None if its prices are not known.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None

    def __add__(self, other: ModelUsage) -> ModelUsage:
        """Return both together; the cost is known if one of them is."""
        cost_usd = self.cost_usd
        if other.cost_usd is not None:
            cost_usd = other.cost_usd + (cost_usd or 0.0)
        return ModelUsage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens, cost_usd)


class ModelResponse(Struct, frozen=True):
    """What a model answered.

    Attributes:
        text: What it says.
        tool_uses: What it asks for.
        finish_reason: ``stop``, ``tool_use``, ``length``, ``content_filter``, or the provider's own word.
        usage: What the call used.
        model: Which model answered, as its provider names it.
        metadata: Facts about the answer, such as the provider's own id for it.
        extra: What the provider wants back with the tools that it asks for, such as what the model thought, by the
            model's name; whoever keeps a conversation puts it into the message's `extra`.
    """

    text: str = ""
    tool_uses: tuple[ToolUse, ...] = ()
    finish_reason: str = "stop"
    usage: ModelUsage = ModelUsage()
    model: str = ""
    metadata: Mapping[str, Any] = {}
    extra: Mapping[str, Any] = {}

    def payload(self) -> Any:
        """Return what it says."""
        return self.text

    @classmethod
    def of(cls, value: Any) -> ModelResponse:
        """Return the response of a bare text, an agent's output, or another kind of result."""
        if isinstance(value, ModelResponse):
            return value
        usage = getattr(value, "usage", None)
        if isinstance(value, Struct) and isinstance(usage, ModelUsage):  # an agent's: it tells of its model, too
            reason, model = (str(getattr(value, name, "")) for name in ("finish_reason", "model"))
            return ModelResponse(payload_text(value), (), reason, usage, model)
        return ModelResponse(payload_text(value))


class ModelChunk(Struct, frozen=True):
    """A part of an answer, as it comes.

    Attributes:
        kind: ``text``; ``tool_use``, whole; ``restart``: what came before is void, since the call runs again or its
            answer was replaced.
        text: For ``text``, the next piece.
        tool_use: For ``tool_use``, what the model asks for.
        index: From 0, within its call: among the chunks that hooks are shown, and among those that are handed on.
        final: Whether the answer ends here. Hooks are shown an empty last chunk of each answer, so that one that held
            text back can hand it on there; it is handed on only if they put something into it.
    """

    kind: Literal["text", "tool_use", "restart"] = "text"
    text: str = ""
    tool_use: ToolUse | None = None
    index: int = 0
    final: bool = False


ChunkSink: TypeAlias = Callable[[ModelChunk], Awaitable[None]]
"""Takes chunks; whoever streams waits for it, so a slow reader slows the stream."""


class Endpoint(Struct, frozen=True):
    """Where one agent's model is, if not where settings say.

    Attributes:
        base_url: Of the provider's HTTP interface; judged by ``security.hosts`` like any address from a script.
        api_key: For this URL. A key from settings or the environment is never sent to a URL that is not from there.
    """

    base_url: str = ""
    api_key: SecretStr | None = None


class ProviderInfo(Struct, frozen=True):
    """What is known of a provider.

    Attributes:
        name: What stands before the slash of its models' names.
        type: The entry point that it is made from.
        available: Whether it can be called now.
        reason: Why not, or what makes it available: which variable or setting has its key.
        default_model: What is called if a name has no model.
        base_url: Where it is; empty if it is not asked over HTTP.
        streams: Whether it hands over chunks as they come.
        tools: Whether its models may ask for tools.
        models: Models that it knows of; others may work too.
        description: One sentence for people.
    """

    name: str
    type: str = ""
    available: bool = True
    reason: str = ""
    default_model: str = ""
    base_url: str = ""
    streams: bool = False
    tools: bool = False
    models: tuple[str, ...] = ()
    description: str = ""


@runtime_checkable
class Provider(Protocol):
    """Answers for language models; an entry point in ``llmspell.providers``.

    A class with a pydantic model ``Settings`` that validates ``[providers.NAME]``, constructed with
    ``(settings, services)``. ``rank`` orders the providers that are available when no default is set, the smallest
    first; one without a rank is never a default. One that holds connections is an async context manager, entered before
    it is first asked and left with the host; it may have a ``run`` task.
    """

    Settings: ClassVar[type[BaseModel]]
    rank: ClassVar[int | None]

    def info(self) -> ProviderInfo:
        """Return what is known of it, without asking the network; ``name`` and ``type`` are the host's to fill in."""

    def at(self, endpoint: Endpoint, /) -> Provider:
        """Return the same provider at another endpoint.

        Raises:
            InvalidInputError: It has no endpoint, or the URL is none.
        """

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        """Ask the model and return the whole response.

        Args:
            model: The model's name as this provider knows it: ``request.model`` behind the first slash.
            request: What is asked.
            sink: Takes the answer's chunks as they come, if somebody wants them; all of them before this returns.

        Raises:
            ProviderError: It could not be asked, or its answer makes no sense.
        """


@runtime_checkable
class Models(Protocol):
    """Asks models, through the runner, and tells which providers there are."""

    async def complete(
        self,
        request: ModelRequest,
        /,
        *,
        sink: ChunkSink | None = None,
        endpoint: Endpoint | None = None,
        deadline_s: float | None = None,
    ) -> ModelResponse:
        """Ask the model that the request names.

        Args:
            request: Its ``model`` is a name as people write it; see `resolve`.
            sink: Takes the chunks that hooks let pass. The texts since the last ``restart`` add up to the answer's.
            endpoint: Where to ask, if not where settings say.
            deadline_s: How long it may take.

        Raises:
            ComponentNotFoundError: There is no such provider.
            ProviderError: The provider failed.
            OperationCancelledError: A hook cancelled it.
        """

    def resolve(self, model: str = "", /) -> str:
        """Return ``provider/model`` for a name as people write it.

        Args:
            model: ``provider/model``, ``provider``, a bare model (of the provider that lists it, else of the default
                one), or nothing for the default.

        Raises:
            ComponentNotFoundError: There is no such provider.
        """

    def providers(self) -> Sequence[ProviderInfo]:
        """Return what is known of every provider, sorted by name; loads them."""

    def names(self) -> Sequence[str]:
        """Return the providers' names, without importing any."""


@hookpoint(phase=Phase.BEFORE, topic="model")
def before_model_call(context: HookContext[ModelRequest]) -> HookResult | None:
    """A model is about to be asked.

    When: guards and observers once for each attempt; transforms once for each that starts from the original request.
    Subject: the request.
    """


@hookpoint(phase=Phase.AROUND, topic="model")
def around_model_call(context: HookContext[ModelRequest]) -> HookResult | None:
    """A model is being asked.

    When: once for each attempt, around the request; an async generator with one yield.
    Subject: the request.
    """


@hookpoint(phase=Phase.AFTER, topic="model")
def after_model_call(context: HookContext[ModelResponse]) -> HookResult | None:
    """A model has answered.

    When: once for each attempt that completed, or whose answer was replaced.
    Subject: the response. Where transforms or guards stand here a stream is held back until they have passed it.
    """


@hookpoint(phase=Phase.ERROR, topic="model", value=ModelResponse)
def model_error(context: HookContext[Failure]) -> HookResult | None:
    """A model could not be asked, or its answer made no sense.

    When: once for each attempt that failed; observers also when the call was cancelled.
    Subject: the failure; its ``error`` is a `ProviderError` with status and ``retry_after_s``.
    """


@hookpoint(phase=Phase.DECISION, topic="model")
def model_chunk(context: HookContext[ModelChunk]) -> HookResult | None:
    """A chunk of an answer is about to be handed on.

    When: once for each chunk of an answer, before anybody has it, and once with an empty chunk that is ``final`` when
        the answer ends; what nobody streams is one chunk. From ``index`` 0 on again if the call runs again or its
        answer was replaced.
    Subject: the chunk; what ``Modified`` or ``Replace`` make of it is what the response says, too. A hook may hold text
        back (leave it empty, keep it in ``metadata``) and hand it on later, at the ``final`` chunk at the latest; one
        that is left empty is not handed on. ``Cancel`` ends the call. Where transforms or guards stand at
        ``after_model_call``, hooks of scripts are asked about each chunk when those have let the whole answer pass:
        they may still cancel, and change nothing more.
    """
