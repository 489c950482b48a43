"""What a call cost and what fits into one, by the list that the litellm package brings; litellm is not imported.

Invariant: a price that is not known for certain is None; only tokens are counted, not searches or pictures. The list is
read once, in a thread. Prices in US dollars for a token.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec
import trio
from msgspec import Struct

from llmspell_hookspecs.model import ModelUsage

__all__ = ["context_tokens", "cost_usd"]

_LIST: Final = "model_prices_and_context_window_backup.json"


class _Price(Struct):
    litellm_provider: str = ""
    input_cost_per_token: float | None = None
    output_cost_per_token: float | None = None
    cache_read_input_token_cost: float | None = None
    max_input_tokens: float | str | None = None  # a sentence in the entry that explains the list


async def cost_usd(provider: str, model: str, usage: ModelUsage, cached_tokens: int = 0) -> float | None:
    """Return what a call cost; None if its price is not known.

    Args:
        provider: As litellm names it; nothing is known of an empty one.
        model: As the provider names it.
        usage: How many tokens.
        cached_tokens: How many of the input's tokens were read from the provider's cache.
    """
    if not provider:
        return None
    if not _prices.cache_info().currsize:
        await trio.to_thread.run_sync(_prices)
    price = _price(provider, model)
    if price is None or price.input_cost_per_token is None or price.output_cost_per_token is None:
        return None
    cached = min(cached_tokens, usage.input_tokens) if price.cache_read_input_token_cost is not None else 0
    return (
        (usage.input_tokens - cached) * price.input_cost_per_token
        + cached * (price.cache_read_input_token_cost or 0)
        + usage.output_tokens * price.output_cost_per_token
    )


async def context_tokens(provider: str, model: str) -> int | None:
    """Return how many tokens a model takes in; None if that is not known.

    Args:
        provider: As litellm names it.
        model: As the provider names it.
    """
    if not _prices.cache_info().currsize:
        await trio.to_thread.run_sync(_prices)
    price = _prices().get(f"{provider}/{model}") or _prices().get(model)
    most = None if price is None else price.max_input_tokens
    return int(most) if isinstance(most, float) else None


def _price(provider: str, model: str) -> _Price | None:
    prices = _prices()
    named = prices.get(f"{provider}/{model}")
    if named is not None:
        return named
    bare = prices.get(model)
    return bare if bare is not None and bare.litellm_provider == provider else None


@functools.cache
def _prices() -> Mapping[str, _Price]:
    """The list; empty if there is none."""
    spec = find_spec("litellm")
    places = (spec.submodule_search_locations or []) if spec is not None else []
    for place in places:
        try:
            return msgspec.json.decode((Path(place) / _LIST).read_bytes(), type=dict[str, _Price])
        except (OSError, msgspec.DecodeError):
            continue
    return {}
