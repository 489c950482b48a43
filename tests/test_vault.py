"""The master key and the vault: found in order, closed to others, wrong keys and damage told apart."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from pydantic import SecretStr

from kernel import opened
from llmspell.cli.main import main
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.vault import Vault
from llmspell_plugins.services.vault.master import FILE, PASSPHRASE, Master, find_master, new_key, write_key
from llmspell_testing.isolation import TemporarySettings, isolate


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TemporarySettings:
    return isolate(tmp_path, monkeypatch)


@pytest.fixture
def key_file(places: TemporarySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = places.data / "master.key"
    write_key(path, new_key())
    monkeypatch.setenv(FILE, str(path))
    return path


class Kept(KeyringBackend):
    """A keyring in memory."""

    priority: Any = 5

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password


@pytest.mark.parametrize("kind", ["key", "passphrase"])
def test_what_is_locked_is_unlocked_by_the_same_key_for_the_same_purpose_only(kind: Any) -> None:
    master, other = Master(kind, b"a" * 32, "here"), Master(kind, b"b" * 32, "there")
    locked = master.lock(b"secret", "p")

    assert master.unlock(locked, "p") == b"secret"
    assert b"secret" not in locked
    assert master.lock(b"secret", "p") != locked
    with pytest.raises(StorageError, match="p is locked with another master key than the one in there"):
        other.unlock(locked, "p")
    with pytest.raises(StorageError, match="what q is locked in is damaged"):
        master.unlock(locked, "q")
    assert "61" * 4 not in repr(master) and "aaaa" not in repr(master)


def test_every_flipped_bit_of_what_is_locked_is_one_clear_error() -> None:
    master = Master("key", b"a" * 32, "here")
    locked = master.lock(b"secret", "p")

    for place in range(len(locked)):
        with pytest.raises(StorageError) as caught:
            master.unlock(locked[:place] + bytes([locked[place] ^ 1]) + locked[place + 1 :], "p")
        assert str(caught.value).startswith("vault: ")
        assert "\n" not in str(caught.value)
    with pytest.raises(StorageError, match="damaged"):
        master.unlock(locked[:-1], "p")


def test_a_passphrase_does_not_open_what_a_key_locked() -> None:
    locked = Master("key", b"a" * 32, "here").lock(b"x", "p")

    with pytest.raises(StorageError, match=f"it is locked with a key; name its file in {FILE}|p is locked with a key"):
        Master("passphrase", b"a" * 32, PASSPHRASE).unlock(locked, "p")


def test_the_key_is_the_files_then_the_keyrings_then_the_passphrases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Kept()
    monkeypatch.setattr(keyring, "get_keyring", lambda: backend)
    write_key(tmp_path / "key", new_key())
    all_three = {FILE: str(tmp_path / "key"), PASSPHRASE: "correct horse battery"}
    backend.set_password("llmspell", "master key", new_key())

    from_file = find_master(all_three).source
    from_keyring = find_master({PASSPHRASE: "correct horse battery"}).source
    backend.kept.clear()
    from_passphrase = find_master({PASSPHRASE: "correct horse battery"}).kind

    assert (from_file, from_keyring, from_passphrase) == (str(tmp_path / "key"), "the keyring", "passphrase")
    with pytest.raises(StorageError, match="there is no master key; make one with 'llmspell keys init FILE'"):
        find_master({})
    with pytest.raises(StorageError, match="has 5 characters; take 12 or more"):
        find_master({PASSPHRASE: "short"})


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        ("ab" * 32, 0o644, "may be read by others"),
        ("ab" * 32, 0o640, "may be read by others"),
        ("nothing", 0o600, "holds no master key"),
        ("", 0o600, "holds no master key"),
        (None, 0o600, "cannot be read"),
    ],
)
def test_a_key_file_that_is_none_or_open_to_others_is_refused(
    tmp_path: Path, content: str | None, mode: int, told: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)

    with pytest.raises(StorageError, match=told):
        find_master({FILE: str(path)})


async def test_secrets_are_kept_encrypted_and_bound_to_their_names(places: TemporarySettings, key_file: Path) -> None:
    async with opened() as host:
        vault = await host.enter(Vault)
        await vault.set("A_KEY", SecretStr("s3cret-ä"))
        await vault.set("B_KEY", SecretStr("other"))
        first = await vault.get("A_KEY")
        names = await vault.names()
        removed = [await vault.remove("B_KEY"), await vault.remove("B_KEY")]
    async with opened() as host:
        again = (await host.enter(Vault)).peek("A_KEY")

    file = places.data / "keys.enc"
    assert first is not None and again is not None
    assert (first.get_secret_value(), again.get_secret_value()) == ("s3cret-ä", "s3cret-ä")
    assert (names, removed) == (["A_KEY", "B_KEY"], [True, False])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"s3cret" not in file.read_bytes()
    file.chmod(0o644)
    async with opened() as host:
        with pytest.raises(StorageError, match=r"keys\.enc may be read by others"):
            await (await host.enter(Vault)).names()


async def test_without_a_master_key_nothing_is_kept(places: TemporarySettings) -> None:
    async with opened() as host:
        with pytest.raises(StorageError, match="there is no master key"):
            await (await host.enter(Vault)).set("A", SecretStr("x"))

    assert not (places.data / "keys.enc").exists()


def test_people_make_a_key_keep_secrets_and_bring_the_key_back(
    places: TemporarySettings, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*arguments: str, given: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return int(ended.value.code or 0), *capfd.readouterr()

    path = places.data / "own.key"

    code, _, err = call("keys", "set", "OPENAI_API_KEY", "sk-test")
    assert (code, "there is no master key" in err) == (1, True)
    assert call("keys", "init", str(path))[0] == 0
    assert call("keys", "init", str(path))[0] == 1
    monkeypatch.setenv(FILE, str(path))
    assert call("keys", "set", "OPENAI_API_KEY", given="sk-test\n")[1] == "OPENAI_API_KEY is kept\n"
    assert json.loads(call("keys", "list", "--output", "json")[1]) == [{"name": "OPENAI_API_KEY"}]
    providers = call("provider", "info", "openai")[1]
    assert "sk-test" not in providers
    recovery = call("keys", "export-recovery")[1].strip()
    os.unlink(path)
    assert call("keys", "init", str(path), "--recover", given=recovery)[0] == 0
    assert call("keys", "remove", "OPENAI_API_KEY")[0] == 0
    assert call("keys", "remove", "OPENAI_API_KEY")[0] == 1
    assert call("keys", "init", str(path) + "2", "--recover", given="nothing")[0] == 1
