"""The plugin: each attempt of a call takes a place of every limit that is about it, or of none, and waits for it.

A transform takes the place, behind all others that are not as late, so that what a cache answers takes none; a guard
behind all others waits for it, and takes one for further attempts, before which no transform is asked. What is asked
and what is taken have no await in between. The guard is awaited only where there is something to wait for: every async
hook costs each call a scope.

Invariant: no limit is exceeded, however many callers there are, and whatever becomes of them. The waits are declared,
so no breaker counts them. Durations in seconds.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Annotated, Any, ClassVar, Final, Literal

import trio
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import (
    Cancel,
    Events,
    Failure,
    HookContext,
    ModelRequest,
    ModelResponse,
    Policy,
    Redirect,
    Services,
    hookimpl,
)
from llmspell_hookspecs.borrowing import Borrowing
from llmspell_hookspecs.errors import ProviderError
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.stateful import plain_state, state_of
from llmspell_plugins.hooks.call_match import KeyPart, TokenCount, address_of, fits, key_of, provider_of
from llmspell_plugins.hooks.standing import CALLED, POINTS, stand

from .limiter import FixedWindow, Limiter, SlidingWindow, TokenBucket

__all__ = ["RateLimit", "RateLimitSettings"]

_KEPT: Final = 10_000
_PRIORITY: Final = 1_000_000
_NS: Final = 1_000_000_000


class Limit(BaseModel):
    """One limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="", description="Told to whoever is refused; its match if left out.")
    match: str = Field(default="model:*", description="A glob for addresses: model:openai/*, tool:http_request.")
    key: tuple[KeyPart, ...] = Field(default=("component",), description="Each of these has a limit of its own.")
    algorithm: Literal["token_bucket", "sliding", "fixed"] = Field(default="token_bucket", description="How it counts.")
    rate: int = Field(ge=1, description="How many.")
    per_s: float = Field(default=1.0, gt=0, le=31_536_000, description="In which time.")
    burst: int = Field(default=0, ge=0, description="For a token bucket, how many at once; the rate if 0.")
    unit: Literal["calls", "tokens"] = Field(default="calls", description="What is counted; tokens are of models.")
    action: Literal["wait", "refuse", "redirect"] = Field(default="wait", description="What becomes of one too many.")
    max_wait_s: float = Field(default=30.0, ge=0, le=3600, description="Who would wait longer is refused.")
    redirect: str = Field(default="", description="For redirect, what runs instead.")
    warn_at: float = Field(default=0.8, gt=0, le=1, description="At which part used an event tells of it, once.")

    @model_validator(mode="after")
    def _fits_together(self) -> Limit:
        if (self.action == "redirect") != bool(self.redirect):
            raise ValueError("redirect says where to, and action says redirect; give both or neither")
        if self.algorithm == "sliding" and self.rate > 10_000:
            raise ValueError("a sliding window remembers each call, 10000 at most; take a token bucket")
        if self.burst and self.algorithm != "token_bucket":
            raise ValueError("only a token bucket has a burst; take it out")
        return self


class RateLimitSettings(BaseModel):
    """``[plugins.rate_limit]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: Annotated[tuple[Limit, ...], Policy.LOCKED] = Field(default=(), description="All that match count.")
    learn: Annotated[bool, Policy.ON_ONLY] = Field(
        default=True, description="Whether a provider that said when to come back is left alone until then."
    )


class _Place(Struct, frozen=True):
    limit: Limit
    limiter: Limiter
    count: int


class _Held(Struct):
    """What an operation has taken: for which attempt, when it may go, where, and the tickets."""

    attempt: int
    at_ns: int
    places: list[_Place]
    tickets: list[int]


class _LimiterState(Struct, frozen=True):
    """A limiter: which of the limits, whose, and what was taken, each with its age in nanoseconds."""

    name: str
    match: str
    key: tuple[str, ...]
    unit: str
    per_s: float
    of: tuple[str, ...]
    taken: list[tuple[int, int]]


class _State(Struct, frozen=True):
    """What outlives the plugin; how long providers are left alone in nanoseconds from then on."""

    at_s: float
    limiters: list[_LimiterState]
    back_in: dict[str, int]
    counts: dict[str, int]
    waited_s: float


class RateLimit:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host.
    """

    name = "rate_limit"
    fails_closed = True
    Settings: ClassVar[type[BaseModel]] = RateLimitSettings
    borrowing = Borrowing(frozenset({"limits", "learn"}))

    def __init__(self, settings: RateLimitSettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._clock = services.get(Clock)
        self._origin_ns: int | None = None
        self._limiters: OrderedDict[tuple[Any, ...], Limiter] = OrderedDict()
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._back_at: dict[str, int] = {}
        self._warned: set[tuple[Any, ...]] = set()
        self._counts: Counter[str] = Counter()
        self._waited_s = 0.0
        self._tokens = TokenCount()
        self._by_component: dict[tuple[str, str], list[tuple[int, Limit]]] = {}
        longest_s = max((limit.max_wait_s for limit in settings.limits if limit.action == "wait"), default=0.0)
        for point in [POINTS[kind][0] for kind in CALLED] if settings.limits else ():
            stand(self, point, self._take, priority=_PRIORITY, waits=True)  # else a busy machine would take it out
            if longest_s:
                bounds: dict[str, Any] = {"timeout_s": longest_s + 60, "quick": self._go_at_once}
                stand(self, point, self._go, kind="guard", priority=_PRIORITY, **bounds)
            else:
                stand(self, point, self._take_again, kind="guard", priority=_PRIORITY)

    def stats(self) -> dict[str, float]:
        """Return how many calls went, waited and were refused, and how long they waited together."""
        return {**self._counts, "waited_s": round(self._waited_s, 6), "keys": len(self._limiters)}

    def headroom(self) -> dict[str, float]:
        """Return which part of each limit is left, by its name and key."""
        now_ns = self._now_ns()
        return {
            "/".join((self._settings.limits[number].name or self._settings.limits[number].match, *key)): round(
                1 - limiter.used(now_ns), 6
            )
            for (number, *key), limiter in self._limiters.items()
        }

    async def dump_state(self) -> Any:
        """Return what was taken of each limit, and which providers are left alone; see the contract's `Stateful`."""
        now_ns = self._now_ns()
        limiters = []
        for (number, *key), limiter in self._limiters.items():
            if taken := limiter.taken(now_ns):
                ages = [(now_ns - at_ns, count) for at_ns, count in taken]
                limiters.append(_LimiterState(*_identity(self._settings.limits[number]), tuple(key), ages))
        back_in = {provider: at_ns - now_ns for provider, at_ns in self._back_at.items() if at_ns > now_ns}
        return plain_state(_State(self._clock.now_s(), limiters, back_in, dict(self._counts), self._waited_s))

    async def load_state(self, state: Any, /) -> None:
        """Take that over: of a limit that is still there, whatever its rate is now. A clock set back frees nothing."""
        given = state_of(state, _State, self.name)
        then_ns = self._now_ns() - max(0, round((self._clock.now_s() - given.at_s) * _NS))
        numbers = {_identity(limit): number for number, limit in enumerate(self._settings.limits)}
        for each in given.limiters[:_KEPT]:
            number = numbers.get((each.name, each.match, each.key, each.unit, each.per_s))
            if number is not None:
                limiter = self._limiters[(number, *each.of)] = self._make(self._settings.limits[number])
                for age_ns, count in each.taken:
                    limiter.take(count, then_ns - age_ns)
        self._back_at.update({provider: then_ns + wait_ns for provider, wait_ns in given.back_in.items()})
        self._counts.update(given.counts)
        self._waited_s += given.waited_s

    def _take(self, context: HookContext[Any]) -> Cancel | Redirect | None:
        """Take a place, now or to be waited for by the guard."""
        now_ns = self._now_ns()
        places = self._places(context, now_ns)
        if not places:
            return None
        at_ns = max(now_ns, self._back_at.get(provider_of(context), 0)) if self._back_at else now_ns
        for place in places:
            earliest_ns = place.limiter.earliest(place.count, at_ns)
            if earliest_ns > now_ns:
                refusal = self._refusal(place.limit, earliest_ns - now_ns, context)
                if refusal is not None:
                    return refusal
                at_ns = earliest_ns
        tickets = [place.limiter.take(place.count, at_ns) for place in places]
        self._hold(context, _Held(context.operation.attempt, at_ns, places, tickets))
        if at_ns <= now_ns:
            self._counts["granted"] += 1
        return None

    def _take_again(self, context: HookContext[Any]) -> Cancel | None:
        """Take a place for an attempt for which no transform was asked."""
        held = self._held.get(context.operation.id)
        if held is not None and held.attempt == context.operation.attempt:
            return None
        if context.outcome is not None and context.outcome.decision is not None:
            return None  # a hook has the result; nothing is asked for
        answer = self._take(context)
        if isinstance(answer, Redirect):
            return Cancel(f"{address_of(context)}: the limit is used up by further attempts", "rate_limited")
        return answer

    def _go_at_once(self, context: HookContext[Any]) -> Any:
        """Go, or say that there is something to wait for."""
        refusal = self._take_again(context)
        held = self._held.get(context.operation.id)
        return NotImplemented if refusal is None and held is not None and held.at_ns > self._now_ns() else refusal

    async def _go(self, context: HookContext[Any]) -> Cancel | None:
        """Wait for the place that was taken."""
        refusal = self._take_again(context)
        held = self._held.get(context.operation.id)
        if refusal is None and held is not None and held.at_ns > self._now_ns():
            await self._wait(held, context)
            self._counts["granted"] += 1
        return refusal

    def _refusal(self, limit: Limit, wait_ns: int, context: HookContext[Any]) -> Cancel | Redirect | None:
        if wait_ns <= 0 or (limit.action == "wait" and wait_ns <= limit.max_wait_s * _NS):
            return None
        if limit.action == "redirect":
            self._counts["redirected"] += 1
            return Redirect(limit.redirect)
        self._counts["refused"] += 1
        each = "" if limit.per_s == 1 else f"{limit.per_s:g} "
        what = f"{limit.name or limit.match}: {limit.rate} {limit.unit} in {each}s are used up"
        return Cancel(f"{address_of(context)}: {what}; try again in {wait_ns / _NS:.3g} s", "rate_limited")

    async def _wait(self, held: _Held, context: HookContext[Any]) -> None:
        self._counts["waited"] += 1
        began_s = trio.current_time()
        if context.operation.replayed:  # it was waited when it ran first
            return
        try:
            await trio.sleep((held.at_ns - self._now_ns()) / _NS)
        except trio.Cancelled:
            for place, ticket in zip(held.places, held.tickets, strict=True):
                place.limiter.give_back(place.count, ticket)
            self._held.pop(context.operation.id, None)
            self._counts["left"] += 1
            raise
        finally:
            self._waited_s += trio.current_time() - began_s

    def _places(self, context: HookContext[Any], now_ns: int) -> list[_Place]:
        component = context.component
        limits = self._by_component.get((component.kind, component.name))
        if limits is None:
            limits = self._limits_of(context)
        asks = isinstance(context.subject, ModelRequest)
        return [
            _Place(limit, self._limiter(number, limit, context, now_ns), self._count(limit, context) if asks else 1)
            for number, limit in limits
            if asks or limit.unit == "calls"
        ]

    def _limits_of(self, context: HookContext[Any]) -> list[tuple[int, Limit]]:
        """Return the limits that are about a component, to be asked for once."""
        address = address_of(context)
        limits = [(number, limit) for number, limit in enumerate(self._settings.limits) if fits(limit.match, address)]
        if len(self._by_component) >= _KEPT:
            self._by_component.clear()
        self._by_component[(context.component.kind, context.component.name)] = limits
        return limits

    def _count(self, limit: Limit, context: HookContext[Any]) -> int:
        request = context.subject
        if limit.unit == "calls" or not isinstance(request, ModelRequest):
            return 1
        return max(1, self._tokens(request) + (request.max_tokens or 0))

    def _limiter(self, number: int, limit: Limit, context: HookContext[Any], now_ns: int) -> Limiter:
        key = (number, *key_of(limit.key, context)) if limit.key else (number,)
        limiter = self._limiters.get(key)
        if limiter is None:
            limiter = self._limiters[key] = self._make(limit)
            if len(self._limiters) > _KEPT:
                self._forget_idle()
        self._limiters.move_to_end(key)
        used = limiter.used(now_ns)
        if used >= limit.warn_at:
            self._warn(key, limit, used)
        elif self._warned:
            self._warned.discard(key)
        return limiter

    def _make(self, limit: Limit) -> Limiter:
        per_ns = round(limit.per_s * _NS)
        if limit.algorithm == "token_bucket":
            return TokenBucket(limit.rate, per_ns, limit.burst or limit.rate)
        if limit.algorithm == "sliding":
            return SlidingWindow(limit.rate, per_ns)
        if self._origin_ns is None:
            self._origin_ns = self._now_ns() - round(self._clock.now_s() * _NS)
        return FixedWindow(limit.rate, per_ns, self._origin_ns)

    def _forget_idle(self) -> None:
        """Drop what would be made anew as it is; what is in use is kept, however much it is."""
        now_ns = self._now_ns()
        for key in [key for key, limiter in self._limiters.items() if limiter.is_idle(now_ns)]:
            del self._limiters[key]
            self._warned.discard(key)

    def _warn(self, key: tuple[Any, ...], limit: Limit, used: float) -> None:
        if key not in self._warned:
            self._warned.add(key)
            told = {"limit": limit.name or limit.match, "key": list(key[1:]), "used": round(used, 3)}
            self._services.get(Events).publish_nowait("rate_limit.warning", told)

    def _hold(self, context: HookContext[Any], held: _Held) -> None:
        self._held[context.operation.id] = held
        if len(self._held) > _KEPT:
            self._held.popitem(last=False)

    def _now_ns(self) -> int:
        return round(self._clock.monotonic_s() * _NS)

    # What was really used, and what a provider says.

    @hookimpl(kind="observe")
    def after_model_call(self, context: HookContext[ModelResponse]) -> None:
        """Count the tokens that were used in place of those that were expected."""
        held = self._held.pop(context.operation.id, None)
        usage = context.subject.usage
        used = usage.input_tokens + usage.output_tokens
        for place in [] if held is None or not used else held.places:
            if place.limit.unit == "tokens":
                place.limiter.add(used - place.count, held.at_ns)  # type: ignore[union-attr]

    @hookimpl(kind="observe", specname="after_tool_execution")
    def forget_tool(self, context: HookContext[Any]) -> None:
        """Forget what a tool's call has taken."""
        self._held.pop(context.operation.id, None)

    @hookimpl(kind="observe", specname="after_agent_execution")
    def forget_agent(self, context: HookContext[Any]) -> None:
        """Forget what an agent's run has taken."""
        self._held.pop(context.operation.id, None)

    @hookimpl
    def model_error(self, context: HookContext[Failure]) -> None:
        """Leave a provider alone that said when to come back."""
        error = context.subject.error
        if self._settings.learn and isinstance(error, ProviderError) and error.retry_after_s:
            until_ns = self._now_ns() + round(min(error.retry_after_s, 3600) * _NS)
            provider = provider_of(context)
            self._back_at[provider] = max(self._back_at.get(provider, 0), until_ns)


def _identity(limit: Limit) -> tuple[str, str, tuple[str, ...], str, float]:
    """What makes a limit the same one, though it may have become tighter."""
    return limit.name, limit.match, limit.key, limit.unit, limit.per_s
