"""The image_processor tool: what an image file is, and others made of it. Sizes in pixels, angles in degrees clockwise.

Invariant: an image is decoded in a child process, from bytes, by a decoder of `FORMATS`, and only after its dimensions
were held against ``max_pixels``. What is made starts from the image as it is meant to be seen (EXIF orientation).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import ClassVar, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.tool import Access, PathAccess, ToolLimits
from llmspell_plugins.tools.filesystem.exchange import content_of, keep
from llmspell_plugins.tools.library import require

from .image import FORMATS, Job, compared, described, made

__all__ = ["ImageParameters", "ImageProcessor", "ImageProcessorSettings"]

Operation = Literal["detect", "metadata", "resize", "convert", "crop", "rotate", "thumbnail", "strip_exif", "compare"]
_Format = Literal["png", "jpeg", "webp", "gif", "tiff", "bmp"]


class ImageParameters(BaseModel):
    """What the image_processor takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Operation = Field(default="metadata", description="What to do.")
    source_path: str = Field(
        description="The image; file_path means the same.", validation_alias=AliasChoices("source_path", "file_path")
    )
    target_path: str | None = Field(
        default=None, description="The file to write; for compare, the other image, which is read."
    )
    width: int | None = Field(default=None, ge=1, le=100_000, description="For resize and crop.")
    height: int | None = Field(default=None, ge=1, le=100_000, description="For resize and crop.")
    x: int = Field(default=0, ge=0, le=100_000, description="For crop: from the left.")
    y: int = Field(default=0, ge=0, le=100_000, description="For crop: from the top.")
    degrees: float = Field(default=90, ge=-360, le=360, description="For rotate: clockwise.")
    maintain_aspect_ratio: bool = Field(
        default=True, description="For resize: fit into width and height; if false, exactly those."
    )
    target_format: _Format | None = Field(
        default=None, description="Of the file that is written; by the name of target_path if left out."
    )
    max_width: int = Field(default=200, ge=1, le=10_000, description="For thumbnail.")
    max_height: int = Field(default=200, ge=1, le=10_000, description="For thumbnail.")
    quality: int = Field(default=85, ge=1, le=100, description="Of a JPEG or WebP that is written.")

    @model_validator(mode="after")
    def _complete(self) -> ImageParameters:
        if self.operation not in ("detect", "metadata") and self.target_path is None:
            raise ValueError(f"{self.operation} needs target_path")
        if self.operation == "resize" and self.width is None and self.height is None:
            raise ValueError("resize needs width or height")
        if self.operation == "crop" and (self.width is None or self.height is None):
            raise ValueError("crop needs width and height")
        return self


class ImageProcessorSettings(BaseModel):
    """``[tools.image_processor]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size_bytes: int = Field(default=50 * 1024 * 1024, ge=1, description="The largest file that is read.")
    max_pixels: int = Field(default=50_000_000, ge=1, description="Width by height of the largest image.")


class ImageProcessor(Tool[ImageParameters]):
    """Tell an image's format, dimensions and EXIF; resize, convert, crop, rotate it, make a thumbnail, compare two."""

    name = "image_processor"
    aliases = ("image-processor", "image-processor-tool")
    category = "media"
    level = SecurityLevel.RESTRICTED
    limits = ToolLimits(time_s=60, memory_bytes=1024 * 1024 * 1024)
    repeatable = True
    examples = (
        ToolExample("what it is", {"file_path": "photo.jpg"}, needs="a file photo.jpg"),
        ToolExample(
            "a smaller one",
            {"operation": "resize", "source_path": "photo.jpg", "target_path": "small.jpg", "width": 800},
            needs="a file photo.jpg",
        ),
        ToolExample(
            "another format",
            {"operation": "convert", "source_path": "photo.jpg", "target_path": "photo.webp", "quality": 80},
            needs="a file photo.jpg",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = ImageProcessorSettings
    settings: ImageProcessorSettings

    def access(self, parameters: ImageParameters) -> Sequence[Access]:
        """Return that it reads the image, and writes the target."""
        source = PathAccess("source_path", "read")
        if parameters.target_path is None or parameters.operation in ("detect", "metadata"):
            return (source,)
        return (source, PathAccess("target_path", "read" if parameters.operation == "compare" else "write"))

    async def run(self, parameters: ImageParameters, context: ToolContext) -> ToolResult:
        """Return what the image is, or what was written.

        Raises:
            ToolError: ``not_found``, ``io``, ``unsupported_format``, ``invalid_input``, ``limit_exceeded`` or
                ``missing_library``.
        """
        require(self.name, "media", "PIL")
        source, operation = parameters.source_path, parameters.operation
        most = self.settings.max_file_size_bytes
        content = await content_of(self.name, "source_path", source, context, most)
        if operation in ("detect", "metadata"):
            told = await context.run_process(described, content, operation == "metadata", self.settings.max_pixels)
            metadata = {"file_path": source, "file_size": len(content)}
            return ToolResult(operation=operation, result=told, metadata=metadata)
        target = parameters.target_path or ""
        if operation == "compare":
            other = await content_of(self.name, "target_path", target, context, most)
            told = await context.run_process(compared, content, other, self.settings.max_pixels)
            return ToolResult(operation=operation, result=told)
        written, told = await context.run_process(made, content, self._job(parameters, target))
        await keep(self.name, "target_path", target, written, context)
        result = {"source_path": source, "target_path": target, **told}
        return ToolResult(operation=operation, result=result, message=f"wrote {target}")

    def _job(self, parameters: ImageParameters, target: str) -> Job:
        suffix = PurePath(target).suffix.lower().removeprefix(".")
        kind = parameters.target_format or {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix)
        if kind not in FORMATS:
            known = ", ".join(FORMATS)
            message = f"{self.name}: target_path: .{suffix:.20} is no format; name one of {known} by target_format"
            raise ToolError(message, code="unsupported_format")
        values = parameters.model_dump(include=set(Job.__struct_fields__))
        return Job(**{**values, "target_format": kind}, max_pixels=self.settings.max_pixels)
