"""The file_search tool: where a text or a pattern stands in the files of a folder.

Invariant: every file is judged by the host's rules before it is opened, and one that may not be read is as if it were
not there; the pattern runs in a child process, which a deadline ends. Sizes in bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import FileAccess, SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.spelling import spelled_path
from llmspell_hookspecs.tool import Access, PathAccess

from .anchor import anchored
from .failure import explaining
from .search_program import Question, search
from .tree import Bounds, survey

__all__ = ["FileSearch", "FileSearchParameters", "FileSearchSettings"]

_EXCLUDED = ("target", "node_modules", ".git", ".svn", ".hg", "__pycache__", ".venv", "venv", "dist", "build")
_MOST_SKIPPED = 100


class FileSearchParameters(BaseModel):
    """What file_search takes."""

    model_config = ConfigDict(extra="forbid")

    pattern: str = Field(min_length=1, max_length=10_000, description="A text, or with use_regex a regular expression.")
    path: str = Field(description="The file or folder to search.")
    recursive: bool = Field(default=False, description="Search folders in the folder, too.")
    case_sensitive: bool = Field(default=True, description="Whether upper and lower case differ.")
    use_regex: bool = Field(default=False, description="Read the pattern as a regular expression, as Python does.")
    context_lines: int = Field(default=2, ge=0, le=50, description="How many lines before and after are told.")
    include_extensions: list[str] = Field(default=[], max_length=100, description="Only files that end so: py, md.")
    exclude_extensions: list[str] = Field(default=[], max_length=100, description="No files that end so.")
    exclude_dirs: list[str] = Field(
        default=list(_EXCLUDED), max_length=100, description="Folders of these names are left out."
    )
    max_file_size: int = Field(default=10 * 1024 * 1024, ge=0, description="Larger files are skipped; in bytes.")
    max_matches_per_file: int = Field(default=0, ge=0, description="How many are told of each file, 0 for all.")
    max_depth: int = Field(default=20, ge=0, le=100, description="How many folders deep it goes.")


class FileSearchSettings(BaseModel):
    """``[tools.file_search]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size_bytes: int = Field(default=10 * 1024 * 1024, ge=0, description="The largest max_file_size.")
    max_items: int = Field(default=100_000, ge=1, description="How many files and folders are looked at.")
    max_matches: int = Field(default=10_000, ge=1, description="How many matches are told.")


class FileSearch(Tool[FileSearchParameters]):
    """Find a text or a regular expression in the files of a folder, with the lines around."""

    name = "file_search"
    aliases = ("file-search",)
    category = "filesystem"
    level = SecurityLevel.RESTRICTED
    repeatable = True
    examples = (
        ToolExample(
            "a word in all Python files",
            {"pattern": "deprecated", "path": "src", "recursive": True, "include_extensions": ["py"]},
            needs="a folder src",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = FileSearchSettings
    settings: FileSearchSettings

    def access(self, parameters: FileSearchParameters) -> Sequence[Access]:
        """Return the folder."""
        return (PathAccess("path"),)

    async def run(self, parameters: FileSearchParameters, context: ToolContext) -> ToolResult:
        """Return ``{matches, summary, skipped_files}``.

        Raises:
            InvalidInputError: The pattern is none.
            ToolError: The folder cannot be read.
            ResourceLimitError: There are too many files.
        """
        files = context.services.get(FileAccess)
        with explaining(self.name, parameters.path):
            paths, left_out = await context.run_thread(self._files, parameters, files)
        question = Question(
            parameters.pattern,
            parameters.use_regex,
            parameters.case_sensitive,
            parameters.context_lines,
            min(parameters.max_file_size, self.settings.max_file_size_bytes),
            parameters.max_matches_per_file,
            self.settings.max_matches,
        )
        found = await context.run_process(search, question, paths)
        return ToolResult(operation="search", result=_answer(found, left_out))

    def _files(self, parameters: FileSearchParameters, files: FileAccess) -> tuple[list[str], int]:
        """The files to search, and how many others there are."""
        root = parameters.path
        with anchored(root) as anchor:
            if not stat.S_ISDIR(anchor.status().st_mode):
                return [root], 0
        judge = _Judge(files, root.rstrip("/"), frozenset(parameters.exclude_dirs), parameters.max_depth)
        bounds = Bounds(parameters.max_depth + 2, self.settings.max_items)
        items = survey(root, judge.judge, bounds, strict=False, recursive=parameters.recursive)
        regular = [item.path for item in items if stat.S_ISREG(item.status.st_mode)]
        wanted = sorted(path for path in regular if _is_wanted(path, parameters))
        return wanted, len(regular) - len(wanted)


class _Judge(Struct):
    """Judges what is in the folder; refuses what is to be left out, so that it is not entered."""

    files: FileAccess
    root: str
    excluded: frozenset[str]
    depth: int

    def judge(self, path: str) -> str:
        """Return the path, if it may be read and is to be."""
        below = path[len(self.root) :].strip("/").split("/")
        if len(below) > self.depth + 1 or below[-1] in self.excluded:
            raise SecurityError(f"{path}: left out; name it", rule="path")
        resolved = self.files.resolve(path, "read")
        if resolved != path:
            raise SecurityError(f"{path}: a link is not followed; name what it leads to", rule="path")
        return resolved


def _is_wanted(path: str, parameters: FileSearchParameters) -> bool:
    name = os.path.basename(path).lower()

    def ends(extensions: list[str]) -> bool:
        return name.endswith(tuple(f".{each.lower().lstrip('.*')}" for each in extensions))

    included = not parameters.include_extensions or ends(parameters.include_extensions)
    return included and not (parameters.exclude_extensions and ends(parameters.exclude_extensions))


def _answer(found: dict[str, Any], left_out: int) -> dict[str, Any]:
    matches = [{**each, "file_path": spelled_path(each["file_path"])} for each in found["matches"]]
    skipped = [{**each, "path": spelled_path(each["path"])} for each in found["skipped"]]
    summary = {
        "total_matches": len(matches),
        "files_searched": found["searched"],
        "files_skipped": len(skipped) + left_out,
        "files_with_matches": len({each["file_path"] for each in matches}),
        "has_matches": bool(matches),
        "truncated": found["truncated"],
    }
    return {"matches": matches, "summary": summary, "skipped_files": skipped[:_MOST_SKIPPED]}
