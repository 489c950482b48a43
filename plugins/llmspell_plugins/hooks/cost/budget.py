"""What a budget holds, has left and has room for. Money in 1e-12 USD, time in nanoseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from .ledger import Amount
from .prices import PICO, TokenPrice
from .settings import Budget, BudgetKey

__all__ = ["Rule", "holds", "left_of", "room_of", "rule_of", "used_of", "window_start"]

_NS: Final = 1_000_000_000


class Rule(Struct, frozen=True):
    """A budget of the settings, in whole numbers; asked for at each call."""

    title: str
    match: str
    key: tuple[BudgetKey, ...]
    window: str
    pico_usd: int | None
    tokens: int | None
    calls: int | None
    ns: int | None
    alerts: tuple[float, ...]
    on_exceed: str
    redirect: str

    @property
    def cuts(self) -> bool:
        """Whether the answer of a model may have to be shorter for it."""
        return self.pico_usd is not None or self.tokens is not None


def rule_of(budget: Budget) -> Rule:
    """Return a budget of the settings as a rule."""
    return Rule(
        budget.title,
        budget.match,
        budget.key,
        budget.window,
        None if budget.usd is None else round(budget.usd * PICO),
        budget.tokens,
        budget.calls,
        None if budget.seconds is None else round(budget.seconds * _NS),
        tuple(sorted(budget.alerts)),
        budget.on_exceed,
        budget.redirect,
    )


def window_start(window: str, now_s: float) -> int:
    """Return when the window began that this moment lies in, in seconds since the epoch; 0 for none."""
    if window == "none":
        return 0
    if window == "month":
        now = datetime.fromtimestamp(now_s, UTC)
        return int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp())
    length_s = 3600 if window == "hour" else 86_400
    return int(now_s // length_s) * length_s


def room_of(rule: Rule, spent: Amount, asked: int, price: TokenPrice) -> int | None:
    """Return how many tokens of an answer the budget has room for; None for any number."""
    rooms = []
    if rule.tokens is not None:
        rooms.append(rule.tokens - spent.tokens - asked)
    if rule.pico_usd is not None:
        left = rule.pico_usd - spent.pico_usd - asked * price.input_pico
        if price.output_pico:
            rooms.append(left // price.output_pico)
        elif left < 0:
            rooms.append(0)
    return min(rooms, default=None)


def holds(rule: Rule, spent: Amount, amount: Amount) -> bool:
    """Return whether the budget holds so much more."""
    return (
        (rule.pico_usd is None or spent.pico_usd + amount.pico_usd <= rule.pico_usd)
        and (rule.tokens is None or spent.tokens + amount.tokens <= rule.tokens)
        and (rule.calls is None or spent.calls + amount.calls <= rule.calls)
        and (rule.ns is None or spent.ns < rule.ns)
    )


def left_of(rule: Rule, spent: Amount) -> dict[str, float]:
    """Return what is left, by unit."""
    left: dict[str, float] = {}
    if rule.pico_usd is not None:
        left["usd"] = max(0.0, (rule.pico_usd - spent.pico_usd) / PICO)
    if rule.tokens is not None:
        left["tokens"] = max(0, rule.tokens - spent.tokens)
    if rule.calls is not None:
        left["calls"] = max(0, rule.calls - spent.calls)
    if rule.ns is not None:
        left["seconds"] = max(0.0, (rule.ns - spent.ns) / _NS)
    return left


def used_of(rule: Rule, spent: Amount) -> float:
    """Return which part is used, of what is used most."""
    used = spent.pico_usd / rule.pico_usd if rule.pico_usd else 0.0
    if rule.tokens:
        used = max(used, spent.tokens / rule.tokens)
    if rule.calls:
        used = max(used, spent.calls / rule.calls)
    return max(used, spent.ns / rule.ns) if rule.ns else used
