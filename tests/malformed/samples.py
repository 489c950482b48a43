"""Small files of the kinds that tools read, sound or with bits flipped."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from random import Random
from typing import Final

from .mutation import Mutation

__all__ = ["FILES", "file_for"]


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = struct.pack(">IIBBBBB", 6, 4, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(range(18)) for _ in range(4))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _wav() -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(range(256)) * 8)
    return target.getvalue()


def _pdf() -> bytes:
    text = b"BT /F 12 Tf 9 9 Td (hello) Tj ET"
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(text), text),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, each) for number, each in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer\n<</Root 1 0 R/Size 6>>\n%%EOF\n"


FILES: Final = {
    "photo.jpg": _png(),
    "song.mp3": _wav(),
    "report.pdf": _pdf(),
    "film.mp4": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\0\0\0\x08moov" + b"\0\0\0\x10mdat12345678",
}
"""The names that the examples of tools use, and what is under them."""


def file_for(name: str, number: int) -> bytes:
    """Return what a file holds for the input of this number: every second time it is damaged, each time otherwise."""
    if number % 2 == 0:
        return FILES[name]
    return Mutation(Random(f"{name}:{number}")).bytes(FILES[name])
