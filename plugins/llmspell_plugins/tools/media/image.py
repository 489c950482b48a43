"""What image_processor does to an image; runs in a child process. Sizes in pixels, angles in degrees clockwise."""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from llmspell_hookspecs import ToolError

if TYPE_CHECKING:
    from PIL.Image import Image
from llmspell_hookspecs.errors import line_of_error

__all__ = ["FORMATS", "Job", "compared", "described", "made"]

FORMATS: Final = ("png", "jpeg", "webp", "gif", "tiff", "bmp")
"""What is read and written; Pillow knows forty more, which nobody needs and somebody may attack."""

_BITS: Final = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16, "I;16L": 16}
_ORIENTATION: Final = 0x0112
_EXIF_FOLDERS: Final = (0x8769, 0x8825)
_MOST_TAGS, _LONGEST = 200, 200
_SOFT: Final = ("jpeg", "bmp")  # without transparency
_FOR_PRINT = ("CMYK", "YCbCr", "HSV")


class Job(Struct, frozen=True):
    """What is to be made.

    Attributes:
        operation: ``resize``, ``convert``, ``crop``, ``rotate``, ``thumbnail`` or ``strip_exif``.
        target_format: One of `FORMATS`.
        max_pixels: Width by height of the largest image that is read or made.
    """

    operation: str
    target_format: str
    max_pixels: int
    width: int | None = None
    height: int | None = None
    x: int = 0
    y: int = 0
    degrees: float = 90
    maintain_aspect_ratio: bool = True
    max_width: int = 200
    max_height: int = 200
    quality: int = 85


def described(content: bytes, whole: bool, max_pixels: int) -> dict[str, Any]:
    """Return the format and dimensions of an image, and what else is known of it if asked for the whole.

    Raises:
        ToolError: ``unsupported_format`` or ``limit_exceeded``.
    """
    image = _opened(content, max_pixels)
    told: dict[str, Any] = {
        "format": str(image.format).lower(),
        "dimensions": {"width": image.width, "height": image.height},
    }
    if not whole:
        return told
    return {
        **told,
        "color_mode": image.mode,
        "bit_depth": _BITS.get(image.mode, 8),
        "has_transparency": image.has_transparency_data,
        "frames": getattr(image, "n_frames", 1),
        "file_size": len(content),
        "dpi": _dpi(image),
        "exif": _exif(image),
    }


def made(content: bytes, job: Job) -> tuple[bytes, dict[str, Any]]:
    """Return a file made of an image, and what it is.

    Raises:
        ToolError: ``unsupported_format``, ``limit_exceeded`` or ``invalid_input``.
    """
    from PIL import ImageOps

    image = _opened(content, job.max_pixels)
    size_before = image.size
    if job.operation == "thumbnail":
        image.draft("RGB", (job.max_width * 2, job.max_height * 2))  # a JPEG is decoded small at once
    _load(image)
    image = _worked(ImageOps.exif_transpose(image), job)
    written = _saved(image, job)
    told = {
        "format": job.target_format,
        "original_dimensions": {"width": size_before[0], "height": size_before[1]},
        "dimensions": {"width": image.width, "height": image.height},
        "file_size": len(written),
    }
    return written, told


def compared(content: bytes, other: bytes, max_pixels: int) -> dict[str, Any]:
    """Return how much two images differ: channel by channel, from 0 (none) to 1.

    Raises:
        ToolError: ``unsupported_format`` or ``limit_exceeded``.
    """
    from PIL import ImageChops, ImageOps, ImageStat

    pair = []
    for each in (content, other):
        image = _opened(each, max_pixels)
        _load(image)
        pair.append(ImageOps.exif_transpose(image))
    mode = "RGBA" if any(each.has_transparency_data for each in pair) else "RGB"
    first, second = (each.convert(mode) for each in pair)
    sizes = [{"width": each.width, "height": each.height} for each in (first, second)]
    if first.size != second.size:
        return {"identical": False, "same_dimensions": False, "dimensions": sizes}
    difference = ImageChops.difference(first, second)
    figures = ImageStat.Stat(difference)
    squares = sum(value * value for value in figures.rms) / len(figures.rms)
    extremes = [high for _, high in figures.extrema]
    return {
        "identical": max(extremes) == 0,
        "same_dimensions": True,
        "dimensions": sizes,
        "rms_difference": math.sqrt(squares) / 255,
        "mean_difference": sum(figures.mean) / len(figures.mean) / 255,
        "largest_difference": max(extremes) / 255,
    }


def _opened(content: bytes, max_pixels: int) -> Image:
    """An image of which no pixel is decoded yet."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # held against our own number, as an error and not as a warning
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=[each.upper() for each in FORMATS])
    except UnidentifiedImageError:
        message = f"image_processor: source_path: that is no image of a known format; give one of {', '.join(FORMATS)}"
        raise ToolError(message, code="unsupported_format") from None
    except MemoryError:
        raise
    except Exception as error:  # a decoder's own, of many classes
        raise _damaged(error) from None
    _check(image.width, image.height, max_pixels)
    return image


def _load(image: Image) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(error) from None


def _damaged(error: Exception) -> ToolError:
    text = " ".join(ascii(str(error))[1:-1].split())[:120]
    return ToolError(
        f"image_processor: source_path: the image cannot be decoded: {text or type(error).__name__}; give a whole one",
        code="invalid_input",
    )


def _check(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        message = f"image_processor: {width} x {height} is more than {max_pixels} pixels; take a smaller image"
        raise ToolError(message, code="limit_exceeded")


def _worked(image: Image, job: Job) -> Image:
    match job.operation:
        case "resize":
            return _resized(image, job)
        case "crop":
            return _cropped(image, job)
        case "rotate":
            return _rotated(image, job)
        case "thumbnail":
            image.thumbnail((job.max_width, job.max_height))
    return image


def _resized(image: Image, job: Job) -> Image:
    width, height = job.width or image.width, job.height or image.height
    if job.maintain_aspect_ratio:
        scales = [each for each in (job.width and width / image.width, job.height and height / image.height) if each]
        width, height = (max(1, round(side * min(scales))) for side in image.size)
    _check(width, height, job.max_pixels)
    from PIL.Image import Resampling

    smooth = _smooth(image)
    return smooth.resize((width, height), Resampling.LANCZOS)


def _cropped(image: Image, job: Job) -> Image:
    right, bottom = job.x + (job.width or 0), job.y + (job.height or 0)
    if right > image.width or bottom > image.height:
        message = (
            f"image_processor: {job.width} x {job.height} at {job.x}, {job.y} is not within "
            f"{image.width} x {image.height}; crop less"
        )
        raise ToolError(message, code="invalid_input")
    return image.crop((job.x, job.y, right, bottom))


def _rotated(image: Image, job: Job) -> Image:
    from PIL.Image import Resampling

    if job.degrees % 90 == 0:
        return image.rotate(-job.degrees, expand=True)
    turn = math.radians(job.degrees)
    sine, cosine = abs(math.sin(turn)), abs(math.cos(turn))
    width, height = image.width * cosine + image.height * sine, image.width * sine + image.height * cosine
    _check(math.ceil(width), math.ceil(height), job.max_pixels)
    return _smooth(image).rotate(-job.degrees, Resampling.BICUBIC, expand=True)


def _smooth(image: Image) -> Image:
    """The image in a mode whose pixels can be mixed: palettes cannot."""
    if image.mode in ("P", "1"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def _saved(image: Image, job: Job) -> bytes:
    """The file; without EXIF if that is asked for, and always without the orientation, which is done."""
    from PIL.Image import new

    kind = job.target_format
    exif = None if job.operation == "strip_exif" else image.getexif()
    if kind in _SOFT and image.has_transparency_data:
        ground = new("RGB", image.size, "white")
        clear = image.convert("RGBA")
        ground.paste(clear, mask=clear.getchannel("A"))
        image = ground
    elif kind in ("jpeg", "bmp", "webp") and image.mode not in ("RGB", "L", "RGBA"):
        image = image.convert("RGBA" if image.has_transparency_data and kind == "webp" else "RGB")
    elif kind in ("png", "gif") and image.mode in _FOR_PRINT:
        image = image.convert("RGB")
    options: dict[str, Any] = {"quality": job.quality} if kind in ("jpeg", "webp") else {}
    if exif and kind in ("jpeg", "png", "webp", "tiff"):
        exif.pop(_ORIENTATION, None)
        options["exif"] = exif
    image.info = {key: value for key, value in image.info.items() if key in ("dpi", "transparency")}
    target = io.BytesIO()
    try:
        image.save(target, kind.upper(), **options)
    except (OSError, ValueError, KeyError, SystemError) as error:
        text = " ".join(ascii(line_of_error(error))[1:-1].split())[:120]
        message = f"image_processor: it cannot be written as {kind}: {text}; take another target_format"
        raise ToolError(message, code="unsupported_format") from None
    return target.getvalue()


def _dpi(image: Image) -> list[float] | None:
    given = image.info.get("dpi")
    try:
        return [round(float(each), 2) for each in given][:2] if given else None
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _exif(image: Image) -> dict[str, Any]:
    """The tags by their names; what is no number and no short text is told as one."""
    from PIL import ExifTags

    found: dict[str, Any] = {}
    try:
        exif = image.getexif()
        folders = [(dict(exif), ExifTags.TAGS)]
        for number, names in zip(_EXIF_FOLDERS, (ExifTags.TAGS, ExifTags.GPSTAGS), strict=True):
            folders.append((dict(exif.get_ifd(number)), names))
    except MemoryError:
        raise
    except Exception:  # damaged EXIF is no reason to know nothing of the image
        return found
    for tags, names in folders:
        for number, value in tags.items():
            if number not in _EXIF_FOLDERS and len(found) < _MOST_TAGS:
                found[names.get(number, f"tag_{number}")] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value[:16]]
    try:
        number = float(value) if not isinstance(value, str | bytes) else None
    except (TypeError, ValueError, ZeroDivisionError):
        number = None
    if number is not None:
        return number if math.isfinite(number) else None
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return "".join(letter for letter in text if letter.isprintable())[:_LONGEST]
