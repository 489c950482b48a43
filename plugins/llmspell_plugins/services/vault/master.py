"""The master key: where it is found, and what is locked with it.

What is locked has a salt of its own. From a key a wrapping key is derived by HKDF (RFC 5869), from a passphrase by
Argon2id (RFC 9106, 64 MiB, three passes). It is locked by AES-256-GCM, with the purpose as associated data.

Invariant: a file that others may read is no key; and nothing here is written or shown in the clear.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from llmspell_hookspecs.errors import StorageError

__all__ = ["FILE", "PASSPHRASE", "Master", "find_master", "keep_in_keyring", "new_key", "write_key"]

FILE, PASSPHRASE = "LLMSPELL_MASTER_KEY_FILE", "LLMSPELL_MASTER_PASSPHRASE"
_KEY_BYTES: Final = 32
_SHORTEST: Final = 12
_ASKED: Final = "llmspell", "master key"
_NONE: Final = (
    f"vault: there is no master key; make one with 'llmspell keys init FILE' and name it in {FILE}, or set {PASSPHRASE}"
)


class _Locked(Struct, frozen=True, array_like=True):
    """What is locked, as bytes hold it.

    Attributes:
        version: Of this form.
        kind: What the master key was.
        salt: Of this one.
        check: What tells another master key from damage.
        nonce: Of this one.
        data: Encrypted.
    """

    version: int
    kind: str
    salt: bytes
    check: bytes
    nonce: bytes
    data: bytes


class Master:
    """A master key.

    Args:
        kind: Whether the secret is a key or a passphrase.
        secret: It.
        source: Where it is from, for people.
    """

    def __init__(self, kind: Literal["key", "passphrase"], secret: bytes, source: str) -> None:
        self.kind = kind
        self.source = source
        self._secret = secret

    def __repr__(self) -> str:
        """Tell where it is from, and nothing more."""
        return f"Master({self.kind!r}, source={self.source!r})"

    def lock(self, data: bytes, purpose: str) -> bytes:
        """Return what only this key leads back from; takes a fifth of a second for a passphrase."""
        salt, nonce = os.urandom(16), os.urandom(12)
        key, check = self._derive(salt)
        locked = _Locked(1, self.kind, salt, check, nonce, _cipher(key).encrypt(nonce, data, purpose.encode()))
        return msgspec.msgpack.encode(locked)

    def unlock(self, locked: bytes, purpose: str) -> bytes:
        """Return what was locked.

        Raises:
            StorageError: This key does not lead there.
        """
        try:
            found = msgspec.msgpack.decode(locked, type=_Locked)
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise _damaged(purpose) from None
        if found.version != 1:
            raise StorageError(f"vault: {purpose} is locked as this version does not know; use a newer one")
        if found.kind != self.kind:
            other = f"a passphrase; set {PASSPHRASE}" if found.kind != "key" else f"a key; name its file in {FILE}"
            message = f"vault: {purpose} is locked with {other}, and here is {self.source}"
            raise StorageError(message, code="wrong_key")
        from cryptography.exceptions import InvalidTag

        key, check = self._derive(found.salt)
        if check != found.check:
            message = f"vault: {purpose} is locked with another master key than the one in {self.source}; use that one"
            raise StorageError(message, code="wrong_key")
        try:
            data: bytes = _cipher(key).decrypt(found.nonce, found.data, purpose.encode())
        except (InvalidTag, ValueError):
            raise _damaged(purpose) from None
        return data

    def recovery(self) -> str:
        """Return the key as a person writes it down.

        Raises:
            StorageError: It is a passphrase.
        """
        if self.kind == "passphrase":
            raise StorageError("vault: the master key is made of a passphrase; write that down, there is nothing else")
        return self._secret.hex()

    def _derive(self, salt: bytes) -> tuple[bytes, bytes]:
        """Return the wrapping key, and what tells another master key from damage."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        secret = self._secret
        if self.kind == "passphrase":
            argon = Argon2id(salt=salt, length=_KEY_BYTES, iterations=3, lanes=4, memory_cost=64 * 1024)
            secret = argon.derive(secret)
        both = HKDF(algorithm=SHA256(), length=_KEY_BYTES + 8, salt=salt, info=b"llmspell vault 1").derive(secret)
        return both[:_KEY_BYTES], both[_KEY_BYTES:]


def find_master(environment: Mapping[str, str]) -> Master:
    """Return the master key; blocks.

    Raises:
        StorageError: There is none, or it cannot be used.
    """
    _need_cryptography()
    named = environment.get(FILE, "").strip()
    if named:
        return Master("key", _read_key(Path(named)), named)
    kept = _from_keyring()
    if kept is not None:
        return Master("key", kept, "the keyring")
    passphrase = environment.get(PASSPHRASE, "")
    if not passphrase:
        raise StorageError(_NONE, code="no_master_key")
    if len(passphrase) < _SHORTEST:
        raise StorageError(f"vault: {PASSPHRASE} has {len(passphrase)} characters; take {_SHORTEST} or more")
    return Master("passphrase", passphrase.encode("utf-8", "surrogateescape"), PASSPHRASE)


def new_key() -> str:
    """Return a new key, as its file holds it."""
    return os.urandom(_KEY_BYTES).hex()


def write_key(path: Path, key: str) -> None:
    """Write a key to a new file, for its owner only, and onto the disk.

    Raises:
        StorageError: There is a file already, or it cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise StorageError(f"vault: {path} is there already; keep it, or name another file") from None
    except OSError as error:
        reason = error.strerror or "the system refuses"
        raise StorageError(f"vault: {path} cannot be written: {reason}; name another file") from None


def keep_in_keyring(key: str) -> bool:
    """Keep a key in the system's keyring; False if there is none."""
    keyring = _keyring()
    if keyring is None:
        return False
    keyring.set_password(*_ASKED, key)
    return True


def _read_key(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(1000) if stat.S_ISREG(found.st_mode) else b""
    except OSError as error:
        reason = error.strerror or "the system refuses"
        raise StorageError(f"vault: {path}, which {FILE} names, cannot be read: {reason}; correct it") from None
    if found.st_mode & 0o077:
        raise StorageError(f"vault: {path} may be read by others; close it to them: chmod 600 {path}")
    if found.st_uid not in (os.getuid(), 0):
        raise StorageError(f"vault: {path} belongs to somebody else; use a file of your own")
    try:
        key = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise StorageError(f"vault: {path} holds no master key; make one with 'llmspell keys init FILE'")
    return key


def _from_keyring() -> bytes | None:
    keyring = _keyring()
    if keyring is None:
        return None
    kept = keyring.get_password(*_ASKED)
    if not kept:
        return None
    try:
        key = bytes.fromhex(kept)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise StorageError("vault: what the keyring has as 'llmspell, master key' is none; delete it there")
    return key


def _keyring() -> Any:
    """Return the system's keyring; None if there is none, or one that keeps things in the clear."""
    try:
        import keyring
    except ImportError:
        return None
    backend = keyring.get_keyring()
    sound = getattr(backend, "priority", 0) > 0 and not type(backend).__module__.startswith("keyrings.alt")
    return backend if sound else None


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _need_cryptography() -> None:
    try:
        import cryptography.exceptions  # noqa: F401 - asked whether it is there
    except ImportError:
        raise StorageError("vault: it needs a library; install it: pip install 'llmspell[encryption]'") from None


def _damaged(purpose: str) -> StorageError:
    return StorageError(f"vault: what {purpose} is locked in is damaged; restore a backup", code="damaged")
