"""The global Artifact: a script keeps contents for sessions, finds them, and says who else may touch them.

A content is a string of bytes, whatever they are. An empty session is the one that the script runs in, or else the
host's.

Invariant: what was stored is what is got, byte for byte; the type that is told is the word that was given.
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from llmspell_hookspecs import InvalidInputError, ScriptGlobal, Services, script_method
from llmspell_hookspecs.artifacts import (
    HOST_SESSION,
    ArtifactDraft,
    ArtifactId,
    ArtifactInfo,
    ArtifactQuery,
    ArtifactRight,
    Artifacts,
)
from llmspell_hookspecs.language import ScriptScope
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.spelling import told
from llmspell_plugins.globals.session import Texts, moment, read_table

__all__ = ["ArtifactGlobal"]

_OWN: Final = {
    "AgentOutput": "agent_output",
    "ToolResult": "tool_result",
    "UserInput": "user_input",
    "SystemGenerated": "system_generated",
}
"""The original's types, as it prints them."""
_CUSTOM: Final = re.compile(r'Custom\("(.*)"\)')


def _type(word: Any) -> Any:
    """Return the type that a word stands for, in the original's printed form, too."""
    if not isinstance(word, str):
        return word
    custom = _CUSTOM.fullmatch(word)
    return custom[1] if custom else _OWN.get(word, word)


class _Query(BaseModel):
    """Which artifacts a script asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session: str = Field(default="", validation_alias=AliasChoices("session", "session_id", "sessionId"))
    type: Annotated[str, BeforeValidator(_type)] = Field(
        default="", validation_alias=AliasChoices("type", "artifact_type", "artifactType")
    )
    name: str = Field(default="", validation_alias=AliasChoices("name", "name_pattern", "namePattern"))
    tags: Texts = ()
    mime_type: str = Field(default="", validation_alias=AliasChoices("mime_type", "mimeType"))
    created_by: str = Field(default="", validation_alias=AliasChoices("created_by", "createdBy"))
    since_s: float | None = Field(default=None, validation_alias=AliasChoices("since_s", "created_after"))
    until_s: float | None = Field(default=None, validation_alias=AliasChoices("until_s", "created_before"))
    min_bytes: int | None = Field(default=None, validation_alias=AliasChoices("min_bytes", "min_size", "minSize"))
    max_bytes: int | None = Field(default=None, validation_alias=AliasChoices("max_bytes", "max_size", "maxSize"))
    latest: bool = False
    sort: Annotated[
        Literal["created", "name", "size", "type"], BeforeValidator(lambda word: "created" if word == "date" else word)
    ] = Field(default="created", validation_alias=AliasChoices("sort", "sort_by", "sortBy"))
    descending: bool = False
    limit: int | None = Field(default=None, ge=0)


class ArtifactGlobal(ScriptGlobal):
    """Keep contents for sessions, find them, and say who else may touch them."""

    name: ClassVar[str] = "Artifact"

    def __init__(self, services: Services, scope: ScriptScope) -> None:
        super().__init__(services, scope)
        self._artifacts = services.get(Artifacts)

    @script_method()
    async def store(
        self, session: str, type: str, name: str, content: str | bytes, metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Keep a content and return its id: content_hash, session_id, sequence.

        Args:
            session: Whose it is; empty for the current session.
            type: ``tool_result``, ``agent_output``, ``user_input``, ``system_generated`` or any word.
            name: Under this name; what has it already becomes an older version.
            content: A string of bytes.
            metadata: ``tags``, ``mime_type``, ``description`` and ``parent``; the rest is kept as it is.

        Raises:
            SecurityError: It belongs to another session.
            InvalidInputError: Something is wrong, or the content is not of its mime type.
            ResourceLimitError: It is too large, or the session has too many.
        """
        return _id(await self._artifacts.put(_draft(self._session(session), type, name, metadata), content))

    @script_method()
    async def store_file(
        self, session: str, path: str, type: str, metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Keep the content of a file that may be read, under the file's name, and return its id."""
        given = dict(metadata or {})
        kind = mimetypes.guess_type(path)[0]
        if kind and "mime_type" not in given:
            given["mime_type"] = kind
        name = given.pop("name", None) or os.path.basename(path)
        return _id(await self._artifacts.put_file(_draft(self._session(session), type, str(name), given), path))

    @script_method()
    async def get(self, session: str, id: Mapping[str, Any] | int) -> dict[str, Any]:
        """Return an artifact: metadata, content."""
        place = self._place(session, id)
        content = await self._artifacts.read(*place)
        return {"metadata": _row(await self._artifacts.get(*place)), "content": content}

    @script_method("get_metadata", "info")
    async def metadata(self, session: str, id: Mapping[str, Any] | int) -> dict[str, Any]:
        """Return what is known of an artifact, without its content."""
        return _row(await self._artifacts.get(*self._place(session, id)))

    @script_method()
    async def list(self, session: str = "") -> Sequence[dict[str, Any]]:
        """Return what is known of a session's artifacts, in the order in which they were made."""
        found = await self._artifacts.query(ArtifactQuery(session=self._session(session)))
        return [_row(info) for info in found]

    @script_method("search")
    async def query(self, query: Mapping[str, Any] | None = None) -> Sequence[dict[str, Any]]:
        """Return the artifacts that are asked for and may be read.

        By session_id, type, name_pattern, tags, mime_type, created_by, created_after, created_before, min_size,
        max_size and latest; ``sort``, ``descending`` and ``limit`` order them and say how many.
        """
        asked = ArtifactQuery(**read_table("Artifact.query", "a query", _Query, query))
        return [_row(info) for info in await self._artifacts.query(asked)]

    @script_method("get_versions")
    async def versions(self, session: str, name: str) -> Sequence[dict[str, Any]]:
        """Return all versions under a name, the oldest first."""
        return [_row(info) for info in await self._artifacts.versions(self._session(session), name)]

    @script_method("modify")
    async def update(self, session: str, id: Mapping[str, Any] | int, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change type, mime_type, description, tags or custom, and return what is known of it then."""
        return _row(await self._artifacts.modify(*self._place(session, id), **changes))

    @script_method("remove")
    async def delete(self, session: str, id: Mapping[str, Any] | int) -> bool:
        """Forget an artifact; False if there is none."""
        return await self._artifacts.delete(*self._place(session, id))

    @script_method("grant_permission")
    async def grant(
        self,
        session: str,
        id: Mapping[str, Any] | int,
        principal: str,
        right: ArtifactRight,
        expires_s: float | None = None,
    ) -> bool:
        """Let ``session:<id>``, ``user:<name>``, ``agent:<name>`` or ``*`` do something: read, write or admin."""
        await self._artifacts.grant(*self._place(session, id), principal, right, expires_s=expires_s)
        return True

    @script_method("revoke_permission")
    async def revoke(self, session: str, id: Mapping[str, Any] | int, principal: str) -> bool:
        """Take back what somebody was granted; False if that is nothing."""
        return await self._artifacts.revoke(*self._place(session, id), principal)

    @script_method("get_acl")
    async def acl(self, session: str, id: Mapping[str, Any] | int) -> Sequence[dict[str, Any]]:
        """Return what others may do with an artifact: principal, right, expires_s."""
        grants = await self._artifacts.grants(*self._place(session, id))
        return [{"principal": each.principal, "right": each.right, "expires_s": each.expires_s} for each in grants]

    @script_method("get_audit_log")
    async def audit(self, session: str = "", limit: int = 100) -> Sequence[dict[str, Any]]:
        """Return the newest accesses on record: number, at, action, artifact, principals, allowed, details."""
        records = await self._artifacts.audit(self._session(session), limit=limit)
        names = ("number", "action", "artifact", "allowed", "details")
        return [
            {
                **{name: getattr(each, name) for name in names},
                "at": moment(each.at_s),
                "principals": [*each.principals],
            }
            for each in records
        ]

    @script_method()
    async def verify(self) -> dict[str, Any]:
        """Hash all contents again: valid, artifacts, contents, missing, corrupt, wrong_size, orphans, audit."""
        report = await self._artifacts.verify()
        lists = {name: [*getattr(report, name)] for name in ("missing", "corrupt", "wrong_size", "orphans")}
        counts = {"artifacts": report.artifacts, "contents": report.contents, "audit": report.audit or None}
        return {"valid": report.is_whole, **counts, **lists}

    def _session(self, given: Any) -> str:
        if given is not None and not isinstance(given, str):
            raise InvalidInputError(f"Artifact: the session {told(given)} is no id; give one", field="session")
        try:
            return given or self.services.get(Operations).current().session_id or HOST_SESSION
        except LookupError:
            return HOST_SESSION

    def _place(self, session: Any, id: Mapping[str, Any] | int) -> tuple[str, int]:
        """Return where an artifact is; a session that is left out is that of the id."""
        if isinstance(id, Mapping):
            own, sequence = id.get("session_id"), id.get("sequence")
            session = session or own
            if isinstance(own, str) and own != session:
                message = f"Artifact: its id is of session {own:.64}, not {session}; name the same in both"
                raise InvalidInputError(message, field="session")
        else:
            sequence = id
        if isinstance(sequence, float) and sequence.is_integer():
            sequence = int(sequence)
        if isinstance(sequence, bool) or not isinstance(sequence, int):
            raise InvalidInputError(f"Artifact: {told(id)} is no id; give what Artifact.store returned", field="id")
        return self._session(session), sequence


def _draft(session: str, type: Any, name: str, metadata: Mapping[str, Any] | None) -> ArtifactDraft:
    custom = dict(metadata or {})
    fields: dict[str, Any] = {}
    for key, field in (("mime_type", "mime_type"), ("mimeType", "mime_type"), ("description", "description")):
        if isinstance(custom.get(key), str):
            fields[field] = custom.pop(key)
    if "tags" in custom:
        tags = custom.pop("tags")
        fields["tags"] = (tags,) if isinstance(tags, str) else () if tags == {} else tags
    parent = custom.get("parent")
    if isinstance(parent, Mapping) and {"content_hash", "session_id", "sequence"} <= set(parent):
        del custom["parent"]
        fields["parent"] = ArtifactId(
            str(parent["content_hash"]), str(parent["session_id"]), _whole(parent["sequence"])
        )
    return ArtifactDraft(name, session, _type(type), custom=custom, **fields)


def _whole(number: Any) -> Any:
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _id(info: ArtifactInfo) -> dict[str, Any]:
    id = info.id
    return {"content_hash": id.content_hash, "session_id": id.session_id, "sequence": id.sequence}


def _row(info: ArtifactInfo) -> dict[str, Any]:
    parent = info.parent
    return {
        **_id(info),
        "id": _id(info),
        "name": info.name,
        "artifact_type": info.type,
        "type": info.type,
        "mime_type": info.mime_type,
        "size": info.size_bytes,
        "original_size": info.size_bytes,
        "stored_size": info.stored_bytes,
        "is_compressed": info.codec != "raw",
        "description": info.description or None,
        "tags": [*info.tags],
        "custom": info.custom,
        "created_at": moment(info.created_s),
        "updated_at": moment(info.updated_s),
        "created_by": info.created_by or None,
        "parent_artifact": None
        if parent is None
        else {"content_hash": parent.content_hash, "session_id": parent.session_id, "sequence": parent.sequence},
        "version": {
            "version": info.version,
            "previous_hash": info.previous_hash or None,
            "created_at": moment(info.created_s),
        },
    }
