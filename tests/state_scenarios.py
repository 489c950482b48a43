"""How the points of the topic state are made to fire: a storage that counts for the bench, and a scenario for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from llmspell import Host
from llmspell_hookspecs.migration import Copy, Migrations, Schema, Transition
from llmspell_hookspecs.storage import Entry
from llmspell_plugins.services.state_address import address
from llmspell_plugins.services.state_value import encode
from llmspell_plugins.storage.memory import Memory

if TYPE_CHECKING:
    from kernel import Bench


class Counted(Memory):
    """A storage that tells the bench what is done to it, and holds two greetings at first."""

    name = "counted"

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        texts = {"greeting": "plain", "other": "new"}
        await super().write({address("global", key): encode(key, {"text": text}, 99) for key, text in texts.items()})
        return self

    async def get(self, key: str, /) -> Entry | None:
        if key.startswith("state:"):  # who opens it looks for an unfinished restore
            self._count("get", key)
        return await super().get(key)

    async def write(
        self, batch: Mapping[str, bytes | None], /, *, expect: Mapping[str, int] | None = None
    ) -> Mapping[str, int] | None:
        self._count("write", batch)
        return await super().write(batch, expect=expect)

    def _count(self, what: str, given: Any) -> None:
        items = what == "write" and any(key.startswith("state:") for key in given)
        if self._bench.counting == what or (self._bench.counting == "items" and items):
            self._bench.runs.append(given)


async def read_state(host: Host, bench: Bench) -> Any:
    """Read a value."""
    bench.counting = "get"
    value = await host.state.get("greeting")
    return value["text"]


async def write_state(host: Host, bench: Bench) -> Any:
    """Write a value, and look what left the operation."""
    bench.counting = "write"
    with leaving(host, "after_state_write") as left:
        await host.state.set("greeting", {"text": "plain"})
    return left[-1].value["text"]


async def delete_state(host: Host, bench: Bench) -> Any:
    """Delete a value, and look what left the operation."""
    bench.counting = "write"
    with leaving(host, "after_state_delete") as left:
        await host.state.delete("greeting")
    return left[-1].value["text"]


@contextmanager
def leaving(host: Host, point: str) -> Iterator[list[Any]]:
    """Observe a point for the block."""
    seen: list[Any] = []
    handle = host.hooks.register(point, lambda context: seen.append(context.subject), kind="observe", plugin="bench")
    try:
        yield seen
    finally:
        handle.unregister()


async def conflict(host: Host, bench: Bench) -> Any:
    """Write a value that expects another version."""
    await host.state.set("greeting", {"text": "plain"}, expect=7)


async def migrate(host: Host, bench: Bench) -> Any:
    """Bring the greetings to another version."""
    migrations = host.get(Migrations)
    way = Transition("1.0.0", "2.0.0", (Copy("text", "again"),))
    migrations.register(Schema("greetings", "global", transitions=(way,)))
    bench.counting = "items"
    await migrations.migrate("2.0.0")
    return (await host.state.get("greeting"))["again"]
