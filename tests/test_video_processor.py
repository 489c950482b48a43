"""The video_processor, each operation against ffprobe and ffmpeg; playlists, damaged files and limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmspell_hookspecs import InvalidInputError, LlmspellError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError
from oracles import called, oracle

pytest.importorskip("av", reason="there is no av; pip install 'llmspell[video]'")

NAME = "video_processor"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a test picture, 25 a second, with a tone."""
    return made(tmp_path_factory.mktemp("film") / "film.mp4")


def made(path: Path, *options: str) -> Path:
    inputs = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=25:duration=2")
    sound = ("-f", "lavfi", "-i", "sine=duration=2")
    oracle("ffmpeg", "-v", "error", "-y", *inputs, *sound, "-metadata", "title=Test", *options, path)
    return path


async def result(path: Path, operation: str = "metadata", settings: Any = None, **given: Any) -> Any:
    settings = {"tools": {NAME: settings}} if settings else None
    return (await called(path.parent, NAME, settings, operation=operation, file_path=str(path), **given)).result


@pytest.mark.parametrize("kind", ["mp4", "webm", "avi", "ogg", "flv", "mpegts"])
async def test_metadata_is_what_ffprobe_tells(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path / f"film.{'ts' if kind == 'mpegts' else 'ogv' if kind == 'ogg' else kind}")

    told = await result(path)

    probed = json.loads(oracle("ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", path))
    streams = {each["codec_type"]: each for each in probed["streams"]}
    assert (await result(path, "detect")) == {"format": kind}
    assert told["duration_seconds"] == pytest.approx(float(probed["format"]["duration"]), abs=0.05)
    assert told["dimensions"] == {"width": streams["video"]["width"], "height": streams["video"]["height"]}
    assert told["video"]["frame_rate"] == pytest.approx(25, abs=0.5)
    assert told["audio"]["sample_rate"] == int(streams["audio"]["sample_rate"])
    assert told["audio"]["channels"] == streams["audio"]["channels"]
    assert told["video"]["codec"].removeprefix("lib") == streams["video"]["codec_name"].removesuffix("1")


@pytest.mark.parametrize(("time_s", "number"), [(0, 0), (0.05, 1), (1.0, 25), (1.5, 37), (1.999, 49)])
async def test_a_frame_is_the_one_that_is_shown_then(film: Path, tmp_path: Path, time_s: float, number: int) -> None:
    target, expected = film.with_name("frame.png"), tmp_path / "expected.png"

    told = await result(film, "extract_frame", timestamp_seconds=time_s, target_path=str(target))

    chosen = ("-vf", f"select=eq(n\\,{number})", "-frames:v", "1")
    oracle("ffmpeg", "-v", "error", "-y", "-i", film, *chosen, expected)
    differs = oracle("compare", "-metric", "RMSE", target, expected, "null:", codes=(0, 1))
    assert float(differs.partition("(")[2].partition(")")[0]) < 0.01
    assert told["dimensions"] == {"width": 160, "height": 120}
    assert told["timestamp_seconds"] == pytest.approx(number / 25, abs=1e-3)


async def test_a_thumbnail_is_small(film: Path) -> None:
    target = film.with_name("small.jpg")

    await result(film, "thumbnail", target_path=str(target), max_width=40, timestamp_seconds=1)

    assert oracle("identify", "-format", "%m %wx%h", target) == "JPEG 40x30"


HOSTILE = {
    "nothing": b"",
    "a playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "a concat script": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "half an MP4": b"\0\0\0\x18ftypisom" + b"\0" * 40,
    "a huge box": b"\0\0\0\x18ftypisom" + b"\0" * 12 + b"\xff\xff\xff\xffmoov" + b"\xff" * 99,
    "a stub of Matroska": b"\x1a\x45\xdf\xa3" + b"\xff" * 99,
    "a stub of AVI": b"RIFF\xff\xff\xff\xffAVI LIST" + b"\xff" * 99,
    "a stub of Ogg": b"OggS" + b"\xff" * 99,
    "no packets": b"G" * 2000,
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_hostile_file_ends_in_one_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "evil.mp4"
    path.write_bytes(HOSTILE[kind])

    for operation, given in (("metadata", {}), ("extract_frame", {"target_path": str(tmp_path / "out.png")})):
        try:
            await result(path, operation, **given)
        except LlmspellError as error:
            assert error.code not in ("internal", "timeout", "process"), error
            assert "\n" not in str(error)
    assert not (tmp_path / "out.png").exists()


async def test_a_film_cut_anywhere_ends_in_an_answer_or_one_error(film: Path, tmp_path: Path) -> None:
    content = film.read_bytes()
    for size in range(0, len(content), len(content) // 12):
        path = tmp_path / "cut.mp4"
        path.write_bytes(content[:size])
        try:
            await result(path, "extract_frame", target_path=str(tmp_path / "out.png"), timestamp_seconds=1)
        except LlmspellError as error:
            assert error.code in ("invalid_input", "unsupported_format"), error


async def test_what_is_above_the_limits_is_refused(film: Path) -> None:
    target = str(film.with_name("x.png"))
    with pytest.raises(ResourceLimitError, match="1000"):
        await result(film, settings={"max_file_size_bytes": 1000})
    with pytest.raises(ToolError, match="160 x 120 is not within 1000 pixels"):
        await result(film, "extract_frame", {"max_pixels": 1000}, target_path=target)
    with pytest.raises(ToolError, match="more than 5 pictures"):
        await result(film, "extract_frame", {"max_frames": 5}, target_path=target, timestamp_seconds=1)
    with pytest.raises(ToolError, match="the video ends at 2"):
        await result(film, "extract_frame", target_path=target, timestamp_seconds=60)
    with pytest.raises(InvalidInputError, match="thumbnail needs target_path"):
        await result(film, "thumbnail")
