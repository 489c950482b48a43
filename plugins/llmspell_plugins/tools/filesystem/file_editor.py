"""The file-editor tool: looks at a text file and changes parts of it, as models are trained to do.

Lines count from 1. Invariant: a text that is to be replaced must stand in the file exactly once; nothing is undone that
somebody else has changed since. A file's encoding is UTF-8, and its line ends stay as they are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from msgspec import Struct
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import SecurityLevel, Services, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.tool import Access, PathAccess

from .exchange import content_of, keep

__all__ = ["FileEditor", "FileEditorParameters", "FileEditorSettings"]

_CONTEXT_LINES = 4
_SPELLINGS = {"replace": "str_replace", "undo_edit": "undo"}


class FileEditorParameters(BaseModel):
    """What the file-editor takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["view", "create", "str_replace", "insert", "undo"] = Field(
        default="view",
        validation_alias=AliasChoices("operation", "command"),
        description="What to do; replace and undo_edit are taken for theirs. Also called command.",
    )
    path: str = Field(description="The file.")
    start_line: int = Field(default=1, ge=1, description="For view: the first line.")
    end_line: int | None = Field(default=None, ge=1, description="For view: the last line; the file's if left out.")
    view_range: list[int] | None = Field(
        default=None, min_length=2, max_length=2, description="For view: both lines in one; -1 for the file's last."
    )
    old_text: str | None = Field(
        default=None,
        min_length=1,
        validation_alias=AliasChoices("old_text", "old_str"),
        description="For str_replace: what stands in the file, exactly once. Also called old_str.",
    )
    new_text: str | None = Field(
        default=None,
        validation_alias=AliasChoices("new_text", "new_str", "file_text", "insert_text"),
        description="For create, str_replace and insert: what is written; an empty text takes out. "
        "Also called new_str, file_text and insert_text.",
    )
    insert_line: int | None = Field(
        default=None, ge=0, description="For insert: after which line; 0 for the beginning of the file."
    )

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, given: Any) -> Any:
        for name in ("operation", "command"):
            if isinstance(given, dict) and isinstance(given.get(name), str):
                return {**given, name: _SPELLINGS.get(given[name], given[name])}
        return given

    @model_validator(mode="after")
    def _complete(self) -> FileEditorParameters:
        needed = {
            "create": ["new_text"],
            "str_replace": ["old_text", "new_text"],
            "insert": ["insert_line", "new_text"],
        }
        if self.view_range is not None:
            if "start_line" in self.model_fields_set or "end_line" in self.model_fields_set:
                raise ValueError("give view_range, or start_line and end_line")
            first, last = self.view_range
            if first < 1 or (last < first and last != -1):
                raise ValueError("view_range needs a first line from 1 and a last one behind it, or -1")
        missing = [name for name in needed.get(self.operation, ()) if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{self.operation} needs {' and '.join(missing)}")
        for name in ("old_text", "new_text"):
            try:
                (getattr(self, name) or "").encode()
            except UnicodeEncodeError:
                raise ValueError(f"{name} is no Unicode text") from None
        return self

    @property
    def lines(self) -> tuple[int, int | None]:
        """The first and the last line to view; None for the file's last."""
        first, last = self.view_range or (self.start_line, self.end_line)
        return first or 1, None if last == -1 else last


class FileEditorSettings(BaseModel):
    """``[tools.file-editor]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size_bytes: int = Field(default=5 * 1024 * 1024, ge=1, description="The largest file that is edited.")
    undo_steps: int = Field(default=10, ge=0, le=100, description="How many edits of a file can be undone.")
    undo_files: int = Field(default=100, ge=1, le=10_000, description="Of how many files edits can be undone.")
    undo_bytes: int = Field(
        default=64 * 1024 * 1024, ge=0, description="How much is kept for it; the files edited longest ago go first."
    )


class _Edit(Struct, frozen=True):
    """What a file held before an edit, None if it was not there, and after it."""

    before: bytes | None
    after: bytes


class FileEditor(Tool[FileEditorParameters]):
    """View a text file with line numbers, replace a text that stands in it once, insert lines, undo."""

    name = "file-editor"
    aliases = ("file_editor", "text_editor", "str_replace_editor")
    category = "filesystem"
    level = SecurityLevel.PRIVILEGED
    examples = (
        ToolExample("a file", {"operation": "view", "path": "notes.txt"}, needs="a file notes.txt"),
        ToolExample(
            "a change",
            {"operation": "str_replace", "path": "notes.txt", "old_text": "teh", "new_text": "the"},
            needs="a file notes.txt with teh in it",
        ),
        ToolExample(
            "a new first line",
            {"operation": "insert", "path": "notes.txt", "insert_line": 0, "new_text": "Notes"},
            needs="a file notes.txt",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = FileEditorSettings
    settings: FileEditorSettings

    def __init__(self, settings: Any = None, services: Services | None = None) -> None:
        super().__init__(settings, services)
        self._edits: OrderedDict[str, list[_Edit]] = OrderedDict()

    def access(self, parameters: FileEditorParameters) -> Sequence[Access]:
        """Return that it reads the file, or writes it."""
        return (PathAccess("path", "read" if parameters.operation == "view" else "write"),)

    async def run(self, parameters: FileEditorParameters, context: ToolContext) -> ToolResult:
        """Return the lines, or those around what was changed.

        Raises:
            ToolError: ``not_found``, ``io``, ``exists``, ``not_text``, ``not_unique`` or ``invalid_input``.
        """
        match parameters.operation:
            case "view":
                return self._viewed(parameters, await self._text(parameters, context))
            case "create":
                return await self._created(parameters, context)
            case "undo":
                return await self._undone(parameters, context)
        text = await self._text(parameters, context)
        changed, line = (
            _replaced(parameters, text) if parameters.operation == "str_replace" else _inserted(parameters, text)
        )
        await self._write(parameters, text.encode(), changed, context)
        last = line + (parameters.new_text or "").count("\n") + _CONTEXT_LINES
        shown = _numbered(changed, max(1, line - _CONTEXT_LINES), last)
        result = {"path": parameters.path, "line": line, "snippet": shown, "size": len(changed.encode())}
        return ToolResult(
            operation=parameters.operation, result=result, message=f"edited {parameters.path}", text=shown
        )

    async def _text(self, parameters: FileEditorParameters, context: ToolContext) -> str:
        content = await self._content(parameters, context)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            message = f"{self.name}: path: the file is no UTF-8 at byte {error.start}; convert it first"
            raise ToolError(message, code="not_text") from None

    async def _content(self, parameters: FileEditorParameters, context: ToolContext) -> bytes:
        return await content_of(self.name, "path", parameters.path, context, self.settings.max_file_size_bytes)

    def _viewed(self, parameters: FileEditorParameters, text: str) -> ToolResult:
        count = len(_lines(text))
        first, wanted = parameters.lines
        last = min(wanted or count, count)
        if first > max(count, 1) or (wanted or last) < first:
            message = f"{self.name}: start_line: the file has {count} lines; ask for some of those"
            raise ToolError(message, code="invalid_input")
        shown = _numbered(text, first, last)
        result = {
            "path": parameters.path,
            "content": shown,
            "start_line": first,
            "end_line": last,
            "line_count": count,
        }
        return ToolResult(operation="view", result=result, text=shown)

    async def _created(self, parameters: FileEditorParameters, context: ToolContext) -> ToolResult:
        try:
            await self._content(parameters, context)
        except ToolError as error:
            if error.code != "not_found":
                raise
        else:
            message = f"{self.name}: path: the file is there already; change it by str_replace, or take another path"
            raise ToolError(message, code="exists")
        text = parameters.new_text or ""
        await self._write(parameters, None, text, context)
        result = {"path": parameters.path, "size": len(text.encode())}
        return ToolResult(operation="create", result=result, message=f"created {parameters.path}")

    async def _write(
        self, parameters: FileEditorParameters, before: bytes | None, text: str, context: ToolContext
    ) -> None:
        after = text.encode()
        if len(after) > self.settings.max_file_size_bytes:
            most = self.settings.max_file_size_bytes
            message = f"{self.name}: new_text: the file would have {len(after)} bytes, above {most}; write less"
            raise ToolError(message, code="limit_exceeded")
        await keep(self.name, "path", parameters.path, after, context)
        self._remember(parameters.path, _Edit(before, after))

    def _remember(self, path: str, edit: _Edit) -> None:
        edits = self._edits.setdefault(path, [])
        self._edits.move_to_end(path)
        edits.append(edit)
        del edits[: max(0, len(edits) - self.settings.undo_steps)]
        while len(self._edits) > self.settings.undo_files or _held(self._edits) > self.settings.undo_bytes:
            self._edits.popitem(last=False)

    async def _undone(self, parameters: FileEditorParameters, context: ToolContext) -> ToolResult:
        edits = self._edits.get(parameters.path)
        if not edits:
            message = f"{self.name}: path: no edit of this file is remembered; change it by str_replace"
            raise ToolError(message, code="not_found")
        edit = edits[-1]
        if await self._content(parameters, context) != edit.after:
            message = (
                f"{self.name}: path: the file has changed since the last edit; view it, and change it by str_replace"
            )
            raise ToolError(message, code="changed")
        if edit.before is None:
            message = f"{self.name}: path: the last edit made the file; delete it with file_operations"
            raise ToolError(message, code="invalid_input")
        await keep(self.name, "path", parameters.path, edit.before, context)
        edits.pop()
        result = {"path": parameters.path, "size": len(edit.before), "further": len(edits)}
        return ToolResult(operation="undo", result=result, message=f"undid the last edit of {parameters.path}")


def _held(edits: Mapping[str, Sequence[_Edit]]) -> int:
    return sum(len(edit.before or b"") + len(edit.after) for row in edits.values() for edit in row)


def _replaced(parameters: FileEditorParameters, text: str) -> tuple[str, int]:
    """The text with the one place replaced, and the line of that place."""
    old, new = _fitted(parameters.old_text or "", text), _fitted(parameters.new_text or "", text)
    count = text.count(old)
    if count != 1:
        lines = [text.count("\n", 0, place) + 1 for place in _places(text, old)]
        where = f"{count} times, on lines {', '.join(map(str, lines))}" if count else "not"
        todo = "give more of what stands around it" if count else "view the file, and copy it exactly"
        message = f"file-editor: old_text: it stands in the file {where}; {todo}"
        raise ToolError(message, code="not_unique" if count else "not_found", details={"count": count})
    place = text.index(old)
    return text[:place] + new + text[place + len(old) :], text.count("\n", 0, place) + 1


def _places(text: str, old: str, most: int = 10) -> list[int]:
    places: list[int] = []
    place = text.find(old)
    while place >= 0 and len(places) < most:
        places.append(place)
        place = text.find(old, place + 1)
    return places


def _inserted(parameters: FileEditorParameters, text: str) -> tuple[str, int]:
    """The text with lines inserted, and the line of the first of them."""
    lines = _lines(text)
    after = parameters.insert_line or 0
    if after > len(lines):
        message = f"file-editor: insert_line: the file has {len(lines)} lines; give 0 to {len(lines)}"
        raise ToolError(message, code="invalid_input")
    end = "\r\n" if "\r\n" in text else "\n"
    new = _fitted(parameters.new_text or "", text)
    before, rest = "".join(lines[:after]), "".join(lines[after:])
    if before and not before.endswith("\n"):
        before, new = before + end, new.removesuffix(end)
    elif not new.endswith("\n"):
        new += end
    return before + new + rest, after + 1


def _fitted(given: str, text: str) -> str:
    """What a model writes, with the line ends that the file has."""
    return given.replace("\r\n", "\n").replace("\n", "\r\n") if "\r\n" in text else given


def _lines(text: str) -> list[str]:
    """The lines with their ends; a form feed or such ends none."""
    lines = text.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _numbered(text: str, first: int, last: int) -> str:
    lines = _lines(text)[first - 1 : last]
    return "".join(f"{number:6}\t{line.rstrip(chr(10)).rstrip(chr(13))}\n" for number, line in enumerate(lines, first))
