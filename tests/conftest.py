"""What holds for all tests: those marked ``timing`` read a clock and run alone; hypothesis reads none."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# On a busy machine an example takes as long as it takes.
settings.register_profile("no_clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no_clock")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked ``timing`` unless ``-m`` names that mark."""
    if "timing" in config.getoption("markexpr"):
        return
    timed = [item for item in items if item.get_closest_marker("timing")]
    if timed:
        config.hook.pytest_deselected(items=timed)
        items[:] = [item for item in items if item not in timed]
