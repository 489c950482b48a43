"""What audio_processor does with a sound file; runs in a child process. Times in seconds, samples of 16 bits."""

from __future__ import annotations

import array
import io
import math
import os
import shutil
import subprocess
import wave
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs import ToolError

__all__ = ["WRITTEN", "Job", "described", "drawn", "made"]

WRITTEN: Final = {
    "wav": (),
    "mp3": ("-c:a", "libmp3lame", "-f", "mp3"),
    "flac": ("-c:a", "flac", "-f", "flac"),
    "ogg": ("-c:a", "libvorbis", "-f", "ogg"),
    "opus": ("-c:a", "libopus", "-f", "opus"),
    "m4a": ("-c:a", "aac", "-f", "ipod"),
}
"""The formats that can be written, and how the ffmpeg program is told so."""

_DECODED: Final = ("wav", "mp3", "flac", "ogg")
_FRAMES: Final = 65_536
_LONGEST: Final = 500


class Job(Struct, frozen=True):
    """What is to be made.

    Attributes:
        start_s: Where to begin.
        end_s: Where to end; None for the end.
        target_format: One of `WRITTEN`.
        max_duration_s: How much is decoded at most.
        max_bytes: How large what is made may be.
    """

    start_s: float
    end_s: float | None
    target_format: str
    max_duration_s: float
    max_bytes: int


def described(content: bytes, whole: bool) -> dict[str, Any]:
    """Return the format of a sound file, and what else is known of it if asked for the whole.

    Raises:
        ToolError: ``unsupported_format`` or ``invalid_input``.
    """
    kind = _kind(content)
    if not whole:
        return {"format": kind}
    tag = _tag(content)
    told: dict[str, Any] = {
        "format": kind,
        "duration_seconds": _finite(tag.duration),
        "sample_rate": tag.samplerate,
        "channels": tag.channels,
        "bit_rate": round(tag.bitrate * 1000) if _finite(tag.bitrate) else None,
        "title": _text(tag.title),
        "artist": _text(tag.artist),
        "album": _text(tag.album),
        "year": _text(tag.year),
        "genre": _text(tag.genre),
        "track": tag.track,
        "file_size": len(content),
    }
    if kind in _DECODED:  # what the decoder counts is nearer than what a tag says
        info = _info(content, kind)
        told |= {"duration_seconds": info.duration, "sample_rate": info.sample_rate, "channels": info.nchannels}
    return told


def drawn(content: bytes, job: Job, points: int) -> dict[str, Any]:
    """Return the largest loudness (0 to 1) in each of so many parts of equal length, and of all.

    Raises:
        ToolError: ``unsupported_format``, ``invalid_input`` or ``limit_exceeded``.
    """
    info = _info(content, _decodable(content))
    peaks: list[int] = []
    squares = count = 0
    for samples in _samples(content, info, job):
        step = info.nchannels * 64
        for place in range(0, len(samples), step):
            piece = samples[place : place + step]
            peaks.append(max(max(piece), -min(piece)))
        squares += sum(each * each for each in samples[::16])
        count += len(samples[::16])
    if not peaks:
        raise _wrong("start_seconds", "there is no sound there", "begin earlier")
    wanted = min(points, len(peaks))
    bounds = [round(index * len(peaks) / wanted) for index in range(wanted + 1)]
    parts = [max(peaks[first:last]) / 32768 for first, last in pairwise(bounds)]
    return {
        "points": [round(each, 4) for each in parts],
        "count": wanted,
        "peak": round(max(peaks) / 32768, 4),
        "rms": round(math.sqrt(squares / count) / 32768, 4),
        "sample_rate": info.sample_rate,
        "channels": info.nchannels,
    }


def made(content: bytes, job: Job) -> tuple[bytes, dict[str, Any]]:
    """Return a file made of a sound, and what it is.

    Raises:
        ToolError: ``unsupported_format``, ``invalid_input``, ``limit_exceeded`` or ``missing_library``.
    """
    info = _info(content, _decodable(content))
    target = io.BytesIO()
    frames = 0
    with wave.open(target, "wb") as file:
        file.setnchannels(info.nchannels)
        file.setsampwidth(2)
        file.setframerate(info.sample_rate)
        for samples in _samples(content, info, job):
            frames += len(samples) // info.nchannels
            if target.tell() + 2 * len(samples) > job.max_bytes:
                message = f"audio_processor: the sound has more than {job.max_bytes} bytes; cut it by trim first"
                raise ToolError(message, code="limit_exceeded")
            file.writeframesraw(samples.tobytes())
    if not frames:
        raise _wrong("start_seconds", "there is no sound there", "begin earlier")
    written = target.getvalue()
    if job.target_format != "wav":
        written = _encoded(written, job.target_format)
    told = {
        "format": job.target_format,
        "duration_seconds": frames / info.sample_rate,
        "sample_rate": info.sample_rate,
        "channels": info.nchannels,
        "file_size": len(written),
    }
    return written, told


def _samples(content: bytes, info: Any, job: Job) -> Iterator[array.array[int]]:
    """The samples of the part that is asked for, as they come, and no more than a decoder may give."""
    import miniaudio

    rate, channels = info.sample_rate, info.nchannels
    first, last = round(job.start_s * rate), math.inf if job.end_s is None else round(job.end_s * rate)
    place = 0
    try:
        stream = miniaudio.stream_memory(
            content, miniaudio.SampleFormat.SIGNED16, channels, rate, frames_to_read=_FRAMES
        )
        for samples in stream:
            count = len(samples) // channels
            begin, end = max(first - place, 0), min(last - place, count)
            if begin < end:
                yield samples[int(begin) * channels : int(end) * channels]
            place += count
            if place >= last:
                return
            if place > job.max_duration_s * rate:
                message = f"audio_processor: the sound is longer than {job.max_duration_s:g} s; give a shorter one"
                raise ToolError(message, code="limit_exceeded")
    except miniaudio.MiniaudioError as error:
        raise _damaged(error) from None


def _encoded(sound: bytes, kind: str) -> bytes:
    program = shutil.which("ffmpeg")
    if program is None:
        message = f"audio_processor: target_format: {kind} needs the ffmpeg program; install it, or write wav"
        raise ToolError(message, code="missing_library")
    place = os.memfd_create("sound")  # in memory: a pipe cannot go back to write how long the sound is
    with open(place, "r+b") as file:
        given = ["-v", "error", "-y", "-protocol_whitelist", "pipe", "-f", "wav", "-i", "pipe:0"]
        command = [program, *given, *WRITTEN[kind], f"/proc/self/fd/{place}"]
        done = subprocess.run(  # noqa: S603 - our own words, and a program of the system
            command, input=sound, capture_output=True, pass_fds=(place,), check=False
        )
        written = file.read()
    if done.returncode or not written:
        text = " ".join(done.stderr.decode("ascii", "replace").split())[-120:]
        raise _wrong("target_format", f"ffmpeg cannot write {kind}: {ascii(text)[1:-1]}", "write wav")
    return written


def _kind(content: bytes) -> str:
    """The format, by what is in the file."""
    head = content[:64]
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"fLaC":
        return "flac"
    if head[:4] == b"OggS":
        return "opus" if b"OpusHead" in content[:200] else "ogg"
    if head[4:8] == b"ftyp":
        return "m4a"
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        return "aiff"
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6)):
        return "mp3"
    message = "audio_processor: source_path: that is no sound of a known format; give wav, mp3, flac, ogg, opus or m4a"
    raise ToolError(message, code="unsupported_format")


def _decodable(content: bytes) -> str:
    kind = _kind(content)
    if kind not in _DECODED:
        message = f"audio_processor: source_path: {kind} is not decoded here; give one of {', '.join(_DECODED)}"
        raise ToolError(message, code="unsupported_format")
    return kind


def _info(content: bytes, kind: str) -> Any:
    import miniaudio

    ask = {
        "wav": miniaudio.wav_get_info,
        "mp3": miniaudio.mp3_get_info,
        "flac": miniaudio.flac_get_info,
        "ogg": miniaudio.vorbis_get_info,
    }[kind]
    try:
        info = ask(content)
    except miniaudio.MiniaudioError as error:
        raise _damaged(error) from None
    if not (1 <= info.nchannels <= 32 and 1 <= info.sample_rate <= 1_000_000):
        raise _wrong("source_path", "the file is damaged", "give a whole one")
    return info


def _tag(content: bytes) -> Any:
    from tinytag import TinyTag

    try:
        return TinyTag.get(filename=None, file_obj=io.BytesIO(content))
    except MemoryError:
        raise
    except Exception as error:  # its own class, and whatever damaged numbers bring about
        raise _damaged(error) from None


def _damaged(error: Exception) -> ToolError:
    text = " ".join(ascii(str(error))[1:-1].split())[:120]
    return _wrong("source_path", f"the file cannot be read: {text or type(error).__name__}", "give a whole one")


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _text(value: Any) -> str | None:
    return None if value is None else "".join(each for each in str(value) if each.isprintable())[:_LONGEST]


def _wrong(field: str, what: str, todo: str) -> ToolError:
    return ToolError(f"audio_processor: {field}: {what}; {todo}", code="invalid_input")
