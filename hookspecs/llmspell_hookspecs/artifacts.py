"""The topic artifact: contents that sessions keep, what is known of each, who may touch them, and the points around it.

Content is addressed by the blake3 hash of its plain bytes and kept once, however many artifacts have it. What is stored
again under a name of its session is the next version of it. What belongs to no session is in the one named ``host``.

Access: what runs in a session may do with its own artifacts whatever it likes, and with those of another session what
was granted to it (``session:<id>``), to the ``user`` or ``agent`` that its baggage carries (``user:ann``,
``agent:writer``), or to everybody (``*``): ``read``, ``write``, which includes reading, or ``admin``, which includes
both. What runs in no session is the host's own and may do everything. Each access, grant and refusal is on record.

Hooks at these points match the artifact's name. Times in seconds since the epoch, sizes in bytes.

It is longer than most because the structs stand before the service and the ten points that carry them.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, runtime_checkable

from msgspec import Struct

from .context import HookContext
from .points import Phase, hookpoint
from .results import HookResult

__all__ = [
    "HOST_SESSION",
    "ArtifactAccess",
    "ArtifactAudit",
    "ArtifactChange",
    "ArtifactDraft",
    "ArtifactGrant",
    "ArtifactId",
    "ArtifactInfo",
    "ArtifactQuery",
    "ArtifactReport",
    "ArtifactRight",
    "ArtifactSweep",
    "ArtifactValidation",
    "Artifacts",
    "after_artifact_create",
    "after_artifact_delete",
    "after_artifact_modify",
    "artifact_accessed",
    "artifact_derived",
    "artifact_validated",
    "artifact_validation_failed",
    "before_artifact_create",
    "before_artifact_delete",
    "before_artifact_modify",
]

HOST_SESSION: Final = "host"
"""Where artifacts are that belong to no session."""
ArtifactRight = Literal["read", "write", "admin"]
_BEFORE: Final = ("Continue", "Modified", "Cancel", "Fork", "Skipped")
_AFTER: Final = ("Continue", "Cancel", "Fork", "Skipped")


class ArtifactId(Struct, frozen=True):
    """Which artifact.

    Attributes:
        content_hash: The blake3 hash of its content, in hex.
        session_id: Whose it is.
        sequence: Which of the session's, from 1.
    """

    content_hash: str
    session_id: str
    sequence: int

    def __str__(self) -> str:
        """Return it as people write it: ``session/sequence``."""
        return f"{self.session_id}/{self.sequence}"


class ArtifactDraft(Struct, frozen=True):
    """What an artifact is made from, beside its content.

    Attributes:
        name: Up to 255 characters.
        session: Whose it is; empty for the running session, or else the host's.
        type: ``agent_output``, ``tool_result``, ``user_input``, ``system_generated``, or any other word.
        mime_type: Of what kind its content is; it is validated where there is a validator for that.
        description: What it is.
        tags: Up to 64, each of up to 64 characters.
        custom: Further facts, plain.
        parent: What it was made from; None for nothing.
        created_by: Who made it.
    """

    name: str
    session: str = ""
    type: str = "user_input"
    mime_type: str = "application/octet-stream"
    description: str = ""
    tags: tuple[str, ...] = ()
    custom: Mapping[str, Any] = {}
    parent: ArtifactId | None = None
    created_by: str = ""


class ArtifactInfo(Struct, frozen=True):
    """What is known of an artifact.

    Attributes:
        id: Which it is.
        name: As in `ArtifactDraft`; likewise the rest that is not named here.
        type: What it is of.
        mime_type: Of what kind its content is.
        size_bytes: Of its content.
        stored_bytes: How large that lies there.
        codec: How it lies there: ``raw`` or ``lz4``.
        description: What it is.
        tags: For selecting.
        custom: Further facts.
        parent: What it was made from.
        created_by: Who made it.
        created_s: When it was made.
        updated_s: When what is known of it was changed last.
        version: Which version under its name, from 1.
        previous_hash: The hash of the version before; empty for none.
    """

    id: ArtifactId
    name: str
    type: str = "user_input"
    mime_type: str = "application/octet-stream"
    size_bytes: int = 0
    stored_bytes: int = 0
    codec: str = "raw"
    description: str = ""
    tags: tuple[str, ...] = ()
    custom: Mapping[str, Any] = {}
    parent: ArtifactId | None = None
    created_by: str = ""
    created_s: float = 0.0
    updated_s: float = 0.0
    version: int = 1
    previous_hash: str = ""


class ArtifactQuery(Struct, frozen=True):
    """Which artifacts are asked for; what is left out asks for all.

    Attributes:
        session: Whose; empty for all that may be read.
        type: Of this type.
        name: A glob that its name matches.
        tags: All of these.
        mime_type: A glob that its kind matches.
        created_by: Who made it.
        since_s: Made from this time on.
        until_s: Made up to this time.
        min_bytes: At least so large.
        max_bytes: At most so large.
        latest: Only the newest version under each name.
        sort: ``created``, ``name``, ``size`` or ``type``.
        descending: Whether the last come first.
        limit: So many of them; None for all.
    """

    session: str = ""
    type: str = ""
    name: str = ""
    tags: tuple[str, ...] = ()
    mime_type: str = ""
    created_by: str = ""
    since_s: float | None = None
    until_s: float | None = None
    min_bytes: int | None = None
    max_bytes: int | None = None
    latest: bool = False
    sort: Literal["created", "name", "size", "type"] = "created"
    descending: bool = False
    limit: int | None = None


class ArtifactGrant(Struct, frozen=True):
    """What somebody may do with an artifact.

    Attributes:
        principal: ``session:<id>``, ``user:<name>``, ``agent:<name>`` or ``*``.
        right: ``read``, ``write`` or ``admin``.
        expires_s: Until when; None for ever.
    """

    principal: str
    right: ArtifactRight
    expires_s: float | None = None


class ArtifactAudit(Struct, frozen=True):
    """Something that was done, or refused, as it is on record.

    Attributes:
        number: Of the record, from 1.
        at_s: When.
        action: ``create``, ``read``, ``modify``, ``delete``, ``list``, ``grant`` or ``revoke``.
        artifact: Which, as ``session/sequence``.
        principals: Who asked, as in `ArtifactGrant`; ``host`` for the host itself.
        allowed: Whether it was.
        details: More of it.
    """

    number: int = 0
    at_s: float = 0.0
    action: str = ""
    artifact: str = ""
    principals: tuple[str, ...] = ()
    allowed: bool = True
    details: str = ""


class ArtifactReport(Struct, frozen=True):
    """What was found when all artifacts were verified.

    Attributes:
        artifacts: How many there are.
        contents: How many contents were hashed again.
        missing: Artifacts whose content is not there, as ``session/sequence``.
        corrupt: Artifacts whose content is not what it was.
        wrong_size: Artifacts whose content has another size than they say.
        orphans: Contents that no artifact has, by hash; they go with the next sweep.
        removed: The orphans that were removed.
        audit: What is wrong with the record of accesses; empty if nothing is.
    """

    artifacts: int = 0
    contents: int = 0
    missing: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()
    wrong_size: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    removed: int = 0
    audit: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether every artifact has its content, and the record is as it was."""
        return not (self.missing or self.corrupt or self.wrong_size or self.audit)


class ArtifactSweep(Struct, frozen=True):
    """What a sweep took out.

    Attributes:
        kept: How many contents are left.
        removed: How many were taken out.
        freed_bytes: How large they were.
    """

    kept: int = 0
    removed: int = 0
    freed_bytes: int = 0


class ArtifactChange(Struct, frozen=True):
    """An artifact is made, changed or deleted.

    Attributes:
        name: Its name.
        session: Whose it is.
        type: What it is of.
        mime_type: Of what kind its content is.
        description: What it is.
        tags: For selecting.
        custom: Further facts.
        content_hash: The hash of its content, which no hook changes.
        size_bytes: The size of its content.
        sequence: Which of the session's; 0 while it is not made.
    """

    name: str
    session: str
    type: str = "user_input"
    mime_type: str = "application/octet-stream"
    description: str = ""
    tags: tuple[str, ...] = ()
    custom: Mapping[str, Any] = {}
    content_hash: str = ""
    size_bytes: int = 0
    sequence: int = 0


class ArtifactAccess(Struct, frozen=True):
    """An artifact was read, or made from another one.

    Attributes:
        id: Which.
        name: Its name.
        principals: Who did, as in `ArtifactGrant`.
        parent: What it was made from, where that is told.
    """

    id: ArtifactId
    name: str
    principals: tuple[str, ...] = ()
    parent: ArtifactId | None = None


class ArtifactValidation(Struct, frozen=True):
    """A content was held against its kind.

    Attributes:
        name: The artifact's name.
        session: Whose it is.
        mime_type: Of what kind it is said to be.
        content_hash: The content's hash.
        problem: Why it is none; empty if it is one.
    """

    name: str
    session: str
    mime_type: str
    content_hash: str
    problem: str = ""


@runtime_checkable
class Artifacts(Protocol):
    """Keeps artifacts; each method is an operation on ``artifact:<name>``.

    Every method raises `SecurityError` if whoever asks may not, `ComponentNotFoundError` if there is no such artifact,
    and `StorageError` if what is kept cannot be read or written, or is not what it was.
    """

    async def put(self, draft: ArtifactDraft, content: bytes | str | AsyncIterable[bytes], /) -> ArtifactInfo:
        """Keep a content, durably, and return what is known of it.

        Args:
            draft: What it is.
            content: Its bytes, all at once or piece by piece; a text is kept in UTF-8.

        Raises:
            InvalidInputError: A field is wrong, or the content is not of its kind.
            ResourceLimitError: It is too large, or the session has too many.
            OperationCancelledError: A hook refused it; then nothing is kept.
        """

    async def put_file(self, draft: ArtifactDraft, path: str, /) -> ArtifactInfo:
        """Keep the content of a file, judged as every file is; raises as `put` does."""

    async def get(self, session: str, sequence: int, /) -> ArtifactInfo:
        """Return what is known of an artifact."""

    async def read(self, session: str, sequence: int, /) -> bytes:
        """Return its content, which is what was stored or an error."""

    def stream(self, session: str, sequence: int, /) -> AsyncIterator[bytes]:
        """Return an iterator over its content, piece by piece; raises before the first if it is not what it was."""

    async def query(self, query: ArtifactQuery = ..., /) -> Sequence[ArtifactInfo]:
        """Return the artifacts that are asked for and may be read, in the order in which they were made."""

    async def versions(self, session: str, name: str, /) -> Sequence[ArtifactInfo]:
        """Return all versions under a name, the oldest first."""

    async def modify(self, session: str, sequence: int, /, **changes: Any) -> ArtifactInfo:
        """Change what is known of an artifact, and return that; its content is never changed.

        Args:
            session: Whose it is.
            sequence: Which.
            changes: Any of ``type``, ``mime_type``, ``description``, ``tags`` and ``custom``.
        """

    async def delete(self, session: str, sequence: int, /) -> bool:
        """Forget an artifact; False if there is none. Its content goes with a later sweep if no other has it."""

    async def forget(self, session: str, /) -> int:
        """Forget all of a session's; returns how many."""

    async def grant(
        self, session: str, sequence: int, principal: str, right: ArtifactRight, /, *, expires_s: float | None = None
    ) -> None:
        """Let somebody do something with an artifact; replaces what the same one was granted before."""

    async def revoke(self, session: str, sequence: int, principal: str, /) -> bool:
        """Take back what somebody was granted; False if that is nothing."""

    async def grants(self, session: str, sequence: int, /) -> Sequence[ArtifactGrant]:
        """Return what others may do with an artifact."""

    async def audit(self, session: str = "", /, *, limit: int = 1000) -> Sequence[ArtifactAudit]:
        """Return the newest accesses on record, the oldest of them first; of one session if it is named."""

    async def verify(self, *, repair: bool = False) -> ArtifactReport:
        """Hash all contents again, and return what is wrong.

        Args:
            repair: Remove the contents that no artifact has; nothing else is touched.
        """

    async def sweep(self, grace_s: float | None = None, /) -> ArtifactSweep:
        """Take out the contents that no artifact has, and had not for so long; None for what settings say."""

    def validate(self, mime_type: str, validator: Callable[[bytes], str], /) -> Callable[[], None]:
        """Hold contents of a kind against a function, which returns what is wrong, or an empty text.

        Args:
            mime_type: A glob.
            validator: Called in a thread.

        Returns:
            What takes it out.
        """


@hookpoint(phase=Phase.BEFORE, topic="artifact", accepts=_BEFORE)
def before_artifact_create(context: HookContext[ArtifactChange]) -> HookResult | None:
    """A content is about to be kept.

    When: at each one, once it is read and hashed, and before it is there.
    Subject: what it is; ``Modified`` may change what is known of it, not its content, its name or whose it is.
    """


@hookpoint(phase=Phase.AFTER, topic="artifact", accepts=_AFTER)
def after_artifact_create(context: HookContext[ArtifactInfo]) -> HookResult | None:
    """An artifact is there, durably.

    When: after each; a ``Cancel`` withholds it from who stored it, and takes nothing back.
    Subject: what is known of it.
    """


@hookpoint(phase=Phase.BEFORE, topic="artifact", accepts=_BEFORE)
def before_artifact_modify(context: HookContext[ArtifactChange]) -> HookResult | None:
    """What is known of an artifact is about to be changed.

    When: at each change.
    Subject: what it will be.
    """


@hookpoint(phase=Phase.AFTER, topic="artifact", accepts=_AFTER)
def after_artifact_modify(context: HookContext[ArtifactInfo]) -> HookResult | None:
    """What is known of an artifact was changed.

    When: after each change.
    Subject: what is known of it now.
    """


@hookpoint(phase=Phase.BEFORE, topic="artifact", accepts=("Continue", "Cancel", "Fork", "Skipped"))
def before_artifact_delete(context: HookContext[ArtifactChange]) -> HookResult | None:
    """An artifact is about to be forgotten.

    When: at each one, also where its session is deleted.
    Subject: which one.
    """


@hookpoint(phase=Phase.AFTER, topic="artifact", accepts=_AFTER)
def after_artifact_delete(context: HookContext[ArtifactInfo]) -> HookResult | None:
    """An artifact was forgotten.

    When: after each.
    Subject: what was known of it.
    """


@hookpoint(phase=Phase.NOTICE, topic="artifact")
def artifact_validated(context: HookContext[ArtifactValidation]) -> HookResult | None:
    """A content is of the kind that it is said to be.

    When: before it is kept, where there is a validator for its kind.
    Subject: which one.
    """


@hookpoint(phase=Phase.NOTICE, topic="artifact")
def artifact_validation_failed(context: HookContext[ArtifactValidation]) -> HookResult | None:
    """A content is not of the kind that it is said to be, and is not kept.

    When: before whoever stores it is told.
    Subject: which one, and why.
    """


@hookpoint(phase=Phase.NOTICE, topic="artifact")
def artifact_accessed(context: HookContext[ArtifactAccess]) -> HookResult | None:
    """The content of an artifact is read.

    When: once whoever asks may do so, before they have it.
    Subject: which one, and who.
    """


@hookpoint(phase=Phase.NOTICE, topic="artifact")
def artifact_derived(context: HookContext[ArtifactAccess]) -> HookResult | None:
    """An artifact was made from another one.

    When: once it is there.
    Subject: both.
    """
