"""The nine results with which a hook may answer; ``None`` stands for ``Continue``.

Invariant: a result is a frozen value and carries no behaviour; the runner gives it its meaning. Durations in seconds.
What a point accepts is part of the point (see `points`). The original's ``HookResult`` has the same nine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

__all__ = [
    "RESULT_TYPES",
    "Cache",
    "Call",
    "Cancel",
    "Continue",
    "Fork",
    "HookResult",
    "Modified",
    "Redirect",
    "Replace",
    "Retry",
    "Skipped",
]


class Call(Struct, frozen=True):
    """A component to run.

    Attributes:
        address: ``kind:name``, such as ``tool:calculator``.
        input: What it is given.
        scope: The script whose hook asks for it, which reaches no other script's components; the host fills it in.
    """

    address: str
    input: Mapping[str, Any] = {}
    scope: str = ""


class Continue(Struct, frozen=True):
    """Go on."""


class Modified(Struct, frozen=True):
    """Go on with this value in place of the subject: the call, the result, the failure.

    At an error point the failure is changed and stays one: what leaves is an error of the same class with the new text,
    and nothing of the old one. ``Modified({"message": "withheld"})`` takes out what a text may give away.

    Attributes:
        value: Of the subject's type, or a mapping that converts to it; of a failure, message, code and details.
    """

    value: Any


class Cancel(Struct, frozen=True):
    """The operation does not run, or its result is withheld. Final.

    Attributes:
        reason: One sentence for people.
        code: One word for programs.
    """

    reason: str
    code: str = "denied"


class Redirect(Struct, frozen=True):
    """Another component runs instead, as an operation of its own.

    Attributes:
        target: An address, or a name of the same kind of component.
    """

    target: str


class Replace(Struct, frozen=True):
    """The operation does not run; this value is its result.

    Attributes:
        value: Of the result's type, or what converts to it.
    """

    value: Any


class Retry(Struct, frozen=True):
    """Wait, then run again.

    At after and error points it counts only where what ran says that it may run twice, such as a tool that is
    ``repeatable``, or a stage with ``retry``. Else it is passed over: the result, or the error, goes on as it was, and
    only the trace (``--explain``) tells that it was not honoured.

    Attributes:
        delay_s: The wait, from 0.
        max_attempts: How many attempts the operation may have in all, from 1; the smallest one asked for counts.
        value: The call that runs next in place of the same one, or a mapping of the fields that differ; every guard
            judges it. At before points the transforms are asked about it again, too.
    """

    delay_s: float = 1.0
    max_attempts: int = 3
    value: Any = None


class Fork(Struct, frozen=True):
    """Run these calls beside the operation; their outcomes go to the terminal observers.

    Attributes:
        calls: What runs.
        join: Wait for them when the operation ends, instead of cancelling them.
    """

    calls: tuple[Call, ...]
    join: bool = False


class Cache(Struct, frozen=True):
    """Serve the stored value, or store the one that the operation yields.

    Attributes:
        key: The hook's own part of the key; the subject is part of it in any case.
        ttl_s: How long a value is fresh.
        scope: ``session``: one for each session; ``host``: one for all.
        persist: Keep it beyond this host, too (see `ResultStore`): a later one, or another beside it, serves it. What
            holds a secret, in the call or in the value, stays in memory.
    """

    key: str = ""
    ttl_s: float = 300.0
    scope: Literal["session", "host"] = "session"
    persist: bool = False


class Skipped(Struct, frozen=True):
    """Go on; this hook did not apply.

    Attributes:
        reason: Why not.
    """

    reason: str = ""


HookResult: TypeAlias = Continue | Modified | Cancel | Redirect | Replace | Retry | Fork | Cache | Skipped
RESULT_TYPES: Final = (Continue, Modified, Cancel, Redirect, Replace, Retry, Fork, Cache, Skipped)
