"""The audio_processor tool: what a sound file is, and others made of it. Times in seconds from the beginning.

Invariant: a file is decoded in a child process, from bytes, by decoders for WAV, MP3, FLAC and Ogg Vorbis; no more of
it than ``max_duration_s``. The ``ffmpeg`` program, which writes other formats, is given samples, never somebody's file.
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

from .audio import WRITTEN, Job, described, drawn, made

__all__ = ["AudioParameters", "AudioProcessor", "AudioProcessorSettings"]


class AudioParameters(BaseModel):
    """What the audio_processor takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["detect", "metadata", "convert", "trim", "waveform"] = Field(
        default="metadata", description="What to do."
    )
    source_path: str = Field(
        description="The sound file; file_path means the same.",
        validation_alias=AliasChoices("source_path", "file_path"),
    )
    target_path: str | None = Field(default=None, description="For convert and trim: the file to write.")
    target_format: Literal["wav", "mp3", "flac", "ogg", "opus", "m4a"] | None = Field(
        default=None,
        description="Of the file that is written; by the name of target_path if left out. "
        "All but wav need the ffmpeg program.",
    )
    start_seconds: float = Field(default=0, ge=0, le=1e6, description="For trim and waveform: where to begin.")
    end_seconds: float | None = Field(
        default=None, gt=0, le=1e6, description="For trim and waveform: where to end; the file's end if left out."
    )
    points: int = Field(default=100, ge=1, le=10_000, description="For waveform: how many.")

    @model_validator(mode="after")
    def _complete(self) -> AudioParameters:
        if self.operation in ("convert", "trim") and self.target_path is None:
            raise ValueError(f"{self.operation} needs target_path")
        if self.end_seconds is not None and self.end_seconds <= self.start_seconds:
            raise ValueError("end_seconds is not after start_seconds")
        return self


class AudioProcessorSettings(BaseModel):
    """``[tools.audio_processor]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size_bytes: int = Field(default=100 * 1024 * 1024, ge=1, description="The largest file that is read.")
    max_duration_s: float = Field(default=4 * 3600, gt=0, description="How much of a file is decoded at most.")


class AudioProcessor(Tool[AudioParameters]):
    """Tell a sound file's format, length and tags; convert it, cut a part out of it, draw its waveform."""

    name = "audio_processor"
    aliases = ("audio-processor", "audio-processor-tool")
    category = "media"
    level = SecurityLevel.RESTRICTED
    limits = ToolLimits(time_s=120, memory_bytes=1024 * 1024 * 1024)
    repeatable = True
    examples = (
        ToolExample("what it is", {"file_path": "song.mp3"}, needs="a file song.mp3"),
        ToolExample(
            "ten seconds of it",
            {
                "operation": "trim",
                "source_path": "song.mp3",
                "target_path": "part.wav",
                "start_seconds": 30,
                "end_seconds": 40,
            },
            needs="a file song.mp3",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = AudioProcessorSettings
    settings: AudioProcessorSettings

    def access(self, parameters: AudioParameters) -> Sequence[Access]:
        """Return that it reads the file, and may write another."""
        read = PathAccess("source_path", "read")
        if parameters.operation in ("convert", "trim"):
            return (read, PathAccess("target_path", "write"))
        return (read,)

    async def run(self, parameters: AudioParameters, context: ToolContext) -> ToolResult:
        """Return what the file is, the waveform, or what was written.

        Raises:
            ToolError: ``not_found``, ``io``, ``unsupported_format``, ``invalid_input``, ``limit_exceeded`` or
                ``missing_library``.
        """
        require(self.name, "media", "miniaudio", "tinytag")
        source, operation = parameters.source_path, parameters.operation
        content = await content_of(self.name, "source_path", source, context, self.settings.max_file_size_bytes)
        if operation in ("detect", "metadata"):
            told = await context.run_process(described, content, operation == "metadata")
            metadata = {"file_path": source, "file_size": len(content)}
            return ToolResult(operation=operation, result=told, metadata=metadata)
        whole = operation == "convert"
        start, end = (0.0, None) if whole else (parameters.start_seconds, parameters.end_seconds)
        job = Job(start, end, self._format(parameters), self.settings.max_duration_s, context.limits.output_bytes)
        if operation == "waveform":
            told = await context.run_process(drawn, content, job, parameters.points)
            return ToolResult(operation=operation, result=told)
        written, told = await context.run_process(made, content, job)
        target = parameters.target_path or ""
        await keep(self.name, "target_path", target, written, context)
        result = {"source_path": source, "target_path": target, **told}
        return ToolResult(operation=operation, result=result, message=f"wrote {target}")

    def _format(self, parameters: AudioParameters) -> str:
        if parameters.operation == "waveform":
            return "wav"
        suffix = PurePath(parameters.target_path or "").suffix.lower().removeprefix(".")
        kind = parameters.target_format or suffix
        if kind not in WRITTEN:
            known = ", ".join(WRITTEN)
            message = f"{self.name}: target_path: .{suffix:.20} is no format; name one of {known} by target_format"
            raise ToolError(message, code="unsupported_format")
        return kind
