"""Levels and memory accounts."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from llmspell.services import Policies
from llmspell.settings import load_settings
from llmspell_hookspecs import InvalidInputError, SecurityLevel
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_plugins.kinds.tool.account import MemoryAccount


@pytest.mark.parametrize("level", list(SecurityLevel))
@pytest.mark.parametrize("highest", list(SecurityLevel))
def test_a_level_runs_up_to_the_highest(level: SecurityLevel, highest: SecurityLevel) -> None:
    given = {"security": {"level": highest.name.lower()}}
    policies = Policies(load_settings(given, environment={}, cwd=Path(__file__).parent))
    if level <= highest:
        policies.check("tool:x", level)
        return
    with pytest.raises(SecurityError, match=r"security\.level") as caught:
        policies.check("tool:x", level)
    assert caught.value.rule == "level"


def test_an_account_counts_up_to_its_limit() -> None:
    account = MemoryAccount(100, "tool:x")
    account.charge(60)
    with pytest.raises(ResourceLimitError, match="tool:x") as caught:
        account.charge(41)
    account.charge(40)
    assert account.used_bytes == 100
    assert (caught.value.resource, caught.value.limit) == ("memory_bytes", 100)


def test_a_negative_charge_is_refused() -> None:
    account = MemoryAccount(100, "tool:x")
    with pytest.raises(InvalidInputError):
        account.charge(-1)
    assert account.used_bytes == 0


def test_charges_from_threads_are_all_counted() -> None:
    account = MemoryAccount(10_000, "tool:x")

    def charge_often() -> None:
        for _ in range(1000):
            account.charge(1)

    threads = [threading.Thread(target=charge_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert account.used_bytes == 8000
