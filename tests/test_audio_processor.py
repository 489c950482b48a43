"""The audio_processor, each operation against ffprobe and soxi; damaged and hostile files, and limits."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from llmspell_hookspecs import InvalidInputError, LlmspellError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError
from oracles import called, oracle

NAME = "audio_processor"
TAGS = ("-metadata", "title=Tone", "-metadata", "artist=Someone", "-metadata", "album=Tests", "-metadata", "date=2024")


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """Two seconds of a tone of 440 Hz, in stereo."""
    return made(tmp_path / "tone.wav")


def made(path: Path, *options: str) -> Path:
    source = "sine=frequency=440:duration=2:sample_rate=44100"
    oracle("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, "-ac", "2", *TAGS, *options, path)
    return path


def probed(path: Path) -> dict[str, Any]:
    told = json.loads(oracle("ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", path))
    return {**told["format"], **told["streams"][0]}


async def result(path: Path, operation: str = "metadata", settings: Any = None, **given: Any) -> Any:
    settings = {"tools": {NAME: settings}} if settings else None
    return (await called(path.parent, NAME, settings, operation=operation, file_path=str(path), **given)).result


@pytest.mark.parametrize("kind", ["wav", "mp3", "flac", "ogg", "opus", "m4a"])
async def test_metadata_is_what_ffprobe_tells(tmp_path: Path, kind: str) -> None:
    options = ("-c:a", "libvorbis") if kind == "ogg" else ()
    path = made(tmp_path / f"tone.{kind}", *options)

    told, expected = await result(path), probed(path)

    assert (await result(path, "detect")) == {"format": kind}
    assert told["duration_seconds"] == pytest.approx(float(expected["duration"]), abs=0.1)
    assert (told["sample_rate"], told["channels"]) == (int(expected["sample_rate"]), expected["channels"])
    assert [told[name] for name in ("title", "artist", "album", "year")] == ["Tone", "Someone", "Tests", "2024"]
    assert told["file_size"] == path.stat().st_size


@pytest.mark.parametrize("source", ["wav", "mp3", "flac", "ogg"])
async def test_convert_to_wav_keeps_what_is_heard(tmp_path: Path, source: str) -> None:
    options = ("-c:a", "libvorbis") if source == "ogg" else ()
    path, target = made(tmp_path / f"in.{source}", *options), tmp_path / "out.wav"

    told = await result(path, "convert", target_path=str(target))

    assert oracle("soxi", "-t", target).strip() == "wav"
    assert [oracle("soxi", flag, target).strip() for flag in ("-r", "-c", "-b")] == ["44100", "2", "16"]
    assert float(oracle("soxi", "-D", target)) == pytest.approx(told["duration_seconds"], abs=1e-3)
    assert told["duration_seconds"] == pytest.approx(2, abs=0.1)
    assert frequency(target) == pytest.approx(440, abs=5)


def frequency(path: Path) -> float:
    told = oracle("sh", "-c", f"sox {path} -n remix 1 stat 2>&1")
    line = next(line for line in told.splitlines() if line.startswith("Rough"))
    return float(line.split()[-1])


@pytest.mark.parametrize("kind", ["mp3", "flac", "ogg", "opus", "m4a"])
async def test_convert_to_other_formats_by_the_ffmpeg_program(tone: Path, kind: str) -> None:
    target = tone.with_name(f"out.{kind}")

    told = await result(tone, "convert", target_path=str(target))

    codec = {"ogg": "vorbis", "m4a": "aac"}.get(kind, kind)
    expected = probed(target)
    assert (expected["codec_name"], told["file_size"]) == (codec, target.stat().st_size)
    assert float(expected["duration"]) == pytest.approx(2, abs=0.1)


async def test_where_there_is_no_ffmpeg_program_the_error_names_it(tone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tone.parent))

    with pytest.raises(ToolError, match="mp3 needs the ffmpeg program") as caught:
        await result(tone, "convert", target_path=str(tone.with_name("out.mp3")))

    assert caught.value.code == "missing_library"
    assert not tone.with_name("out.mp3").exists()


async def test_trim_cuts_out_the_part(tone: Path) -> None:
    target, expected = tone.with_name("part.wav"), tone.with_name("expected.wav")

    await result(tone, "trim", target_path=str(target), start_seconds=0.5, end_seconds=1.25)

    oracle("sox", tone, expected, "trim", "0.5", "=1.25")
    samples = [oracle("sh", "-c", f"sox {path} -t raw - | md5sum") for path in (target, expected)]
    assert samples[0] == samples[1]
    with pytest.raises(ToolError, match="there is no sound there"):
        await result(tone, "trim", target_path=str(target), start_seconds=9)


async def test_the_waveform_has_the_peak_that_sox_finds(tone: Path) -> None:
    oracle("sox", tone, tone.with_name("fade.wav"), "fade", "t", "2")

    flat = await result(tone, "waveform", points=10)
    fade = await result(tone.with_name("fade.wav"), "waveform", points=10)

    told = oracle("sh", "-c", f"sox {tone} -n stat 2>&1")
    figures = {
        line.split(":")[0].strip(): float(line.split(":")[1]) for line in told.splitlines() if "amplitude" in line
    }
    assert flat["peak"] == pytest.approx(figures["Maximum amplitude"], abs=0.01)
    assert flat["rms"] == pytest.approx(figures["RMS     amplitude"], abs=0.01)
    assert len(flat["points"]) == 10
    assert fade["points"] == sorted(fade["points"])


def lying_wav() -> bytes:
    """A header of 4 GB of sound, and 8 bytes of it."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 44100, 176400, 4, 16)
    return (
        b"RIFF" + struct.pack("<I", 0xFFFFFFF0) + b"WAVE" + form + b"data" + struct.pack("<I", 0xFFFFFFC0) + b"\0" * 8
    )


HOSTILE = {
    "nothing": b"",
    "a playlist": b"#EXTM3U\nfile:///etc/passwd\n",
    "a lying header": lying_wav(),
    "no channels": lying_wav().replace(struct.pack("<HH", 1, 2), struct.pack("<HH", 1, 0)),
    "half an MP3": b"\xff\xfb\x90\x64" + b"\0" * 20,
    "tags without end": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + b"TIT2\x7f\x7f\x7f\x7f\x00\x00" + b"x" * 50,
    "a stub of FLAC": b"fLaC\x00\x00\x00\x22" + b"\xff" * 34,
    "a stub of Ogg": b"OggS" + b"\xff" * 60,
    "a stub of MP4": b"\0\0\0\x10ftypM4A " + b"\xff" * 40,
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_hostile_file_ends_in_an_answer_or_one_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "evil.wav"
    path.write_bytes(HOSTILE[kind])

    for operation, given in (("metadata", {}), ("waveform", {}), ("convert", {"target_path": str(tmp_path / "o.wav")})):
        try:
            await result(path, operation, **given)
        except LlmspellError as error:
            assert error.code not in ("internal", "timeout"), error
            assert "\n" not in str(error)
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 10_000


async def test_what_is_above_the_limits_is_refused(tone: Path) -> None:
    with pytest.raises(ResourceLimitError, match="1000"):
        await result(tone, settings={"max_file_size_bytes": 1000})
    with pytest.raises(ToolError, match="longer than 1 s"):
        await result(tone, "waveform", settings={"max_duration_s": 1})
    with pytest.raises(InvalidInputError, match="end_seconds is not after"):
        await result(tone, "waveform", start_seconds=2, end_seconds=1)
    with pytest.raises(ToolError, match="m4a is not decoded here"):
        await result(made(tone.with_name("a.m4a")), "waveform")
