"""The page on events: its code runs, its settings are read, and it names what there is."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import trio
import trio.testing

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs.event import EventStats
from llmspell_hookspecs.event_log import EventLog
from llmspell_hookspecs.overflow import Overflow

PAGE = (Path(__file__).parent.parent / "docs" / "events.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def block(number: int) -> Any:
    """Return a block of the page as an async function of ``host`` and ``store``."""
    names: dict[str, Any] = {}
    body = textwrap.indent(BLOCKS[number], "    ")
    exec(f"async def use(host, store):\n{body}\n    return locals()", names)
    return names["use"]


async def test_each_block_of_the_page_does_what_it_says() -> None:
    stored: list[Any] = []

    async def store(batch: Any) -> None:
        stored.append([event.data for event in batch])
        host.events.close()

    async with Host.open(False, discover=False) as host:
        assert (await block(0)(host, store))["event"].data == {"id": 1}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block(1), host, store)
            await trio.testing.wait_all_tasks_blocked()
            for number, tags in enumerate((["urgent"], [], ["urgent"])):
                host.events.publish_nowait("job.done", number, source="script:a", tags=tags)
        answered = await block(2)(host, store)

    assert stored == [[0, 2]]
    assert answered["answer"].data == {"price": 4.5}
    assert len(BLOCKS) == 4


async def test_a_follower_of_the_page_goes_on_behind_what_it_acknowledged(tmp_path: Path) -> None:
    stored: list[Any] = []

    async def store(event: Any) -> None:
        stored.append(event.data)
        if len(stored) == 2:
            raise LookupError("killed")

    loaded = load_settings({"plugins": {"event_log": {"enabled": True}}}, environment={}, cwd=tmp_path)
    async with Host.open(loaded, discover=False) as host:
        for number in range(3):
            await host.events.publish("order.paid", number)
        with pytest.raises(LookupError):
            await block(3)(host, store)
        (info,) = await host.get(EventLog).followers()
        found = await (await host.get(EventLog).follow("billing", "order.*")).receive()

    assert stored == [0, 1]
    assert found is not None
    assert (found.event.data, found.number > info.acknowledged) == (1, True)


async def test_the_settings_of_the_page_have_events_recorded(tmp_path: Path) -> None:
    (written,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    loaded = load_settings(tomllib.loads(written), environment={}, cwd=tmp_path)

    async with Host.open(loaded, discover=False) as host:
        await host.events.publish("user.created", {"id": 1})
        await host.events.publish("other", {"id": 1})
        log = host.get(EventLog)
        await log.flush()
        found = [each.event.type for each in await log.read()]

    assert found == ["user.created"]


@pytest.mark.parametrize("count", ["matched", "delivered", "dropped", "rejected", "sampled", "expired", "discarded"])
def test_the_page_names_each_count(count: str) -> None:
    assert count in EventStats.__struct_fields__
    assert count in PAGE


@pytest.mark.parametrize("overflow", get_args(Overflow))
def test_the_page_names_each_overflow(overflow: str) -> None:
    assert f"| `{overflow}" in PAGE
