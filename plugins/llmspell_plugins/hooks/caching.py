"""The plugin caching: answers again what was answered before, for rules that say of what and how long.

It answers `Cache`, and the host does the rest: the key is the component, the session and the whole call in canonical
form, many who ask at once make one call, errors and what a guard denied are never kept, guards judge what is served,
and the least recently used go first (``limits.cache_bytes``).

Invariant: nothing is served that no rule is about; a model's answer that dice had a part in only if its rule says so.
Durations in seconds.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import Cache, Failure, HookContext, ModelRequest, ModelResponse, Policy, Services
from llmspell_hookspecs.borrowing import Borrowing
from llmspell_hookspecs.stateful import plain_state, state_of
from llmspell_plugins.hooks.standing import CALLED, POINTS, stand

from .call_match import KeyPart, address_of, fits, key_of

__all__ = ["Caching", "CachingSettings"]

_PRIORITY: Final = 100_000
_ADDRESSES: Final = 1000


class CacheRule(BaseModel):
    """One rule; the first that is about a call counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: str = Field(description="A glob for addresses: model:*, tool:http_request. What has effects is not for it.")
    ttl_s: float = Field(default=300.0, gt=0, description="How long an answer is fresh; 0.5 and up make sense.")
    scope: Literal["session", "host"] = Field(default="session", description="Who shares it.")
    vary: tuple[KeyPart, ...] = Field(default=(), description="What else must be the same: user, language ...")
    any_temperature: bool = Field(default=False, description="Also for models whose temperature is above 0 or unset.")
    stale_on_error: bool = Field(default=False, description="Whether an answer that is old is served on an error.")
    persist: bool = Field(default=False, description="Whether later hosts serve it, too; what holds a secret never is.")


class CachingSettings(BaseModel):
    """``[plugins.caching]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: Annotated[tuple[CacheRule, ...], Policy.LOCKED] = Field(default=(), description="What is kept.")


class _State(Struct, frozen=True):
    """What outlives the plugin; the answers are kept by the host."""

    counts: dict[str, int]
    saved_ns: int
    saved_usd: float
    took_ns: dict[str, tuple[int, int]]


class Caching:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host; it uses nothing.
    """

    name = "caching"
    Settings: ClassVar[type[BaseModel]] = CachingSettings
    borrowing = Borrowing(frozenset({"rules"}), withheld={"rules": frozenset({"persist", "scope"})})

    def __init__(self, settings: CachingSettings, services: Services) -> None:
        self._rules = settings.rules
        self._counts: Counter[str] = Counter()
        self._saved_ns = 0
        self._saved_usd = 0.0
        self._took_ns: dict[str, list[int]] = {}
        for kind in CALLED:
            before, after, error = POINTS[kind]
            if any(fits(rule.match.partition(":")[0], kind) for rule in settings.rules):
                stand(self, before, self._look, priority=_PRIORITY, waits=True)  # a busy machine takes none out
                stand(self, error, self._serve_stale, priority=-_PRIORITY, waits=True)
                stand(self, after, self._count, kind="observe")

    def stats(self) -> dict[str, float]:
        """Return hits, misses, and the time and money that hits saved."""
        asked = self._counts["asked"]
        hits = self._counts["hits"]
        return {
            "hits": hits,
            "misses": asked - hits,
            "saved_ms": round(self._saved_ns / 1e6, 3),
            "saved_usd": self._saved_usd,
        }

    async def dump_state(self) -> Any:
        """Return the counts, and how long calls took; see the contract's `Stateful`."""
        took_ns = {address: (took[0], took[1]) for address, took in self._took_ns.items()}
        return plain_state(_State(dict(self._counts), self._saved_ns, self._saved_usd, took_ns))

    async def load_state(self, state: Any, /) -> None:
        """Take that over."""
        given = state_of(state, _State, self.name)
        self._counts.update(given.counts)
        self._saved_ns += given.saved_ns
        self._saved_usd += given.saved_usd
        self._took_ns.update({address: [*took] for address, took in list(given.took_ns.items())[:_ADDRESSES]})

    def _rule(self, context: HookContext[Any]) -> CacheRule | None:
        address = address_of(context)
        return next((rule for rule in self._rules if fits(rule.match, address)), None)

    def _look(self, context: HookContext[Any]) -> Cache | None:
        rule, request = self._rule(context), context.subject
        if rule is None:
            return None
        if isinstance(request, ModelRequest) and request.temperature != 0 and not rule.any_temperature:
            return None
        self._counts["asked"] += 1
        return _cache(rule, context)

    def _serve_stale(self, context: HookContext[Failure]) -> Cache | None:
        rule, request = self._rule(context), context.request
        if rule is None or not rule.stale_on_error:
            return None
        if isinstance(request, ModelRequest) and request.temperature != 0 and not rule.any_temperature:
            return None
        return _cache(rule, context)

    def _count(self, context: HookContext[Any]) -> None:
        """Count what became of a call that somebody's rule is about."""
        rule = self._rule(context)
        if rule is None:
            return
        took = self._took_ns.setdefault(address_of(context), [0, 0]) if len(self._took_ns) < _ADDRESSES else [0, 0]
        if context.elapsed_ns:  # it ran
            took[0], took[1] = took[0] + 1, took[1] + context.elapsed_ns
            return
        self._counts["hits"] += 1
        self._saved_ns += took[1] // took[0] if took[0] else 0
        if isinstance(context.subject, ModelResponse):
            self._saved_usd += context.subject.usage.cost_usd or 0.0


def _cache(rule: CacheRule, context: HookContext[Any]) -> Cache:
    return Cache("\n".join((rule.match, *key_of(rule.vary, context))), rule.ttl_s, rule.scope, rule.persist)
