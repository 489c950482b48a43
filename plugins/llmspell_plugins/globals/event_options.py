"""What a script may say when it publishes or subscribes, in each of the call styles that scripts know.

Publishing: ``(type, data)``, ``(type, data, {ttl_seconds = 5})``, ``({event_type = ..., data = ..., source = ...})``.
Subscribing: ``(pattern)``, ``(pattern, fn)``, ``(pattern, {max_queue_size = 50})``, ``(pattern, fn, {...})``,
``({patterns})``, ``({pattern = ..., handler = fn, ...})``.

Invariant: an option is checked before anything happens; an unknown one names those there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Struct
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from llmspell_hookspecs import InvalidInputError, LlmspellError
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.language import ScriptFunction
from llmspell_hookspecs.selection import EventFilter
from llmspell_hookspecs.spelling import told

from .hook_options import priority_from
from .options import moment, validated

__all__ = [
    "AskRequest",
    "BatchOptions",
    "PublishRequest",
    "QueryOptions",
    "SubscribeRequest",
    "check_data",
    "read_ask",
    "read_batch",
    "read_publish",
    "read_query",
    "read_response",
    "read_subscribe",
]

_DATA_BYTES: Final = 256 * 1024
_TYPE: Final = ("event_type", "type", "topic")
_DATA: Final = ("data", "payload")
_PATTERNS: Final = ("patterns", "pattern", "event_type", "type")
_HANDLER: Final = ("handler", "callback", "fn")
_URGENT: Final = 1 << 31
"""No priority is further from 0."""
_LONGEST: Final = 512
"""How long what an event carries beside its data may be, as with topics."""
_TAGS: Final = 64
_NAME: Final = 64
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _texts(value: Any) -> Any:
    """One text stands for a list of one, and an empty table for an empty list."""
    if isinstance(value, str):
        return (value,)
    return () if isinstance(value, Mapping) and not value else value


def _strategy(value: Any) -> Any:
    """``DropOldest`` stands for ``drop_oldest``, and ``backpressure`` for ``block``."""
    if not isinstance(value, str):
        return value
    word = _WORD.sub("_", value).lower()
    return "block" if word in ("backpressure", "back_pressure") else word


def _urgency(value: Any) -> Any:
    """A word, such as ``high``, stands for a priority's number."""
    try:
        return None if value is None else priority_from(value)
    except LlmspellError as error:
        raise ValueError(str(error).partition("; ")[2]) from None


def _table(value: Any) -> Any:
    """An empty list, which is what an empty table is in some languages, stands for an empty table."""
    return {} if isinstance(value, list | tuple) and not value else value


_Word = Annotated[str, Field(max_length=_LONGEST)]


class PublishOptions(BaseModel):
    """What an event carries beside its type and data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: _Word = ""
    correlation_id: _Word = ""
    causation_id: _Word = ""
    source: _Word = ""
    target: _Word = ""
    tags: Annotated[tuple[_Word, ...], BeforeValidator(_texts), Field(max_length=_TAGS)] = ()
    priority: Annotated[int, BeforeValidator(_urgency), Field(ge=-_URGENT, le=_URGENT)] = 0
    ttl_s: float | None = Field(default=None, ge=0, validation_alias=AliasChoices("ttl_seconds", "ttl", "ttl_s"))
    persistent: bool = False

    def fields(self, source: str, language: str) -> dict[str, Any]:
        """Return the event's fields; what the script names as the source is a part of the script."""
        given = self.model_dump(exclude={"persistent"}, exclude_defaults=True)
        given["source"] = f"{source}/{self.source}" if self.source else source
        given.setdefault("language", language)
        if self.persistent:
            given["tags"] = tuple(dict.fromkeys((*self.tags, "persistent")))
        return given


class FilterOptions(BaseModel):
    """What an event must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = ""
    target: str = ""
    correlation_id: str = ""
    tags: Annotated[tuple[str, ...], BeforeValidator(_texts)] = Field(
        default=(), validation_alias=AliasChoices("tags", "tag")
    )
    language: str = ""
    priority: Annotated[int | None, BeforeValidator(_urgency)] = None

    def chosen(self) -> EventFilter | None:
        """Return the filter; None if nothing is said."""
        wanted = EventFilter(**self.model_dump())
        return None if wanted == EventFilter() else wanted


class SubscribeOptions(BaseModel):
    """How a subscription's mailbox is bounded, and what it takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str = ""
    overflow: Annotated[str, BeforeValidator(_strategy)] = Field(
        default="drop_oldest", validation_alias=AliasChoices("overflow", "backpressure", "strategy")
    )
    capacity: int = Field(
        default=1000, ge=1, le=10_000, validation_alias=AliasChoices("capacity", "max_queue_size", "queue_size")
    )
    block_timeout_ms: float = Field(default=5000, ge=0)
    name: Annotated[str, Field(max_length=_NAME)] = ""
    after: int | None = Field(default=None, ge=0)
    filter: Annotated[FilterOptions, BeforeValidator(_table)] = Field(
        default=FilterOptions(), validation_alias=AliasChoices("filter", "filters", "where")
    )


class QueryOptions(BaseModel):
    """Which events on record are asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patterns: Annotated[tuple[str, ...], BeforeValidator(_texts)] = Field(
        default=("**",), validation_alias=AliasChoices(*_PATTERNS)
    )
    start: Annotated[float | None, BeforeValidator(moment)] = Field(
        default=None, validation_alias=AliasChoices("start_time", "since", "start")
    )
    end: Annotated[float | None, BeforeValidator(moment)] = Field(
        default=None, validation_alias=AliasChoices("end_time", "until", "end")
    )
    after: int = Field(default=0, ge=0)
    limit: int = Field(default=1000, ge=1, le=10_000)
    filter: Annotated[FilterOptions, BeforeValidator(_table)] = Field(
        default=FilterOptions(), validation_alias=AliasChoices("filters", "filter", "where")
    )


class BatchOptions(BaseModel):
    """How many events to receive at once, and how long to wait for the first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_events: int = Field(default=100, ge=1, le=10_000)
    timeout_ms: float = Field(default=5000, ge=0)
    within_ms: float = Field(default=0, ge=0)


class PublishRequest(Struct, frozen=True):
    """What a script publishes."""

    type: str
    data: Any
    options: PublishOptions


class AskRequest(Struct, frozen=True):
    """What a script publishes and waits for an answer to."""

    published: PublishRequest
    timeout_ms: float


class SubscribeRequest(Struct, frozen=True):
    """What a script subscribes to; with no function it receives by polling."""

    patterns: tuple[str, ...]
    function: ScriptFunction | None
    options: SubscribeOptions


def read_publish(where: str, type: Any, data: Any, options: Any) -> PublishRequest:
    """Return what the arguments of ``Event.publish`` ask for.

    Raises:
        InvalidInputError: The type is missing, an option is wrong, or the data is not plain or too large.
    """
    given: Any = options or {}
    if isinstance(type, Mapping):
        rest = dict(type)
        type, data = _take(rest, _TYPE), _take(rest, _DATA)
        given = rest
    if isinstance(given, Mapping):
        inner = given.get("metadata") or {}
        if not isinstance(inner, Mapping):
            raise InvalidInputError(f"{where}: metadata = {told(inner)} is wrong; give a table", field="metadata")
        given = {**inner, **{key: value for key, value in given.items() if key != "metadata"}}
    if not isinstance(type, str) or not type:
        raise InvalidInputError(f"{where}: the event type is missing; give a text such as 'user.created'", field="type")
    check_data(where, data)
    return PublishRequest(type, data, validated(where, PublishOptions, given))


def read_ask(where: str, type: Any, data: Any, options: Any) -> AskRequest:
    """Return what the arguments of ``Event.request`` ask for: those of ``Event.publish``, and a time.

    Raises:
        InvalidInputError: As with `read_publish`, or the time is wrong.
    """
    timeout_ms: Any = 5000.0
    if isinstance(type, Mapping):
        type = dict(type)
        timeout_ms = type.pop("timeout_ms", timeout_ms)
    elif isinstance(options, Mapping):
        options = dict(options)
        timeout_ms = options.pop("timeout_ms", timeout_ms)
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int | float) or not timeout_ms >= 0:
        raise InvalidInputError(f"{where}: timeout_ms is {timeout_ms!r:.60}; give 0 or more", field="timeout_ms")
    return AskRequest(read_publish(where, type, data, options), float(timeout_ms))


def read_response(where: str, event: Any) -> str:
    """Return the id of the request that an event table stands for.

    Raises:
        InvalidInputError: It is none.
    """
    id = event.get("id") if isinstance(event, Mapping) else None
    if not (isinstance(id, str) and id):
        raise InvalidInputError(f"{where}: the event is missing; give the one that was received", field="event")
    return id


def read_query(where: str, options: Any) -> QueryOptions:
    """Return what the options of ``Event.query`` ask for; a bare text is a pattern.

    Raises:
        InvalidInputError: An option is wrong.
    """
    given = {"patterns": options} if isinstance(options, str) else options or {}
    return validated(where, QueryOptions, given)


def read_subscribe(where: str, patterns: Any, first: Any, second: Any) -> SubscribeRequest:
    """Return what the arguments of ``Event.subscribe`` and ``Event.on`` ask for.

    Raises:
        InvalidInputError: The pattern is missing, or an option is wrong.
    """
    function, given = (first, second) if callable(first) or second is not None else (None, first)
    if isinstance(patterns, Mapping) and patterns:
        rest = dict(patterns)
        patterns = _take(rest, _PATTERNS)
        function = _take(rest, _HANDLER) or function
        given = rest
    chosen = (patterns,) if isinstance(patterns, str) else patterns
    if not isinstance(chosen, Sequence) or not chosen or not all(isinstance(each, str) and each for each in chosen):
        message = f"{where}: the pattern is missing; give a text such as 'user.*', or a list of them"
        raise InvalidInputError(message, field="pattern")
    if function is not None and not callable(function):
        raise InvalidInputError(f"{where}: the handler is no function; give one that takes the event", field="handler")
    options = validated(where, SubscribeOptions, given or {})
    if options.after is not None and not options.name:
        raise InvalidInputError(f"{where}: after is of a subscription with a name; give a name, too", field="after")
    return SubscribeRequest(tuple(chosen), function, options)


def read_batch(where: str, options: Any) -> BatchOptions:
    """Return what the options of ``Event.receive_batch`` ask for; a bare number is how many.

    Raises:
        InvalidInputError: An option is wrong.
    """
    given = {"max_events": options} if isinstance(options, int | float) else options or {}
    return validated(where, BatchOptions, given)


def _take(rest: dict[Any, Any], names: Sequence[str]) -> Any:
    """Take out the first of several spellings that is there."""
    return next((rest.pop(name) for name in names if name in rest), None)


def check_data(where: str, data: Any) -> None:
    """Refuse data that is not plain, or too large.

    Raises:
        InvalidInputError: It is.
    """
    try:
        size_bytes = len(msgspec.json.encode(data))
    except (TypeError, ValueError, RecursionError) as error:
        message = (
            f"{where}: the data is not plain: {line_of_error(error)}; give texts, numbers, booleans and tables of them"
        )
        raise InvalidInputError(message, field="data") from error
    if size_bytes > _DATA_BYTES:
        message = f"{where}: the data has {size_bytes} bytes as JSON; publish at most {_DATA_BYTES}, or where it lies"
        raise InvalidInputError(message, field="data")
