"""The approval seam: who may lift a denial, and what is accepted as having done so.

Invariant: what is lifted is what was shown. The one who resolves gives back the identity of the context, after
whatever was taken out of it; any other identity, an answer that does not fit, a failure and silence leave the denial.
Durations in seconds. Source: AGENT-HOOKS-0.1, section 9.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio
from msgspec import Struct

from llmspell_hookspecs.errors import InvalidInputError, line_of_error
from llmspell_hookspecs.foreign import Blamed
from llmspell_hookspecs.values import thaw

from .failure import FailedError, as_failure
from .verdict import Verdict, host_error, read_verdict

__all__ = ["ApprovalRequest", "Resolution", "Seam"]

_OUTCOMES: Final = ("approve", "reject", "unresolved")
Identify = Callable[[dict[str, Any]], Awaitable[str | None]]


class ApprovalRequest(Struct, frozen=True):
    """What the one who resolves is given.

    Attributes:
        context_identity: What is to be given back.
        interception_point: Where.
        verdict: The denial.
        context: What it is about, without what was taken out.
    """

    context_identity: str | None
    interception_point: str
    verdict: Verdict
    context: dict[str, Any]


class Resolution(Struct, frozen=True):
    """What became of a question.

    Attributes:
        verdict: What stands in place of the denial.
        lifts: Whether the denial is lifted.
    """

    verdict: Verdict
    lifts: bool = False


class Seam(Struct, frozen=True):
    """Who resolves, and what is kept from them.

    Attributes:
        resolver: Has ``resolve(request)``, sync or async.
        redactor: Returns a context without what is none of their business.
        timeout_s: How long they may take; None for ever.
    """

    resolver: Any
    redactor: Callable[[dict[str, Any]], Any] | None = None
    timeout_s: float | None = 5.0

    async def consult(self, verdict: Verdict, context: dict[str, Any], identify: Identify) -> Resolution:
        """Return what becomes of a denial that may be lifted."""
        try:
            with Blamed(as_failure):
                shown = thaw(context) if self.redactor is None else self.redactor(thaw(context))
        except FailedError as error:
            return Resolution(host_error("approval_resolver_failed", line_of_error(error)))
        try:
            identity = await identify(shown)
        except InvalidInputError as error:
            return Resolution(host_error("context_invalid", line_of_error(error)[:200]))
        request = ApprovalRequest(identity, context["interception_point"], verdict, shown)
        try:
            limit_s = math.inf if self.timeout_s is None else self.timeout_s
            with trio.move_on_after(limit_s) as scope, Blamed(as_failure):
                answer = await self._resolved(request)
            if scope.cancelled_caught:
                return Resolution(host_error("approval_resolver_failed", "timeout"))
            with Blamed(as_failure):
                return _judged(answer, identity)
        except FailedError as error:
            return Resolution(host_error("approval_resolver_failed", line_of_error(error)))

    async def _resolved(self, request: ApprovalRequest) -> Any:
        function = self.resolver.resolve
        if inspect.iscoroutinefunction(function):
            return await function(request)
        answer = await trio.to_thread.run_sync(function, request, abandon_on_cancel=True)
        return await answer if inspect.isawaitable(answer) else answer


def _judged(answer: Any, identity: str | None) -> Resolution:
    """Return what an answer comes to, in the order in which the contract has it judged."""
    outcome, echoed, given = (_member(answer, name) for name in ("outcome", "context_identity", "verdict"))
    if echoed != identity:
        return Resolution(host_error("approval_identity_mismatch"))
    word = getattr(outcome, "value", outcome)
    if word not in _OUTCOMES or (given is None) != (word == "unresolved"):
        return Resolution(host_error("approval_resolver_failed", "its answer is no resolution"))
    if word == "unresolved":
        return Resolution(host_error("approval_unresolved"))
    verdict = read_verdict(given)
    if verdict.is_of_host:
        return Resolution(host_error("verdict_invalid", verdict.message))
    if verdict.permits != (word == "approve"):
        return Resolution(host_error("verdict_invalid", f"{word} carries {verdict.decision}"))
    return Resolution(verdict, verdict.permits)


def _member(answer: Any, name: str) -> Any:
    return answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)
