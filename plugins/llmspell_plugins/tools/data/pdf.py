"""What pdf-processor does with a PDF file; runs in a child process. Pages count from 1, sizes are in points."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error

__all__ = ["Job", "worked"]

_MOST_ENTRIES: Final = 10_000
_DEEPEST: Final = 20
_LONGEST: Final = 2000
_AROUND: Final = 60
_FIELDS: Final = {"/Tx": "text", "/Btn": "button", "/Ch": "choice", "/Sig": "signature"}


class Job(Struct, frozen=True):
    """What is asked for; see `PdfParameters` and `PdfProcessorSettings`."""

    operation: str
    start_page: int
    end_page: int | None
    query: str
    case_sensitive: bool
    dpi: int
    picture_format: str
    password: str | None
    max_pages: int
    max_text_bytes: int
    max_pixels: int


def worked(content: bytes, job: Job) -> tuple[dict[str, Any], bytes | None]:
    """Return the result, and the picture if one was made.

    Raises:
        ToolError: ``invalid_input``, ``password`` or ``limit_exceeded``.
    """
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if job.operation in ("extract_metadata", "outline", "forms"):
                return _structure(content, job), None
            return _pages(content, job)
        except (ToolError, MemoryError):
            raise
        except RecursionError:
            raise _wrong("it is nested too deeply", "give another file") from None
        except Exception as error:  # both libraries raise many classes, some of them plain ones
            text = " ".join(ascii(line_of_error(error))[1:-1].split())[:120]
            raise _wrong(f"it cannot be read: {text or type(error).__name__}", "give a whole PDF file") from None


def _structure(content: bytes, job: Job) -> dict[str, Any]:
    import pypdf
    from pypdf.errors import PyPdfError

    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(job.password or ""):
            raise _locked(job)
    except PyPdfError as error:
        raise _wrong(f"it is no PDF file: {line_of_error(error)[:100]!a}", "give one") from None
    match job.operation:
        case "outline":
            return {"outline": list(_outline(reader, reader.outline, 0, [0]))}
        case "forms":
            fields = reader.get_fields() or {}
            found = [_field(name, field) for name, field in list(fields.items())[:_MOST_ENTRIES]]
            return {"fields": found, "count": len(fields)}
    return _metadata(reader, content)


def _metadata(reader: Any, content: bytes) -> dict[str, Any]:
    told: Mapping[str, Any] = reader.metadata or {}
    info = {str(key).lstrip("/"): _text(value) for key, value in list(told.items())[:100]}
    first = reader.pages[0].mediabox if len(reader.pages) else None
    return {
        "title": info.get("Title"),
        "author": info.get("Author"),
        "subject": info.get("Subject"),
        "keywords": info.get("Keywords"),
        "creator": info.get("Creator"),
        "producer": info.get("Producer"),
        "created": _time(reader, "creation_date"),
        "modified": _time(reader, "modification_date"),
        "page_count": len(reader.pages),
        "page_size": None if first is None else {"width": float(first.width), "height": float(first.height)},
        "pdf_version": reader.pdf_header.removeprefix("%PDF-")[:10],
        "encrypted": reader.is_encrypted,
        "file_size": len(content),
        "info": info,
    }


def _time(reader: Any, name: str) -> str | None:
    try:
        found = getattr(reader.metadata, name, None)
    except (ValueError, TypeError):
        return None
    return found.isoformat() if found is not None else None


def _outline(reader: Any, items: Any, depth: int, count: list[int]) -> Iterator[dict[str, Any]]:
    for item in items:
        if isinstance(item, list):
            if depth < _DEEPEST:
                yield from _outline(reader, item, depth + 1, count)
            continue
        count[0] += 1
        if count[0] > _MOST_ENTRIES:
            return
        number = reader.get_destination_page_number(item)
        page = number + 1 if isinstance(number, int) and number >= 0 else None
        yield {"title": _text(item.title), "level": depth + 1, "page": page}


def _field(name: str, field: Any) -> dict[str, Any]:
    kind = _FIELDS.get(str(field.get("/FT")), "other")
    value = field.get("/V")
    return {"name": _text(name), "type": kind, "value": None if value is None else _text(value)}


def _text(value: Any) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return text.encode("utf-8", "replace").decode()[:_LONGEST]


def _pages(content: bytes, job: Job) -> tuple[dict[str, Any], bytes | None]:
    import pypdfium2
    from pypdfium2 import PdfiumError

    try:
        document = pypdfium2.PdfDocument(content, password=job.password)
    except PdfiumError as error:
        if "assword" in line_of_error(error):
            raise _locked(job) from None
        raise _wrong(f"it is no PDF file: {line_of_error(error)[:100]!a}", "give one") from None
    numbers = _numbers(len(document), job)
    if job.operation == "render":
        return _rendered(document, job)
    pages = [{"page": number, "text": text} for number, text in _texts(document, numbers, job)]
    match job.operation:
        case "extract_pages":
            return {"pages": pages, "count": len(pages), "page_count": len(document)}, None
        case "search":
            matches = [match for page in pages for match in _found(page, job)][:_MOST_ENTRIES]
            return {"query": job.query, "matches": matches, "count": len(matches), "page_count": len(document)}, None
    text = "\n\n".join(str(page["text"]) for page in pages)
    return {"text": text, "length": len(text), "page_count": len(document)}, None


def _numbers(count: int, job: Job) -> range:
    """The pages that are asked for."""
    if job.start_page > max(count, 1):
        raise _wrong(f"start_page is {job.start_page} of {count}", "give one of those", field="start_page")
    last = min(job.end_page or count, count)
    if last - job.start_page + 1 > job.max_pages:
        message = f"pdf-processor: more than {job.max_pages} pages at once; ask for less by start_page and end_page"
        raise ToolError(message, code="limit_exceeded")
    return range(job.start_page, last + 1)


def _texts(document: Any, numbers: range, job: Job) -> Iterator[tuple[int, str]]:
    held = 0
    for number in numbers:
        page = document[number - 1]
        area = page.get_textpage()
        text = area.get_text_range().replace("\r\n", "\n").replace("\r", "\n").replace("\ufffe", "")
        text = text.replace("\0", "").encode("utf-8", "replace").decode()
        area.close()
        page.close()
        held += len(text)
        if held > job.max_text_bytes:
            message = (
                f"pdf-processor: more than {job.max_text_bytes} characters up to page {number}; ask for fewer pages"
            )
            raise ToolError(message, code="limit_exceeded")
        yield number, text


def _found(page: Mapping[str, Any], job: Job) -> Iterator[dict[str, Any]]:
    text, query = page["text"], job.query
    folded, wanted = (text, query) if job.case_sensitive else (text.lower(), query.lower())
    if len(folded) != len(text):
        text = folded  # a letter that grew when it was folded: places are those of what was searched
    place = folded.find(wanted)
    while place >= 0:
        around = text[max(0, place - _AROUND) : place + len(wanted) + _AROUND]
        yield {"page": page["page"], "position": place, "context": " ".join(around.split())}
        place = folded.find(wanted, place + len(wanted))


def _rendered(document: Any, job: Job) -> tuple[dict[str, Any], bytes]:
    page = document[job.start_page - 1]
    scale = job.dpi / 72
    width, height = (math.ceil(side * scale) for side in page.get_size())
    if width * height > job.max_pixels:
        message = f"pdf-processor: {width} x {height} is more than {job.max_pixels} pixels; give a smaller dpi"
        raise ToolError(message, code="limit_exceeded")
    picture = page.render(scale=scale).to_pil().convert("RGB")
    target = io.BytesIO()
    picture.save(target, job.picture_format.upper(), dpi=(job.dpi, job.dpi))
    told = {
        "page": job.start_page,
        "dimensions": {"width": picture.width, "height": picture.height},
        "file_size": target.tell(),
        "page_count": len(document),
    }
    return told, target.getvalue()


def _locked(job: Job) -> ToolError:
    what = "it does not open with this password" if job.password else "it needs a password"
    return ToolError(f"pdf-processor: input: {what}; give the right one as password", code="password")


def _wrong(what: str, todo: str, field: str = "input") -> ToolError:
    return ToolError(f"pdf-processor: {field}: {what}; {todo}", code="invalid_input")
