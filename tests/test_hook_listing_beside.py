"""Listing the hooks of a script is done beside the loop, however many there are."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from kernel import opened
from llmspell_plugins.globals import hook, hook_listing


async def test_hooks_are_listed_in_another_thread_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, select = set[int](), hook_listing.select

    def noted(*arguments: Any) -> Any:
        threads.add(threading.get_ident())
        return select(*arguments)

    monkeypatch.setattr(hook, "select", noted)
    async with opened() as host:
        source = "for i = 1, 300 do Hook.register('BeforeToolExecution', function() end) end return #Hook.list()"
        listed = await host.run_source(source, language="lua")

    assert listed == 300
    assert threads
    assert threading.get_ident() not in threads
