"""The service Vault: locks with the master key, and keeps secrets by name in a file.

Invariant: the file is for its owner only, is replaced whole, and holds names in the clear and secrets encrypted, each
bound to its name.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import msgspec
import trio
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from llmspell_hookspecs import InvalidInputError, Services
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.services import ProjectFolder
from llmspell_hookspecs.vault import Vault

from .master import Master, find_master

__all__ = ["VaultService", "VaultSettings"]

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_LONGEST: Final = 65_536
_PURPOSE: Final = "the vault"
_FORMAT: Final = "llmspell keys 1"


class VaultSettings(BaseModel):
    """What ``vault`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path | None = Field(
        default=None, description="Where secrets are kept; keys.enc with the user's data if left out."
    )


class _File(Struct, frozen=True):
    """What the file holds.

    Attributes:
        format: Which form this is.
        key: The key of the secrets, locked with the master key.
        secrets: By name: a nonce, and what it is encrypted to.
    """

    format: str
    key: bytes = b""
    secrets: dict[str, tuple[bytes, bytes]] = {}


class VaultService:
    """Implements the contract's `Vault`."""

    name: ClassVar[str] = "vault"
    provides: ClassVar[type[Any]] = Vault
    Settings: ClassVar[type[VaultSettings]] = VaultSettings

    eager: ClassVar[bool] = True

    def __init__(self, settings: VaultSettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._found: Master | None = None
        self._open: dict[str, SecretStr] = {}

    async def __aenter__(self) -> Self:
        """Read the secrets, if there are any: who needs one may not be able to wait. What is wrong is told once."""
        try:
            self._open = await trio.to_thread.run_sync(self._all)
        except StorageError as error:
            self._services.get(Operations).problem(error)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Forget them."""
        self._open = {}

    def peek(self, name: str, /) -> SecretStr | None:
        """Return a secret as it was read; see the contract's `Vault`."""
        return self._open.get(name)

    async def lock(self, data: bytes, purpose: str, /) -> bytes:
        """Return bytes from which only the master key leads back; see the contract's `Vault`."""
        return await trio.to_thread.run_sync(lambda: self._master().lock(data, purpose))

    async def unlock(self, locked: bytes, purpose: str, /) -> bytes:
        """Return what was locked; see the contract's `Vault`."""
        return await trio.to_thread.run_sync(lambda: self._master().unlock(locked, purpose))

    async def names(self) -> Sequence[str]:
        """Return the names of the secrets, in order."""
        return await trio.to_thread.run_sync(lambda: sorted(_read(self._path()).secrets))

    async def get(self, name: str, /) -> SecretStr | None:
        """Return a secret, None if there is none of this name; see the contract's `Vault`."""
        return await trio.to_thread.run_sync(self._get, _checked(name))

    async def set(self, name: str, secret: SecretStr, /) -> None:
        """Keep a secret; see the contract's `Vault`."""
        _checked(name)
        plain = secret.get_secret_value().encode("utf-8", "replace")
        if not 0 < len(plain) <= _LONGEST:
            message = f"vault: the secret {name} has {len(plain)} bytes; give 1 to {_LONGEST}"
            raise InvalidInputError(message, field="secret")
        await trio.to_thread.run_sync(self._set, name, plain)
        self._open = {**self._open, name: secret}

    async def remove(self, name: str, /) -> bool:
        """Forget a secret; False if there was none."""
        removed = await trio.to_thread.run_sync(self._remove, _checked(name))
        self._open = {other: secret for other, secret in self._open.items() if other != name}
        return removed

    def _master(self) -> Master:
        if self._found is None:
            self._found = find_master(os.environ)
        return self._found

    def _path(self) -> Path:
        project = self._services.get(ProjectFolder)
        if self._settings.file is not None:
            return project.place(self._settings.file)
        return project.cache("keys").parent.parent / "keys.enc"  # beside the cache: the user's data

    def _all(self) -> dict[str, SecretStr]:
        held = _read(self._path())
        if not held.secrets:
            return {}
        cipher = self._cipher(held)
        return {
            name: SecretStr(_opened(cipher, name, nonce, encrypted).decode())
            for name, (nonce, encrypted) in held.secrets.items()
        }

    def _get(self, name: str) -> SecretStr | None:
        held = _read(self._path())
        if name not in held.secrets:
            return None
        nonce, encrypted = held.secrets[name]
        return SecretStr(_opened(self._cipher(held), name, nonce, encrypted).decode())

    def _set(self, name: str, plain: bytes) -> None:
        with _changing(self._path()) as (held, write):
            if not held.key:
                held = _File(_FORMAT, self._master().lock(os.urandom(32), _PURPOSE))
            cipher, nonce = self._cipher(held), os.urandom(12)
            secret = nonce, cipher.encrypt(nonce, plain, name.encode())
            write(_File(_FORMAT, held.key, {**held.secrets, name: secret}))

    def _remove(self, name: str) -> bool:
        with _changing(self._path()) as (held, write):
            if name not in held.secrets:
                return False
            left = {other: secret for other, secret in held.secrets.items() if other != name}
            write(_File(_FORMAT, held.key, left))
            return True

    def _cipher(self, held: _File) -> Any:
        key = self._master().unlock(held.key, _PURPOSE)
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(key)


def _checked(name: str) -> str:
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    message = f"vault: {str(name)[:40]!r} is no name; give letters, digits, '_', '.' and '-'"
    raise InvalidInputError(message, field="name")


def _opened(cipher: Any, name: str, nonce: bytes, encrypted: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        plain: bytes = cipher.decrypt(nonce, encrypted, name.encode())
    except (InvalidTag, ValueError):
        raise StorageError(f"vault: the secret {name} is damaged; set it again", code="damaged") from None
    return plain


def _read(path: Path) -> _File:
    """Return what the file holds; nothing if there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return _File(_FORMAT)
    except OSError as error:
        reason = error.strerror or "the system refuses"
        raise StorageError(f"vault: {path} cannot be read: {reason}; correct it") from None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise StorageError(f"vault: {path} is no regular file; move it away")
        if found.st_mode & 0o077:
            raise StorageError(f"vault: {path} may be read by others; close it to them: chmod 600 {path}")
        content = file.read()
    try:
        held = msgspec.msgpack.decode(content, type=_File)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise StorageError(f"vault: {path} is damaged, or none of ours; restore it", code="damaged") from None
    if held.format != _FORMAT:
        raise StorageError(f"vault: {path} has a form that this version does not know; use a newer one")
    return held


@contextmanager
def _changing(path: Path) -> Iterator[tuple[_File, Callable[[_File], None]]]:
    """Return what the file holds and what replaces it, alone among all processes."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield _read(path), lambda held: _replace(path, msgspec.msgpack.encode(held))
    finally:
        os.close(handle)


def _replace(path: Path, content: bytes) -> None:
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".keys-")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> StorageError:
    reason = error.strerror or "the system refuses"
    return StorageError(f"vault: {path} cannot be written: {reason}; make room, or correct its folder")
