"""What a script asks of the timeline, in each of the call styles that scripts know, and what it gets.

``Event.timeline({event_type = "user.*", start_time = ..., end_time = ..., filters = {source = "tool:*"}})``; a text
stands for a pattern. Invariant: a script sees what came since it began, which it could have subscribed to, and what
belongs to the cause that it runs for; what others did before is not shown to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from llmspell_hookspecs import InvalidInputError, LlmspellError, Services
from llmspell_hookspecs.errors import ComponentNotFoundError
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.timeline import Timeline, TimelineEntry, TimelineQuery, TimelineStats

from .options import moment, validated

__all__ = ["Lookback", "counted", "placed"]

_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SORTS: Final = {
    "chronological": "time",
    "chronological_asc": "time",
    "chronological_desc": "-time",
    "causality_depth": "depth",
    "causality_depth_asc": "depth",
    "causality_depth_desc": "-depth",
    "sequence_order": "sequence",
    "correlation_id": "correlation",
}
_MOST: Final = 10_000


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return () if isinstance(value, Mapping) and not value else value


def _sort(value: Any) -> Any:
    word = _WORD.sub("_", value).lower() if isinstance(value, str) else value
    return _SORTS.get(word, word)


_Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
_Time = Annotated[float | None, BeforeValidator(moment)]
_Sort = Literal["sequence", "time", "depth", "correlation", "-sequence", "-time", "-depth", "-correlation"]


class _Options(BaseModel):
    """Which events are asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patterns: _Texts = Field(
        default=(), validation_alias=AliasChoices("patterns", "pattern", "event_type", "event_types", "type", "topic")
    )
    correlation_ids: _Texts = Field(
        default=(), validation_alias=AliasChoices("correlation_ids", "correlation_id", "correlation")
    )
    components: _Texts = Field(
        default=(), validation_alias=AliasChoices("components", "component", "source", "target", "sources", "targets")
    )
    languages: _Texts = Field(default=(), validation_alias=AliasChoices("languages", "language"))
    tags: _Texts = ()
    since: _Time = Field(default=None, validation_alias=AliasChoices("since", "start_time", "start"))
    until: _Time = Field(default=None, validation_alias=AliasChoices("until", "end_time", "end"))
    last_seconds: float | None = Field(default=None, ge=0, validation_alias=AliasChoices("last_seconds", "last"))
    roots: bool = Field(default=False, validation_alias=AliasChoices("roots", "root_causes_only", "root_causes"))
    leaves: bool = Field(default=False, validation_alias=AliasChoices("leaves", "leaf_effects_only", "leaf_effects"))
    depth: int | None = Field(
        default=None, ge=0, validation_alias=AliasChoices("depth", "max_depth", "causality_depth")
    )
    sort: Annotated[_Sort, BeforeValidator(_sort)] = Field(
        default="sequence", validation_alias=AliasChoices("sort", "sort_by", "order")
    )
    limit: int = Field(default=1000, ge=1, le=_MOST)


class Lookback:
    """The timeline as one script sees it.

    Args:
        services: The host's.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._timeline: Timeline | None = None
        try:
            self._timeline = services.get(Timeline)
            self._began = self._timeline.last
        except LlmspellError:  # it is off, which is told once something is asked of it
            self._began = 0

    def timeline(self, method: str) -> Timeline:
        """Return it.

        Raises:
            ComponentNotFoundError: It is off.
        """
        if self._timeline is None:
            message = f"Event.{method}: nobody records events here; set plugins.timeline.enabled = true"
            raise ComponentNotFoundError(message, address="Timeline")
        return self._timeline

    def query(self, method: str, given: Any, **fields: Any) -> TimelineQuery:
        """Return what a script asks for, within what it may see.

        Raises:
            InvalidInputError: An option is wrong.
        """
        options = _validated(f"Event.{method}", given)
        since = options.since
        if options.last_seconds is not None:
            since = max(since or 0.0, self._services.get(Clock).now_s() - options.last_seconds)
        only: Literal["", "roots", "leaves"] = "roots" if options.roots else "leaves" if options.leaves else ""
        wanted: dict[str, Any] = {
            "correlation_ids": options.correlation_ids,
            "patterns": options.patterns,
            "components": options.components,
            "since_s": since,
            "until_s": options.until,
            "languages": options.languages,
            "tags": options.tags,
            "only": only,
            "depth": options.depth,
            "sort": options.sort.removeprefix("-"),
            "descending": options.sort.startswith("-"),
            "limit": options.limit,
        }
        return TimelineQuery(**{**wanted, **fields}, after=self._began, besides=self._cause())

    def _cause(self) -> str:
        try:
            return self._services.get(Operations).current().correlation_id
        except LookupError:
            return ""


def placed(entry: TimelineEntry, table: dict[str, Any]) -> dict[str, Any]:
    """Return an event's table with where it stands among its causes."""
    return {
        **table,
        "position": entry.position,
        "cause": entry.cause or None,
        "unrecorded_cause": entry.unrecorded or None,
        "effects": list(entry.effects),
        "root": entry.root,
        "depth": entry.depth,
        "elapsed_ms": entry.elapsed_ms,
        "operation": entry.operation or None,
    }


def counted(stats: TimelineStats) -> dict[str, Any]:
    """Return the counts under our names and the original's."""
    return {
        **msgspec.structs.asdict(stats),
        "cycles": [list(ring) for ring in stats.cycles],
        "total_events": stats.events,
        "root_causes": stats.roots,
        "leaf_effects": stats.leaves,
        "events_per_second": stats.events_per_s,
        "max_depth": max(stats.longest_chain - 1, 0),
        "causal_chains": stats.roots,
    }


def _validated(where: str, given: Any) -> _Options:
    if isinstance(given, str):
        given = {"pattern": given}
    if given is None or (isinstance(given, list | tuple) and not given):
        given = {}
    if not isinstance(given, Mapping):
        message = f"{where}: the query is a {type(given).__name__}; give a pattern, or a table of options"
        raise InvalidInputError(message, field="query")
    filters = given.get("filters") or {}
    if not isinstance(filters, Mapping):
        raise InvalidInputError(f"{where}: filters is a {type(filters).__name__}; give a table", field="filters")
    options = validated(where, _Options, {**{key: given[key] for key in given if key != "filters"}, **filters})
    if options.roots and options.leaves:
        message = f"{where}: roots and leaves exclude each other; ask for one of them"
        raise InvalidInputError(message, field="leaves")
    return options
