"""The storage encrypted: the conformance suite around two backends, and whatever may be wrong with what lies below."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import trio
from pydantic import SecretStr

from kernel import run
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import InvalidInputError, Storage
from llmspell_hookspecs.backup import Backups
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Entry, Storages
from llmspell_plugins.services.vault.master import FILE, Master, new_key, write_key
from llmspell_plugins.storage.encrypted import Sealed
from llmspell_plugins.storage.encrypted import sealed as module
from llmspell_plugins.storage.memory import Memory
from llmspell_plugins.storage.sqlite import SQLite, SQLiteSettings
from llmspell_testing.storage import StorageConformance


class Locks:
    """A vault with one master key."""

    def __init__(self, key: bytes = b"k" * 32) -> None:
        self._master = Master("key", key, "the test")

    async def lock(self, data: bytes, purpose: str, /) -> bytes:
        return self._master.lock(data, purpose)

    async def unlock(self, locked: bytes, purpose: str, /) -> bytes:
        return self._master.unlock(locked, purpose)

    def peek(self, name: str, /) -> SecretStr | None:
        return None

    async def names(self) -> list[str]:
        return []

    async def get(self, name: str, /) -> SecretStr | None:
        return None

    async def set(self, name: str, secret: SecretStr, /) -> None:
        raise AssertionError

    async def remove(self, name: str, /) -> bool:
        return False


class Around(Sealed):
    """One that opens the storage below with it."""

    def __init__(self, inner: Storage, algorithm: Any = "aes-256-gcm", vault: Any = None) -> None:
        super().__init__(None, vault or Locks(), algorithm, "here")
        self._inner = inner

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        self.sealed = self._inner
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await super().close()
        await self._inner.close()


class TestAroundMemory(StorageConformance):
    durable = False

    def make(self, folder: Path) -> Storage:
        return Around(Memory(), "chacha20-poly1305")


class TestAroundSQLite(StorageConformance):
    shared = True

    def make(self, folder: Path) -> Storage:
        return Around(SQLite(SQLiteSettings(path=folder / "state.db")))


async def test_no_value_lies_below_in_the_clear() -> None:
    async with Around(memory := Memory()) as storage:
        await storage.write({"a": b"plain text", "b": b"plain text"})

        below = {key: entry.value async for key, entry in memory.scan("")}

        assert set(below) == {"a", "b", "encryption/count/1", "encryption/keys"}
        assert not any(b"plain text" in value for value in below.values())
        assert below["a"] != below["b"]
        assert [key async for key, _ in storage.scan("")] == ["a", "b"]


async def test_every_flipped_bit_and_every_cut_is_told_with_the_key_of_the_value() -> None:
    async with Around(memory := Memory()) as storage:
        await storage.write({"a": b"value"})
        entry = await memory.get("a")
        assert entry is not None
        whole = entry.value

        for place in range(len(whole)):
            flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
            for wrong in (flipped, whole[:place]):
                await memory.write({"a": wrong})
                with pytest.raises(StorageError, match=r"storage key 'a': .*; restore a backup") as caught:
                    await storage.get("a")
                assert caught.value.code == "damaged"


async def test_values_that_are_swapped_are_found() -> None:
    async with Around(memory := Memory()) as storage:
        await storage.write({"a": b"mine", "b": b"yours"})
        a, b = await memory.get("a"), await memory.get("b")
        assert a is not None and b is not None
        await memory.write({"a": b.value, "b": a.value})

        with pytest.raises(StorageError, match="storage key 'a': it was changed, or put there from another key"):
            await storage.get("a")
        with pytest.raises(StorageError, match="storage key 'a'"):
            assert [row async for row in storage.scan("")]


async def test_another_master_key_is_told_apart_from_damage(tmp_path: Path) -> None:
    async with Around(SQLite(SQLiteSettings(path=tmp_path / "s.db"))) as storage:
        await storage.write({"a": b"1"})

    with pytest.raises(StorageError, match="here key 1 is locked with another master key"):
        async with Around(SQLite(SQLiteSettings(path=tmp_path / "s.db")), vault=Locks(b"x" * 32)):
            raise AssertionError
    async with SQLite(SQLiteSettings(path=tmp_path / "s.db")) as below:
        await below.write({"encryption/keys": b"nonsense"})
    with pytest.raises(StorageError, match="its keys are damaged; restore a backup"):
        async with Around(SQLite(SQLiteSettings(path=tmp_path / "s.db"))):
            raise AssertionError


async def test_the_hosts_own_keys_are_not_written_through_it() -> None:
    async with Around(Memory()) as storage:
        with pytest.raises(InvalidInputError, match="it is the host's own"):
            await storage.write({"encryption/keys": b""})
        assert await storage.get("encryption/keys") is None


async def test_a_new_key_encrypts_everything_anew_and_the_old_one_goes() -> None:
    async with Around(memory := Memory()) as storage:
        await storage.write({f"k{number:03}": b"v%d" % number for number in range(250)})
        before = {key: entry.value async for key, entry in memory.scan("k")}

        count, number = await storage.rekey()

        after = {key: entry.value async for key, entry in memory.scan("k")}
        assert (count, number) == (250, 2)
        assert not set(before.values()) & set(after.values())
        assert await storage.facts() == {
            "keys": [2],
            "current": 2,
            "algorithm": "aes-256-gcm",
            "all_encrypted": True,
        }
        assert [entry.value async for _, entry in storage.scan("k")] == [b"v%d" % number for number in range(250)]


async def test_who_writes_and_reads_beside_a_rekeying_notices_nothing(tmp_path: Path) -> None:
    def below() -> SQLite:
        return SQLite(SQLiteSettings(path=tmp_path / "s.db", durability="normal"))

    async with Around(below()) as one, Around(below()) as other:
        await one.write({f"k{number:03}": b"0" for number in range(300)})

        async def use() -> None:
            for number in range(300):
                await other.write({f"k{number:03}": b"1"})
                entry = await other.get(f"k{299 - number:03}")
                assert entry is not None and entry.value in (b"0", b"1")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            for _ in range(3):
                await one.rekey()

        assert [entry.value async for _, entry in one.scan("k")] == [b"1"] * 300


async def test_what_was_there_before_is_not_read_as_it_is_but_encrypted_when_asked() -> None:
    memory = Memory()
    await memory.__aenter__()
    tricky = b"\xe5\x01\x00\x00\x00" + b"x" * 60
    await memory.write({"a": b"plain", "b": tricky})
    storage = Sealed(memory, Locks(), "aes-256-gcm", "here")
    await storage.open()

    told = "values that are not encrypted; encrypt them with 'llmspell storage encrypt'"
    for refused in (storage.get("a"), storage.write({"c": b""})):
        with pytest.raises(StorageError, match=told):
            await refused
    count, _ = await storage.rekey()

    assert count == 2
    assert [entry.value async for _, entry in storage.scan("")] == [b"plain", tricky]
    assert [key async for key, entry in memory.scan("") if entry.value == b"plain"] == []
    await memory.write({"a": b"put there"})
    with pytest.raises(StorageError, match="storage key 'a': it is not encrypted"):
        await storage.get("a")
    await memory.close()


async def test_a_key_that_encrypted_as_much_as_it_may_writes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WRITES", 25)
    monkeypatch.setattr(module, "_RESERVE", 10)
    async with Around(Memory()) as storage:
        for number in range(20):
            await storage.write({"a": b"%d" % number})

        with pytest.raises(StorageError, match="run 'llmspell storage rekey'"):
            await storage.write({"a": b"more"})
        await storage.rekey()
        await storage.write({"a": b"more"})

        assert await storage.get("a") == Entry(b"more", 22)


# Through the host.


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keys" / "master"
    write_key(path, new_key())
    monkeypatch.setenv(FILE, str(path))
    return path


def settings(folder: Path, **plugins: Any) -> Any:
    """Return settings of a project whose storage is encrypted."""
    tables: Mapping[str, Any] = {
        "storage": {"backend": "encrypted"},
        "plugins": {"disabled": ["model_retry"], **plugins},
    }
    return load_settings(tables, environment={}, cwd=folder)


async def test_state_backups_and_sensitive_values_over_it(tmp_path: Path, key_file: Path) -> None:
    async with Host.open(settings(tmp_path, state={"sensitive": ["user:*"]}), discover=False) as host:
        await host.state.set("k", "very secret words", scope="user:ada")
        made = await host.get(Backups).create()
        await host.state.set("k", "other", scope="user:ada")
        storage: Any = await host.get(Storages).open()
        await storage.rekey()
    async with Host.open(settings(tmp_path), discover=False) as host:
        await host.get(Backups).restore(made.id)

        assert await host.state.get("k", scope="user:ada") == "very secret words"
    files = [path for path in (tmp_path / ".llmspell").rglob("*") if path.is_file()]
    assert files
    assert not any(b"very secret words" in path.read_bytes() for path in files)


def test_without_a_master_key_it_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FILE, raising=False)

    async def main() -> None:
        async with Host.open(settings(tmp_path), discover=False) as host:
            with pytest.raises(StorageError, match="there is no master key"):
                await host.state.set("a", 1)

    run(main)
