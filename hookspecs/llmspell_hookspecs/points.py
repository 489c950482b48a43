"""Hook points: where the host asks its hooks.

A point is a typed function, declared once with `hookpoint`; its pluggy spec, its script name, its colon alias, what it
accepts and its reference page all come from that one declaration.

Invariant: a point stands in the code together with what fires it, and accepts only results that are honoured there.
"""

from __future__ import annotations

import enum
import inspect
import typing
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Final, TypeVar

import pluggy
from msgspec import Struct

from .results import RESULT_TYPES

__all__ = ["ACCEPTED", "PROJECT", "HookPoint", "Phase", "custom_point", "hookpoint", "points_of", "script_name_of"]

PROJECT: Final = "llmspell"
"""The pluggy project name."""

_ATTRIBUTE = "llmspell_point"
_TAKES_MORE: Final = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_spec = pluggy.HookspecMarker(PROJECT)
F = TypeVar("F", bound=Callable[..., object])


class Phase(enum.Enum):
    """When a point is asked, which settles the results that it accepts."""

    BEFORE = "before"
    AROUND = "around"
    AFTER = "after"
    ERROR = "error"
    DECISION = "decision"
    CHECK = "check"
    NOTICE = "notice"


_ALL = frozenset(result.__name__ for result in RESULT_TYPES)
ACCEPTED: Final[dict[Phase, frozenset[str]]] = {
    Phase.BEFORE: _ALL,
    Phase.AFTER: _ALL,
    Phase.ERROR: _ALL,
    Phase.AROUND: frozenset(),
    Phase.DECISION: frozenset({"Continue", "Modified", "Replace", "Cancel", "Skipped"}),
    Phase.CHECK: frozenset({"Continue", "Cancel", "Skipped"}),
    Phase.NOTICE: frozenset({"Continue", "Fork", "Skipped"}),
}
"""The results that each phase accepts."""


class HookPoint(Struct, frozen=True):
    """One point.

    Attributes:
        name: In snake case, as hook functions spell it.
        phase: When it is asked.
        topic: ``tool``, ``system`` ...
        subject: The type of the context's subject.
        value: The type that ``Replace`` carries at error points, else the subject's.
        script_name: In camel case, as the original spells it.
        alias: The colon form.
        aliases: Further names from the original.
        accepts: The names of the results it accepts.
        doc: Its docstring.
        sync_only: Whether it is asked without waiting, so that its hooks must be sync.
        form: How the names of its components are formed, which ``match`` is held against; empty for any text.
    """

    name: str
    phase: Phase
    topic: str
    subject: type
    value: type
    script_name: str
    alias: str
    aliases: tuple[str, ...]
    accepts: frozenset[str]
    doc: str
    sync_only: bool = False
    form: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every spelling that a script may use."""
        return (self.name, self.script_name, self.alias, *self.aliases)

    def plain(self) -> dict[str, Any]:
        """Return what is known of it as plain values, for a listing."""
        return {
            "name": self.name,
            "topic": self.topic,
            "phase": self.phase.value,
            "script_name": self.script_name,
            "alias": self.alias,
            "names": list(dict.fromkeys(self.names)),
            "subject": self.subject.__name__,
            "fields": inspect.getdoc(self.subject) or "",
            "value": self.value.__name__,
            "accepts": sorted(self.accepts),
            "summary": self.summary,
            "doc": self.doc,
        }

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return self.doc.partition("\n")[0]


class _Declaration(Struct, frozen=True):
    phase: Phase
    topic: str
    value: type | None
    aliases: tuple[str, ...]
    accepts: frozenset[str]
    sync_only: bool
    form: str


def hookpoint(
    *,
    phase: Phase,
    topic: str,
    value: type | None = None,
    aliases: Sequence[str] = (),
    accepts: Sequence[str] | None = None,
    sync_only: bool = False,
    form: str = "",
) -> Callable[[F], F]:
    """Declare the function below as a hook point.

    Args:
        phase: When it is asked; settles what it accepts.
        topic: The topic under which it is listed, and the first half of its colon alias.
        value: At error points, the type of the result that a recovery yields.
        aliases: Further names under which scripts may know it.
        accepts: The names of the results it accepts, of those of its phase; all of them if None.
        sync_only: Whether it is asked without waiting, so that its hooks must be sync.
        form: How the names of its components are formed, such as ``workflow.stage``: a pattern with a colon that this
            has not, or without wildcards and a dot that this has, fits none, and whoever registers it is warned.

    Raises:
        ValueError: Its phase does not honour a result that it would accept.
    """
    chosen = ACCEPTED[phase] if accepts is None else frozenset(accepts)
    if not chosen <= ACCEPTED[phase]:
        more = ", ".join(sorted(chosen - ACCEPTED[phase]))
        raise ValueError(f"hook point: {phase.value} points do not accept {more}")

    def declare(function: F) -> F:
        setattr(function, _ATTRIBUTE, _Declaration(phase, topic, value, tuple(aliases), chosen, sync_only, form))
        return _spec(function)

    return declare


def points_of(namespace: object) -> Iterator[HookPoint]:
    """Yield the points that a module or class declares, in order of declaration.

    Raises:
        TypeError: A declaration's one parameter is not ``context: HookContext[...]``.
    """
    for name, function in list(vars(namespace).items()):
        if not inspect.isfunction(function):  # it may make attributes on demand, and fail at that
            continue
        declaration = getattr(function, _ATTRIBUTE, None)
        if isinstance(declaration, _Declaration):
            yield _point(name, function, declaration)


def _point(name: str, function: Callable[..., object], declaration: _Declaration) -> HookPoint:
    subject = _subject_type(name, function)
    return HookPoint(
        name=name,
        phase=declaration.phase,
        topic=declaration.topic,
        subject=subject,
        value=declaration.value or subject,
        script_name=script_name_of(name),
        alias=_alias(name, declaration.topic),
        aliases=declaration.aliases,
        accepts=declaration.accepts,
        doc=inspect.getdoc(function) or "",
        sync_only=declaration.sync_only,
        form=declaration.form,
    )


def _subject_type(name: str, function: Callable[..., object]) -> type:
    """The type in ``context: HookContext[...]``; no more is evaluated, since every start of a host asks for all."""
    code, said = function.__code__, function.__annotations__.get("context")
    only = code.co_argcount == 1 and not code.co_kwonlyargcount and not code.co_flags & _TAKES_MORE
    if isinstance(said, str):
        only_context = SimpleNamespace(__annotations__={"context": said})
        said = typing.get_type_hints(only_context, function.__globals__)["context"]
    arguments = typing.get_args(said)
    if not only or code.co_varnames[0] != "context" or len(arguments) != 1:
        raise TypeError(f"hook point {name}: its one parameter must be 'context: HookContext[Subject]'")
    subject: type = arguments[0]
    return subject


def script_name_of(name: str) -> str:
    """Return the camel-case name: ``before_tool_execution`` becomes ``BeforeToolExecution``."""
    return "".join(word.capitalize() for word in name.split("_"))


def _alias(name: str, topic: str) -> str:
    words = name.split("_")
    if topic in words:
        words.remove(topic)
    return f"{topic}:{'_'.join(words)}"


def custom_point(name: str) -> HookPoint:
    """Return the point for ``custom:<name>``: anyone may fire it and hook it, its subject is any value."""
    full = f"custom:{name}"
    doc = f"A point of the users' own, named {name}.\n\nSubject: whatever was given to it."
    subject: Any = object
    return HookPoint(full, Phase.BEFORE, "custom", subject, subject, full, full, (), ACCEPTED[Phase.BEFORE], doc)
