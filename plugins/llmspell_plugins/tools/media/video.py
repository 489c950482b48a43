"""What video_processor does with a video file; runs in a child process. Times in seconds."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs import ToolError

__all__ = ["Job", "described", "framed"]

_DEMUXERS: Final = {"mp4": "mov", "webm": "matroska", "avi": "avi", "ogg": "ogg", "flv": "flv", "mpegts": "mpegts"}
"""How FFmpeg is told to read a format. Those that name other files (hls, concat ...) are not among them."""

_CLOSED: Final = {"protocol_whitelist": "none", "enable_drefs": "0"}
_MOST_TAGS, _LONGEST = 50, 500


class Job(Struct, frozen=True):
    """What is to be made.

    Attributes:
        time_s: Of the picture.
        small: Its largest width and height; None for its own.
        picture_format: ``png`` or ``jpeg``.
        max_pixels: Width by height of the largest picture that is decoded.
        max_frames: How many pictures are decoded on the way to it.
    """

    time_s: float
    small: tuple[int, int] | None
    picture_format: str
    max_pixels: int
    max_frames: int


def described(content: bytes, whole: bool) -> dict[str, Any]:
    """Return the format of a video file, and what else is known of it if asked for the whole.

    Raises:
        ToolError: ``unsupported_format`` or ``invalid_input``.
    """
    kind = _kind(content)
    if not whole:
        return {"format": kind}
    with _opened(content, kind) as container:
        video, audio = _known(container.streams.video), _known(container.streams.audio)
        told: dict[str, Any] = {
            "format": kind,
            "duration_seconds": container.duration / 1_000_000 if container.duration else None,
            "bit_rate": container.bit_rate or None,
            "file_size": len(content),
            "video": None,
            "audio": None,
            "tags": {
                str(key)[:_LONGEST]: str(text)[:_LONGEST] for key, text in list(container.metadata.items())[:_MOST_TAGS]
            },
        }
        if video is not None:
            told["dimensions"] = {"width": video.width, "height": video.height}
            rate = video.average_rate
            told["video"] = {
                "codec": video.codec_context.name,
                "frame_rate": float(rate) if rate else None,
                "frames": video.frames or None,
                "pixel_format": video.codec_context.pix_fmt,
            }
        if audio is not None:
            told["audio"] = {
                "codec": audio.codec_context.name,
                "sample_rate": audio.codec_context.sample_rate,
                "channels": audio.codec_context.channels,
            }
    return told


def framed(content: bytes, job: Job) -> tuple[bytes, dict[str, Any]]:
    """Return the picture that is shown at a time, and what it is.

    Raises:
        ToolError: ``unsupported_format``, ``invalid_input`` or ``limit_exceeded``.
    """
    with _opened(content, _kind(content)) as container:
        frame = _frame(container, job)
        picture = frame.to_image()
        shown_s = float(frame.time or 0)
    if job.small is not None:
        picture.thumbnail(job.small)
    target = io.BytesIO()
    picture.save(target, job.picture_format.upper())
    told = {
        "timestamp_seconds": shown_s,
        "dimensions": {"width": picture.width, "height": picture.height},
        "format": job.picture_format,
        "file_size": target.tell(),
    }
    return target.getvalue(), told


def _frame(container: Any, job: Job) -> Any:
    """The last picture that begins at or before the time."""
    stream = _known(container.streams.video)
    if stream is None:
        raise _wrong("file_path", "there is no picture of a known codec in it", "give a video")
    _check(stream, job)
    stream.codec_context.thread_count = 1
    if job.time_s > 0:
        container.seek(int(job.time_s / stream.time_base), stream=stream, backward=True)
    shown = ended = None
    for count, frame in enumerate(container.decode(stream)):
        if count >= job.max_frames:
            what = f"the time is more than {job.max_frames} pictures after one to start from"
            raise ToolError(f"video_processor: timestamp_seconds: {what}; take another", code="limit_exceeded")
        _check(frame, job)
        if frame.time is not None and frame.time > job.time_s + 1e-6 and shown is not None:
            return shown
        shown, ended = frame, (frame.time or 0) + float(frame.duration or 0) * float(frame.time_base or 0)
    length_s = max(container.duration / 1_000_000 if container.duration else 0.0, ended or 0.0)
    if shown is None or job.time_s > length_s + 1e-6:
        raise _wrong("timestamp_seconds", f"the video ends at {length_s:g}", "take an earlier time")
    return shown


def _known(streams: Any) -> Any:
    """The first stream that there is a decoder for; None if there is none."""
    return next((each for each in streams if each.codec_context is not None), None)


def _check(picture: Any, job: Job) -> None:
    width, height = picture.width or 0, picture.height or 0
    if not 0 < width * height <= job.max_pixels:
        what = f"{width} x {height} is not within {job.max_pixels} pixels"
        raise ToolError(f"video_processor: file_path: {what}; take a smaller one", code="limit_exceeded")


@contextmanager
def _opened(content: bytes, kind: str) -> Iterator[Any]:
    import av
    from av.error import FFmpegError

    av.logging.set_level(None)
    try:
        with av.open(io.BytesIO(content), format=_DEMUXERS[kind], options=dict(_CLOSED)) as container:
            yield container
    except FFmpegError as error:
        if isinstance(error, MemoryError):
            raise MemoryError from None
        text = " ".join(ascii(str(error.strerror))[1:-1].split())[:120]
        raise _wrong("file_path", f"the file cannot be read: {text}", "give a whole one") from None


def _kind(content: bytes) -> str:
    """The format, by what is in the file."""
    head = content[:16]
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return "mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "webm"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:4] == b"OggS":
        return "ogg"
    if head[:4] == b"FLV\x01":
        return "flv"
    if len(content) > 188 and content[0] == content[188] == 0x47:
        return "mpegts"
    message = f"video_processor: file_path: that is no video of a known format; give one of {', '.join(_DEMUXERS)}"
    raise ToolError(message, code="unsupported_format")


def _wrong(field: str, what: str, todo: str) -> ToolError:
    return ToolError(f"video_processor: {field}: {what}; {todo}", code="invalid_input")
