"""Random histories of artifacts: stored, deleted, collected, backed up and restored, cut off at any write."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import pytest
import trio
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs.artifacts import ArtifactDraft, Artifacts
from llmspell_hookspecs.backup import Backups
from llmspell_hookspecs.errors import LlmspellError, StorageError
from llmspell_hookspecs.services import Clock
from llmspell_plugins.storage.memory import Memory

CONTENTS: Final = [b"", b"a", b"x" * 9000, random.Random(1).randbytes(17_000), b"text " * 8000]
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 4), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.integers(0, 20), st.integers(0, 2)),
        st.tuples(st.just("sweep"), st.just(0), st.integers(0, 3)),
        st.tuples(st.just("race"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("backup"), st.integers(0, 1), st.integers(0, 1)),
        st.tuples(st.just("restore"), st.integers(0, 5), st.integers(0, 3)),
    ),
    max_size=15,
)
"""What is done, with what, and at which write it is cut off; 0 for not at all."""


class Cut(Memory):
    """A storage that fails at a write, before or after it has written."""

    name = "cut"

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.after = False
        self.time_s = 1e10  # later than any file

    async def write(
        self, batch: Mapping[str, bytes | None], /, *, expect: Mapping[str, int] | None = None
    ) -> Mapping[str, int] | None:
        """Write, or fail."""
        if self.left and not any(key.startswith("artifact-audit/") for key in batch):
            self.left -= 1
            if not self.left:
                self.after = not self.after
                if self.after:
                    await super().write(batch, expect=expect)
                raise StorageError("the process died here")
        return await super().write(batch, expect=expect)


class History:
    """Artifacts beside a dict of what was acknowledged."""

    def __init__(self, host: Host, artifacts: Artifacts, storage: Cut, folder: Path) -> None:
        self.artifacts, self.storage, self.folder = artifacts, storage, folder
        self.backups = host.get(Backups)
        self.made: list[tuple[str, dict[int, bytes]]] = []
        cast(Any, host.get(Clock)).now_s = lambda: storage.time_s
        self.kept: dict[int, bytes] = {}

    async def run(self, steps: list[tuple[str, int, int]]) -> None:
        """Go through a history, and look what is there."""
        for verb, which, cut in steps:
            self.storage.left = cut
            try:
                await getattr(self, verb)(which)
            except LlmspellError:
                assert cut
            self.storage.left = 0
            self.storage.time_s += 100
            await self.look()
        self.storage.time_s += 100
        await self.artifacts.sweep(0)
        await self.look()
        await self.look_for_more()
        for sequence in list(self.kept):
            await self.delete_one(sequence)
        await self.artifacts.sweep(0)
        await self.look_for_more()

    async def put(self, which: int) -> None:
        made = await self.artifacts.put(ArtifactDraft("a"), CONTENTS[which])
        self.kept[made.id.sequence] = CONTENTS[which]

    async def delete(self, which: int) -> None:
        if self.kept:
            await self.delete_one(sorted(self.kept)[which % len(self.kept)])

    async def delete_one(self, sequence: int) -> None:
        content = self.kept.pop(sequence)
        try:
            assert await self.artifacts.delete("host", sequence)
        except StorageError:
            if any(info.id.sequence == sequence for info in await self.artifacts.query()):
                self.kept[sequence] = content
            raise

    async def sweep(self, which: int) -> None:
        await self.artifacts.sweep(0)

    async def race(self, which: int) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.artifacts.sweep, 0.0)
            nursery.start_soon(self.put, which)

    async def backup(self, which: int) -> None:
        made = await self.backups.create(incremental=bool(which))
        self.made.append((made.id, dict(self.kept)))

    async def restore(self, which: int) -> None:
        """Go back; broken off, go on or back to what was there before."""
        if not self.made:
            return
        id, kept = self.made[which % len(self.made)]
        before = dict(self.kept)
        try:
            await self.backups.restore(id, backup_current=bool(which % 2))
        except StorageError:
            left, self.storage.left = self.storage.left, 0
            assert not left
            half_way = await self.storage.get("restore/marker")
            if half_way is None:  # at its first write or its last one: which of them, it is not told
                there = {info.id.sequence: info.id.content_hash for info in await self.artifacts.query()}
                kept = kept if there == {key: blake3(item).hexdigest() for key, item in kept.items()} else before
            elif which % 2 and which > 2:
                await self.backups.abandon()
                kept = before
            else:
                await self.backups.resume()
        self.kept = dict(kept)

    async def look(self) -> None:
        """All that was acknowledged is there as it was; what was cut off is there whole, or not at all."""
        found = {info.id.sequence: info for info in await self.artifacts.query()}
        assert set(self.kept) <= set(found)
        for sequence, info in found.items():
            content = await self.artifacts.read("host", sequence)
            assert blake3(content).hexdigest() == info.id.content_hash
            assert content == self.kept.setdefault(sequence, content)

    async def look_for_more(self) -> None:
        """After a sweep there is nothing that no artifact has."""
        wanted = {blake3(content).hexdigest(): len(content) for content in self.kept.values()}
        keys = [key async for key, _ in self.storage.scan("content/")]
        files = [file.name for file in self.folder.rglob("*") if file.is_file() and file.parent.name != "staging"]
        assert sorted(keys) == sorted(f"content/{hash}" for hash in wanted)
        assert sorted(files) == sorted(hash for hash, size in wanted.items() if size > 16_384)


@pytest.mark.long
async def test_no_history_loses_what_is_referred_to_or_keeps_what_is_not(tmp_path: Path) -> None:
    own = {"place": "files", "max_artifacts": 10**9, "max_session_bytes": 10**12, "audit": "off"}
    table = {"storage": {"backend": "cut"}, "plugins": {"artifacts": own}}
    loaded = load_settings(table, environment={}, cwd=tmp_path)
    storage = Cut()
    async with Host.open(loaded, plugins=[storage], discover=False) as host:
        artifacts = await host.enter(Artifacts)

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(steps=STEPS)
        def try_all(steps: list[tuple[str, int, int]]) -> None:
            for old in (tmp_path / ".llmspell" / "backups").glob("*.lsb"):
                old.unlink()
            history = History(host, artifacts, storage, tmp_path / ".llmspell" / "content")
            trio.from_thread.run(history.run, steps)

        await trio.to_thread.run_sync(try_all)
