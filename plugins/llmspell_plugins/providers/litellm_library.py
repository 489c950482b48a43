"""The litellm library, made quiet: imported at first use, and called from the host's asyncio thread only.

Invariant: importing it asks no network, and it writes nothing to the log or the terminal. It takes 2 to 6 s and 160 MB,
so it is imported in a thread; what still holds the loop then is its price list, which C reads and writes: 20 to 50 ms,
once.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

import trio

from llmspell_hookspecs.errors import ProviderError, line_of_error

__all__ = ["close_clients", "installed", "library"]

_LOGGERS: Final = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")


def installed() -> bool:
    """Return whether it could be imported."""
    return find_spec("litellm") is not None


async def library() -> Any:
    """Return the library.

    Raises:
        ProviderError: It cannot be imported.
    """
    return await trio.to_thread.run_sync(_imported)


async def close_clients(litellm: Any) -> None:
    """Close the connections of the running loop; litellm keeps those of all loops of the process in one table."""
    table = litellm.in_memory_llm_clients_cache
    own = table.update_cache_key_with_event_loop("")
    for key in [key for key in table.cache_dict if own and key.endswith(own)]:
        client = table.cache_dict.pop(key)
        close = getattr(client, "aclose", None) or getattr(client, "close", None)
        if close is not None:
            await close()


def _imported() -> Any:
    # Without this the import fetches a price list from the network.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        litellm: Any = _without_collections(partial(importlib.import_module, "litellm"))
    except ImportError as error:
        message = f"litellm: it cannot be imported ({line_of_error(error)}); pip install litellm"
        raise ProviderError(message, code="provider") from error
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.CRITICAL + 1)
    # About its own types, each time it makes a validator for them, and about what a server put into its own objects,
    # which we check ourselves (seen in litellm 1.110 with pydantic 2.14).
    for message in ("Items? .* using the `ReadOnly` qualifier", "Pydantic serializer warnings"):
        warnings.filterwarnings("ignore", message=message)
    return litellm


def _without_collections(load: Callable[[], Any]) -> Any:
    """Load something large that stays: a garbage collection among a million new objects holds every thread 200 ms."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        return load()
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
