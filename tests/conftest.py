"""Which tests run: those marked ``timing`` read a clock, so they run alone (``-m timing``), and never beside others."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked ``timing`` unless ``-m`` names that mark."""
    if "timing" in config.getoption("markexpr"):
        return
    timed = [item for item in items if item.get_closest_marker("timing")]
    if timed:
        config.hook.pytest_deselected(items=timed)
        items[:] = [item for item in items if item not in timed]
