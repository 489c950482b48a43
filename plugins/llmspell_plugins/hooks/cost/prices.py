"""What models cost: settings first, then litellm's list of prices where litellm is installed. In 1e-12 USD a token.

litellm itself is not imported for it; its list is a file beside it, and the two megabytes are read once, in a thread.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
from msgspec import Struct

from llmspell_hookspecs.regular import read_regular
from llmspell_plugins.hooks.cost.settings import Price

__all__ = ["PICO", "Prices", "TokenPrice", "read_list"]

PICO = 10**12
"""Money is counted in whole 1e-12 USD, so that sums are exact."""


class TokenPrice(Struct, frozen=True):
    """What a token costs.

    Attributes:
        input_pico: Of a request, in 1e-12 USD.
        output_pico: Of an answer.
        max_output_tokens: The longest answer; 0 if it is not known.
        own: Whether settings say so, which counts before what a provider says of a call.
    """

    input_pico: int
    output_pico: int
    max_output_tokens: int = 0
    own: bool = False


class _Listed(Struct):
    input_cost_per_token: float | None = None
    output_cost_per_token: float | None = None
    max_output_tokens: int | float | str | None = None


class Prices:
    """Finds the price of a model.

    Args:
        own: By name or glob, from settings.
        listed: The list of `read_list`.
    """

    def __init__(self, own: Mapping[str, Price], listed: Mapping[str, msgspec.Raw]) -> None:
        self._own = own
        self._listed = listed
        self._found: dict[str, TokenPrice | None] = {}

    def of(self, model: str) -> TokenPrice | None:
        """Return the price of ``provider/model``, or None if nobody knows it."""
        if model not in self._found:
            if len(self._found) >= 10_000:
                self._found.clear()
            self._found[model] = self._find(model)
        return self._found[model]

    def _find(self, model: str) -> TokenPrice | None:
        for pattern, price in self._own.items():
            if fnmatchcase(model, pattern):
                return token_price(price)
        name = model
        while name:
            if name in self._listed:
                return _from_list(self._listed[name])
            name = name.partition("/")[2]
        return None


def token_price(price: Price) -> TokenPrice:
    """Return a price of the settings, which is for a million tokens, as that of one."""
    return TokenPrice(round(price.input_usd * 1e6), round(price.output_usd * 1e6), price.max_output_tokens, own=True)


def read_list() -> Mapping[str, msgspec.Raw]:
    """Return litellm's list by model, each entry undecoded; empty where litellm is not installed. It reads a file.

    Raises:
        ValueError: The file is no such list.
        OSError: It cannot be read.
    """
    found = importlib.util.find_spec("litellm")
    if found is None or not found.submodule_search_locations:
        return {}
    file = Path(found.submodule_search_locations[0]) / "model_prices_and_context_window_backup.json"
    if not file.is_file():
        return {}
    return msgspec.json.decode(read_regular(file), type=dict[str, msgspec.Raw])


def _from_list(entry: msgspec.Raw) -> TokenPrice | None:
    try:
        listed = msgspec.json.decode(entry, type=_Listed)
    except msgspec.ValidationError:
        return None
    if listed.input_cost_per_token is None or listed.output_cost_per_token is None:
        return None
    longest = listed.max_output_tokens if isinstance(listed.max_output_tokens, int | float) else 0
    return TokenPrice(
        round(listed.input_cost_per_token * PICO), round(listed.output_cost_per_token * PICO), int(longest)
    )
