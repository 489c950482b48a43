"""The pdf-processor tool: text, pages, metadata, outline, forms and pictures of a PDF file. Pages count from 1.

Structure is read by pypdf, text and pictures by pdfium. Invariant: both run in a child process, from bytes, held to the
call's memory and time; what a file says of itself (how many pages, how long a stream) is believed by neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.tool import Access, PathAccess, ToolLimits
from llmspell_plugins.tools.filesystem.exchange import content_of, keep
from llmspell_plugins.tools.library import require

from .pdf import Job, worked

__all__ = ["PdfParameters", "PdfProcessor", "PdfProcessorSettings"]


class PdfParameters(BaseModel):
    """What the pdf-processor takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["extract_text", "extract_pages", "extract_metadata", "outline", "forms", "render", "search"] = (
        Field(default="extract_text", description="What to do.")
    )
    input: str = Field(description="The PDF file.")
    start_page: int = Field(
        default=1, ge=1, description="The first page, for all that look at pages; for render, the one."
    )
    end_page: int | None = Field(default=None, ge=1, description="The last page; the file's last if left out.")
    query: str | None = Field(default=None, min_length=1, max_length=1000, description="For search: the text.")
    case_sensitive: bool = Field(default=False, description="For search.")
    target_path: str | None = Field(default=None, description="For render: the file to write, .png or .jpg.")
    dpi: int = Field(default=150, ge=10, le=600, description="For render: dots per inch.")
    password: SecretStr | None = Field(default=None, description="Of a file that needs one.")

    @model_validator(mode="after")
    def _complete(self) -> PdfParameters:
        if self.operation == "search" and self.query is None:
            raise ValueError("search needs query")
        if self.operation == "render" and self.target_path is None:
            raise ValueError("render needs target_path")
        if self.end_page is not None and self.end_page < self.start_page:
            raise ValueError("end_page is before start_page")
        return self


class PdfProcessorSettings(BaseModel):
    """``[tools.pdf-processor]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size_bytes: int = Field(default=50 * 1024 * 1024, ge=1, description="The largest file that is read.")
    max_pages: int = Field(default=2000, ge=1, description="How many pages one call looks at.")
    max_text_bytes: int = Field(default=10_000_000, ge=1, description="How much text one call answers.")
    max_pixels: int = Field(default=50_000_000, ge=1, description="Of a page that is rendered.")


class PdfProcessor(Tool[PdfParameters]):
    """Read a PDF file: its text, pages, metadata, outline and forms; search it, and make a picture of a page."""

    name = "pdf-processor"
    aliases = ("pdf_processor", "pdf-processor-tool")
    category = "data"
    level = SecurityLevel.RESTRICTED
    limits = ToolLimits(time_s=60, memory_bytes=1024 * 1024 * 1024)
    repeatable = True
    examples = (
        ToolExample("the text", {"input": "report.pdf"}, needs="a file report.pdf"),
        ToolExample(
            "where a word stands",
            {"operation": "search", "input": "report.pdf", "query": "revenue"},
            needs="a file report.pdf",
        ),
        ToolExample(
            "a picture of a page",
            {"operation": "render", "input": "report.pdf", "start_page": 2, "target_path": "page.png"},
            needs="a file report.pdf",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = PdfProcessorSettings
    settings: PdfProcessorSettings

    def access(self, parameters: PdfParameters) -> Sequence[Access]:
        """Return that it reads the file, and may write a picture."""
        read = PathAccess("input", "read")
        return (read, PathAccess("target_path", "write")) if parameters.operation == "render" else (read,)

    async def run(self, parameters: PdfParameters, context: ToolContext) -> ToolResult:
        """Return what was found in the file.

        Raises:
            ToolError: ``not_found``, ``io``, ``invalid_input``, ``password``, ``limit_exceeded`` or
                ``missing_library``.
        """
        require(self.name, "pdf", "pypdf", "pypdfium2")
        operation, target = parameters.operation, parameters.target_path or ""
        kind = PurePath(target).suffix.lower()
        if operation == "render":
            require(self.name, "media", "PIL")
            if kind not in (".png", ".jpg", ".jpeg"):
                message = f"{self.name}: target_path: {kind!r:.20} is no format of pictures here; name a .png or .jpg"
                raise ToolError(message, code="invalid_input")
        content = await content_of(self.name, "input", parameters.input, context, self.settings.max_file_size_bytes)
        password = parameters.password.get_secret_value() if parameters.password is not None else None
        job = Job(
            operation,
            parameters.start_page,
            parameters.end_page,
            parameters.query or "",
            parameters.case_sensitive,
            parameters.dpi,
            "png" if kind == ".png" else "jpeg",
            password,
            self.settings.max_pages,
            self.settings.max_text_bytes,
            self.settings.max_pixels,
        )
        result: dict[str, Any]
        result, picture = await context.run_process(worked, content, job)
        if picture is not None:
            await keep(self.name, "target_path", target, picture, context)
            result["target_path"] = target
        result["file_path"] = parameters.input
        metadata = {"file_path": parameters.input, "file_size": len(content)}
        return ToolResult(operation=operation, result=result, text=result.get("text"), metadata=metadata)
