"""Waiting for what another process or thread does, and what work costs: also on a machine busy with other things.

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


def processor_s(work: Callable[[], object]) -> float:
    """Return the processor time that this process spends while it does the work."""
    began_s = time.process_time()
    work()
    return time.process_time() - began_s
