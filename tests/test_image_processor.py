"""The image_processor, each operation against ImageMagick; bombs, damaged files and limits."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from oracles import called, oracle

NAME = "image_processor"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A JPEG of 120 x 80 with a dpi, made by ImageMagick."""
    path = tmp_path / "photo.jpg"
    oracle("convert", "-size", "120x80", "gradient:red-blue", "-density", "150", "-units", "PixelsPerInch", path)
    return path


def size_of(path: Path) -> str:
    return oracle("identify", "-format", "%m %wx%h", path)


def rms(first: Path, second: Path) -> float:
    told = oracle("compare", "-metric", "RMSE", first, second, "null:", codes=(0, 1))
    return float(told.partition("(")[2].partition(")")[0])


async def test_metadata_is_what_identify_tells(photo: Path) -> None:
    result = (await called(photo.parent, NAME, file_path=str(photo))).result

    told = oracle("identify", "-format", "%m %w %h %z %x", photo).split()
    assert [result["format"].upper(), *map(str, result["dimensions"].values())] == told[:3]
    assert (result["bit_depth"], result["dpi"][0]) == (int(told[3]), float(told[4]))
    assert (result["color_mode"], result["file_size"]) == ("RGB", photo.stat().st_size)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "tiff", "bmp"])
async def test_a_format_is_known_by_what_is_in_the_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "nameless"
    oracle("convert", "-size", "9x5", "xc:green", f"{kind}:{path}")

    result = (await called(tmp_path, NAME, operation="detect", file_path=str(path))).result

    assert result == {"format": kind, "dimensions": {"width": 9, "height": 5}}


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"width": 60}, "PNG 60x40"),
        ({"height": 20}, "PNG 30x20"),
        ({"width": 60, "height": 60}, "PNG 60x40"),
        ({"width": 60, "height": 60, "maintain_aspect_ratio": False}, "PNG 60x60"),
        ({"width": 240}, "PNG 240x160"),
    ],
)
async def test_resize_makes_the_size_and_keeps_the_picture(photo: Path, given: dict[str, Any], size: str) -> None:
    target = photo.with_name("out.png")
    result = await called(
        photo.parent, NAME, operation="resize", source_path=str(photo), target_path=str(target), **given
    )

    expected = photo.with_name("expected.png")
    oracle("convert", photo, "-resize", size.split()[1] + "!", expected)
    assert size_of(target) == size
    assert rms(target, expected) < 0.02
    assert result.result["file_size"] == target.stat().st_size


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "tiff", "bmp"])
async def test_convert_writes_the_format(photo: Path, kind: str) -> None:
    target = photo.with_name(f"out.{kind}")
    await called(photo.parent, NAME, operation="convert", source_path=str(photo), target_path=str(target))

    assert size_of(target).replace("BMP3", "BMP") == f"{kind.upper()} 120x80"
    assert rms(photo, target) < 0.03


@pytest.mark.parametrize("kind", ["png", "gif", "jpeg", "webp"])
async def test_what_is_made_for_print_is_converted_for_screens(photo: Path, kind: str) -> None:
    source, target = photo.with_name("print.jpg"), photo.with_name(f"screen.{kind}")
    oracle("convert", photo, "-colorspace", "CMYK", source)

    await called(photo.parent, NAME, operation="convert", source_path=str(source), target_path=str(target))

    assert oracle("identify", "-format", "%[colorspace]", target).strip() in ("sRGB", "RGB")


async def test_transparency_becomes_white_where_a_format_has_none(tmp_path: Path) -> None:
    source, target = tmp_path / "clear.png", tmp_path / "white.jpg"
    oracle("convert", "-size", "8x8", "xc:none", source)

    await called(tmp_path, NAME, operation="convert", source_path=str(source), target_path=str(target))

    assert oracle("convert", target, "-format", "%[pixel:p{3,3}]", "info:") in (
        "white",
        "srgb(255,255,255)",
        "gray(255)",
    )


async def test_crop_cuts_out_the_part(photo: Path) -> None:
    target, expected = photo.with_name("part.png"), photo.with_name("expected.png")
    given = {"x": 10, "y": 30, "width": 50, "height": 20}
    await called(photo.parent, NAME, operation="crop", source_path=str(photo), target_path=str(target), **given)

    oracle("convert", photo, "-crop", "50x20+10+30", "+repage", expected)
    assert size_of(target) == "PNG 50x20"
    assert rms(target, expected) < 0.01


@pytest.mark.parametrize("degrees", [90, 180, -90])
async def test_rotate_turns_clockwise(photo: Path, degrees: int) -> None:
    target, expected = photo.with_name("turned.png"), photo.with_name("expected.png")
    given = {"source_path": str(photo), "target_path": str(target), "degrees": degrees}
    await called(photo.parent, NAME, operation="rotate", **given)

    oracle("convert", photo, "-rotate", str(degrees), "+repage", expected)
    assert size_of(target) == size_of(expected)
    assert rms(target, expected) < 0.01


async def test_a_thumbnail_fits_and_keeps_its_proportions(photo: Path) -> None:
    target = photo.with_name("thumb.jpg")
    given = {"source_path": str(photo), "target_path": str(target), "max_width": 30, "max_height": 30}
    await called(photo.parent, NAME, operation="thumbnail", **given)

    assert size_of(target) == "JPEG 30x20"


async def test_exif_is_told_and_turned_by_and_taken_out(photo: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0110], exif[0x0112] = "Box Brownie", 6
    with Image.open(photo) as image:
        image.save(photo, exif=exif)
    target, upright = photo.with_name("bare.jpg"), photo.with_name("upright.jpg")

    told = (await called(photo.parent, NAME, file_path=str(photo))).result["exif"]
    await called(photo.parent, NAME, operation="strip_exif", source_path=str(photo), target_path=str(target))
    await called(photo.parent, NAME, operation="convert", source_path=str(photo), target_path=str(upright))

    assert (told["Model"], told["Orientation"]) == ("Box Brownie", 6)
    assert oracle("identify", "-format", "%[EXIF:Model]", photo) == "Box Brownie"
    assert oracle("identify", "-format", "%[EXIF:*]", target) == ""
    assert oracle("identify", "-format", "%[EXIF:Model] %[orientation] %wx%h", upright) in (
        "Box Brownie Undefined 80x120",
        "Box Brownie TopLeft 80x120",
    )


async def test_compare_tells_how_much_two_images_differ(photo: Path) -> None:
    other = photo.with_name("other.png")
    oracle("convert", photo, "-negate", other)
    given = {"operation": "compare", "source_path": str(photo)}

    same = (await called(photo.parent, NAME, **given, target_path=str(photo))).result
    differs = (await called(photo.parent, NAME, **given, target_path=str(other))).result

    assert (same["identical"], same["rms_difference"]) == (True, 0)
    assert differs["rms_difference"] == pytest.approx(rms(photo, other), abs=0.005)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (bomb(60_000, 60_000), "limit_exceeded"),
        (bomb(7000, 7000), "invalid_input"),
        (b"%!PS-Adobe\n(evil) run", "unsupported_format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", "unsupported_format"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 40, "invalid_input"),
        (b"GIF89a\x01\x00\x01\x00\xff\x00\x00", "invalid_input"),
        (b"", "unsupported_format"),
    ],
)
async def test_what_is_hostile_ends_in_one_error(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "evil.png"
    path.write_bytes(content)

    with pytest.raises(ToolError) as caught:
        await called(
            tmp_path, NAME, operation="resize", source_path=str(path), target_path=str(tmp_path / "o.png"), width=9
        )

    assert caught.value.code in (code, "unsupported_format")
    assert list(tmp_path.iterdir()) == [path]


async def test_a_file_and_a_result_above_the_limits_are_refused(photo: Path) -> None:
    limits = {"tools": {NAME: {"max_pixels": 10_000, "max_file_size_bytes": 10_000}}}
    given = {"source_path": str(photo), "target_path": str(photo.with_name("big.png")), "operation": "resize"}

    with pytest.raises(ToolError, match="400 x 267 is more than 10000 pixels"):
        await called(photo.parent, NAME, limits, **given, width=400)
    with pytest.raises(ResourceLimitError, match="20"):
        await called(photo.parent, NAME, {"tools": {NAME: {"max_file_size_bytes": 20}}}, **given, width=10)
    assert not photo.with_name("big.png").exists()


async def test_what_is_missing_or_not_allowed_is_named(photo: Path) -> None:
    folder = photo.parent
    with pytest.raises(ToolError, match="No such file"):
        await called(folder, NAME, file_path=str(folder / "gone.png"))
    with pytest.raises(InvalidInputError, match=r"^tool:image_processor: resize needs target_path; it takes "):
        await called(folder, NAME, operation="resize", file_path=str(photo), width=9)
    with pytest.raises(ToolError, match="is not within 120 x 80"):
        await called(
            folder, NAME, operation="crop", file_path=str(photo), target_path=str(folder / "x.png"), width=121, height=1
        )
    with pytest.raises(SecurityError):
        await called(folder, NAME, operation="convert", file_path=str(photo), target_path="/root/out.png")
    with pytest.raises(ToolError, match=r"\.xcf is no format"):
        await called(folder, NAME, operation="convert", file_path=str(photo), target_path=str(folder / "a.xcf"))
