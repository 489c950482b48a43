"""What a chained log consists of: entries, the key of their hashes, and the head.

An entry's hash is BLAKE3 with the log's key over its number, the hash before it and the record.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3
from msgspec import Struct, structs

from llmspell_hookspecs.errors import StorageError, line_of_error

__all__ = [
    "FIRST",
    "ChainEntry",
    "ChainPlaces",
    "ChainProblem",
    "Head",
    "Verified",
    "hash_of",
    "is_sealed",
    "read_head",
    "read_key",
    "seal_of",
    "write_head",
]

FIRST: Final = "0" * 64
"""What stands for the hash before the first entry."""


class ChainEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry.

    Attributes:
        number: From 1.
        record: What it records: a text.
        previous: The hash of the entry before it.
        hash: Of this one.
    """

    number: int
    record: str
    previous: str
    hash: str


class ChainPlaces(Struct, frozen=True):
    """Where a log is.

    Attributes:
        key: The file of the key.
        head: The file of the head.
        name: What errors call it.
        prefix: What its keys in the storage begin with; the number comes behind.
        verb: What tells more of it.
    """

    key: Path
    head: Path
    name: str
    prefix: str
    verb: str

    def key_of(self, number: int) -> str:
        """Return under which key of the storage an entry lies."""
        return f"{self.prefix}{number:016d}"


class ChainProblem(Struct, frozen=True):
    """What is wrong with a log.

    Attributes:
        number: The first entry that is wrong or missing.
        problem: What is wrong with it.
    """

    number: int
    problem: str


class Verified(Struct, frozen=True):
    """What was found when a log was verified.

    Attributes:
        first: The first entry that is there; those before it were taken out on purpose.
        entries: How many from there on are in order.
        problem: What is wrong with the one behind them; None if all are.
    """

    first: int
    entries: int
    problem: ChainProblem | None = None


class Head(Struct, frozen=True, omit_defaults=True):
    """Where a log ends and begins.

    Attributes:
        number: The newest entry.
        hash: Its hash.
        base: The last of those that were taken out on purpose.
        base_hash: Its hash.
        seal: What only who has the key can say of these two.
    """

    number: int
    hash: str
    base: int = 0
    base_hash: str = FIRST
    seal: str = ""


def hash_of(key: bytes, number: int, previous: str, record: str) -> str:
    """Return an entry's hash."""
    return blake3(f"{number}\n{previous}\n{record}".encode(), key=key).hexdigest()


def seal_of(key: bytes, base: int, base_hash: str) -> str:
    """Return the seal on how much was taken out."""
    return blake3(f"base\n{base}\n{base_hash}".encode(), key=key).hexdigest()


def is_sealed(key: bytes, head: Head) -> bool:
    """Return whether what a head says of its base was said by who has the key."""
    if head.base == 0:
        return head.base_hash == FIRST
    return secrets.compare_digest(head.seal.encode(), seal_of(key, head.base, head.base_hash).encode())


def read_key(places: ChainPlaces, may_make: bool) -> bytes:
    """Return the key, made if there is none and that may be.

    Raises:
        StorageError: It is missing, or cannot be read or written.
    """
    name, file = places.name, places.key
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        if not may_make:
            raise StorageError(f"{name}: its key {file} is missing; put it back, or move the log away") from None
        key = secrets.token_bytes(32)
        try:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as made:
                made.write(key.hex())
                made.flush()
                os.fsync(made.fileno())
        except FileExistsError:  # another process was first
            return read_key(places, False)
        except OSError as error:
            raise StorageError(
                f"{name}: its key {file} cannot be written: {line_of_error(error)}; see to it"
            ) from error
    except (OSError, ValueError) as error:
        raise StorageError(f"{name}: its key {file} cannot be read: {line_of_error(error)}; put it back") from error
    if len(key) != 32:
        raise StorageError(f"{name}: its key {file} has {len(key)} bytes, not 32; put the right one back")
    return key


def read_head(file: Path) -> Head:
    """Return the head; one of no entries if it is missing or cannot be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Head)
    except (OSError, ValueError, msgspec.DecodeError):  # a ValueError is about its name
        return Head(0, FIRST)


def write_head(file: Path, head: Head) -> None:
    """Replace the head by the further of what it says and what is given: at its end, and at its base."""
    beside = file.with_name(f"{file.name}.new")
    with open(file.with_name(f"{file.name}.lock"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = read_head(file)
        end = there if there.number >= head.number else head
        base = there if there.base >= head.base else head
        joined = structs.replace(end, base=base.base, base_hash=base.base_hash, seal=base.seal)
        if joined == there:
            return
        with open(beside, "wb") as made:
            made.write(msgspec.json.encode(joined))
            made.flush()
            os.fsync(made.fileno())
        os.replace(beside, file)
