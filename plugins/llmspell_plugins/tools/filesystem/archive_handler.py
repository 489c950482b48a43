"""The archive_handler tool: makes zip, tar and packed files, lists, tests and unpacks them.

Invariant: a stranger's archive is read through in a child process before a byte of it is written, so that a bomb, a
damaged one, or one with a name that leads out writes nothing. Links are never unpacked, permissions neither. Every
place is judged by the host's rules. Sizes in bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmspell_hookspecs import (
    FileAccess,
    InvalidInputError,
    SecurityLevel,
    Tool,
    ToolContext,
    ToolError,
    ToolExample,
    ToolResult,
)
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_hookspecs.spelling import spelled_path
from llmspell_hookspecs.tool import Access, PathAccess, ToolLimits

from .archive import ENCRYPTED, Bounds, Member, Meter, check, opened, sounded, survey
from .blocking import Blocking
from .content import read_file, write_pieces
from .failure import explaining
from .packing import Entry, packed
from .tree import Bounds as TreeBounds
from .tree import make_folders
from .tree import survey as survey_tree

__all__ = ["ArchiveHandler", "ArchiveHandlerParameters", "ArchiveHandlerSettings"]

Format = Literal["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "gz", "bz2", "xz"]
_SUFFIXES: Final[dict[str, Format]] = {
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.bz2": "tar.bz2",
    ".tbz2": "tar.bz2",
    ".tar.xz": "tar.xz",
    ".txz": "tar.xz",
    ".tar": "tar",
    ".zip": "zip",
    ".gz": "gz",
    ".bz2": "bz2",
    ".xz": "xz",
}
_ONE: Final = ("gz", "bz2", "xz")


class ArchiveHandlerParameters(BaseModel):
    """What the archive_handler takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["extract", "create", "list", "test"] = Field(
        description="Unpack, make one, tell what is in it, or check that it can be unpacked."
    )
    path: str = Field(description="The archive.")
    target_path: str | None = Field(default=None, description="extract: the folder to unpack to.")
    input: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=10_000,
        description="create: the files and folders; extract: only these members, all if left out.",
    )
    format: Format | None = Field(default=None, description="create: of the archive; by its name if left out.")
    compression_level: int = Field(default=6, ge=0, le=9, description="create: 0 is fast, 9 is small.")
    overwrite: bool = Field(default=False, description="extract: replace files that are there.")

    @field_validator("input", mode="before")
    @classmethod
    def _one_or_many(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _complete(self) -> ArchiveHandlerParameters:
        if self.operation == "extract" and self.target_path is None:
            raise ValueError("extract needs target_path, a folder")
        if self.operation == "create" and self.input is None:
            raise ValueError("create needs input, a list of files and folders")
        return self


def _format_of(path: str) -> Format:
    for suffix, kind in _SUFFIXES.items():
        if path.lower().endswith(suffix):
            return kind
    message = f"archive_handler: format: the name of path does not tell it; end it with one of {', '.join(_SUFFIXES)}"
    raise InvalidInputError(message, field="format")


class ArchiveHandlerSettings(BaseModel):
    """``[tools.archive_handler]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size_bytes: int = Field(
        default=100 * 1024 * 1024, ge=1, description="The largest archive, and the largest file in one."
    )
    max_total_bytes: int = Field(default=1024 * 1024 * 1024, ge=1, description="All files of an archive together.")
    max_files: int = Field(default=10_000, ge=1, description="How many files and folders an archive holds.")
    max_depth: int = Field(default=50, ge=1, description="How many folders deep a folder is packed.")


class ArchiveHandler(Tool[ArchiveHandlerParameters]):
    """Create zip, tar, tar.gz and other archives, list, test and extract them."""

    name = "archive_handler"
    aliases = ("archive-handler", "archive-handler-tool")
    category = "filesystem"
    level = SecurityLevel.RESTRICTED
    limits = ToolLimits(time_s=120, memory_bytes=512 * 1024 * 1024)
    examples = (
        ToolExample("what is in it", {"operation": "list", "path": "photos.zip"}, needs="a file photos.zip"),
        ToolExample(
            "unpack it",
            {"operation": "extract", "path": "photos.zip", "target_path": "photos"},
            needs="a file photos.zip",
        ),
        ToolExample(
            "make one",
            {"operation": "create", "path": "notes.tar.gz", "input": ["notes.txt", "pictures"]},
            needs="a file notes.txt, a folder pictures",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = ArchiveHandlerSettings
    settings: ArchiveHandlerSettings

    def access(self, parameters: ArchiveHandlerParameters) -> Sequence[Access]:
        """Return the archive, and the folder that it is unpacked to; what goes into one is judged file by file."""
        if parameters.operation == "create":
            return (PathAccess("path", "write"),)
        if parameters.operation == "extract":
            return (PathAccess("path"), PathAccess("target_path", "write"))
        return (PathAccess("path"),)

    async def run(self, parameters: ArchiveHandlerParameters, context: ToolContext) -> ToolResult:
        """Return ``{extracted_files, total_size, output_dir}``, ``{archive_path, archived_files, ...}`` or the members.

        Raises:
            ToolError: ``not_found``, ``exists``, ``invalid_input``, ``unsupported_format`` and the like.
            SecurityError: A file may not be touched, or a member is a link, leads out of the folder, or is one that no
                tool writes.
            ResourceLimitError: It is too large, or there is too much in it.
        """
        operation, path = parameters.operation, parameters.path
        bounds = Bounds(self.settings.max_file_size_bytes, self.settings.max_total_bytes, self.settings.max_files)
        files, blocking = context.services.get(FileAccess), Blocking.of(context.services)
        with explaining(self.name, path):
            if operation == "create":
                blocking.check(path)
                result = await context.run_thread(self._create, parameters, files, bounds)
                return _answer(operation, result, f"packed {len(result['archived_files'])} files into {path}")
            content = await context.run_thread(read_file, path, bounds.file_bytes, context.charge)
            if operation == "test":
                result = await context.run_process(check, content, path, bounds)
                return _answer(operation, result, f"{path} is {'sound' if result['valid'] else 'not sound'}")
            wanted = None if parameters.input is None else frozenset(name.rstrip("/") for name in parameters.input)
            through = operation == "extract"
            kind, members = await context.run_process(survey, content, path, bounds, wanted, through)
            if operation == "list":
                result = {
                    "format": kind,
                    "files": [_told(each, blocking) for each in members],
                    "file_count": len(members),
                }
                return _answer(operation, result, f"{len(members)} files and folders in {path}")
            work = _Unpacking(parameters, files, bounds, wanted, blocking)
            result = await context.run_thread(work.run, content, kind, members)
        return _answer(operation, result, f"unpacked {len(result['extracted_files'])} files to {work.target}")

    def _create(self, parameters: ArchiveHandlerParameters, files: FileAccess, bounds: Bounds) -> dict[str, Any]:
        path = parameters.path
        kind = parameters.format or _format_of(path)  # after the path has been judged, so that this is told first
        tree = TreeBounds(self.settings.max_depth, bounds.files)
        packing = _Packing(path, kind, files, tree)
        for given in parameters.input or ():
            with explaining(self.name, given):
                packing.add(given)
        entries = list(packing.entries.values())
        if kind in _ONE and (len(entries) != 1 or entries[0].is_folder):
            message = f"archive_handler: input: {kind} holds one file; name one, or take zip or tar.{kind}"
            raise InvalidInputError(message, field="input")
        meter = Meter(bounds)
        chunks = packed(kind, entries, parameters.compression_level, meter, bounds.file_bytes)
        size = write_pieces(path, chunks, bounds.file_bytes)
        return {
            "archive_path": path,
            "archived_files": [spelled_path(entry.name) for entry in entries if not entry.is_folder],
            "total_size": meter.total,
            "archive_size": size,
            "compression_level": parameters.compression_level,
            "format": kind,
            "left_out": [spelled_path(name) for name in packing.left_out],
        }


class _Packing:
    """Files and folders on their way into an archive, by their names in it."""

    def __init__(self, archive: str, kind: str, files: FileAccess, bounds: TreeBounds) -> None:
        self._archive = archive
        self._kind = kind
        self._files = files
        self._bounds = bounds
        self.entries: dict[str, Entry] = {}
        self.left_out: list[str] = []

    def add(self, given: str) -> None:
        """Take a file, or a folder with what is in it but links and what may not be read.

        A relative path keeps its folders, as with zip and tar; of an absolute one the last name counts.
        """
        path, name = self._files.resolve(given, "read"), _name_of(given)
        status = os.lstat(path)
        if name:
            self._take(name, path, status)
        if not stat.S_ISDIR(status.st_mode):
            return
        refused: list[str] = []

        def judge(each: str) -> str:
            try:
                return self._files.resolve(each, "read")
            except SecurityError:
                refused.append(each)
                raise

        for item in survey_tree(path, judge, self._bounds, strict=False):
            if not stat.S_ISREG(item.status.st_mode) and not stat.S_ISDIR(item.status.st_mode):
                refused.append(item.path)
            elif item.path != self._archive:  # else it is the one that is being replaced
                self._take(f"{name}{item.path[len(path.rstrip('/')) :]}".lstrip("/"), item.path, item.status)
        self.left_out += (each[len(path.rstrip("/")) :].lstrip("/") for each in refused)

    def _take(self, name: str, path: str, status: os.stat_result) -> None:
        if name in self.entries and self.entries[name].path != path:
            message = f"archive_handler: input: two have the name {spelled_path(name)[-200:]}; name them relative"
            raise InvalidInputError(message, field="input")
        if self._kind == "zip" and not _is_text(name):
            message = f"archive_handler: input: {spelled_path(name)[-200:]}: a zip cannot hold this name; take tar"
            raise InvalidInputError(message, field="input")
        if len(self.entries) >= self._bounds.items:
            most = self._bounds.items
            message = (
                f"archive_handler: input: more than {most} files; name less, or raise the tool's setting max_files"
            )
            raise ResourceLimitError(message, resource="files", limit=most)
        self.entries[name] = Entry(name, path, status.st_mode, status.st_size, status.st_mtime)


class _Unpacking:
    """Members on their way to their places; nothing is written unless each of them may go there."""

    def __init__(
        self,
        parameters: ArchiveHandlerParameters,
        files: FileAccess,
        bounds: Bounds,
        wanted: frozenset[str] | None,
        blocking: Blocking,
    ) -> None:
        self.target = parameters.target_path or "/"
        self._path = parameters.path
        self._overwrite = parameters.overwrite
        self._files = files
        self._bounds = bounds
        self._wanted = wanted
        self._blocking = blocking

    def run(self, content: bytes, kind: str, members: list[Member]) -> dict[str, Any]:
        """Write those that are wanted; blocks."""
        chosen = [each for each in members if each.is_among(self._wanted)]
        self._check_found(chosen)
        folders = self._folders(chosen)
        for folder in (self.target, *folders):
            make_folders(folder, self._judge, parents=True)
        meter = Meter(self._bounds)
        written: list[str] = []
        # The same bytes as the child has read through, in the same order; they are counted again all the same.
        for member, read in sounded(self._path, opened(content, kind, self._path, self._bounds)):
            if member.kind == "file" and member.is_among(self._wanted):
                chunks = meter.counted(member.name, sounded(self._path, read()))
                write_pieces(self._place(member), chunks, self._bounds.file_bytes)
                written.append(spelled_path(member.name))
        return {"extracted_files": written, "total_size": meter.total, "output_dir": self.target}

    def _check_found(self, chosen: list[Member]) -> None:
        missing = (self._wanted or frozenset()).difference(*(each.names for each in chosen))
        if missing:
            message = (
                f"archive_handler: input: {spelled_path(min(missing))[-200:]} is not in the archive; list its members"
            )
            raise InvalidInputError(message, field="input")

    def _folders(self, chosen: list[Member]) -> list[str]:
        """The folders to make.

        Raises:
            SecurityError: A member may not go to its place.
            ToolError: There is a file already, or two members have one place.
        """
        folders: dict[str, None] = {}
        taken: set[str] = set()
        for member in chosen:
            if fault := _fault(member, self._blocking):
                message = f"archive_handler: {_shown(member)}: {fault}; leave it out by naming others in input"
                if member.fault == ENCRYPTED:
                    raise ToolError(message, code="unsupported_format")
                raise SecurityError(message, rule="path")
            place = self._judge(self._place(member))
            if member.kind == "directory":
                folders[place] = None
                continue
            if not self._overwrite and os.path.lexists(place):
                message = (
                    f"archive_handler: {spelled_path(place)[-200:]}: it is there; set overwrite, or take another folder"
                )
                raise ToolError(message, code="exists")
            if place in taken:
                message = f"archive_handler: {_shown(member)}: it is in the archive twice; pack it anew"
                raise ToolError(message, code="invalid_input")
            taken.add(place)
            folders[os.path.dirname(place)] = None
        for folder in folders:
            inner = folder
            while len(inner) > len(self.target):
                if inner in taken:
                    message = f"archive_handler: {spelled_path(inner)[-200:]}: it is a file and a folder; pack it anew"
                    raise ToolError(message, code="invalid_input")
                inner = os.path.dirname(inner)
        return list(folders)

    def _place(self, member: Member) -> str:
        return "/".join((self.target.rstrip("/"), *member.parts)) or "/"

    def _judge(self, path: str) -> str:
        resolved = self._files.resolve(path, "write")
        if resolved != path:
            message = f"archive_handler: {spelled_path(path)[-200:]}: there is a link in its way; take another folder"
            raise SecurityError(message, rule="path")
        return resolved


def _name_of(given: str) -> str:
    """The name in the archive; empty for the folder that the call is made in."""
    name = os.path.normpath(given)
    if name.startswith(("/", "..")):
        return os.path.basename(name).replace("..", "")
    return "" if name == "." else name


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(member: Member) -> str:
    return spelled_path(member.name)[-200:] or "a member"


def _fault(member: Member, blocking: Blocking) -> str:
    """Why a member is not unpacked; empty if it may be."""
    extension = blocking.extension(member.parts[-1]) if member.kind == "file" and member.parts else ""
    return member.fault or (f"a file that ends in .{extension} is never written" if extension else "")


def _told(member: Member, blocking: Blocking) -> dict[str, Any]:
    told = {
        "name": spelled_path(member.name),
        "type": member.kind,
        "size": member.size,
        "compressed_size": member.packed,
        "modified": member.modified,
        "refused": _fault(member, blocking),
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


def _answer(operation: str, result: dict[str, Any], message: str) -> ToolResult:
    return ToolResult(operation=operation, result=result, message=spelled_path(message), text=spelled_path(message))
