"""What a budget holds, has left and has room for. Money in 1e-12 USD, time in nanoseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from .ledger import Amount
from .prices import PICO, TokenPrice
from .settings import Budget

__all__ = ["holds", "left_of", "room_of", "used_of", "window_start"]

_NS: Final = 1_000_000_000


def window_start(window: str, now_s: float) -> int:
    """Return when the window began that this moment lies in, in seconds since the epoch; 0 for none."""
    if window == "none":
        return 0
    if window == "month":
        now = datetime.fromtimestamp(now_s, UTC)
        return int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp())
    length_s = 3600 if window == "hour" else 86_400
    return int(now_s // length_s) * length_s


def room_of(budget: Budget, spent: Amount, asked: int, price: TokenPrice) -> int | None:
    """Return how many tokens of an answer the budget has room for; None for any number."""
    rooms = []
    if budget.tokens is not None:
        rooms.append(budget.tokens - spent.tokens - asked)
    if budget.usd is not None:
        left = round(budget.usd * PICO) - spent.pico_usd - asked * price.input_pico
        if price.output_pico:
            rooms.append(left // price.output_pico)
        elif left < 0:
            rooms.append(0)
    return min(rooms, default=None)


def holds(budget: Budget, spent: Amount, amount: Amount) -> bool:
    """Return whether the budget holds so much more."""
    return (
        (budget.usd is None or spent.pico_usd + amount.pico_usd <= round(budget.usd * PICO))
        and (budget.tokens is None or spent.tokens + amount.tokens <= budget.tokens)
        and (budget.calls is None or spent.calls + amount.calls <= budget.calls)
        and (budget.seconds is None or spent.ns < round(budget.seconds * _NS))
    )


def left_of(budget: Budget, spent: Amount) -> dict[str, float]:
    """Return what is left, by unit."""
    left: dict[str, float] = {}
    if budget.usd is not None:
        left["usd"] = max(0.0, (round(budget.usd * PICO) - spent.pico_usd) / PICO)
    if budget.tokens is not None:
        left["tokens"] = max(0, budget.tokens - spent.tokens)
    if budget.calls is not None:
        left["calls"] = max(0, budget.calls - spent.calls)
    if budget.seconds is not None:
        left["seconds"] = max(0.0, budget.seconds - spent.ns / _NS)
    return left


def used_of(budget: Budget, spent: Amount) -> float:
    """Return which part is used, of what is used most."""
    parts = [
        spent.pico_usd / (budget.usd * PICO) if budget.usd else 0.0,
        spent.tokens / budget.tokens if budget.tokens else 0.0,
        spent.calls / budget.calls if budget.calls else 0.0,
        spent.ns / _NS / budget.seconds if budget.seconds else 0.0,
    ]
    return max(parts)
