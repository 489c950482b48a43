"""The litellm library, made quiet: imported at first use, and called from the host's asyncio thread only.

Invariant: importing it asks no network, and it writes nothing to the log or the terminal. It takes 2 to 6 s and 160 MB,
so it is imported in a thread.
"""

from __future__ import annotations

import importlib
import logging
import os
from importlib.util import find_spec
from typing import Any, Final

import trio

from llmspell_hookspecs import ProviderError

__all__ = ["installed", "library"]

_LOGGERS: Final = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")


def installed() -> bool:
    """Answer whether it could be imported."""
    return find_spec("litellm") is not None


async def library() -> Any:
    """Answer the library.

    Raises:
        ProviderError: It cannot be imported.
    """
    return await trio.to_thread.run_sync(_imported)


def _imported() -> Any:
    # Without this the import fetches a price list from the network.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        litellm: Any = importlib.import_module("litellm")
    except ImportError as error:
        message = f"litellm: it cannot be imported ({error}); pip install litellm"
        raise ProviderError(message, code="provider") from error
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.CRITICAL + 1)
    return litellm
