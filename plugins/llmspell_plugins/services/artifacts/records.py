"""What is kept of artifacts beside their contents: entries of a storage.

::

    artifact/SESSION/SEQUENCE             what is known of one, and what others may do with it
    artifact-head/SESSION                 how many a session has, how large, and the number of the last
    artifact-name/SESSION/NAME            the newest version under a name; the name stands there as its hash
    artifact-tag/TAG/SESSION/SEQUENCE     there as long as it has the tag; the tag stands there as its hash

Invariant: all entries of one artifact change in one batch that expects the head of its session, or the artifact.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from blake3 import blake3
from msgspec import Struct

from llmspell_hookspecs.artifacts import ArtifactDraft, ArtifactGrant, ArtifactId, ArtifactInfo
from llmspell_hookspecs.errors import ComponentNotFoundError, InvalidInputError, StorageError
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.storage import Storage
from llmspell_plugins.services.state_value import encode

__all__ = [
    "Head",
    "Name",
    "Row",
    "check_fields",
    "check_place",
    "head_key",
    "missing",
    "name_key",
    "read_head",
    "read_name",
    "read_row",
    "row_key",
    "row_of",
    "tag_keys",
    "tagged",
]

FORMAT: Final = 1
_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOST: Final = 10**10
_CUSTOM_BYTES: Final = 65_536


class Row(Struct, frozen=True, omit_defaults=True):
    """What is kept of an artifact.

    Attributes:
        info: What is known of it.
        grants: What others may do with it.
        format: Of what is kept.
    """

    info: ArtifactInfo
    grants: tuple[ArtifactGrant, ...] = ()
    format: int = FORMAT


class Head(Struct, frozen=True, omit_defaults=True):
    """How much a session has.

    Attributes:
        last: The number of the last artifact.
        count: How many there are.
        size_bytes: How large their contents are together.
    """

    last: int = 0
    count: int = 0
    size_bytes: int = 0


class Name(Struct, frozen=True, omit_defaults=True):
    """The newest version under a name.

    Attributes:
        version: Its number.
        hash: Of its content.
    """

    version: int = 0
    hash: str = ""


encode_row: Final = msgspec.msgpack.Encoder().encode
_rows: Final = msgspec.msgpack.Decoder(Row)
_heads: Final = msgspec.msgpack.Decoder(Head)
_names: Final = msgspec.msgpack.Decoder(Name)


def row_key(session: str, sequence: int) -> str:
    """Return where an artifact stands."""
    return f"artifact/{session}/{sequence:010d}"


def head_key(session: str) -> str:
    """Return where it stands how much a session has."""
    return f"artifact-head/{session}"


def name_key(session: str, name: str) -> str:
    """Return where the newest version under a name stands."""
    return f"artifact-name/{session}/{_short(name)}"


def tag_keys(session: str, sequence: int, tags: Iterable[str]) -> list[str]:
    """Return where it stands that an artifact has tags."""
    return [f"artifact-tag/{_short(tag)}/{session}/{sequence:010d}" for tag in dict.fromkeys(tags)]


def _short(text: str) -> str:
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest(16)


async def tagged(storage: Storage, tag: str) -> list[str]:
    """Return where the artifacts stand that have a tag."""
    prefix = f"artifact-tag/{_short(tag)}/"
    return [f"artifact/{key[len(prefix) :]}" async for key, _ in storage.scan(prefix, limit=sys.maxsize)]


async def read_row(storage: Storage, session: str, sequence: int) -> tuple[Row, int]:
    """Return what is kept of an artifact, and the version of that.

    Raises:
        ComponentNotFoundError: There is none.
        StorageError: It is none of ours.
    """
    entry = await storage.get(row_key(session, sequence))
    if entry is None:
        raise missing(session, sequence)
    return row_of(f"{session}/{sequence}", entry.value), entry.version


def row_of(where: str, encoded: bytes) -> Row:
    """Return what is kept of an artifact.

    Raises:
        StorageError: It is none of ours, or a later version keeps it.
    """
    try:
        row = _rows.decode(encoded)
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"artifact {where}: what is kept of it was changed; restore the storage, or delete its session"
        raise StorageError(message, code="corrupt") from error
    if row.format > FORMAT:
        later = f"artifact {where}: a later version keeps it (format {row.format}, and this one knows {FORMAT})"
        raise StorageError(f"{later}; use that version for it", code="later")
    return row


async def read_head(storage: Storage, session: str) -> tuple[Head, int]:
    """Return how much a session has, and the version of that."""
    entry = await storage.get(head_key(session))
    if entry is None:
        return Head(), 0
    try:
        return _heads.decode(entry.value), entry.version
    except msgspec.DecodeError as error:
        raise StorageError(f"artifacts of {session}: what is kept was changed; restore the storage") from error


async def read_name(storage: Storage, session: str, name: str) -> tuple[Name, int]:
    """Return the newest version under a name, and the version of the entry."""
    entry = await storage.get(name_key(session, name))
    if entry is None:
        return Name(), 0
    try:
        return _names.decode(entry.value), entry.version
    except msgspec.DecodeError as error:
        raise StorageError(f"artifacts of {session}: what is kept was changed; restore the storage") from error


def missing(session: str, sequence: int) -> ComponentNotFoundError:
    """Return the error of an artifact that there is not."""
    message = f"artifact {session}/{sequence}: there is none; 'llmspell artifact list' names those that there are"
    return ComponentNotFoundError(message, address=f"artifact:{session}/{sequence}")


def check_place(session: Any, sequence: Any = 1) -> None:
    """Refuse what cannot stand in a key.

    Raises:
        InvalidInputError: The session is no id, or the sequence no number.
    """
    if not isinstance(session, str) or not _SESSION.fullmatch(session):
        message = f"artifact session {told(session)}: it is no id; give a session's, or host"
        raise InvalidInputError(message, field="session")
    if isinstance(sequence, bool) or not isinstance(sequence, int) or not 0 < sequence < _MOST:
        message = f"artifact {session}/{told(sequence)}: it is no number from 1; give the artifact's"
        raise InvalidInputError(message, field="sequence")


def check_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a draft as they are kept.

    Raises:
        InvalidInputError: One of them is wrong.
    """
    kept = dict(fields)
    bounds = {"name": (1, 255), "type": (1, 64), "mime_type": (1, 255), "description": (0, 10_000)}
    for field, (least, most) in {**bounds, "created_by": (0, 255)}.items():
        if field in kept and not (isinstance(kept[field], str) and least <= len(kept[field]) <= most):
            raise _wrong(field, kept[field], f"give a text of {least} to {most} characters")
    if "tags" in kept:
        tags = kept["tags"]
        fits = isinstance(tags, tuple | list) and len(tags) <= 64
        if not fits or not all(isinstance(tag, str) and 0 < len(tag) <= 64 for tag in tags):
            raise _wrong("tags", tags, "give at most 64 texts, each of 1 to 64 characters")
        kept["tags"] = tuple(dict.fromkeys(tags))
    if "custom" in kept:
        if not isinstance(kept["custom"], Mapping):
            raise _wrong("custom", kept["custom"], "give a table")
        kept["custom"] = msgspec.msgpack.decode(encode("artifact custom", kept["custom"], _CUSTOM_BYTES))
    return kept


def fields_of(draft: ArtifactDraft) -> dict[str, Any]:
    """Return the fields of a draft that are kept as they are."""
    names = ("name", "type", "mime_type", "description", "tags", "custom", "created_by")
    return {name: getattr(draft, name) for name in names}


def parent_of(draft: ArtifactDraft) -> ArtifactId | None:
    """Return what an artifact is made from, checked.

    Raises:
        InvalidInputError: That is no artifact's id.
    """
    parent = draft.parent
    if parent is None:
        return None
    if not isinstance(parent, ArtifactId):
        raise _wrong("parent", parent, "give an artifact's id")
    check_place(parent.session_id, parent.sequence)
    return parent


def _wrong(field: str, value: Any, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"artifact {field}: {told(value)} does not do; {remedy}", field=field)
