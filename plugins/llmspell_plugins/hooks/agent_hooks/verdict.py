"""What an interceptor answers, and what of it may be recorded.

Invariant: what is not exactly a verdict is a denial; a reason that the host reserves comes from the host alone. A
record holds no content: no value of a transform, no members of an approval, and of messages their beginning. Sizes in
bytes. Source: AGENT-HOOKS-0.1, sections 5, 10.3 and 11.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.foreign import Blamed

from .failure import FailedError, as_failure
from .identity import canonical_json
from .target import TransformError, steps_of

__all__ = ["ALLOW", "Evidence", "Transform", "Verdict", "Warned", "host_error", "read_verdict", "recorded", "unite"]

_RESERVED: Final = "host_error:"
_MOST_EVIDENCE_BYTES: Final = 10_240
_MOST_MESSAGE_BYTES: Final = 256
_MOST_WORDS: Final = 1000
_LONGEST_WORD: Final = 1000


class Warned(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A concern that is recorded and changes nothing.

    Attributes:
        reason: One word for programs.
        message: For people.
    """

    reason: str | None = None
    message: str | None = None


class Transform(Struct, frozen=True, forbid_unknown_fields=True):
    """A value for a place in the target.

    Attributes:
        path: The place, rooted at ``$target``.
        value: What is put there.
    """

    path: str
    value: Any = None


class Evidence(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where something lies that bears a verdict out; nobody here follows it.

    Attributes:
        artefact: Its name.
        verification_pointers: Where it can be verified.
    """

    artefact: str | None = None
    verification_pointers: dict[str, str] | None = None


class Verdict(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an interceptor answers.

    Attributes:
        decision: ``transform`` goes on, with another value.
        reason: One word for programs.
        message: For people.
        warnings: Concerns, whatever the decision.
        approval: On a denial: somebody may lift it.
        transform: On a transform: what changes.
        evidence: What bears it out.
        result_labels: What is to be kept beside the data.
    """

    decision: Literal["allow", "deny", "transform"]
    reason: str | None = None
    message: str | None = None
    warnings: list[Warned] | None = None
    approval: dict[str, Any] | None = None
    transform: Transform | None = None
    evidence: Evidence | None = None
    result_labels: list[str] | None = None

    @property
    def permits(self) -> bool:
        """Whether the action goes on."""
        return self.decision != "deny"

    @property
    def is_liftable(self) -> bool:
        """Whether somebody may lift it."""
        return self.decision == "deny" and self.approval is not None

    @property
    def is_of_host(self) -> bool:
        """Whether the host made it, because something failed."""
        return self.reason is not None and self.reason.startswith(_RESERVED)


ALLOW: Final = Verdict("allow")


def host_error(word: str, message: str | None = None, *, liftable: bool = False) -> Verdict:
    """Return the denial with a reason that only a host gives; the word may be the whole reason."""
    return Verdict("deny", _RESERVED + word.removeprefix(_RESERVED), message, approval={} if liftable else None)


def read_verdict(answer: Any) -> Verdict:
    """Return the verdict that an interceptor answered, or the denial that stands for what is none.

    Args:
        answer: A mapping as JSON has it, or what has a ``to_wire`` that makes one.
    """
    try:
        with Blamed(as_failure, spares=msgspec.ValidationError):
            wire = answer.to_wire() if hasattr(answer, "to_wire") else answer
            return _checked(msgspec.convert(wire, Verdict))
    except msgspec.ValidationError:  # its text may quote what was answered
        return host_error("verdict_invalid", "the answer is no verdict of the contract")
    except FailedError as error:
        return host_error("verdict_invalid", line_of_error(error))


def _checked(verdict: Verdict) -> Verdict:
    reasons = [verdict.reason, *(warned.reason for warned in verdict.warnings or ())]
    if any(reason is not None and reason.startswith(_RESERVED) for reason in reasons):
        return host_error("verdict_invalid", "a reason begins with what only a host may say")
    if verdict.approval is not None and verdict.decision != "deny":
        return host_error("verdict_invalid", "approval stands on what is no denial")
    if (verdict.transform is not None) != (verdict.decision == "transform"):
        return host_error("verdict_invalid", "transform stands on what is none, or is missing on one")
    if verdict.evidence is not None and _size(verdict.evidence) > _MOST_EVIDENCE_BYTES:
        return host_error("verdict_invalid", f"evidence is larger than {_MOST_EVIDENCE_BYTES} bytes")
    said = [*reasons, *(verdict.result_labels or ())]
    if len(said) > _MOST_WORDS or any(len(each or "") > _LONGEST_WORD for each in said):
        return host_error("verdict_invalid", f"it has over {_MOST_WORDS} words, or one of over {_LONGEST_WORD} letters")
    if verdict.transform is not None:
        try:
            steps_of(verdict.transform.path)
        except TransformError as error:
            return host_error(error.reason, line_of_error(error))
    return verdict


def _size(evidence: Evidence) -> int:
    return len(canonical_json(msgspec.to_builtins(evidence)).encode())


def unite(combined: Verdict, all_given: Iterable[Verdict]) -> Verdict:
    """Return a verdict with the warnings of all that were given, and the labels of those that permit, each once."""
    warnings: list[Warned] = []
    labels: list[str] = []
    for verdict in all_given:
        warnings += [warned for warned in verdict.warnings or () if warned not in warnings]
        if verdict.permits:
            labels += [label for label in verdict.result_labels or () if label not in labels]
    return msgspec.structs.replace(
        combined, warnings=warnings or None, result_labels=(labels or None) if combined.permits else None
    )


def recorded(verdict: Verdict) -> dict[str, Any]:
    """Return what of a verdict a record holds."""
    shown = msgspec.structs.replace(
        verdict,
        message=_cut(verdict.message),
        warnings=[Warned(each.reason, _cut(each.message)) for each in verdict.warnings or ()] or None,
        approval=None if verdict.approval is None else {},
        transform=None,
        result_labels=verdict.result_labels if verdict.permits else None,
    )
    found: dict[str, Any] = msgspec.to_builtins(shown)
    if verdict.transform is not None:
        found["transform"] = {"path": verdict.transform.path}
    return found


def _cut(text: str | None) -> str | None:
    if text is None:
        return None
    data = text[: _MOST_MESSAGE_BYTES + 1].encode(errors="replace")
    if len(data) <= _MOST_MESSAGE_BYTES:
        return text
    return data[: _MOST_MESSAGE_BYTES - 3].decode(errors="ignore") + "…"
