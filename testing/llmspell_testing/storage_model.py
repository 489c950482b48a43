"""The model that a storage is held against: random steps, done with a storage and with a dict.

Invariant: a step that the storage does otherwise than the dict is an AssertionError that says what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hypothesis import strategies as st
from msgspec import Struct

from llmspell_hookspecs import Storage
from llmspell_hookspecs.storage import MAX_KEY_BYTES, Entry

__all__ = ["STEPS", "Reopen", "Step", "StorageModel", "take_step"]


class StorageModel:
    """What a storage should hold, told by a dict.

    Attributes:
        entries: What is there.
        highest: The highest version that each key ever had.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.highest: dict[str, int] = {}

    def holds(self, expect: Mapping[str, int]) -> bool:
        """Return whether the keys have these versions."""
        return all(self.version(key) == version for key, version in expect.items())

    def version(self, key: str) -> int:
        """Return the key's version, 0 if it is absent."""
        return self.entries[key].version if key in self.entries else 0

    def scan(self, prefix: str, after: str, limit: int) -> list[tuple[str, Entry]]:
        """Return what a scan should yield."""
        found = [(key, entry) for key, entry in sorted(self.entries.items()) if key.startswith(prefix) and key > after]
        return found[:limit]

    async def follow(self, storage: Storage, batch: Mapping[str, bytes | None]) -> None:
        """Take over a write that happened, and check the versions that it gave."""
        for key, value in batch.items():
            if value is None:
                self.entries.pop(key, None)
                continue
            entry = await storage.get(key)
            assert entry is not None, f"{key!r} is gone after it was written"
            assert entry.value == value, f"{key!r} holds another value than was written"
            assert entry.version > self.highest.get(key, 0), f"the version of {key!r} did not grow"
            self.entries[key] = entry
            self.highest[key] = entry.version


class Write(Struct, frozen=True):
    """Write a batch.

    Attributes:
        batch: What to write.
        expect: For each key, whether the version asked for is the right one.
    """

    batch: dict[str, bytes | None]
    expect: dict[str, bool]


class Scan(Struct, frozen=True):
    """Scan, with these arguments."""

    prefix: str
    after: str
    limit: int


class Reopen(Struct, frozen=True):
    """Close the storage and open it again."""


Step = Write | Scan | Reopen | str
"""A text is a key to get."""


_NAMES: Final = ("a", "aa", "ab", "a/b", "b", "B", "ä", "\U0001f600", "\uffff", "a\x00", "a\x00b", "z" * MAX_KEY_BYTES)
_KEYS: Final = st.sampled_from(_NAMES) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
_PREFIXES: Final = st.just("") | _KEYS
_WRITES: Final = st.builds(
    Write,
    st.dictionaries(_KEYS, st.none() | st.binary(max_size=40), max_size=4),
    st.dictionaries(_KEYS, st.sampled_from([True, True, True, False]), max_size=2),
)
_SCANS: Final = st.builds(Scan, _PREFIXES, _PREFIXES, st.sampled_from([0, 1, 2, 3, 1000]))
STEPS: Final = st.lists(_WRITES | _WRITES | _SCANS | _KEYS | st.just(Reopen()), max_size=30)


async def take_step(storage: Storage, model: StorageModel, step: Write | Scan | str) -> None:
    """Do a step with both and compare."""
    if isinstance(step, str):
        assert await storage.get(step) == model.entries.get(step)
    elif isinstance(step, Scan):
        found = [row async for row in storage.scan(step.prefix, after=step.after, limit=step.limit)]
        assert found == model.scan(step.prefix, step.after, step.limit)
    else:
        expect = {key: model.version(key) + (not right) for key, right in step.expect.items()}
        written = await storage.write(step.batch, expect=expect)
        assert (written is not None) is model.holds(expect)
        if written is not None:
            await model.follow(storage, step.batch)
            assert written == {key: model.version(key) for key in step.batch}
