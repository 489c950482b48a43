"""Waiting for what another process or thread does: long enough for a machine that is busy with other things.

The one place where tests read a clock to give up. Nothing is asserted on how long it took.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 120.0
"""How long anything may take before it counts as hanging."""


def until(condition: Callable[[], object], what: str = "it", *, patience_s: float = PATIENCE_S) -> None:
    """Wait until the condition holds; fail if it never does."""
    end_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end_s:
            raise AssertionError(f"{what} did not come to pass within {patience_s:g} s")
        time.sleep(0.01)
