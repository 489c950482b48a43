"""What a hook is given: the point, the subject, and which operation of which component it belongs to.

Invariant: a context is frozen and its subject read-only all the way down; the one mutable part is ``metadata``, a
namespace per plugin that lasts from the before to the after of one operation. Guards decide on the subject, never on
the metadata. Times in nanoseconds where a name ends in ``_ns``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct

from .errors import InvalidInputError
from .results import Call, HookResult, Modified

__all__ = ["ComponentRef", "Failure", "ForkOutcome", "HookContext", "Metadata", "OperationRef", "Outcome"]

S_co = TypeVar("S_co", covariant=True)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Metadata(dict[str, dict[str, Any]]):
    """A namespace per plugin, made when it is first asked for."""

    __slots__ = ()

    def __missing__(self, plugin: str) -> dict[str, Any]:
        namespace: dict[str, Any] = {}
        self[plugin] = namespace
        return namespace


class ComponentRef(Struct, frozen=True, gc=False):
    """Which component an operation runs.

    Attributes:
        kind: ``tool``, ``script``, ``system`` ...
        name: Unique within its kind.
        id: Unique within the host.
    """

    kind: str
    name: str
    id: str = ""


class OperationRef(Struct, frozen=True, gc=False):
    """Which operation a hook is called for.

    Attributes:
        id: Unique within the host.
        correlation_id: Shared by all that one cause set off.
        parent_id: The operation around it, or the event whose handler it runs in; empty at the root.
        root_id: The outermost one.
        session_id: The ``session`` of the baggage; empty outside one.
        attempt: From 1.
        hops: How often it, and what it runs within, was redirected.
        depth: How many operations are around it.
        baggage: What those around it gave all within them to carry: ``session``, ``user`` and the like, as texts.
    """

    id: str
    correlation_id: str
    parent_id: str = ""
    root_id: str = ""
    session_id: str = ""
    attempt: int = 1
    hops: int = 0
    depth: int = 0
    baggage: Mapping[str, str] = _NOTHING

    @property
    def replayed(self) -> bool:
        """Whether it runs again, as part of a replay."""
        return "replay" in self.baggage


class Failure(Struct, frozen=True):
    """Why an operation did not complete; the subject at error points.

    Attributes:
        type: The error's class name.
        message: Its text.
        code: Its stable word.
        error: The error itself, for hooks in Python; read-only, ``Modified`` changes message, code and details.
        details: More facts for programs, as a `ToolError` carries.
    """

    holds_error: ClassVar[bool] = True
    """An error is a value here and nowhere else: it carries frames, and with them all that its code held."""

    type: str
    message: str
    code: str = "error"
    error: BaseException | None = None
    details: Any = None


class ForkOutcome(Struct, frozen=True):
    """How a forked call ended.

    Attributes:
        call: What was asked for.
        status: ``completed``, ``failed`` or ``cancelled``.
        value: Its result, if it completed.
        error: Why not, if it did not.
    """

    call: Call
    status: Literal["completed", "failed", "cancelled"]
    value: Any = None
    error: Failure | None = None


class Outcome(Struct, frozen=True):
    """What the earlier kinds of hook proposed or decided, and how the operation ended.

    Attributes:
        status: ``running`` until the operation ends.
        decision: The result that ended the transforms, or the guard's Cancel.
        hook: The hook that gave it.
        error: Why it failed or was cancelled.
    """

    status: Literal["running", "completed", "failed", "cancelled"] = "running"
    decision: HookResult | None = None
    hook: str = ""
    error: Failure | None = None

    def ended(self, status: Literal["completed", "failed", "cancelled"], error: Failure | None = None) -> Outcome:
        """Return what was decided, and that the operation ended so."""
        return Outcome(status, self.decision, self.hook, error)


class HookContext(Struct, Generic[S_co], frozen=True):
    """What a hook is given. Subscript it in annotations only.

    Attributes:
        point: The name of the point, such as ``before_tool_execution``.
        subject: What the point is about, read-only; see the point for its type.
        component: Which component runs.
        operation: Which operation this is.
        metadata: A mutable namespace per plugin: ``context.metadata["audit"]["seen"] = True``.
        language: Where the operation was asked for: ``python``, ``lua``, ``cli`` ...
        request: At after and error points, the subject that ran.
        elapsed_ns: At after and error points, how long the body took.
        outcome: What earlier kinds decided; for observers, how it ended.
        forks: For terminal observers, how the forked calls ended.
    """

    point: str
    subject: S_co
    component: ComponentRef
    operation: OperationRef
    metadata: Metadata
    language: str = "python"
    request: Any = None
    elapsed_ns: int = 0
    outcome: Outcome | None = None
    forks: tuple[ForkOutcome, ...] = ()

    def modify(self, **changes: Any) -> Modified:
        """Return a ``Modified`` whose value is the subject with these fields changed.

        Raises:
            InvalidInputError: A field is unknown, or its value does not fit the subject's type.
        """
        subject: Any = self.subject
        for field in changes:
            if field not in subject.__struct_fields__:
                known = ", ".join(subject.__struct_fields__)
                message = f"{self.point}: {type(subject).__name__} has no field {field!r}; it has {known}"
                raise InvalidInputError(message, field=field)
        try:
            plain = {name: changes.get(name, getattr(subject, name)) for name in subject.__struct_fields__}
            return Modified(msgspec.convert(plain, type(subject)))
        except msgspec.ValidationError as error:
            message = f"{self.point}: {type(subject).__name__} does not accept this change: {error}"
            raise InvalidInputError(message, field=str(error).rpartition("`$.")[2].rstrip("`")) from error
