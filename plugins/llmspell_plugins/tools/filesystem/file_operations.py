r"""The file_operations tool: reads, writes and arranges files in the folders that the host allows.

What a name holds that is no UTF-8, or cannot be seen, is told byte by byte as ``\xe9``, and taken back so; a backslash
that would read as the start of such a byte is ``\x5c``.
Invariant: every path, also of each file in a folder, is judged by the host's rules, and what was judged is what is
opened. A path that is a link means the file that it leads to. Sizes in bytes, times in seconds since the epoch.

It is longer than most because its ten operations judge and word alike.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from llmspell_hookspecs import FileAccess, InvalidInputError, SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.errors import SecurityError, line_of_error
from llmspell_hookspecs.spelling import spelled_path
from llmspell_hookspecs.tool import Access, PathAccess

from .anchor import anchored
from .blocking import Blocking
from .content import append_file, copy_file, read_file, write_file
from .failure import explained
from .tree import Bounds, Item, copy_tree, delete, kind_of, make_folders, move, survey, worded

__all__ = ["FileOperations", "FileOperationsParameters", "FileOperationsSettings"]

Operation = Literal["read", "write", "append", "delete", "create_dir", "list_dir", "copy", "move", "metadata", "exists"]
_PATHS = ("path", "source", "target")
_WRITES = ("write", "append", "delete", "create_dir")
_SPELLINGS = {
    "mkdir": "create_dir",
    "ls": "list_dir",
    "dir": "list_dir",
    "cp": "copy",
    "mv": "move",
    "rename": "move",
    "stat": "metadata",
    "info": "metadata",
}
"""The original's other names of the operations; guards see the canonical one."""


_SPELLED = r"In a name \xe9 is the byte e9, and \x5c a backslash before such"
_Path = Annotated[str, BeforeValidator(lambda given: os.fsdecode(given) if isinstance(given, bytes) else given)]
"""A path; a script's text that is no UTF-8 comes as bytes."""


class FileOperationsParameters(BaseModel):
    """What file_operations takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Operation = Field(
        description="What to do; mkdir, ls, dir, cp, mv, rename, stat and info are taken for theirs."
    )
    path: _Path | None = Field(default=None, description=f"The file or folder; for all but copy and move. {_SPELLED}.")
    input: str | None = Field(default=None, description="The content; for write and append.")
    source_path: _Path | None = Field(default=None, description="What to copy or move.")
    target_path: _Path | None = Field(default=None, description="Where to.")
    recursive: bool = Field(
        default=False, description="delete and copy whole folders, list folders in folders, create_dir missing parents."
    )
    encoding: Literal["utf-8", "base64"] = Field(
        default="utf-8", description="How the content is written here; bytes that are not UTF-8 are read as base64."
    )

    @field_validator("operation", mode="before")
    @classmethod
    def _canonical(cls, given: Any) -> Any:
        return _SPELLINGS.get(given, given) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _complete(self) -> FileOperationsParameters:
        needed = ["source_path", "target_path"] if self.operation in ("copy", "move") else ["path"]
        if self.operation in ("write", "append"):
            needed.append("input")
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{self.operation} needs {' and '.join(missing)}")
        return self


class FileOperationsSettings(Blocking):
    """``[tools.file_operations]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size_bytes: int = Field(
        default=50 * 1024 * 1024, ge=0, description="The largest file that is read or written."
    )
    max_depth: int = Field(default=20, ge=1, description="How many folders deep a recursive operation goes.")
    max_items: int = Field(
        default=10_000, ge=1, description="How many files and folders a recursive operation touches."
    )


class FileOperations(Tool[FileOperationsParameters]):
    """Read, write, append, delete, copy, move and list files and folders, and tell what is known of them."""

    name = "file_operations"
    aliases = ("file-operations", "file-operations-tool", "file_operations_tool")
    category = "filesystem"
    level = SecurityLevel.PRIVILEGED
    examples = (
        ToolExample("is it there", {"operation": "exists", "path": "no-such-file.txt"}, {"exists": False}),
        ToolExample("a text", {"operation": "read", "path": "notes.txt"}, needs="a file notes.txt"),
        ToolExample(
            "a new file", {"operation": "write", "path": "new.txt", "input": "hello"}, needs="a folder to write to"
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = FileOperationsSettings
    settings: FileOperationsSettings

    def access(self, parameters: FileOperationsParameters) -> Sequence[Access]:
        """Return the paths, with what is done to each."""
        match parameters.operation:
            case "copy":
                return (PathAccess("source_path", "read"), PathAccess("target_path", "write"))
            case "move":
                return (PathAccess("source_path", "write"), PathAccess("target_path", "write"))
        return (PathAccess("path", "write" if parameters.operation in _WRITES else "read"),)

    async def run(self, parameters: FileOperationsParameters, context: ToolContext) -> ToolResult:
        """Do one operation.

        Raises:
            ToolError: It could not be done; ``code`` says why.
            SecurityError: A file in a folder may not be touched, or a blocked extension would be written.
            ResourceLimitError: A file or folder is too large.
        """
        work = _Work(self.settings, context.services.get(FileAccess), context.charge)
        operation = parameters.operation
        try:
            result: ToolResult = await context.run_thread(getattr(work, operation), parameters)
        except OSError as error:
            path = parameters.path or f"{parameters.source_path} to {parameters.target_path}"
            raise explained(f"file_operations {operation}", path, error) from error
        return result


class _Work:
    """One call's work; every method blocks."""

    def __init__(self, settings: FileOperationsSettings, files: FileAccess, charge: Callable[[int], None]) -> None:
        self._settings = settings
        self._files = files
        self._charge = charge
        self._bounds = Bounds(settings.max_depth, settings.max_items)
        self._reads = partial(self._judge, mode="read")
        self._writes = partial(self._judge, mode="write")

    def read(self, parameters: FileOperationsParameters) -> ToolResult:
        path = parameters.path or ""
        content = read_file(path, self._settings.max_file_size_bytes, self._charge)
        text, encoding = _decoded(content, parameters.encoding)
        result = {"path": path, "input": text, "size": len(content), "encoding": encoding}
        return _answer(parameters, result, f"read {len(content)} bytes", text=text)

    def write(self, parameters: FileOperationsParameters) -> ToolResult:
        path = parameters.path or ""
        content = _encoded(parameters)
        self._settings.check(path)
        self._make_parent(path, len(content))
        created = write_file(path, content, self._settings.max_file_size_bytes)
        result = {"path": path, "size": len(content), "created": created}
        return _answer(parameters, result, f"wrote {len(content)} bytes to {path}")

    def append(self, parameters: FileOperationsParameters) -> ToolResult:
        path = parameters.path or ""
        content = _encoded(parameters)
        self._settings.check(path)
        self._make_parent(path, len(content))
        size_bytes = append_file(path, content, self._settings.max_file_size_bytes)
        result = {"path": path, "appended_size": len(content), "size": size_bytes}
        return _answer(parameters, result, f"appended {len(content)} bytes to {path}")

    def delete(self, parameters: FileOperationsParameters) -> ToolResult:
        path = parameters.path or ""
        self._check_not_a_root(path)
        items = self._survey_if_folder(path, self._writes) if parameters.recursive else None
        count = delete(path, items)
        return _answer(parameters, {"path": path, "deleted": count}, f"deleted {path}")

    def create_dir(self, parameters: FileOperationsParameters) -> ToolResult:
        path = parameters.path or ""
        created = make_folders(path, self._writes, parents=parameters.recursive)
        return _answer(parameters, {"path": path, "created": created}, f"created {path}")

    def list_dir(self, parameters: FileOperationsParameters) -> ToolResult:
        path = parameters.path or ""
        found = survey(path, self._reads, self._bounds, strict=False, recursive=parameters.recursive)
        entries = [_entry(item) for item in sorted(found, key=lambda item: item.path)]
        self._charge(sum(200 + len(entry["path"]) for entry in entries))
        result = {"path": path, "entries": entries, "count": len(entries)}
        if any("\\x" in entry["path"] for entry in entries):
            result["note"] = f"{_SPELLED}; give names back as they stand here"
        return _answer(parameters, result, f"{len(entries)} entries in {path}")

    def copy(self, parameters: FileOperationsParameters) -> ToolResult:
        source, target = parameters.source_path or "", parameters.target_path or ""
        items = self._survey_if_folder(source, self._reads)
        if items is None:
            self._settings.check(target)
            self._make_parent(target)
            count = 1
            copy_file(source, target, self._settings.max_file_size_bytes)
        else:
            if items and not parameters.recursive:
                raise OSError(errno.ENOTEMPTY, "Folder not empty", source)
            self._check_apart(source, target)
            self._judge_targets(source, target, items)
            self._make_parent(target)
            count = copy_tree(source, target, items, self._settings.max_file_size_bytes)
        result = {"source": source, "target": target, "count": count}
        return _answer(parameters, result, f"copied {source} to {target}")

    def move(self, parameters: FileOperationsParameters) -> ToolResult:
        source, target = parameters.source_path or "", parameters.target_path or ""
        self._check_not_a_root(source)
        items = self._survey_if_folder(source, self._writes)
        self._settings.check(target)
        self._judge_targets(source, target, items or [])
        if items is not None:
            self._check_apart(source, target)
        self._make_parent(target)
        try:
            move(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._move_across(source, target, items)
        result = {"source": source, "target": target, "count": len(items or []) + 1}
        return _answer(parameters, result, f"moved {source} to {target}")

    def metadata(self, parameters: FileOperationsParameters) -> ToolResult:
        path = parameters.path or ""
        with anchored(path) as anchor:
            status = anchor.status()
        born = getattr(status, "st_birthtime", None)
        result = {
            "path": path,
            "type": kind_of(status),
            "size": status.st_size,
            "readonly": not status.st_mode & 0o222,
            "mode": f"{stat.S_IMODE(status.st_mode):04o}",
            "created": None if born is None else int(born),
            "modified": int(status.st_mtime),
            "accessed": int(status.st_atime),
            "changed": int(status.st_ctime),
        }
        return _answer(parameters, result, f"{path} is {worded(status)} of {status.st_size} bytes")

    def exists(self, parameters: FileOperationsParameters) -> ToolResult:
        path = parameters.path or ""
        try:
            with anchored(path) as anchor:
                found = anchor.status_or_none() is not None
        except (FileNotFoundError, NotADirectoryError):
            found = False
        message = f"{path} is {'there' if found else 'not there'}"
        return _answer(parameters, {"path": path, "exists": found}, message)

    def _judge(self, path: str, mode: Literal["read", "write"]) -> str:
        resolved = self._files.resolve(path, mode)
        if resolved != path and not os.path.islink(path):
            raise SecurityError(f"{path}: a link has been put in its way since it was judged; ask again", rule="path")
        return resolved

    def _survey_if_folder(self, path: str, judge: Callable[[str], str]) -> list[Item] | None:
        """What is in the folder; None if it is no folder."""
        with anchored(path) as anchor:
            if not stat.S_ISDIR(anchor.status().st_mode):
                return None
        return survey(path, judge, self._bounds, strict=True)

    def _judge_targets(self, source: str, target: str, items: Sequence[Item]) -> None:
        for item in items:
            place = target + item.path[len(source) :]
            self._settings.check(place)
            if not stat.S_ISLNK(item.status.st_mode):
                self._writes(place)

    def _move_across(self, source: str, target: str, items: list[Item] | None) -> None:
        """Copy, then delete, since another file system cannot take the file itself."""
        if items is None:
            copy_file(source, target, self._settings.max_file_size_bytes)
        else:
            copy_tree(source, target, items, self._settings.max_file_size_bytes)
        delete(source, items)

    def _make_parent(self, path: str, size_bytes: int = 0) -> None:
        """Make the folders that a new file or folder needs, as the original does; not for what is refused anyway."""
        parent = os.path.dirname(path)
        if size_bytes <= self._settings.max_file_size_bytes and not os.path.lexists(parent):
            make_folders(self._writes(parent), self._writes, parents=True)

    def _check_not_a_root(self, path: str) -> None:
        if path in self._files.roots("write"):
            raise SecurityError(f"{path}: an allowed folder itself stays; name what is in it", rule="path")

    def _check_apart(self, source: str, target: str) -> None:
        if f"{target}/".startswith(f"{source}/"):
            raise OSError(errno.EINVAL, "The target lies in the source", target)


def _encoded(parameters: FileOperationsParameters) -> bytes:
    text = parameters.input or ""
    try:
        if parameters.encoding == "base64":
            return base64.b64decode(text, validate=True)
        return text.encode("utf-8")
    except (binascii.Error, UnicodeEncodeError, ValueError) as error:
        why = line_of_error(error)
        message = f"file_operations {parameters.operation}: the input is not {parameters.encoding} ({why}); check it"
        raise InvalidInputError(message, field="input") from error


def _decoded(content: bytes, encoding: str) -> tuple[str, str]:
    """The content as text without its byte order mark, and how it is written: bytes that are no text are base64."""
    if encoding == "utf-8":
        try:
            return content.decode("utf-8-sig"), "utf-8"
        except UnicodeDecodeError:
            pass
    return base64.b64encode(content).decode("ascii"), "base64"


def _entry(item: Item) -> dict[str, Any]:
    return {
        "name": spelled_path(os.path.basename(item.path)),
        "path": spelled_path(item.path),
        "type": kind_of(item.status),
        "size": item.status.st_size,
        "modified": int(item.status.st_mtime),
    }


def _answer(
    parameters: FileOperationsParameters, result: Mapping[str, Any], message: str, *, text: str | None = None
) -> ToolResult:
    result = {name: spelled_path(value) if name in _PATHS else value for name, value in result.items()}
    facts = {"file_path": result.get("path", result.get("target")), "file_size": result.get("size")}
    metadata = {name: value for name, value in facts.items() if value is not None}
    if result.get("encoding") == "base64":
        metadata["encoding"] = "base64"
    return ToolResult(
        result=result,
        operation=parameters.operation,
        message=spelled_path(message),
        text=spelled_path(message) if text is None else text,
        metadata=metadata,
    )
