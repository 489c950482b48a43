"""Chunks of records, each of which holds the hash of the one before it, and the head that names the last.

A chunk is the previous one's blake3 hash (32 bytes), how many records there are (4 bytes), the first 8 bytes of each
record's own hash, and the records as an LZ4 block of MessagePack. The records' hashes tell which of them was changed.

Invariant: chunk n+1 cannot be read as whole unless chunk n is what it was. There is no secret in it: it finds what
broke, and clumsy hands, not somebody who writes the whole chain anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

import lz4.block  # type: ignore[import-untyped]
import msgspec
from blake3 import blake3
from msgspec import Struct

from llmspell_hookspecs.errors import StorageError

from .record import Written, unpacked

__all__ = [
    "HEADS",
    "Head",
    "blob_key",
    "chunk_key",
    "chunk_of",
    "hash_of",
    "head_key",
    "id_of",
    "prefixes_of",
    "read_chunk",
    "read_head",
]

HEADS: Final = "journal/heads/"
_CHUNKS: Final = "journal/chunks/"
_BLOBS: Final = "journal/blobs/"
_HASH: Final = 32
_SHORT: Final = 8
_LARGEST_BYTES: Final = 1 << 30
FORMAT: Final = 1
START: Final = bytes(_HASH)


class Head(Struct, frozen=True):
    """What is known of a journal as a whole.

    Attributes:
        format: Of the journal; another one than ours is not read.
        session: Whether it is a session's.
        component: What ran first.
        began_s: When its first record was made.
        ended_s: When its last one was.
        chunks: How many there are.
        records: How many records they hold.
        failed: How many of them did not complete.
        lost: How many could not be recorded.
        size_bytes: How much its chunks and blobs take.
        last: The last chunk's hash.
        plugins: The versions with which it was begun.
        content: What of operations it holds; ``mixed`` if that changed.
    """

    format: int = FORMAT
    session: bool = False
    component: str = ""
    began_s: float = 0.0
    ended_s: float = 0.0
    chunks: int = 0
    records: int = 0
    failed: int = 0
    lost: int = 0
    size_bytes: int = 0
    last: bytes = START
    plugins: str = ""
    content: str = ""


@lru_cache(maxsize=4096)
def _spelled(id: str) -> str:
    """Return an id as it stands in keys."""
    return quote(id, safe="")


def head_key(id: str) -> str:
    """Return where the head of a journal lies."""
    return HEADS + _spelled(id)


def chunk_key(id: str, number: int) -> str:
    """Return where a chunk lies."""
    return f"{_CHUNKS}{_spelled(id)}/{number:010}"


def blob_key(id: str, hashed: bytes) -> str:
    """Return where a blob lies."""
    return f"{_BLOBS}{_spelled(id)}/{hashed.hex()}"


def prefixes_of(id: str) -> tuple[str, str]:
    """Return under which keys its chunks and its blobs lie."""
    return f"{_CHUNKS}{_spelled(id)}/", f"{_BLOBS}{_spelled(id)}/"


def id_of(key: str) -> str:
    """Return the journal of a head's key."""
    return unquote(key.removeprefix(HEADS))


def hash_of(data: bytes) -> bytes:
    """Return the hash of a chunk, or of a blob."""
    return blake3(data).digest()


def read_head(data: bytes, id: str) -> Head:
    """Return a head.

    Raises:
        StorageError: It is none, or of a later llmspell.
    """
    try:
        head = msgspec.msgpack.decode(data, type=Head)
        if head.format == FORMAT and not head.chunks and not head.began_s:  # no field is ours
            raise msgspec.DecodeError
    except (msgspec.DecodeError, RecursionError) as error:
        raise StorageError(
            f"journal {id}: its head cannot be read; restore it, or 'llmspell journal forget'"
        ) from error
    if head.format != FORMAT:
        raise StorageError(f"journal {id}: it has format {head.format}, this llmspell reads {FORMAT}; use a newer one")
    return head


def chunk_of(texts: Sequence[bytes], previous: bytes) -> bytes:
    """Return the chunk of these records' bytes behind the one with this hash."""
    hashes = b"".join([blake3(text).digest(_SHORT) for text in texts])
    block: bytes = lz4.block.compress(msgspec.msgpack.encode(texts))
    return previous + len(texts).to_bytes(4) + hashes + block


def read_chunk(data: bytes, previous: bytes) -> tuple[list[Written], str]:
    """Return the records of a chunk that are as they were, up to the first that is not, and what is wrong with that.

    Args:
        data: The chunk.
        previous: The hash of the one before it.
    """
    count = int.from_bytes(data[_HASH : _HASH + 4])
    start = _HASH + 4 + _SHORT * count
    if len(data) <= start:
        return [], "it is cut"
    texts: list[bytes]
    try:
        if int.from_bytes(data[start : start + 4], "little") > _LARGEST_BYTES:
            return [], "it was changed, and cannot be read"
        texts = msgspec.msgpack.decode(lz4.block.decompress(data[start:]), type=list[bytes])
    except (lz4.block.LZ4BlockError, msgspec.DecodeError, RecursionError, ValueError, MemoryError):
        return [], "it was changed, and cannot be read"
    found: list[Written] = []
    for number, text in enumerate(texts):
        short = data[_HASH + 4 + _SHORT * number : _HASH + 4 + _SHORT * (number + 1)]
        try:
            record = unpacked(text)
        except (msgspec.DecodeError, RecursionError):
            return found, "record was changed, and cannot be read"
        if hash_of(text)[:_SHORT] != short:
            return found, f"{record.address}, operation {record.id}, was changed"
        found.append(record)
    if len(texts) != count:
        return found, "records were taken out or put in"
    if data[:_HASH] != previous:
        return [], "it does not follow the one before it"
    return found, ""
