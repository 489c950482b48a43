"""The conformance suite of storage backends: what the contract's `Storage` promises, tested.

::

    class TestRedis(StorageConformance):
        def make(self, folder: Path) -> Storage:
            return Redis(RedisSettings(address="redis://localhost/9", prefix=str(folder)))

Needs hypothesis and pytest. It is longer than most because a backend inherits the suite whole.

Invariant: it knows a backend by its protocol only.
"""
# ruff: noqa: D102 - a test's name is a sentence

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
import trio
from hypothesis import HealthCheck, given, settings

from llmspell_hookspecs import InvalidInputError, Storage
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import MAX_KEY_BYTES, Entry, Snapshots

from .storage_model import STEPS, Reopen, Step, StorageModel, take_step

__all__ = ["StorageConformance"]

_TIMEOUT_S: Final = 60
_MEBIBYTE: Final = 1 << 20


class StorageConformance:
    """The tests; subclass it under a name that pytest collects, and say how to make a storage.

    Attributes:
        durable: Whether what was written is there when the storage is opened again.
        shared: Whether two storages may be open in one folder at once, in this process.
    """

    durable: ClassVar[bool] = True
    shared: ClassVar[bool] = False

    def make(self, folder: Path) -> Storage:
        """Return a storage, not yet open, that keeps its data in this folder, which exists."""
        raise AssertionError(f"{type(self).__name__} has no method make(folder); write one")

    def run(self, folder: Path, test: Callable[[Storage], Awaitable[None]]) -> None:
        """Open a storage, await ``test(storage)`` and close it."""

        async def main() -> None:
            async with self.make(folder) as storage:
                await test(storage)

        _run(main)

    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors]
    )
    @given(steps=STEPS)
    def test_it_does_what_the_model_does(self, steps: Sequence[Step]) -> None:
        async def main() -> None:
            with tempfile.TemporaryDirectory() as folder:
                model, storage = StorageModel(), self.make(Path(folder))
                await storage.__aenter__()
                try:
                    for step in steps:
                        if isinstance(step, Reopen):
                            if self.durable:
                                await storage.close()
                                storage = self.make(Path(folder))
                                await storage.__aenter__()
                        else:
                            await take_step(storage, model, step)
                    assert await _all(storage) == model.scan("", "", 10_000)
                finally:
                    await storage.close()

        _run(main)

    def test_an_absent_key_has_no_entry(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            assert await storage.get("absent") is None
            assert await storage.write({"absent": None}) == {"absent": 0}
            assert await storage.get("absent") is None

        self.run(tmp_path, test)

    @pytest.mark.parametrize("value", [b"", b"\x00", bytes(range(256)), b"\xff" * 10_000, b"x" * (3 * _MEBIBYTE)])
    def test_a_value_comes_back_as_it_was_written(self, tmp_path: Path, value: bytes) -> None:
        async def test(storage: Storage) -> None:
            await storage.write({"key": value})

            first, second = await storage.get("key"), await storage.get("key")
            assert first is not None
            assert first.value == value
            assert first == second
            assert [key async for key, entry in storage.scan("") if entry == first] == ["key"]

        self.run(tmp_path, test)

    @pytest.mark.parametrize("key", ["", "k" * (MAX_KEY_BYTES + 1), "ä" * (MAX_KEY_BYTES // 2 + 1), "\ud800"])
    def test_a_wrong_key_is_refused_and_nothing_is_written(self, tmp_path: Path, key: str) -> None:
        async def test(storage: Storage) -> None:
            with pytest.raises(InvalidInputError):
                await storage.write({"good": b"1", key: b"2"})
            with pytest.raises(InvalidInputError):
                await storage.write({"good": b"1"}, expect={key: 0})
            with pytest.raises(InvalidInputError):
                await storage.get(key)
            assert await storage.get("good") is None

        self.run(tmp_path, test)

    def test_a_value_that_is_not_bytes_is_refused_and_nothing_is_written(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            wrong: Any = "text"
            with pytest.raises(InvalidInputError):
                await storage.write({"good": b"1", "key": wrong})
            assert await storage.get("good") is None

        self.run(tmp_path, test)

    def test_versions_start_at_one_and_grow_over_deletions(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            versions = []
            for value in (b"1", b"1", b"2", None, b"3", None, None, b"4"):
                await storage.write({"key": value})
                entry = await storage.get("key")
                if entry is not None:
                    versions.append(entry.version)
            assert versions[0] == 1
            assert versions == sorted(set(versions)), versions

        self.run(tmp_path, test)

    def test_versions_grow_however_others_are_deleted(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            for _ in range(5):
                await storage.write({"often": b"1"})
            await storage.write({"once": b"1"})
            await storage.write({"often": None})
            await storage.write({"once": None})
            await storage.write({"often": b"1"})
            entry = await storage.get("often")
            assert entry is not None
            assert entry.version > 5

        self.run(tmp_path, test)

    def test_versions_grow_over_a_deletion_and_a_reopening(self, tmp_path: Path) -> None:
        versions = []

        async def test(storage: Storage) -> None:
            for value in (b"1", b"2", b"3"):
                await storage.write({"key": value})
            entry = await storage.get("key")
            assert entry is not None
            versions.append(entry.version)
            await storage.write({"key": None})

        if not self.durable:
            pytest.skip("it keeps nothing")
        self.run(tmp_path, test)
        self.run(tmp_path, test)
        assert versions[1] > versions[0] + 2

    def test_a_write_happens_only_at_the_expected_versions(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            assert await storage.write({"a": b"1"}, expect={"a": 0}) == {"a": 1}
            assert await storage.write({"a": b"2", "b": b"2"}, expect={"a": 0}) is None
            assert await storage.write({"b": b"2"}, expect={"a": 1, "b": 1}) is None
            assert await storage.get("b") is None
            assert await storage.write({"b": b"2"}, expect={"a": 1, "b": 0, "c": 0}) == {"b": 1}
            assert await storage.write({"b": b"3", "a": None}, expect={"a": 1}) == {"b": 2, "a": 0}
            assert await storage.write({"a": b"3"}, expect={"a": 1}) is None
            assert await storage.write({}, expect={"a": 0, "b": 2}) == {}
            assert await storage.write({}, expect={"a": 1}) is None

        self.run(tmp_path, test)

    def test_a_scan_is_in_order_of_code_points_page_after_page(self, tmp_path: Path) -> None:
        keys = [f"{prefix}{number:04}" for prefix in ("a", "b", "\uffff", "\U00010000") for number in range(300)]

        async def test(storage: Storage) -> None:
            await storage.write({key: key.encode() for key in reversed(keys)})

            assert [key async for key, _ in storage.scan("", limit=5000)] == sorted(keys)
            assert [key async for key, _ in storage.scan("b", limit=5000)] == keys[300:600]
            assert [key async for key, _ in storage.scan("\uffff", limit=290)] == keys[600:890]
            assert [key async for key, _ in storage.scan("b", after="b0297")] == ["b0298", "b0299"]
            assert [key async for key, _ in storage.scan("b", after="a0100", limit=1)] == ["b0000"]
            assert [key async for key, _ in storage.scan("b", after="c")] == []
            assert [key async for key, _ in storage.scan("b" * 600)] == []
            assert [key async for key, _ in storage.scan("", after="b0299" + "\uffff" * 600, limit=1)] == keys[600:601]
            assert [key async for key, _ in storage.scan("", limit=0)] == []
            assert len([key async for key, _ in storage.scan("")]) == 1000

        self.run(tmp_path, test)

    def test_a_scan_with_a_wrong_argument_is_refused(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            with pytest.raises(InvalidInputError):
                [_ async for _ in storage.scan("", limit=-1)]
            with pytest.raises(InvalidInputError):
                [_ async for _ in storage.scan("\ud800")]
            with pytest.raises(InvalidInputError):
                [_ async for _ in storage.scan("", after="\udfff")]

        self.run(tmp_path, test)

    def test_a_scan_of_large_values_yields_them_all_and_may_be_left_early(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            await storage.write({f"{number}": bytes([number]) * _MEBIBYTE for number in range(6)})

            assert [entry.value[0] async for _, entry in storage.scan("")] == list(range(6))
            async for key, _ in storage.scan(""):
                assert key == "0"
                break
            assert await storage.write({"0": None})

        self.run(tmp_path, test)

    def test_what_is_written_during_a_scan_repeats_no_key(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            await storage.write({f"{number:04}": b"" for number in range(600)})
            seen = []
            async for key, _ in storage.scan("", limit=2000):
                seen.append(key)
                if len(seen) % 100 == 0:
                    await storage.write({key: b"again", f"{key}+": b"new", f"{int(key) + 50:04}": None})
            assert seen == sorted(set(seen))
            assert len(seen) >= 590

        self.run(tmp_path, test)

    def test_a_batch_is_what_it_was_when_the_write_was_called(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            batch: dict[str, bytes | None] = {"key": b"then"}
            begun = trio.Event()

            async def write() -> None:
                begun.set()
                await storage.write(batch)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                await begun.wait()
                batch["key"], batch["other"] = b"now", b"now"
            entry = await storage.get("key")
            assert entry is not None
            assert await storage.get("other") is None
            assert entry.value == b"then"

        self.run(tmp_path, test)

    def test_no_update_is_lost_among_tasks_that_compare_and_set(self, tmp_path: Path) -> None:
        async def count_up(storage: Storage) -> None:
            for _ in range(20):
                while True:
                    entry = await storage.get("counter")
                    value, version = (0, 0) if entry is None else (int(entry.value), entry.version)
                    if await storage.write({"counter": b"%d" % (value + 1)}, expect={"counter": version}):
                        break

        async def test(storage: Storage) -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(count_up, storage)
            entry = await storage.get("counter")
            assert entry is not None
            assert (entry.value, entry.version) == (b"160", 160)

        self.run(tmp_path, test)

    def test_a_task_reads_what_it_wrote_while_others_write(self, tmp_path: Path) -> None:
        async def write_and_read(storage: Storage, key: str) -> None:
            for number in range(25):
                value = b"%d" % number
                await storage.write({key: value, f"{key}/twin": value})
                entry, twin = await storage.get(key), await storage.get(f"{key}/twin")
                assert entry is not None
                assert twin is not None
                assert entry.value == twin.value == value

        async def test(storage: Storage) -> None:
            async with trio.open_nursery() as nursery:
                for name in "abcdefgh":
                    nursery.start_soon(write_and_read, storage, name)

        self.run(tmp_path, test)

    def test_a_batch_is_never_seen_in_part(self, tmp_path: Path) -> None:
        keys = [f"{number}" for number in range(20)]

        async def write(storage: Storage, done: trio.Event) -> None:
            for number in range(30):
                await storage.write(dict.fromkeys(keys, b"%d" % number))
            done.set()

        async def test(storage: Storage) -> None:
            done = trio.Event()
            await storage.write(dict.fromkeys(keys, b"0"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write, storage, done)
                while not done.is_set():
                    values = {entry.value async for _, entry in storage.scan("", limit=20)}
                    assert len(values) == 1, values
                    await trio.lowlevel.checkpoint()

        self.run(tmp_path, test)

    def test_a_cancelled_write_leaves_the_old_values_or_the_new_ones(self, tmp_path: Path) -> None:
        async def write(storage: Storage, value: bytes, after_s: float) -> bool:
            with trio.move_on_after(after_s) as scope:
                await storage.write(dict.fromkeys("abc", value))
            return not scope.cancelled_caught

        async def test(storage: Storage) -> None:
            before = b"0"
            await storage.write(dict.fromkeys("abc", before))
            for number in range(1, 60):
                value = b"%d" % number
                returned = await write(storage, value, number * 2e-5)
                await storage.write({"d": value})
                entries = [await storage.get(key) for key in "abc"]
                found = {entry.value for entry in entries if entry is not None}
                assert found in ([{value}] if returned else [{value}, {before}])
                before = found.pop()

        self.run(tmp_path, test)

    def test_a_write_in_a_cancelled_scope_does_nothing(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            with trio.CancelScope() as scope:
                scope.cancel()
                await storage.write({"key": b"1"})
            assert scope.cancelled_caught
            await storage.write({"other": b"1"})
            assert await storage.get("key") is None

        self.run(tmp_path, test)

    def test_what_was_written_is_there_when_it_is_opened_again(self, tmp_path: Path) -> None:
        if not self.durable:
            pytest.skip("it keeps nothing")
        batch: dict[str, bytes | None] = {"a": b"1", "ä": bytes(range(256)), "empty": b"", "large": b"x" * _MEBIBYTE}
        kept = []

        async def write(storage: Storage) -> None:
            await storage.write(batch)
            await storage.write({"a": None, "b": b"2"})
            await storage.write({"b": b"3"})
            kept.extend(await _all(storage))

        async def read(storage: Storage) -> None:
            assert await _all(storage) == kept
            assert [key for key, _ in kept] == ["b", "empty", "large", "ä"]

        self.run(tmp_path, write)
        self.run(tmp_path, read)

    def test_closing_ends_the_writes_under_way_first(self, tmp_path: Path) -> None:
        if not self.durable:
            pytest.skip("it keeps nothing")
        keys = [f"{number:02}" for number in range(20)]

        async def close(storage: Storage) -> None:
            async with trio.open_nursery() as nursery:
                for key in keys:
                    nursery.start_soon(storage.write, {key: b"1"})
                await trio.sleep(0.0005)
                await storage.close()

        async def read(storage: Storage) -> None:
            assert [key for key, _ in await _all(storage)] == keys

        self.run(tmp_path, close)
        self.run(tmp_path, read)

    def test_a_closed_storage_says_so_and_closing_again_does_nothing(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            await storage.write({"key": b"1"})
            await storage.get("key")
            await storage.close()
            await storage.close()
            for use in (lambda: storage.get("key"), lambda: storage.write({"key": b"2"}), lambda: _all(storage)):
                with pytest.raises(StorageError) as caught:
                    await use()
                assert caught.value.code == "closed"

        self.run(tmp_path, test)

    def test_an_open_storage_is_not_opened_again(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            with pytest.raises(StorageError):
                await storage.__aenter__()
            assert await storage.write({"key": b"1"})

        self.run(tmp_path, test)

    def test_a_snapshot_is_read_as_it_was_whatever_is_written_meanwhile(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            if not isinstance(storage, Snapshots):
                pytest.skip("it offers none")
            await storage.write({f"{number:04}": b"old" for number in range(1500)})
            before = await _all(storage)
            async with storage.snapshot() as snapshot, storage.snapshot() as twin:
                await storage.write({"0000": b"new", "0001": None, "more": b"new"})
                rows = snapshot.scan("", limit=10_000)
                found = [await anext(rows)]
                await storage.write({"1400": b"new", "1401": None})
                found += [row async for row in rows]
                assert found == before
                assert await snapshot.get("0000") == before[0][1]
                assert await snapshot.get("more") is None
                assert [row async for row in twin.scan("01", limit=2)] == before[100:102]
                assert [row async for row in twin.scan("", after="1498")] == before[1499:]
                with pytest.raises(InvalidInputError):
                    await snapshot.get("")
            assert await storage.get("0001") is None
            async with storage.snapshot() as snapshot:
                assert [row async for row in snapshot.scan("", limit=10_000)] == await _all(storage)

        self.run(tmp_path, test)

    def test_a_snapshot_of_nothing_is_empty_and_one_of_a_closed_storage_is_refused(self, tmp_path: Path) -> None:
        async def test(storage: Storage) -> None:
            if not isinstance(storage, Snapshots):
                pytest.skip("it offers none")
            async with storage.snapshot() as snapshot:
                assert await snapshot.get("key") is None
                assert [row async for row in snapshot.scan("")] == []
            await storage.write({"key": b"1"})
            async with storage.snapshot() as snapshot:
                await storage.close()
            with pytest.raises(StorageError):
                async with storage.snapshot():
                    """Nothing is there."""

        self.run(tmp_path, test)

    def test_it_keeps_the_protocol(self, tmp_path: Path) -> None:
        assert isinstance(self.make(tmp_path), Storage)

    def test_two_storages_in_one_folder_see_each_others_writes(self, tmp_path: Path) -> None:
        if not self.shared:
            pytest.skip("one folder is opened once")

        async def test(storage: Storage) -> None:
            async with self.make(tmp_path) as other:
                for number in range(50):
                    value = b"%d" % number
                    await storage.get("key")
                    await other.write({"key": value})
                    await trio.sleep(0.002)
                    entry = await storage.get("key")
                    assert entry is not None
                    assert entry.value == value
                    assert not await storage.write({"key": b"wrong"}, expect={"key": entry.version - 1})

        self.run(tmp_path, test)


def _run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(_TIMEOUT_S):
            await main()

    trio.run(bounded)


async def _all(storage: Storage) -> list[tuple[str, Entry]]:
    return [row async for row in storage.scan("", limit=10_000)]
