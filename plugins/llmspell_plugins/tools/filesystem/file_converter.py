"""The file_converter tool: the encoding, line ends and indentation of text files, and what encoding one has.

Invariant: a conversion loses nothing silently: what the source is not, and what the target cannot hold, is an error
that says where. Nothing is guessed but by ``detect``, which says how sure it is. Sizes in bytes.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import InvalidInputError, SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.tool import Access, PathAccess

from .blocking import Blocking
from .content import read_file, write_file
from .failure import explaining

__all__ = ["FileConverter", "FileConverterParameters", "FileConverterSettings"]

_ENCODINGS: Final = {
    "utf8": "utf-8",
    "utf-8": "utf-8",
    "utf8bom": "utf-8-sig",
    "utf-8-bom": "utf-8-sig",
    "utf16": "utf-16",
    "utf-16": "utf-16",
    "utf16le": "utf-16-le",
    "utf-16le": "utf-16-le",
    "utf16be": "utf-16-be",
    "utf-16be": "utf-16-be",
    "utf32le": "utf-32-le",
    "utf32be": "utf-32-be",
    "windows1252": "cp1252",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
    "iso88591": "latin-1",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "iso885915": "iso8859-15",
    "iso-8859-15": "iso8859-15",
    "koi8r": "koi8-r",
    "shiftjis": "shift_jis",
    "eucjp": "euc_jp",
    "gb18030": "gb18030",
    "big5": "big5",
    "ascii": "ascii",
}
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ENDS: Final = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}
_LEADING: Final = re.compile(r"^[ \t]+", re.MULTILINE)
_GUESSED: Final = [
    "cp1252",
    "latin-1",
    "iso8859_15",
    "cp1250",
    "cp1251",
    "koi8_r",
    "shift_jis",
    "euc_jp",
    "gb18030",
    "big5",
]
_GUESS_BYTES: Final = 262_144


class FileConverterParameters(BaseModel):
    """What the file_converter takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["encoding", "line_endings", "indentation", "detect"] = Field(
        description="Convert one of these, or tell the file's encoding and line ends."
    )
    path: str = Field(
        validation_alias=AliasChoices("path", "input_path", "source_path"),
        description="The file, or input_path.",
    )
    target_path: str | None = Field(
        default=None,
        validation_alias=AliasChoices("target_path", "output_path"),
        description="Where the answer goes, the file itself if left out; also called output_path.",
    )
    from_encoding: str | None = Field(
        default=None, max_length=40, description="What the file is in; its byte order mark or UTF-8 if left out."
    )
    to_encoding: str | None = Field(
        default=None,
        max_length=40,
        description="encoding: utf8, utf16le, utf16be, windows1252, iso88591, ascii ...",
    )
    line_ending: Literal["lf", "crlf", "cr"] | None = Field(default=None, description="line_endings: to which.")
    convert_to_spaces: bool = Field(default=True, description="indentation: tabs to spaces, or spaces to tabs.")
    tab_size: int = Field(default=4, ge=1, le=64, description="indentation: how many spaces a tab is.")

    @model_validator(mode="after")
    def _complete(self) -> FileConverterParameters:
        needs = {"encoding": "to_encoding", "line_endings": "line_ending"}.get(self.operation)
        if needs and getattr(self, needs) is None:
            raise ValueError(f"{self.operation} needs {needs}")
        for field in ("from_encoding", "to_encoding"):
            given = getattr(self, field)
            if given is not None and given.lower() not in _ENCODINGS:
                raise ValueError(f"{field}: {given!r:.40} is not known; take one of {', '.join(_ENCODINGS)}")
        return self


class FileConverterSettings(BaseModel):
    """``[tools.file_converter]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size_bytes: int = Field(default=50 * 1024 * 1024, ge=0, description="The largest file, before and after.")


class FileConverter(Tool[FileConverterParameters]):
    """Convert the encoding, line ends or indentation of a text file, or tell its encoding."""

    name = "file_converter"
    aliases = ("file-converter",)
    category = "filesystem"
    level = SecurityLevel.RESTRICTED
    examples = (
        ToolExample(
            "to UTF-8",
            {"operation": "encoding", "path": "old.txt", "from_encoding": "windows1252", "to_encoding": "utf8"},
            needs="a file old.txt",
        ),
        ToolExample("what it is in", {"operation": "detect", "path": "old.txt"}, needs="a file old.txt"),
    )
    Settings: ClassVar[type[BaseModel] | None] = FileConverterSettings
    settings: FileConverterSettings

    def access(self, parameters: FileConverterParameters) -> Sequence[Access]:
        """Return the file, and where the answer goes."""
        if parameters.operation == "detect":
            return (PathAccess("path"),)
        if parameters.target_path is None:
            return (PathAccess("path", "write"),)
        return (PathAccess("path"), PathAccess("target_path", "write"))

    async def run(self, parameters: FileConverterParameters, context: ToolContext) -> ToolResult:
        """Return ``{input_path, output_path, operation, size}``, or ``{encoding, line_ending, ...}``.

        Raises:
            InvalidInputError: The file is not in its encoding, or the target's cannot hold it.
            ToolError: A file cannot be read or written, or a guess needs a library that is not there.
            SecurityError: The target is one that no tool writes.
            ResourceLimitError: A file is too large.
        """
        if parameters.operation != "detect":
            Blocking.of(context.services).check(parameters.target_path or parameters.path)
        with explaining(self.name, parameters.path):
            result = await context.run_thread(self._work, parameters, context.charge)
        return ToolResult(operation=parameters.operation, result=result)

    def _work(self, parameters: FileConverterParameters, charge: Callable[[int], None]) -> dict[str, Any]:
        limit = self.settings.max_file_size_bytes
        content = read_file(parameters.path, limit, charge)
        charge(6 * len(content))
        if parameters.operation == "detect":
            return {"input_path": parameters.path, **_detected(content), "size": len(content)}
        target = parameters.target_path or parameters.path
        text, encoding = _decoded(content, parameters)
        to = _ENCODINGS[(parameters.to_encoding or "").lower()] if parameters.operation == "encoding" else encoding
        changed = _encoded(_changed(text, parameters), to)
        write_file(target, changed, limit)
        return {
            "input_path": parameters.path,
            "output_path": target,
            "operation": parameters.operation,
            "size": len(changed),
            "encoding": to,
        }


def _changed(text: str, parameters: FileConverterParameters) -> str:
    if parameters.operation == "line_endings":
        bare = text.replace("\r\n", "\n").replace("\r", "\n")
        return bare.replace("\n", _ENDS[parameters.line_ending or "lf"])
    if parameters.operation == "encoding":
        return text
    size = parameters.tab_size
    if parameters.convert_to_spaces:
        return _LEADING.sub(lambda found: found[0].expandtabs(size), text)

    def tabbed(found: re.Match[str]) -> str:
        tabs, spaces = divmod(len(found[0].expandtabs(size)), size)
        return "\t" * tabs + " " * spaces

    return _LEADING.sub(tabbed, text)


def _decoded(content: bytes, parameters: FileConverterParameters) -> tuple[str, str]:
    """The text, and the encoding that it was in."""
    asked = parameters.from_encoding
    encoding = _ENCODINGS[asked.lower()] if asked else _marked(content) or "utf-8"
    try:
        return content.decode(encoding), encoding
    except UnicodeDecodeError as error:
        advice = "say from_encoding" if asked is None else "name the encoding that it is in"
        message = (
            f"file_converter: {parameters.path}: it is not {encoding} at byte {error.start} ({error.reason}); "
            f"{advice}, or ask for the operation detect"
        )
        raise InvalidInputError(message, field="from_encoding") from error


def _encoded(text: str, encoding: str) -> bytes:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        message = f"file_converter: {encoding} has no {text[error.start]!a} (line {line}); take another to_encoding"
        raise InvalidInputError(message, field="to_encoding") from error


def _marked(content: bytes) -> str:
    return next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "")


def _detected(content: bytes) -> dict[str, Any]:
    encoding, how = _found(content)
    facts: dict[str, Any] = {"encoding": encoding, "detected_by": how, "bom": bool(_marked(content))}
    if encoding == "binary":
        return facts
    text = content.decode(encoding, "replace")
    pairs = text.count("\r\n")
    counts = {"crlf": pairs, "lf": text.count("\n") - pairs, "cr": text.count("\r") - pairs}
    kinds = [name for name, count in counts.items() if count]
    tabs, spaces = (len(re.findall(pattern, text, re.MULTILINE)) for pattern in (r"^\t", r"^ "))
    facts["line_ending"] = "none" if not kinds else kinds[0] if len(kinds) == 1 else "mixed"
    facts["line_endings"] = counts
    facts["indentation"] = "none" if not tabs + spaces else "tabs" if not spaces else "spaces" if not tabs else "mixed"
    return facts


def _found(content: bytes) -> tuple[str, str]:
    """The encoding, and by what it is known."""
    if marked := _marked(content):
        return marked, "byte order mark"
    try:
        content.decode("utf-8")
        return ("ascii" if content.isascii() else "utf-8"), "its bytes"
    except UnicodeDecodeError:
        pass
    if b"\0" in content[:_GUESS_BYTES]:
        return "binary", "its bytes"
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        message = "file_converter: to guess an encoding needs charset-normalizer; run pip install 'llmspell[text]'"
        raise ToolError(message, code="missing_library") from error
    sample = content[:_GUESS_BYTES]
    best = from_bytes(sample, cp_isolation=_GUESSED).best()
    if best is None:
        return "binary", "a guess"
    alike = (name for name in _GUESSED if sample.decode(name, "ignore") == str(best))
    return next(alike, best.encoding), "a guess"  # the most usual of those that mean the same
