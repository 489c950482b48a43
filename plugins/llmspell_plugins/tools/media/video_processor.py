"""The video_processor tool: what a video file is, and pictures out of it. Times in seconds from the beginning.

Invariant: a file is decoded in a child process, from bytes, as one of a few formats that name no other file; whatever
it says of its length and its dimensions, no more than ``max_pixels`` at a time and ``max_frames`` in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.tool import Access, PathAccess, ToolLimits
from llmspell_plugins.tools.filesystem.exchange import content_of, keep
from llmspell_plugins.tools.library import require

from .video import Job, described, framed

__all__ = ["VideoParameters", "VideoProcessor", "VideoProcessorSettings"]

_PICTURES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}


class VideoParameters(BaseModel):
    """What the video_processor takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["detect", "metadata", "thumbnail", "extract_frame"] = Field(
        default="metadata", description="What to do."
    )
    file_path: str = Field(
        description="The video file; source_path means the same.",
        validation_alias=AliasChoices("file_path", "source_path"),
    )
    target_path: str | None = Field(
        default=None, description="For thumbnail and extract_frame: the picture to write, .png or .jpg."
    )
    timestamp_seconds: float = Field(
        default=0.0, ge=0, le=1e6, description="For thumbnail and extract_frame: the picture that is shown then."
    )
    max_width: int = Field(default=320, ge=1, le=10_000, description="For thumbnail.")
    max_height: int = Field(default=320, ge=1, le=10_000, description="For thumbnail.")

    @model_validator(mode="after")
    def _complete(self) -> VideoParameters:
        if self.operation in ("thumbnail", "extract_frame") and self.target_path is None:
            raise ValueError(f"{self.operation} needs target_path")
        return self


class VideoProcessorSettings(BaseModel):
    """``[tools.video_processor]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size_bytes: int = Field(default=100 * 1024 * 1024, ge=1, description="The largest file that is read.")
    max_pixels: int = Field(default=10_000_000, ge=1, description="Width by height of the largest picture.")
    max_frames: int = Field(default=3000, ge=1, description="How many pictures are decoded on the way to one.")


class VideoProcessor(Tool[VideoParameters]):
    """Tell a video file's format, length, dimensions and codecs, and write the picture at a time."""

    name = "video_processor"
    aliases = ("video-processor", "video-processor-tool")
    category = "media"
    level = SecurityLevel.RESTRICTED
    limits = ToolLimits(time_s=120, memory_bytes=1024 * 1024 * 1024)
    repeatable = True
    examples = (
        ToolExample("what it is", {"file_path": "film.mp4"}, needs="a file film.mp4"),
        ToolExample(
            "a small picture",
            {
                "operation": "thumbnail",
                "file_path": "film.mp4",
                "target_path": "film.jpg",
                "timestamp_seconds": 12.5,
            },
            needs="a file film.mp4",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = VideoProcessorSettings
    settings: VideoProcessorSettings

    def access(self, parameters: VideoParameters) -> Sequence[Access]:
        """Return that it reads the file, and may write a picture."""
        read = PathAccess("file_path", "read")
        if parameters.operation in ("thumbnail", "extract_frame"):
            return (read, PathAccess("target_path", "write"))
        return (read,)

    async def run(self, parameters: VideoParameters, context: ToolContext) -> ToolResult:
        """Return what the file is, or what was written.

        Raises:
            ToolError: ``not_found``, ``io``, ``unsupported_format``, ``invalid_input``, ``limit_exceeded`` or
                ``missing_library``.
        """
        require(self.name, "video", "av")
        operation, target = parameters.operation, parameters.target_path or ""
        picture = PurePath(target).suffix.lower()
        if operation in ("thumbnail", "extract_frame"):
            require(self.name, "media", "PIL")
            if picture not in _PICTURES:
                message = (
                    f"{self.name}: target_path: {picture!r:.20} is no format of pictures here; name a .png or .jpg"
                )
                raise ToolError(message, code="unsupported_format")
        most = self.settings.max_file_size_bytes
        content = await content_of(self.name, "file_path", parameters.file_path, context, most)
        metadata = {"file_path": parameters.file_path, "file_size": len(content)}
        if operation in ("detect", "metadata"):
            told: dict[str, Any] = await context.run_process(described, content, operation == "metadata")
            return ToolResult(operation=operation, result=told, metadata=metadata)
        small = (parameters.max_width, parameters.max_height) if operation == "thumbnail" else None
        limits = (self.settings.max_pixels, self.settings.max_frames)
        job = Job(parameters.timestamp_seconds, small, _PICTURES[picture], *limits)
        written, told = await context.run_process(framed, content, job)
        await keep(self.name, "target_path", target, written, context)
        result = {"file_path": parameters.file_path, "target_path": target, **told}
        return ToolResult(operation=operation, result=result, message=f"wrote {target}", metadata=metadata)
