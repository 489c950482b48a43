"""A record as it is written: an operation, each run of its body, and what its hooks answered.

Invariant: an array of fields in this order; new ones come last, with a default, so that old journals can be read.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from llmspell_hookspecs import Modified
from llmspell_hookspecs.context import Failure
from llmspell_hookspecs.operation import EndedOperation, HookAnswer, OperationKind, same

from .content import Content, Encoder, failure_facts

__all__ = [
    "Ran",
    "Watched",
    "Written",
    "WrittenAnswer",
    "WrittenBody",
    "WrittenDraws",
    "identity_digest",
    "packed",
    "unpacked",
    "write_record",
]


class Ran(Struct):
    """One run of a body, as it is watched.

    Attributes:
        order: When it began among all others.
        subject: What it was given.
        began_ns: On the clock of the process; in the end, how long it took.
        value: What it yielded, or raised.
        state: How it ended; ``cut`` if it was cancelled, or goes on.
    """

    order: int
    subject: Any
    began_ns: int
    value: Any = None
    state: str = "cut"


class Watched(Struct):
    """An operation that runs.

    Attributes:
        within: The id of the operation whose body it began in; empty for none.
        order: When it was first seen, among all others.
        bodies: The runs of its body.
        is_inside: Whether one of them goes on.
        is_early: Whether something was drawn before its body ran.
        asked: What it was asked for then, before any hook changed that.
        drawn: What was drawn, and at which stage.
    """

    within: str
    order: int
    bodies: list[Ran] = []
    is_inside: bool = False
    is_early: bool = False
    asked: Any = None
    drawn: list[tuple[int, str, Any]] = []

    @property
    def stage(self) -> int:
        """How far it is: 0 before its body, 1 in it, 2 behind it, 3 in its second attempt ..."""
        return 2 * len(self.bodies) - self.is_inside


class WrittenBody(Struct, frozen=True, array_like=True):
    """A run of a body: when it began, the digest of what it was given, how long it took, how it ended and with what."""

    order: int
    digest: str
    elapsed_ns: int
    state: str
    content: Content


class WrittenAnswer(Struct, frozen=True, array_like=True):
    """What a hook answered; of one that modified a call also what it was asked about."""

    point: str
    hook: str
    result: str
    content: Content
    subject: Content | None = None


class WrittenDraws(Struct, frozen=True, array_like=True):
    """What an operation drew under a name at a stage (see `Watched`), in order."""

    stage: int
    name: str
    values: tuple[Any, ...]


class Written(Struct, frozen=True, array_like=True):
    """A record; see `JournalRecord` for most fields.

    Attributes:
        within: The id of the operation whose body it began in; empty for none.
        order: When it was first seen, among all others.
        digest: Of what was asked.
        left: What left, if that is not what the last body yielded.
        asked: The digest of what it was asked for before hooks changed that, if they drew anything; else empty.
        draws: What was drawn within it; see `Entropy`.
    """

    id: str
    within: str
    order: int
    at_s: float
    kind: str
    component: str
    language: str
    status: str
    code: str
    attempt: int
    hops: int
    elapsed_ns: int
    digest: str
    request: Content
    bodies: tuple[WrittenBody, ...]
    left: Content | None
    answers: tuple[WrittenAnswer, ...] = ()
    asked: str = ""
    draws: tuple[WrittenDraws, ...] = ()

    @property
    def outcome(self) -> Content:
        """What left."""
        return self.left if self.left is not None else self.bodies[-1].content

    @property
    def address(self) -> str:
        """What ran, as ``kind:name``."""
        return f"{self.kind}:{self.component}"


def identity_digest(kind: OperationKind | None, subject: Any, encoder: Encoder) -> str:
    """Return the digest of what was asked: of that by which its kind tells calls apart."""
    return encoder.digest(subject if kind is None or kind.identity is same else kind.identity(subject))


def write_record(ended: EndedOperation, watched: Watched, at_s: float, encoder: Encoder) -> Written:
    """Return the record of an operation."""
    kind, ref, asked = ended.of, ended.operation, ended.asked
    digest = identity_digest(kind, asked, encoder)
    bodies = tuple(
        [
            WrittenBody(
                ran.order,
                digest if ran.subject is asked else identity_digest(kind, ran.subject, encoder),
                ran.began_ns,
                ran.state,
                encoder.encode(_plain(ran.value), asked),
            )
            for ran in watched.bodies
        ]
    )
    left: Content | None = None if _is_last(ended, watched) else encoder.encode(_plain(ended.value), asked)
    if left is not None and bodies and bodies[-1].content == left:
        left = None
    return Written(
        id=ref.id,
        within=watched.within,
        order=watched.order,
        at_s=at_s,
        kind=ended.kind,
        component=encoder.text(ended.component.name),
        language=ended.language,
        status=ended.status,
        code=encoder.text(ended.value.code) if isinstance(ended.value, Failure) else "",
        attempt=ref.attempt,
        hops=ref.hops,
        elapsed_ns=ended.elapsed_ns,
        digest=digest,
        request=encoder.encode(asked),
        bodies=bodies,
        left=left,
        answers=tuple([_answer(answer, encoder) for answer in ended.answers]),
        asked=encoder.digest(watched.asked) if watched.is_early else "",
        draws=_draws(watched, encoder) if watched.drawn and encoder.is_full else (),
    )


def _draws(watched: Watched, encoder: Encoder) -> tuple[WrittenDraws, ...]:
    rows: dict[tuple[int, str], list[Any]] = {}
    for stage, name, value in watched.drawn:
        rows.setdefault((stage, name), []).append(encoder.text(value) if isinstance(value, str) else value)
    return tuple([WrittenDraws(stage, name, tuple(values)) for (stage, name), values in rows.items()])


def _answer(answer: HookAnswer, encoder: Encoder) -> WrittenAnswer:
    fields = {name: getattr(answer.answer, name) for name in answer.answer.__struct_fields__}
    subject = encoder.encode(answer.subject) if isinstance(answer.answer, Modified) else None
    return WrittenAnswer(
        answer.point, answer.hook, type(answer.answer).__name__, encoder.encode(fields, answer.subject), subject
    )


def _is_last(ended: EndedOperation, watched: Watched) -> bool:
    """Whether what left is the very value that the body yielded last."""
    return bool(watched.bodies) and watched.bodies[-1].state == "yielded" and watched.bodies[-1].value is ended.value


def _plain(value: Any) -> Any:
    """Return what is recorded of an outcome: a value as it is, an error as a mapping."""
    if isinstance(value, Failure):
        facts = failure_facts(value.error) if value.error is not None else {"facts": {}}
        return {**facts, "type": value.type, "message": value.message, "code": value.code}
    if isinstance(value, BaseException):
        return failure_facts(value)
    return value


packed: Final = msgspec.msgpack.Encoder().encode
"""Returns the bytes of a record."""


def unpacked(data: bytes) -> Written:
    """Return the record of these bytes; raises ``msgspec.DecodeError`` if they are none."""
    return msgspec.msgpack.decode(data, type=Written)
